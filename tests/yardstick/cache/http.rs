//! What a hit costs over HTTP: the origin with all that it does for one, against a bare axum handler that reads the
//! body and returns the same bytes.
//!
//! Each is a process of its own with a runtime of its own, both built alike, and they are driven in turn by the same
//! load: connections that stay open, each with one request at a time. The load needs processor time too, so the ratio
//! of answers per second is nearer to 1 than that of answers per CPU second of the server, which is shown beside it.

mod bare;
mod load;
mod table;

use lede_shared::api::GENERATE_PATH;
use lede_tests::{API_KEY, Origin, free_port, ok_json, post};
use serde_json::{Value, json};

use self::bare::BareServer;
pub(crate) use self::bare::serve_if_asked;
use self::load::{Load, Turn};

/// Turns that each server has, after one that does not count.
const ROUNDS: usize = 9;
/// Different requests, asked for by Zipf's law.
const DESCRIPTIONS: usize = 200;

/// One turn of each.
#[derive(Clone, Copy, Debug)]
struct Pair {
    origin: Turn,
    bare: Turn,
}

/// Measures and returns the table.
///
/// # Panics
/// When a server cannot be started or answers anything but hits.
pub(crate) fn measure() -> String {
    let bodies: Vec<Value> = (0..DESCRIPTIONS).map(request).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    let (origin, answer) = runtime.block_on(async {
        let origin = Origin::start_with(free_port(), &[]).await;
        let answer = prime(&origin, &bodies).await;
        (origin, answer)
    });
    // Its threads would be idle beside the load's.
    drop(runtime);
    let bare = BareServer::start(&answer);
    let sent: Vec<Vec<u8>> = bodies.iter().map(|body| as_sent(&body.to_string())).collect();
    let load = Load::new(sent);
    let mut pairs = Vec::new();
    for round in 0..=ROUNDS {
        let pair = Pair {
            origin: load.drive(origin.port(), || origin.cpu_centiseconds()),
            bare: load.drive(bare.port(), || bare.cpu_centiseconds()),
        };
        println!("{}{}", table::line(&pair), if round == 0 { " (warming)" } else { "" });
        if round > 0 {
            pairs.push(pair);
        }
    }
    table::table(&pairs)
}

/// Has every answer made and kept; one of them is what the bare server is to say.
async fn prime(origin: &Origin, bodies: &[Value]) -> String {
    let mut answer = String::new();
    for body in bodies {
        ok_json(post(&origin.url, GENERATE_PATH, body)).await;
        let (headers, hit) = ok_json(post(&origin.url, GENERATE_PATH, body)).await;
        let status = headers.get("cache-status").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(status.starts_with("lede-origin; hit"), "{status}");
        answer = hit.to_string();
    }
    answer
}

fn request(number: usize) -> Value {
    json!({
        "content_description": format!("Sunset number {number} over the ocean, with friends and an old café"),
        "style": "inspirational", "hashtag_count": 5,
    })
}

/// As an ordinary client sends it.
fn as_sent(body: &str) -> Vec<u8> {
    format!(
        "POST {GENERATE_PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {API_KEY}\r\n\
         content-type: application/json\r\naccept: application/json\r\nuser-agent: lede-bench\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
