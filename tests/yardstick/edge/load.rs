//! Many callers at once on connections that stay open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lede_tests::{API_KEY, Edge, client};
use reqwest::Client;
use serde_json::{Value, json};

/// Connections, each with one request at a time.
const CONNECTIONS: usize = 32;
/// Each key has a flood limiter of its own, and none may be reached.
const API_KEYS: u64 = 64;
/// One turn.
const TURN: Duration = Duration::from_secs(3);
/// Work behind the last answers belongs to the turn too.
const SETTLE: Duration = Duration::from_millis(200);
/// Different requests among the hits.
const HIT_DESCRIPTIONS: u64 = 64;
/// Tries until an answer written behind the first one is there.
const PRIME_TRIES_MAX: usize = 200;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Every answer is cached.
    Hit,
    /// Nothing is looked up or kept: `Cache-Control: no-cache, no-store`.
    PassThrough,
    /// Looked up, forwarded, kept behind the answer.
    Miss,
}

impl Scenario {
    pub(crate) const ALL: [Self; 3] = [Self::Hit, Self::PassThrough, Self::Miss];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::PassThrough => "pass-through",
            Self::Miss => "miss, stored",
        }
    }
}

/// A load; each turn's misses are for descriptions that were never asked for.
pub(crate) struct Load {
    scenario: Scenario,
    client: Client,
    next: Arc<AtomicU64>,
}

impl Load {
    pub(crate) fn new(scenario: Scenario) -> Self {
        Self { scenario, client: client(), next: Arc::default() }
    }

    /// Drives one Worker for a turn.
    pub(crate) async fn requests_per_cpu_second(&mut self, worker: &Edge) -> f64 {
        // The server closes what was idle during the other's turn.
        self.client = client();
        if self.scenario == Scenario::Hit {
            self.prime(worker).await;
        }
        let used_before = worker.cpu_centiseconds();
        let until = Instant::now() + TURN;
        let callers: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(self.caller(worker, until))).collect();
        let mut answered = 0;
        for caller in callers {
            answered += caller.await.expect("a caller ends");
        }
        tokio::time::sleep(SETTLE).await;
        let used = worker.cpu_centiseconds() - used_before;
        #[expect(clippy::cast_precision_loss, reason = "a turn has some ten thousand requests")]
        let rate = answered as f64 * 100.0 / used as f64;
        rate
    }

    /// Asks until the time is up; returns how often it was answered.
    fn caller(&self, worker: &Edge, until: Instant) -> impl Future<Output = u64> + use<> {
        let (scenario, client, next) = (self.scenario, self.client.clone(), Arc::clone(&self.next));
        let url = format!("{}/api/v14/generate", worker.url);
        async move {
            let mut answered = 0;
            while Instant::now() < until {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let cache_status = ask(&client, &url, (scenario, number)).await;
                assert_eq!(cache_status.contains("lede-edge; hit"), scenario == Scenario::Hit, "{cache_status}");
                answered += 1;
            }
            answered
        }
    }

    async fn prime(&self, worker: &Edge) {
        let url = format!("{}/api/v14/generate", worker.url);
        for number in 0..HIT_DESCRIPTIONS {
            let mut tries = 0;
            while !ask(&self.client, &url, (Scenario::Hit, number)).await.contains("lede-edge; hit") {
                tries += 1;
                assert!(tries < PRIME_TRIES_MAX, "no hit after {tries} tries");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// `Cache-Status` of one answer, whose body is read to its end.
async fn ask(client: &Client, url: &str, (scenario, number): (Scenario, u64)) -> String {
    let api_key = format!("{API_KEY}{}", number % API_KEYS);
    let mut request = client.post(url).bearer_auth(api_key).json(&body(scenario, number));
    if scenario == Scenario::PassThrough {
        request = request.header("cache-control", "no-cache, no-store");
    }
    let response = request.send().await.expect("the Worker answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("the body arrives");
    assert!(status.is_success() && text.ends_with('}'), "{status}: {text}");
    headers.get("cache-status").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn body(scenario: Scenario, number: u64) -> Value {
    let (what, number) = match scenario {
        Scenario::Hit => ("Sunset", number % HIT_DESCRIPTIONS),
        Scenario::PassThrough => ("Harbour", number),
        Scenario::Miss => ("Market", number),
    };
    json!({
        "content_description": format!("{what} number {number} over the ocean, with friends and an old café"),
        "style": "inspirational", "hashtag_count": 5,
    })
}
