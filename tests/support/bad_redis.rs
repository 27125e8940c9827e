//! What may be found where a Redis should be, and what may stand between.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Connections that fill the queue of one who never accepts.
const QUEUE_FILLERS: usize = 8;

/// Something that listens and is no Redis. It ends with this value.
pub struct BadRedis {
    /// As `REDIS_URL` names it.
    pub url: String,
    serving: AbortHandle,
    /// What keeps the queue full.
    _fillers: Vec<TcpStream>,
}

impl BadRedis {
    /// Accepts, reads, and says nothing.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn silent() -> Self {
        Self::serving(|mut stream| async move {
            let mut read = [0; 1_024];
            while stream.read(&mut read).await.is_ok_and(|bytes| bytes > 0) {}
        })
        .await
    }

    /// Answers everything with what is no answer.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn garbage() -> Self {
        Self::serving(|mut stream| async move {
            let mut read = [0; 1_024];
            while stream.read(&mut read).await.is_ok_and(|bytes| bytes > 0) {
                let garbage = b"HTTP/1.1 400 Bad Request\r\n\xff\xfe\x00$99999999999\r\n*-7\r\n:x\r\n";
                if stream.write_all(garbage).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Answers everything with `+OK`, whatever was asked.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn yes_man() -> Self {
        Self::serving(|mut stream| async move {
            let mut read = vec![0; 64 * 1_024];
            while let Ok(bytes) = stream.read(&mut read).await {
                // One for each command that begins here.
                let commands = read[..bytes].iter().filter(|byte| **byte == b'*').count();
                if bytes == 0 || stream.write_all(&b"+OK\r\n".repeat(commands)).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Listens, and never accepts: a connection is not even refused.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn never_accepts() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let listener = socket.listen(1).expect("it can listen");
        let address = listener.local_addr().expect("a bound listener has an address");
        let mut fillers = Vec::new();
        for _ in 0..QUEUE_FILLERS {
            let filling = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address));
            fillers.extend(filling.await.ok().and_then(Result::ok));
        }
        let serving = tokio::spawn(async move {
            let _listener = listener;
            std::future::pending::<()>().await;
        });
        Self { url: format!("redis://{address}"), serving: serving.abort_handle(), _fillers: fillers }
    }

    async fn serving<F>(converse: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("redis://{}", listener.local_addr().expect("a bound listener has an address"));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream));
            }
        });
        Self { url, serving: serving.abort_handle(), _fillers: Vec::new() }
    }
}

impl Drop for BadRedis {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What the way to a Redis is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As if there were nothing between.
    Open,
    /// Everything takes so much longer, there and back again.
    Slow(Duration),
    /// Connections stay, and nothing passes.
    Hole,
    /// Connections break, and new ones break at once.
    Cut,
}

/// A way to a server that can be changed while it is used. It ends with this value.
pub struct RedisWay {
    /// As `REDIS_URL` names it.
    pub url: String,
    way: watch::Sender<Way>,
    serving: AbortHandle,
}

impl RedisWay {
    /// An open way to the server on `port`.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("redis://{}", listener.local_addr().expect("a bound listener has an address"));
        let (way, seen) = watch::channel(Way::Open);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, port, seen.clone()));
            }
        });
        Self { url, way, serving: serving.abort_handle() }
    }

    /// From now on it is like this, for connections that are there, too.
    pub fn is(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for RedisWay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(from: TcpStream, port: u16, way: watch::Receiver<Way>) {
    if *way.borrow() == Way::Cut {
        return;
    }
    let Ok(to) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (from_read, from_write) = from.into_split();
    let (to_read, to_write) = to.into_split();
    tokio::select! {
        () = carry(from_read, to_write, way.clone()) => {}
        () = carry(to_read, from_write, way.clone()) => {}
        () = until_cut(way.clone()) => {}
    }
}

async fn until_cut(mut way: watch::Receiver<Way>) {
    if way.wait_for(|way| *way == Way::Cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut read = vec![0; 64 * 1_024];
    while let Ok(bytes) = from.read(&mut read).await {
        if bytes == 0 {
            return;
        }
        let now = *way.borrow_and_update();
        match now {
            Way::Slow(wait) => tokio::time::sleep(wait / 2).await,
            Way::Hole => {
                let _ = way.wait_for(|way| *way != Way::Hole).await;
            }
            Way::Open | Way::Cut => {}
        }
        if to.write_all(&read[..bytes]).await.is_err() {
            return;
        }
    }
}
