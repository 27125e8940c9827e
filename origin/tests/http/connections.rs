//! The server on a real socket: those who hang up, those who are slow, and the drain.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lede_origin::router::router;
use lede_origin::server::serve;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::{API_KEY, TestApp, eventually, letters};

const SLOW: Duration = Duration::from_millis(5);

struct Running {
    app: TestApp,
    address: SocketAddr,
    drain: oneshot::Sender<()>,
    server: JoinHandle<bool>,
}

async fn run(settings: &[(&str, Value)]) -> Running {
    let app = TestApp::with(settings, SLOW, letters()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (drain, told) = oneshot::channel();
    let state = app.state.clone();
    let server = tokio::spawn(async move {
        let told = async {
            let _ = told.await;
        };
        serve(listener, router(state.clone()), &state.config.server, told).await
    });
    Running { app, address, drain, server }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection over which a request is being answered.
    async fn ask(&self, subject: &str) -> TcpStream {
        let body = json!({"content_description": subject}).to_string();
        let head = format!(
            "POST /api/v14/generate HTTP/1.1\r\nhost: origin\r\nauthorization: Bearer {API_KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = self.connect().await;
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream
    }
}

/// What comes until the other side closes, or the time is up.
async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_client_who_hangs_up_frees_the_device() {
    let running = run(&[]).await;
    let counters = running.app.state.engine.counters();
    let stream = running.ask("rain").await;
    assert!(eventually(|| counters.decode_steps.load(Ordering::Relaxed) > 0).await);
    drop(stream);
    assert!(eventually(|| counters.dropped.load(Ordering::Relaxed) >= 1).await);
    assert_eq!(counters.finished.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_takes_nothing_new() {
    let running = run(&[]).await;
    let mut idle = running.connect().await;
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: origin\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1_024]).await.unwrap() > 0);
    let mut busy = running.ask("rain").await;
    let counters = running.app.state.engine.counters();
    assert!(eventually(|| counters.decode_steps.load(Ordering::Relaxed) > 0).await);
    running.drain.send(()).unwrap();
    let answer = read(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(running.server.await.unwrap(), "everything was finished in time");
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let running = run(&[("drain_timeout_ms", json!(20))]).await;
    let _busy = running.ask("rain").await;
    let counters = running.app.state.engine.counters();
    assert!(eventually(|| counters.decode_steps.load(Ordering::Relaxed) > 0).await);
    running.drain.send(()).unwrap();
    assert!(!running.server.await.unwrap(), "it gave up on what still ran");
}

#[tokio::test]
async fn a_head_that_does_not_come_closes_the_connection_and_a_body_gets_a_problem() {
    let settings = [("header_read_timeout_ms", json!(50)), ("body_read_timeout_ms", json!(50))];
    let running = run(&settings).await;
    let mut head = running.connect().await;
    head.write_all(b"POST /api/v14/generate HTTP/1.1\r\nhost: or").await.unwrap();
    assert_eq!(read(&mut head).await, "");
    let mut body = running.connect().await;
    let request = format!(
        "POST /api/v14/generate HTTP/1.1\r\nhost: origin\r\nauthorization: Bearer {API_KEY}\r\n\
         content-type: application/json\r\ncontent-length: 99\r\n\r\n{{"
    );
    body.write_all(request.as_bytes()).await.unwrap();
    let answer = read(&mut body).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("malformed_request"), "{answer}");
}

#[tokio::test]
async fn one_connection_too_many_waits_for_a_place() {
    let running = run(&[("connections_max", json!(1))]).await;
    let first = running.connect().await;
    let mut second = running.connect().await;
    second.write_all(b"GET /health/live HTTP/1.1\r\nhost: origin\r\nconnection: close\r\n\r\n").await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(50), second.read(&mut [0; 1])).await;
    assert!(waited.is_err(), "nobody serves it yet");
    drop(first);
    assert!(read(&mut second).await.contains("live"));
}
