//! Several origins behind one edge, one of them at fault.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use lede_tests::{API_KEY, BadOrigin, Conduct, Edge, Origin, client, free_port, ok_json, post};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

const GENERATE: &str = "/api/v14/generate";
const BATCH: &str = "/api/v14/batch";
const NDJSON: &str = "application/x-ndjson";
/// How long a breaker stays open.
const BREAKER_OPEN: Duration = Duration::from_secs(5);

/// A different post for each number; the shortest work for a model.
fn wanted(number: usize) -> Value {
    json!({ "content_description": format!("walk number {number} along the harbour"), "hashtag_count": 0 })
}

/// An edge before two origins, with a plan that no test here uses up.
fn edge_before(one: &str, other: &str) -> Edge {
    let plan = json!({
        "name": "ample", "cells_per_minute": 1_000_000, "burst_cells": 1_000_000, "daily_cells": 10_000_000,
        "priority": "normal", "batch_requests_max": 100, "cache_is_private": false,
    });
    // A shorter time makes for earlier hedges.
    let vars = json!({ "API_KEY_PLAN": plan.to_string(), "ORIGIN_TIMEOUT_MS": "10000" });
    Edge::start_with(&format!("{one},{other}"), &vars)
}

/// Sends that many different posts, so many at once. The statuses of those that failed.
async fn failures(edge: &Edge, numbers: std::ops::Range<usize>, at_once: usize) -> Vec<u16> {
    let (client, edge) = (client(), edge.url.as_str());
    let sent =
        stream::iter(numbers).map(|number| status(client.post(format!("{edge}{GENERATE}")), wanted(number)));
    sent.buffer_unordered(at_once).filter(|status| std::future::ready(*status != 200)).collect().await
}

async fn status(request: RequestBuilder, body: Value) -> u16 {
    let Ok(response) = request.bearer_auth(API_KEY).json(&body).send().await else { return 0 };
    let status = response.status().as_u16();
    response.bytes().await.map_or(0, |_| status)
}

#[tokio::test]
async fn whatever_one_origin_does_wrong_no_request_is_lost_that_the_other_can_answer() {
    let good = Origin::start().await;
    for conduct in [
        Conduct::Silent,
        Conduct::Slow(Duration::from_secs(20)),
        Conduct::ErrorPage,
        Conduct::Page,
        Conduct::Garbage,
        Conduct::Cut,
        Conduct::WrongLength,
    ] {
        let bad = BadOrigin::start(conduct).await;
        let edge = edge_before(&bad.url, &good.url);
        assert_eq!(failures(&edge, 0..60, 12).await, [0u16; 0], "{conduct:?}: {}", edge.log());
        let asked = bad.asked();
        assert!((1..=30).contains(&asked), "{conduct:?}: the bad origin was asked {asked} times");
        assert!(edge.log().contains("origin_breaker_opened"), "{conduct:?}: {}", edge.log());
    }
}

/// What every origin holds before the load begins, so that the load is the pool's and not the model's.
const KNOWN: usize = 30;

/// How many requests for one caption it has answered.
fn answers(origin: &Origin) -> usize {
    origin.log().matches(r#""route":"/api/v14/generate""#).count()
}

/// Has `origin` write every known post, under the keys that an edge asks for.
async fn warm(origin: &Origin) {
    let edge = Edge::start(&origin.url);
    assert_eq!(failures(&edge, 0..KNOWN, 4).await, [0u16; 0]);
}

/// So many requests that the edge keeps no answers of, so many at once. The statuses of those that failed.
async fn load(edge: &Edge, count: usize, at_once: usize) -> Vec<u16> {
    let (client, edge) = (client(), edge.url.as_str());
    let sent = stream::iter(0..count).map(|number| {
        let request = client.post(format!("{edge}{GENERATE}")).header("cache-control", "no-store");
        status(request, wanted(number % KNOWN))
    });
    sent.buffer_unordered(at_once).filter(|status| std::future::ready(*status != 200)).collect().await
}

#[tokio::test]
async fn an_origin_that_dies_under_load_loses_no_request_and_gets_its_part_again_when_it_is_back() {
    let (good, mut dying) = tokio::join!(Origin::start(), Origin::start());
    tokio::join!(warm(&good), warm(&dying));
    let (port, edge) = (dying.port(), edge_before(&dying.url, &good.url));

    let kill = async {
        while answers(&dying) < KNOWN + 50 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        dying.kill();
        answers(&dying) + answers(&good) - 2 * KNOWN
    };
    let (failed, answered_before) = tokio::join!(load(&edge, 1_000, 300), kill);
    assert_eq!(failed, [0u16; 0], "{}", edge.log());
    assert!((50..900).contains(&answered_before), "it died under load, after {answered_before}");

    let returned = Origin::start_with(port, &[]).await;
    warm(&returned).await;
    tokio::time::sleep(BREAKER_OPEN).await;
    assert_eq!(load(&edge, 200, 4).await, [0u16; 0]);
    let share = answers(&returned) - KNOWN;
    assert!(share >= 40, "{share} of 200 came to the origin that is back");
}

#[tokio::test]
async fn retries_stay_within_a_tenth_of_a_thousand_requests_and_the_reserve() {
    let (faulty, sound) = (BadOrigin::start(Conduct::EverySecond).await, BadOrigin::start(Conduct::Sound).await);
    let edge = edge_before(&faulty.url, &sound.url);
    let failed = failures(&edge, 0..1_000, 8).await.len();
    let retries = faulty.asked() + sound.asked() - 1_000;
    assert!((1..=100 + 20).contains(&retries), "{retries} retries, {failed} failed");
}

#[tokio::test]
async fn a_dead_origin_is_asked_only_until_its_breaker_opens() {
    let (dead, sound) = (BadOrigin::start(Conduct::ErrorPage).await, BadOrigin::start(Conduct::Sound).await);
    let edge = edge_before(&dead.url, &sound.url);
    let begun = Instant::now();
    assert_eq!(failures(&edge, 0..1_000, 16).await, [0u16; 0], "{}", edge.log());
    let opened = 1 + begun.elapsed().as_secs() / BREAKER_OPEN.as_secs();
    let most = 16 + usize::try_from(opened).unwrap() * 2;
    assert!(dead.asked() <= most, "{} of 1000 in {:?}", dead.asked(), begun.elapsed());
}

#[tokio::test]
async fn captions_that_are_cached_are_answered_without_an_error_when_both_origins_are_gone() {
    let (mut one, mut other) = (Origin::start().await, Origin::start().await);
    let edge = edge_before(&one.url, &other.url);
    assert_eq!(failures(&edge, 0..10, 4).await, [0u16; 0]);
    // The entries are written behind the answers.
    tokio::time::sleep(Duration::from_millis(500)).await;
    one.kill();
    other.kill();
    for _ in 0..20 {
        assert_eq!(failures(&edge, 0..10, 10).await, [0u16; 0]);
    }
    let unknown = post(&edge.url, GENERATE, &wanted(99)).send().await.unwrap();
    let problem = lede_tests::problem_of(unknown).await;
    assert_eq!(problem.code.as_str(), "origin_unavailable");
    assert!(problem.retry_after_s.is_some());
}

#[tokio::test]
async fn an_origin_that_cannot_be_reached_from_the_start_is_not_missed() {
    let good = Origin::start().await;
    let edge = edge_before(&format!("http://127.0.0.1:{}", free_port()), &good.url);
    ok_json(client().get(format!("{}/health/ready", edge.url))).await;
    assert_eq!(failures(&edge, 0..20, 4).await, [0u16; 0], "{}", edge.log());
}

fn batch_of(count: usize) -> Value {
    json!({ "requests": (0..count).map(wanted).collect::<Vec<_>>() })
}

/// Each line with the time at which it came.
async fn timed_lines(url: &str, batch: &Value) -> Vec<(Duration, Value)> {
    let begun = Instant::now();
    let response = post(url, BATCH, batch).header("accept", NDJSON).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], NDJSON);
    let (mut lines, mut rest) = (Vec::new(), Vec::new());
    let mut response = response;
    while let Some(chunk) = response.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            lines.push((begun.elapsed(), serde_json::from_slice(&line).unwrap()));
        }
    }
    assert!(rest.is_empty(), "every line has its end");
    lines
}

fn indices(lines: &[(Duration, Value)]) -> Vec<u64> {
    let mut indices: Vec<u64> = lines.iter().map(|(_, line)| line["index"].as_u64().unwrap()).collect();
    indices.sort_unstable();
    indices
}

#[tokio::test]
async fn a_batch_s_first_line_comes_long_before_its_last() {
    let trickling = BadOrigin::start(Conduct::Trickle(Duration::from_millis(300))).await;
    let edge = Edge::start(&trickling.url);
    let lines = timed_lines(&edge.url, &batch_of(6)).await;
    assert_eq!(indices(&lines), [0, 1, 2, 3, 4, 5]);
    let (first, last) = (lines[0].0, lines[5].0);
    assert!(last - first >= Duration::from_millis(1_000), "first after {first:?}, last after {last:?}");
}

#[tokio::test]
async fn both_sides_write_a_line_for_each_item_whatever_becomes_of_it() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let mut batch = batch_of(5);
    batch["requests"][3] = json!({ "content_description": "x", "style": 7 });
    for url in [&origin.url, &edge.url] {
        let lines = timed_lines(url, &batch).await;
        assert_eq!(indices(&lines), [0, 1, 2, 3, 4]);
        for (_, line) in lines {
            let expected = if line["index"] == 3 { 422 } else { 200 };
            assert_eq!(line["status"], expected, "{line}");
        }
    }
}

#[tokio::test]
async fn a_caller_who_leaves_a_batch_cancels_what_is_still_running() {
    let trickling = BadOrigin::start(Conduct::Trickle(Duration::from_secs(1))).await;
    let edge = Edge::start(&trickling.url);
    let mut response = post(&edge.url, BATCH, &batch_of(15)).header("accept", NDJSON).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    drop(response);
    let until = Instant::now() + Duration::from_secs(8);
    while trickling.left() == 0 {
        assert!(Instant::now() < until, "the origin still writes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_batch_of_two_origins_of_which_one_is_cut_off_is_answered_whole_and_in_order() {
    let (cut, sound) = (BadOrigin::start(Conduct::Cut).await, BadOrigin::start(Conduct::Sound).await);
    let edge = edge_before(&cut.url, &sound.url);
    let (_, answer) = ok_json(post(&edge.url, BATCH, &batch_of(40))).await;
    let results = answer["results"].as_array().unwrap();
    let found: Vec<_> = results.iter().map(|item| (item["index"].as_u64(), item["status"].as_u64())).collect();
    let expected: Vec<_> = (0..40).map(|index| (Some(index), Some(200))).collect();
    assert_eq!(found, expected, "{}", edge.log());
    assert!(cut.asked() >= 1 && sound.asked() >= 2, "{} {}", cut.asked(), sound.asked());
}
