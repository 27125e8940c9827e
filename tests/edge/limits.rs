//! Quota and floods with a real Durable Object and real rate limiters.

use std::time::Duration;

use lede_shared::problem::ProblemCode;
use lede_tests::{Edge, Origin, Surroundings, client, ok_json, post, problem_of, sunset};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

const GENERATE: &str = "/api/v14/generate";

/// An edge whose key has `burst_cells` at once and one cell a minute, so that none comes back during the test.
fn edge_with_burst(origin: &Origin, burst_cells: u32, daily_cells: u64) -> Edge {
    let plan = json!({
        "name": "small", "cells_per_minute": 1, "burst_cells": burst_cells, "daily_cells": daily_cells,
        "priority": "normal", "batch_requests_max": 100, "cache_is_private": false,
    });
    Edge::start_with(&origin.url, &json!({ "API_KEY_PLAN": plan.to_string() }))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn status(edge: &Edge, body: &Value) -> StatusCode {
    post(&edge.url, GENERATE, body).send().await.unwrap().status()
}

#[tokio::test]
async fn the_quota_of_a_small_plan_is_exact_and_hits_cost_a_tenth() {
    let origin = Origin::start().await;
    let edge = edge_with_burst(&origin, 25, 1_000);
    let (headers, _) = ok_json(post(&edge.url, GENERATE, &sunset())).await;
    assert_eq!(header(&headers, "ratelimit-policy"), r#""burst";q=25;w=1500, "daily";q=1000;w=86400"#);
    assert!(header(&headers, "ratelimit").starts_with(r#""burst";r=15;t=600, "daily";r=990;t="#), "{headers:?}");
    // The entry is written behind the answer.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (headers, hit) = ok_json(post(&edge.url, GENERATE, &sunset())).await;
    assert_eq!(hit["performance_metrics"]["cache_hit"], true);
    assert!(header(&headers, "ratelimit").starts_with(r#""burst";r=14;"#), "{headers:?}");
    ok_json(post(&edge.url, GENERATE, &json!({ "content_description": "rain on the tin roof" }))).await;

    let refused =
        post(&edge.url, GENERATE, &json!({ "content_description": "a third one" })).send().await.unwrap();
    assert!(header(refused.headers(), "ratelimit").starts_with(r#""burst";r=4;"#), "{:?}", refused.headers());
    let problem = problem_of(refused).await;
    assert_eq!((problem.status, problem.code), (429, ProblemCode::RateLimited));
    assert!(problem.detail.contains("1 cells a minute, 25 at once"), "{}", problem.detail);
    let wait_s = problem.retry_after_s.unwrap();
    assert!((300..=361).contains(&wait_s), "six cells are missing: {wait_s}");
    for _ in 0..4 {
        assert_eq!(status(&edge, &sunset()).await, 200, "a hit still fits");
    }
    assert_eq!(status(&edge, &sunset()).await, 429);
}

#[tokio::test]
async fn of_many_at_once_as_many_are_admitted_as_the_plan_holds() {
    let origin = Origin::start().await;
    let edge = edge_with_burst(&origin, 65, 1_000);
    let asked = (0..20).map(|number| {
        let body =
            json!({ "content_description": format!("boat number {number}"), "optimization_level": "ultra_fast" });
        let request = post(&edge.url, GENERATE, &body);
        async move { request.send().await.unwrap().status() }
    });
    let statuses = futures_util::future::join_all(asked).await;
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!((admitted, refused), (6, 14), "{statuses:?}\n{}", edge.log());
}

#[tokio::test]
async fn strangers_who_knock_too_often_are_sent_away_before_they_are_told_why() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let knock = |number: u32| {
        let request = client().post(format!("{}{GENERATE}", edge.url)).bearer_auth(format!("lede_guess_{number}"));
        async move { request.json(&sunset()).send().await.unwrap() }
    };
    let mut sent_away = None;
    for number in 0..300 {
        let response = knock(number).await;
        if response.status() == 429 {
            sent_away = Some(response);
            break;
        }
        assert_eq!(response.status(), 401);
    }
    let problem = problem_of(sent_away.expect("a limit")).await;
    assert_eq!((problem.code, problem.retry_after_s), (ProblemCode::RateLimited, Some(10)));
    ok_json(post(&edge.url, GENERATE, &sunset())).await;
}

#[tokio::test]
async fn with_the_durable_object_failing_cached_captions_flow_and_others_get_a_503_that_says_when_to_come_again() {
    let origin = Origin::start().await;
    let kept = tempfile::TempDir::new().unwrap();
    let sound = Surroundings { colo: Some(kept.path()), ..Surroundings::default() };
    let before = Edge::start_in(&origin.url, &json!({}), &sound);
    ok_json(post(&before.url, GENERATE, &sunset())).await;
    // The entry is written behind the answer.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(before);

    let failing =
        Surroundings { colo: Some(kept.path()), faults: &["durable_objects_failing"], ..Surroundings::default() };
    let edge = Edge::start_in(&origin.url, &json!({}), &failing);
    for _ in 0..20 {
        let (headers, _) = ok_json(post(&edge.url, GENERATE, &sunset())).await;
        assert!(header(&headers, "cache-status").contains("lede-edge; hit"), "{headers:?}");
    }
    let unknown = json!({ "content_description": "something nobody asked before" });
    let problem = problem_of(post(&edge.url, GENERATE, &unknown).send().await.unwrap()).await;
    assert_eq!((problem.status, problem.code, problem.retry_after_s), (503, ProblemCode::Overloaded, Some(2)));
    assert!(edge.log().contains("quota_object_failed"), "{}", edge.log());
}
