//! Everybody asks for the same caption at the same moment, and nobody has it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use lede_shared::api_key::ApiKeyHash;
use lede_tests::{Edge, Origin, free_port};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CALLERS: usize = 10_000;
/// So many that no key is a flood of its own.
const TENANTS: usize = 10;
/// Connections opened at once, before anything is asked: the kernel's queue of them is not what is tested here.
const OPENED_AT_ONCE: usize = 100;
/// A connection that the machine closed before a byte of the answer came is opened anew, so often.
const CONNECTIONS_MAX: usize = 3;
const ANSWER_WAIT: Duration = Duration::from_secs(100);

fn api_key(tenant: usize) -> String {
    format!("lede_test_stampede_{tenant}")
}

/// One caller: asks on the connection that is open, and on another one when that is reset or closed before an answer.
async fn ask(opened: TcpStream, address: &str, caller: usize, body: &str) -> Result<(), String> {
    let request = format!(
        "POST /api/v14/generate HTTP/1.1\r\nhost: lede\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        api_key(caller % TENANTS),
        body.len()
    );
    let mut connection = Ok(opened);
    for _ in 1..CONNECTIONS_MAX {
        match exchange(connection, &request).await {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            outcome => return judged(outcome),
        }
        connection = TcpStream::connect(address).await;
    }
    judged(exchange(connection, &request).await)
}

async fn exchange(connection: io::Result<TcpStream>, request: &str) -> io::Result<String> {
    let mut connection = connection?;
    let mut answer = Vec::new();
    let exchange = async {
        connection.write_all(request.as_bytes()).await?;
        connection.read_to_end(&mut answer).await
    };
    timeout(ANSWER_WAIT, exchange).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    if answer.is_empty() {
        // Closed for having been open too long before anything was asked.
        return Err(ErrorKind::ConnectionReset.into());
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn judged(outcome: io::Result<String>) -> Result<(), String> {
    let answer = outcome.map_err(|error| error.to_string())?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(answer) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_identical_misses_at_once_on_a_cold_system_are_one_inference() {
    let origin = Origin::start_with(free_port(), &[("LEDE_CONNECTIONS_MAX", "20000")]).await;
    let keys = (0..TENANTS).map(|tenant| format!("town-{tenant}={}", ApiKeyHash::of(&api_key(tenant))));
    let keys = keys.collect::<Vec<_>>().join(",");
    let vars = json!({ "ORIGIN_TIMEOUT_MS": "30000", "API_KEY_HASHES": keys });
    let edge = Edge::start_with(&origin.url, &vars);
    assert_eq!(origin.engine_work().await["sequences_finished"], 0);

    let address = edge.url.strip_prefix("http://").unwrap();
    let opening = stream::iter((0..CALLERS).map(|_| TcpStream::connect(address)));
    let connections: Vec<_> = opening.buffer_unordered(OPENED_AT_ONCE).map(Result::unwrap).collect().await;
    // One sequence for one caption: the likeliest words, no other candidates.
    let body = json!({ "content_description": "the whole town asks at once", "optimization_level": "ultra_fast" });
    let body = body.to_string();
    let asking =
        connections.into_iter().enumerate().map(|(caller, connection)| ask(connection, address, caller, &body));
    let answers = futures_util::future::join_all(asking).await;

    let failures: Vec<String> = answers.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} failed, such as {:?}", failures.len(), failures.first());
    let work = origin.engine_work().await;
    assert_eq!((&work["sequences_finished"], &work["sequences_dropped"]), (&json!(1), &json!(0)), "{work}");
}
