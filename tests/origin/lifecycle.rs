use std::time::Duration;

use lede_tests::{API_KEY, Origin, client, free_port, ok_json, post};
use serde_json::json;

const STOP_WAIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn health_tells_live_ready_and_deep_apart_and_needs_no_key() {
    let origin = Origin::start().await;
    for path in ["/health", "/health/live", "/health/ready", "/health/deep"] {
        ok_json(client().get(format!("{}{path}", origin.url))).await;
    }
    let (_, info) = ok_json(client().get(format!("{}/api/v14/info", origin.url))).await;
    assert_eq!((info["side"].as_str(), info["model"].as_str()), (Some("origin"), Some("lede-nano-2")));
    assert_eq!(info["limits"]["post_hashtags_max"], 5);
}

#[tokio::test]
async fn a_running_request_is_finished_before_the_process_ends() {
    let mut origin = Origin::start().await;
    let body = json!({ "content_description": "night train", "variants": 8, "optimization_level": "quality" });
    let running = tokio::spawn(post(&origin.url, "/api/v14/generate", &body).send());
    tokio::time::sleep(Duration::from_millis(60)).await;
    origin.terminate();
    let answer = running.await.unwrap().unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    let ended = origin.wait(STOP_WAIT);
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {}", origin.log());
}

#[tokio::test]
async fn a_missing_model_or_library_ends_the_process_with_one_clear_line() {
    for (name, value) in [("LEDE_MODEL_DIR", "/nonexistent/model"), ("LEDE_ORT_LIBRARY", "/nonexistent/lib.so")] {
        let mut origin = Origin::spawn(free_port(), &[(name, value)]);
        let ended = origin.wait(STOP_WAIT).unwrap();
        assert!(!ended.success(), "{name}");
        assert!(origin.log().contains(value), "the log does not say what is missing:\n{}", origin.log());
        assert!(!origin.log().contains("panicked"), "{}", origin.log());
    }
}

#[tokio::test]
async fn no_log_line_carries_a_description_a_caption_or_a_key() {
    let origin = Origin::start_with(free_port(), &[("LEDE_LOG", "debug")]).await;
    let body = json!({ "content_description": "the Quillmarrow wedding pavilion" });
    let (_, answer) = ok_json(post(&origin.url, "/api/v14/generate", &body)).await;
    let log = origin.log();
    let hook = answer["variants"][0]["hook"].as_str().unwrap();
    for secret in ["Quillmarrow", hook, API_KEY, &lede_tests::SIGNING_KEY[6..]] {
        assert!(!log.contains(secret), "{secret:?} stands in the log:\n{log}");
    }
    assert!(log.contains("/api/v14/generate"), "the request itself is logged:\n{log}");
}
