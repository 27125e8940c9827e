//! The other end: reads a request, writes what the script says, closes the connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The first byte that a client sends where it expects TLS.
const TLS_HANDSHAKE: u8 = 0x16;

/// A provider on a free port of this machine.
pub(super) struct Provider {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    /// Answers the nth request, counted from 0, with what `script` says, byte for byte.
    pub(super) async fn start(script: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        Self::listen(Some(Arc::new(script))).await
    }

    /// Takes requests and answers none.
    pub(super) async fn silent() -> Self {
        Self::listen(None).await
    }

    async fn listen(script: Option<Arc<dyn Fn(usize) -> String + Send + Sync>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = Arc::clone(&provider.requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (script, requests) = (script.clone(), Arc::clone(&requests));
                tokio::spawn(async move {
                    let request = read(&mut stream).await;
                    let nth = {
                        let mut requests = requests.lock().unwrap();
                        requests.push(request);
                        requests.len() - 1
                    };
                    let Some(script) = script else { return std::future::pending().await };
                    let _ = stream.write_all(script(nth).as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        provider
    }

    /// What has been received, head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let count = stream.read(&mut chunk).await.unwrap_or(0);
        received.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&received);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let length =
            head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let is_tls = received.first() == Some(&TLS_HANDSHAKE);
        if count == 0 || is_tls || length.is_some_and(|length: usize| body.len() >= length) {
            return text.into_owned();
        }
    }
}

/// A completion whose model wrote `content`.
pub(super) fn completion(content: &str) -> String {
    let choice = json!({ "message": { "role": "assistant", "content": content }, "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": 7, "completion_tokens": 5 });
    let body = json!({ "choices": [choice], "usage": usage }).to_string();
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// An empty answer.
pub(super) fn status(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} Scripted\r\nconnection: close\r\n{headers}content-length: 0\r\n\r\n")
}
