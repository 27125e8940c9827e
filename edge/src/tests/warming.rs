//! The cron event: what it asks, what it writes, and what it leaves alone.

use futures_util::FutureExt;
use lede_shared::api::{CaptionRequest, POPULAR_PATH, PopularCaption, PopularCaptions};
use lede_shared::clock::UnixMillis;
use lede_shared::headers::X_LEDE_CLAIMS;
use lede_shared::purge::PurgeScope;
use serde_json::json;

use super::deployment::{Deployment, FRESH_S, NOW_MS, binding, generate, json};
use super::fixtures::{answer, caption_for, origin_down, sound_origin};
use crate::bindings::in_memory::StoreHealth;
use crate::bindings::{FetchError, IncomingResponse, OutgoingRequest};
use crate::config::{Config, ConfigError};
use crate::http::JSON;
use crate::response_cache::epochs;
use crate::warm::warm;

fn body(number: usize) -> String {
    json!({ "content_description": format!("Popular subject {number}") }).to_string()
}

/// Of the origin that holds so many popular captions, generated `age_s` ago.
fn popular(count: usize, age_s: u64) -> Vec<PopularCaption> {
    let caption = |number| {
        let request = CaptionRequest::from_json(body(number).as_bytes()).unwrap().validate().unwrap();
        let response = caption_for(&request);
        let request = serde_json::from_str(&request.to_json()).unwrap();
        PopularCaption { request, created_ms: UnixMillis(NOW_MS - 1_000 * age_s), response }
    };
    (0..count).map(caption).collect()
}

fn origin_of(captions: Vec<PopularCaption>) -> impl Fn(&OutgoingRequest) -> Result<IncomingResponse, FetchError> {
    let answered = json!(PopularCaptions { captions }).to_string();
    move |request| {
        if request.url.contains(POPULAR_PATH) { Ok(answer(200, JSON, &answered)) } else { sound_origin(request) }
    }
}

fn run(deployment: &Deployment) {
    warm(deployment.config.clone(), deployment.bindings()).now_or_never().expect("twins do not wait");
    deployment.background.finish();
}

fn tier(deployment: &Deployment, number: usize) -> Option<String> {
    let response = deployment.send_and_finish(generate(&body(number)));
    json(&response)["performance_metrics"]["cache_tier"].as_str().map(str::to_owned)
}

fn last_line(deployment: &Deployment) -> String {
    deployment.log.0.borrow().iter().rfind(|line| line.contains("\"warmed\"")).unwrap().clone()
}

#[test]
fn popular_captions_are_found_where_nobody_has_asked_for_them() {
    let deployment = Deployment::with_origin(origin_of(popular(5, 10)));
    run(&deployment);
    for number in 0..5 {
        assert_eq!(tier(&deployment.elsewhere(), number).as_deref(), Some("workers_kv"), "{number}");
    }
    assert_eq!(deployment.origin_requests(), 1);
    let requests = deployment.origin.requests.borrow();
    assert_eq!(requests[0].url, "https://origin.example/internal/popular?limit=200&epoch=1");
    assert!(requests[0].headers.get(X_LEDE_CLAIMS).unwrap().starts_with("tenant=lede-edge;"));
    assert!(last_line(&deployment).contains("captions 5, written 5, fresh_already 0"));
}

#[test]
fn what_lies_fresh_in_workers_kv_is_skipped_and_what_is_stale_is_renewed() {
    let deployment = Deployment::with_origin(origin_of(popular(5, 10)));
    run(&deployment);
    let writes = deployment.captions.writes.get();
    run(&deployment);
    assert_eq!(deployment.captions.writes.get(), writes);
    assert!(last_line(&deployment).contains("written 0, fresh_already 5"));

    deployment.clock.advance_s(FRESH_S);
    let mut renewed = popular(5, 0);
    renewed.iter_mut().for_each(|caption| caption.created_ms = UnixMillis(NOW_MS + 1_000 * FRESH_S));
    deployment.set_origin(origin_of(renewed));
    run(&deployment);
    assert!(last_line(&deployment).contains("written 5, fresh_already 0"));
}

#[test]
fn one_event_writes_no_more_than_its_budget_and_the_next_one_goes_on() {
    let mut deployment = Deployment::with_origin(origin_of(popular(5, 10)));
    let three = |name| if name == "WARM_WRITES_MAX" { Some("3".to_owned()) } else { binding(name) };
    deployment.config = Config::read(three).map(std::rc::Rc::new);
    run(&deployment);
    assert_eq!(deployment.captions.writes.get(), 3);
    assert!(
        last_line(&deployment).contains("written 3, fresh_already 0, not_storable 0, failed 0, over_budget 2")
    );
    run(&deployment);
    assert!(last_line(&deployment).contains("written 2, fresh_already 3"));
}

#[test]
fn what_is_not_fresh_not_complete_or_not_a_request_is_left_alone() {
    let mut captions = popular(4, 0);
    captions[0].created_ms = UnixMillis(NOW_MS - 1_000 * FRESH_S);
    captions[1].response.model = "another-model".to_owned();
    captions[2].request.clear();
    let deployment = Deployment::with_origin(origin_of(captions));
    run(&deployment);
    assert!(last_line(&deployment).contains("captions 4, written 1, fresh_already 0, not_storable 3"));
    assert_eq!(tier(&deployment.elsewhere(), 3).as_deref(), Some("workers_kv"));
}

#[test]
fn every_origin_is_asked_for_its_own_part_and_one_that_is_away_is_left_out() {
    let parts = popular(6, 10);
    let (first, second) = (origin_of(parts[..3].to_vec()), origin_of(parts[3..].to_vec()));
    let answering = move |request: &OutgoingRequest| match request.url.split('/').nth(2) {
        Some("a.example") => first(request),
        Some("b.example") => second(request),
        _ => origin_down(request),
    };
    let origins = "https://a.example, https://gone.example, https://b.example";
    let deployment = Deployment::with_origins(origins, answering);
    run(&deployment);
    assert!(last_line(&deployment).contains("captions 6, written 6, fresh_already 0"));
    let asked = deployment.origin.requests.borrow()[0].url.clone();
    assert!(asked.contains("limit=67&"), "{asked}");
}

#[test]
fn after_a_purge_the_origin_is_asked_for_what_came_after_it() {
    let deployment = Deployment::with_origin(origin_of(Vec::new()));
    let context = deployment.context();
    let purging = epochs::purge(&context, &PurgeScope::All).now_or_never();
    let epoch_ms = purging.expect("twins do not wait").unwrap();
    run(&deployment);
    let asked = deployment.origin.requests.borrow()[0].url.clone();
    assert!(asked.ends_with(&format!("&epoch={}", epoch_ms.0 + 1)), "{asked}");
}

#[test]
fn whatever_fails_is_a_log_line() {
    let down = Deployment::with_origin(origin_down);
    run(&down);
    assert!(down.log.has("origin_request_failed") && !down.log.has("warmed"));

    let garbled = Deployment::with_origin(|_| Ok(answer(200, JSON, "{\"captions\": 5}")));
    run(&garbled);
    assert!(garbled.log.has("origin_answer_unreadable"));

    let refused = Deployment::with_origin(origin_of(popular(3, 10)));
    refused.captions.write_health.set(StoreHealth::Failing);
    run(&refused);
    assert!(refused.log.has("workers_kv_write_failed"));
    assert!(last_line(&refused).contains("written 0, fresh_already 0, not_storable 0, failed 3"));

    let mut incomplete = Deployment::new();
    incomplete.config = Err(ConfigError::Missing("MODEL"));
    run(&incomplete);
    assert!(incomplete.log.has("not_configured"));
    assert_eq!(incomplete.origin_requests(), 0);
}
