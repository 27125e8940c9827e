//! An origin that misbehaves as it is told: a real server that writes bytes by hand, so that it can break HTTP, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::repository_root;

/// Largest request that is read.
const REQUEST_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// What it does with every request for captions. Its health it always calls good, unless it is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Answers at once.
    Sound,
    /// Answers after a while.
    Slow(Duration),
    /// Takes the request and says nothing.
    Silent,
    /// 500 with a page.
    ErrorPage,
    /// 200 with a page.
    Page,
    /// 200 with JSON that is not the contract's.
    Garbage,
    /// Announces more than it sends.
    Cut,
    /// Announces less than it sends.
    WrongLength,
    /// Every second request is answered, the others get a 500.
    EverySecond,
    /// A batch is answered with this pause before each line; single captions at once.
    Trickle(Duration),
}

/// A running bad origin.
#[derive(Clone, Debug)]
pub struct BadOrigin {
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicUsize,
    left: AtomicUsize,
}

impl BadOrigin {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
        let counts = Arc::new(Counts::default());
        let counting = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, conduct, Arc::clone(&counting)));
            }
        });
        Self { url, counts }
    }

    /// How many requests for captions have come.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.counts.asked.load(Ordering::Relaxed)
    }

    /// How many callers have left before the end of an answer.
    #[must_use]
    pub fn left(&self) -> usize {
        self.counts.left.load(Ordering::Relaxed)
    }
}

/// One request for each connection.
async fn converse(mut stream: TcpStream, conduct: Conduct, counts: Arc<Counts>) {
    let Some((head, body)) = read_request(&mut stream).await else { return };
    let is_for_captions = head.starts_with("POST ");
    let count = if is_for_captions { counts.asked.fetch_add(1, Ordering::Relaxed) } else { 0 };
    let written = match conduct {
        Conduct::Silent => {
            // Until the caller leaves.
            let read = stream.read(&mut [0; 1]).await;
            read.and(Err(std::io::ErrorKind::BrokenPipe.into()))
        }
        _ if !is_for_captions => write(&mut stream, "application/json", br#"{"status": "ready"}"#).await,
        Conduct::ErrorPage => write_error(&mut stream).await,
        Conduct::EverySecond if count % 2 == 1 => write_error(&mut stream).await,
        Conduct::Page => write(&mut stream, "text/html", b"<html>It works!</html>").await,
        Conduct::Garbage => write(&mut stream, "application/json", br#"{"caption": 7}"#).await,
        _ => {
            if let Conduct::Slow(wait) = conduct {
                tokio::time::sleep(wait).await;
            }
            if head.contains(" /api/v14/batch ") {
                write_lines(&mut stream, conduct, requests_count(&body)).await
            } else {
                write_caption(&mut stream, conduct).await
            }
        }
    };
    if written.is_err() {
        counts.left.fetch_add(1, Ordering::Relaxed);
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut received = Vec::new();
    loop {
        if stream.read_buf(&mut received).await.ok()? == 0 || received.len() > REQUEST_BYTES_MAX {
            return None;
        }
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if received.len() >= end + 4 + length.unwrap_or(0) {
            return Some((head, received.split_off(end + 4)));
        }
    }
}

fn requests_count(body: &[u8]) -> usize {
    let batch: Value = serde_json::from_slice(body).unwrap_or_default();
    batch["requests"].as_array().map_or(0, Vec::len)
}

/// The golden answer of the contract.
fn caption() -> Value {
    let file = repository_root().join("tests/fixtures/wire/response.json");
    let text = std::fs::read(file).expect("the golden answer is there");
    serde_json::from_slice(&text).expect("the golden answer is JSON")
}

async fn write_caption(stream: &mut TcpStream, conduct: Conduct) -> std::io::Result<()> {
    let body = caption().to_string().into_bytes();
    let (announced, sent) = match conduct {
        Conduct::Cut => (body.len(), body.len() / 2),
        Conduct::WrongLength => (body.len() / 2, body.len()),
        _ => (body.len(), body.len()),
    };
    write_head(stream, "200 OK", "application/json", announced).await?;
    stream.write_all(&body[..sent]).await
}

/// A line for each item, the connection's end ends them.
async fn write_lines(stream: &mut TcpStream, conduct: Conduct, count: usize) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    for index in 0..count {
        if let Conduct::Trickle(pause) = conduct {
            // Whoever leaves meanwhile is noticed by what comes from the other side: its end.
            let closed = tokio::time::timeout(pause, stream.read(&mut [0; 1])).await;
            if closed.is_ok() {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
        }
        if conduct == Conduct::Cut && index == count / 2 {
            return Ok(());
        }
        let line = json!({ "index": index, "status": 200, "response": caption() });
        stream.write_all(format!("{line}\n").as_bytes()).await?;
    }
    Ok(())
}

async fn write(stream: &mut TcpStream, media_type: &str, body: &[u8]) -> std::io::Result<()> {
    write_head(stream, "200 OK", media_type, body.len()).await?;
    stream.write_all(body).await
}

async fn write_error(stream: &mut TcpStream) -> std::io::Result<()> {
    let body = b"<html>Internal Server Error</html>";
    write_head(stream, "500 Internal Server Error", "text/html", body.len()).await?;
    stream.write_all(body).await
}

async fn write_head(stream: &mut TcpStream, status: &str, media_type: &str, length: usize) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await
}
