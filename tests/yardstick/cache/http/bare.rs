//! The yardstick: a bare axum handler in a process of its own. The bench starts itself once more for it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use axum::serve::ListenerExt;
use lede_shared::api::GENERATE_PATH;
use lede_tests::cpu_centiseconds;
use tokio::net::TcpListener;

/// What the bare server answers with; set in its process alone.
const ANSWER: &str = "LEDE_BENCH_BARE_ANSWER";

/// Serves until it is killed, in the process that was started for it; returns at once in any other.
pub(crate) fn serve_if_asked() {
    if let Ok(answer) = std::env::var(ANSWER) {
        // The same runtime as the origin's.
        tokio::runtime::Runtime::new().expect("a runtime can be started").block_on(serve(answer.into()));
    }
}

async fn serve(answer: Bytes) {
    let answering = move |_: Bytes| std::future::ready(([(CONTENT_TYPE, "application/json")], answer.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it listens").port();
    println!("{port}");
    std::io::stdout().flush().expect("who started it reads");
    // As the origin does.
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap_or_default());
    axum::serve(listener, Router::new().route(GENERATE_PATH, post(answering))).await.expect("it serves");
}

/// The running process.
pub(super) struct BareServer {
    child: Child,
    port: u16,
}

impl BareServer {
    pub(super) fn start(answer: &str) -> Self {
        let program = std::env::current_exe().expect("the bench knows its file");
        let mut child = Command::new(program)
            .env(ANSWER, answer)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bench can be started once more");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        Self { child, port: line.trim().parse().expect("it says its port") }
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn cpu_centiseconds(&self) -> u64 {
        cpu_centiseconds(self.child.id()).expect("the process runs")
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        // It may have ended by itself; the measurement has failed then already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
