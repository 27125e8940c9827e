//! Asking origins, and judging what they say.

use std::time::{Duration, Instant};

use lede_tests::{API_KEY, Origin, free_port};
use reqwest::Client;
use serde_json::{Value, json};

/// An origin that shares the Redis of `url`, and writes what it is asked for and nothing else.
pub(crate) async fn origin_over(url: &str) -> Origin {
    let settings = [("REDIS_URL", url), ("LEDE_COLD", "redis"), ("LEDE_PREFETCH", "off")];
    Origin::start_with(free_port(), &settings).await
}

/// What an answer was made of, and what it took.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) variants: Value,
    pub(crate) cache_status: String,
    pub(crate) took: Duration,
}

impl Said {
    pub(crate) fn is_hit(&self) -> bool {
        self.cache_status.contains("; hit")
    }

    /// Did this very request have it written?
    pub(crate) fn was_written(&self) -> bool {
        !self.is_hit() && !self.cache_status.contains("collapsed")
    }
}

/// A request that takes the device a while.
pub(crate) fn about(subject: &str) -> Value {
    json!({ "content_description": subject, "variants": 2, "seed": 1 })
}

/// Asks, and gives an answer that is a success.
///
/// # Errors
/// Says what came instead of one.
pub(crate) async fn try_ask(client: &Client, url: &str, body: &Value) -> Result<Said, String> {
    let began = Instant::now();
    let asked = client.post(format!("{url}/api/v14/generate")).bearer_auth(API_KEY).json(body).send().await;
    let response = asked.map_err(|error| format!("{error:?}"))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("{status}: {text}"));
    }
    let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))?;
    let cache_status = headers.get("cache-status").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (variants, cache_status) = (answer["variants"].clone(), cache_status.to_owned());
    Ok(Said { variants, cache_status, took: began.elapsed() })
}

/// Asks `origin`, which has to answer.
///
/// # Panics
/// When it does not.
pub(crate) async fn ask(origin: &Origin, body: &Value) -> Said {
    let said = try_ask(&lede_tests::client(), &origin.url, body).await;
    said.unwrap_or_else(|error| panic!("{body}: {error}\n{}", origin.log()))
}

/// What an origin without any of this would answer.
pub(crate) async fn right_answers(bodies: &[Value]) -> Vec<Value> {
    let origin = Origin::start().await;
    let mut answers = Vec::new();
    for body in bodies {
        answers.push(ask(&origin, body).await.variants);
    }
    answers
}
