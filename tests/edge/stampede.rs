use std::sync::Arc;
use std::time::Duration;

use lede_tests::{API_KEY, Edge, Origin, client, free_port};
use serde_json::json;
use tokio::sync::Barrier;

const CALLERS: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_identical_misses_at_once_on_a_cold_system_are_one_inference() {
    let origin = Origin::start_with(free_port(), &[("LEDE_CONNECTIONS_MAX", "20000")]).await;
    let edge = Edge::start_with(&origin.url, &json!({ "ORIGIN_TIMEOUT_MS": "30000" }));
    assert_eq!(origin.engine_work().await["sequences_finished"], 0);
    // One sequence for one caption: the likeliest words, no other candidates.
    let body = json!({ "content_description": "the whole town asks at once", "optimization_level": "ultra_fast" });
    let (http, barrier) = (client(), Arc::new(Barrier::new(CALLERS)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let request = http.post(format!("{}/api/v14/generate", edge.url)).bearer_auth(API_KEY).json(&body);
            let (request, barrier) = (request.timeout(Duration::from_secs(100)), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                let response = request.send().await.map_err(|error| error.to_string())?;
                let status = response.status().as_u16();
                let answer = response.text().await.map_err(|error| error.to_string())?;
                if status == 200 { Ok(answer) } else { Err(format!("{status}: {answer}")) }
            })
        })
        .collect();
    let mut failures = Vec::new();
    for caller in callers {
        if let Err(failure) = caller.await.unwrap() {
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "{} failed, such as {:?}", failures.len(), failures.first());
    let work = origin.engine_work().await;
    assert_eq!((&work["sequences_finished"], &work["sequences_dropped"]), (&json!(1), &json!(0)), "{work}");
}
