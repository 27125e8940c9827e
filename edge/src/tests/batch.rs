//! Many requests in one.

use lede_shared::api::{BATCH_PATH, BatchRequest};
use lede_shared::headers::CACHE_STATUS;
use serde_json::Value;

use super::deployment::{Deployment, FRESH_S, STALE_WHILE_REVALIDATE_S, batch, generate, json, with};
use super::fixtures::{answer, origin_down, sound_origin};
use crate::http::{CACHE_CONTROL, JSON, Response};

const SUNSET: &str = r#"{"content_description": "Sunset"}"#;
const HARBOUR: &str = r#"{"content_description": "Harbour"}"#;

fn batch_of(requests: &[&str]) -> String {
    format!(r#"{{"requests": [{}]}}"#, requests.join(","))
}

/// Status and caption, or problem code, of each item; the indices must be 0, 1, 2…
fn outcomes(response: &Response) -> Vec<(u64, String)> {
    let body = json(response);
    let results = body["results"].as_array().unwrap();
    let outcome = |(position, item): (usize, &Value)| {
        assert_eq!(item["index"], position);
        let word = item["response"]["caption"].as_str().or_else(|| item["problem"]["code"].as_str());
        (item["status"].as_u64().unwrap(), word.unwrap().to_owned())
    };
    results.iter().enumerate().map(outcome).collect()
}

#[test]
fn hits_misses_and_faults_come_back_in_order_and_only_misses_are_forwarded() {
    let deployment = Deployment::new();
    deployment.send_and_finish(generate(SUNSET));
    let unlucky = r#"{"content_description": "An unlucky day"}"#;
    let body = batch_of(&[HARBOUR, SUNSET, r#"{"content_description": "x", "style": "gothic"}"#, "5", unlucky]);
    let response = deployment.send_and_finish(batch(&body));

    assert_eq!(response.status, 200);
    let expected = [
        (200, "About Harbour"),
        (200, "About Sunset"),
        (422, "invalid_fields"),
        (422, "invalid_fields"),
        (500, "generation_failed"),
    ];
    assert_eq!(outcomes(&response), expected.map(|(status, word)| (status, word.to_owned())));
    let results = &json(&response)["results"];
    assert_eq!(results[2]["problem"]["errors"][0]["pointer"], "/requests/2/style");
    assert_eq!(results[1]["response"]["performance_metrics"]["cache_hit"], true);
    assert_eq!(results[0]["response"]["performance_metrics"]["cache_hit"], false);

    let requests = deployment.origin.requests.borrow();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].url.ends_with(BATCH_PATH));
    let forwarded = BatchRequest::from_json(requests[1].body.as_ref().unwrap()).unwrap();
    let descriptions: Vec<_> =
        forwarded.items.iter().map(|item| item.as_ref().unwrap().content_description()).collect();
    assert_eq!(descriptions, ["Harbour", "An unlucky day"]);
}

#[test]
fn what_a_batch_generated_is_kept_for_the_next_caller() {
    let deployment = Deployment::new();
    let first = deployment.send_and_finish(batch(&batch_of(&[SUNSET, HARBOUR])));
    let expected = "lede-origin; fwd=uri-miss; stored, lede-edge; fwd=uri-miss; stored; detail=hits-0-of-2";
    assert_eq!(first.headers.get(CACHE_STATUS), Some(expected));
    let second = deployment.send_and_finish(batch(&batch_of(&[HARBOUR, SUNSET])));
    assert_eq!(second.headers.get(CACHE_STATUS), Some("lede-edge; hit; ttl=100"));
    assert_eq!(deployment.send(generate(SUNSET)).status, 200);
    assert_eq!(deployment.origin_requests(), 1);
}

#[test]
fn with_the_origin_down_hits_and_stale_entries_are_answered_and_misses_are_problems() {
    let deployment = Deployment::new();
    deployment.send_and_finish(generate(SUNSET));
    deployment.clock.advance_s(FRESH_S + STALE_WHILE_REVALIDATE_S);
    deployment.set_origin(origin_down);
    let response = deployment.send_and_finish(batch(&batch_of(&[SUNSET, HARBOUR])));
    let expected = [(200, "About Sunset".to_owned()), (503, "origin_unavailable".to_owned())];
    assert_eq!(outcomes(&response), expected);
    assert_eq!(json(&response)["results"][1]["problem"]["retry_after_s"], 5);
}

#[test]
fn stale_items_are_answered_and_revalidated_in_one_request() {
    let deployment = Deployment::new();
    deployment.send_and_finish(batch(&batch_of(&[SUNSET, HARBOUR])));
    deployment.clock.advance_s(FRESH_S);
    let response = deployment.send(batch(&batch_of(&[SUNSET, HARBOUR])));
    assert_eq!(response.headers.get(CACHE_STATUS), Some("lede-edge; hit; ttl=-1"));
    assert_eq!(deployment.origin_requests(), 1);
    deployment.background.finish();
    assert_eq!(deployment.origin_requests(), 2);
    let response = deployment.send(batch(&batch_of(&[SUNSET, HARBOUR])));
    assert_eq!(response.headers.get(CACHE_STATUS), Some("lede-edge; hit; ttl=100"));
}

#[test]
fn only_if_cached_forwards_nothing() {
    let deployment = Deployment::new();
    let response = deployment.send(with(batch(&batch_of(&[SUNSET])), CACHE_CONTROL, "only-if-cached"));
    assert_eq!(outcomes(&response), [(504, "not_cached".to_owned())]);
    assert_eq!(deployment.origin_requests(), 0);
}

#[test]
fn results_that_are_not_those_of_the_requests_are_refused() {
    let deployment = Deployment::with_origin(|request| {
        let mut short = sound_origin(request)?;
        let body = r#"{"results": []}"#;
        short.body = answer(200, JSON, body).body;
        Ok(short)
    });
    let response = deployment.send_and_finish(batch(&batch_of(&[SUNSET])));
    assert_eq!(outcomes(&response), [(503, "origin_unavailable".to_owned())]);
    assert!(deployment.keeps_nothing());
}
