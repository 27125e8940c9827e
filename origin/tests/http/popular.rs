//! What the origin tells the edge of its most popular captions.

use std::sync::atomic::{AtomicU8, Ordering};

use lede_origin::clock;
use lede_shared::api::{CaptionResponse, PopularCaptions};
use lede_shared::api_key::TenantId;
use lede_shared::signature::Claims;
use serde_json::json;

use crate::support::{Answer, GENERATE, TestApp, signed_for};

/// No nonce is used twice.
static NONCES: AtomicU8 = AtomicU8::new(1);

async fn send(app: &TestApp, claims: &Claims, (method, path, body): (&str, &str, &str)) -> Answer {
    let nonce = NONCES.fetch_add(1, Ordering::Relaxed);
    app.send(signed_for(claims, (method, path, body), nonce, clock::now())).await
}

/// A caller as the edge describes one.
fn caller(cache_epoch: u64, cache_is_private: bool) -> Claims {
    Claims { cache_epoch, cache_is_private, ..Claims::of(TenantId::parse("acme").unwrap()) }
}

async fn ask(app: &TestApp, claims: &Claims, description: &str, times: usize) -> CaptionResponse {
    let body = json!({ "content_description": description }).to_string();
    let mut last = None;
    for _ in 0..times {
        let answer = send(app, claims, ("POST", GENERATE, &body)).await;
        assert_eq!(answer.status, 200);
        last = Some(serde_json::from_slice(&answer.body).unwrap());
    }
    last.unwrap()
}

async fn popular(app: &TestApp, query: &str) -> Vec<(String, CaptionResponse)> {
    let answer = send(app, &Claims::of_the_edge(), ("GET", &format!("/internal/popular?{query}"), "")).await;
    assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
    let popular: PopularCaptions = serde_json::from_slice(&answer.body).unwrap();
    let described = |caption: lede_shared::api::PopularCaption| {
        assert!(caption.created_ms <= clock::now());
        let request = caption.request().validate().unwrap();
        (request.content_description().to_owned(), caption.response)
    };
    popular.captions.into_iter().map(described).collect()
}

#[tokio::test]
async fn the_captions_asked_for_most_come_first_each_with_its_request_and_its_answer() {
    let app = TestApp::start().await;
    let shared = caller(7, false);
    ask(&app, &shared, "a harbour", 1).await;
    let sunset = ask(&app, &shared, "a sunset", 3).await;
    ask(&app, &shared, "a forest", 2).await;
    let found = popular(&app, "limit=2&epoch=7").await;
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a sunset", "a forest"]);
    assert_eq!(found[0].1.variants, sunset.variants);
}

#[tokio::test]
async fn a_tenant_s_own_captions_and_those_from_before_a_purge_are_not_told() {
    let app = TestApp::start().await;
    ask(&app, &caller(7, true), "a secret of acme", 3).await;
    ask(&app, &caller(6, false), "purged since", 3).await;
    ask(&app, &caller(7, false), "a harbour", 1).await;
    let found = popular(&app, "limit=10&epoch=7").await;
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a harbour"]);
}

#[tokio::test]
async fn only_the_edge_itself_may_ask() {
    let app = TestApp::start().await;
    let path = "/internal/popular?limit=10&epoch=1";
    app.get(path, &[]).await.assert_problem(403, "forbidden", "with a key");
    let through_the_edge = send(&app, &caller(1, false), ("GET", path, "")).await;
    through_the_edge.assert_problem(403, "forbidden", "on a tenant's behalf");
    for query in ["", "limit=10", "limit=ten&epoch=1", "limit=-1&epoch=1"] {
        let answer = send(&app, &Claims::of_the_edge(), ("GET", &format!("/internal/popular?{query}"), "")).await;
        answer.assert_problem(400, "malformed_request", query);
    }
}
