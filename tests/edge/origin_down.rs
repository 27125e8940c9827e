use std::time::Duration;

use lede_shared::problem::ProblemCode;
use lede_tests::{Edge, Origin, client, free_port, ok_json, post, problem_of, sunset};
use serde_json::json;

const GENERATE: &str = "/api/v14/generate";

#[tokio::test]
async fn with_the_origin_gone_cached_captions_are_answered_and_others_get_a_clear_503() {
    let mut origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    ok_json(post(&edge.url, GENERATE, &sunset())).await;
    // The entry is written behind the answer.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let port = origin.port();
    origin.kill();

    let (headers, _) = ok_json(post(&edge.url, GENERATE, &sunset())).await;
    assert!(headers["cache-status"].to_str().unwrap().contains("lede-edge; hit"), "{headers:?}");

    let unknown = json!({ "content_description": "something nobody asked before" });
    let problem = problem_of(post(&edge.url, GENERATE, &unknown).send().await.unwrap()).await;
    assert_eq!((problem.code, problem.status), (ProblemCode::OriginUnavailable, 503));
    assert!(problem.retry_after_s.is_some_and(|seconds| seconds > 0) && problem.retryable, "{problem:?}");

    let batch = json!({ "requests": [sunset(), unknown] });
    let (_, answer) = ok_json(post(&edge.url, "/api/v14/batch", &batch)).await;
    assert_eq!((&answer["results"][0]["status"], &answer["results"][1]["status"]), (&json!(200), &json!(503)));
    let not_ready = client().get(format!("{}/health/ready", edge.url)).send().await.unwrap();
    assert_eq!(not_ready.status().as_u16(), 503);

    let _returned = Origin::start_with(port, &[]).await;
    ok_json(post(&edge.url, GENERATE, &unknown)).await;
}

#[tokio::test]
async fn an_origin_that_does_not_know_the_edge_s_key_is_our_fault_and_not_the_caller_s() {
    let other_key = "suite=0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c";
    let origin = Origin::start_with(free_port(), &[("LEDE_EDGE_SIGNING_KEYS", other_key)]).await;
    let edge = Edge::start(&origin.url);
    let problem = problem_of(post(&edge.url, GENERATE, &sunset()).send().await.unwrap()).await;
    assert_eq!(problem.code, ProblemCode::OriginUnavailable);
}

#[tokio::test]
async fn an_origin_that_never_answers_is_a_504_after_the_timeout() {
    // Accepts connections and says nothing: a black hole, not a refusal.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let edge = Edge::start_with(&url, &json!({ "ORIGIN_TIMEOUT_MS": "400" }));
    let problem = problem_of(post(&edge.url, GENERATE, &sunset()).send().await.unwrap()).await;
    assert_eq!(problem.code, ProblemCode::DeadlineExceeded);
}
