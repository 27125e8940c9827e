//! Near-duplicates: who is given an answer to nearly the same, what it says of itself, and that nobody keeps it.

use std::time::Duration;

use lede_origin::clock;
use lede_shared::api::CaptionResponse;
use lede_shared::api_key::TenantId;
use lede_shared::freshness::{Cacheability, NotStorable, cacheability};
use lede_shared::signature::Claims;
use serde_json::{Value, json};

use crate::support::{Answer, GENERATE, TestApp, json_request, letters, signed_for};

const WARNING: &str = "answered_by_near_duplicate";

async fn app(setting: &str) -> TestApp {
    TestApp::with(&[("near_duplicates", setting.into())], Duration::ZERO, letters()).await
}

fn about(description: &str) -> Value {
    json!({"content_description": description, "optimization_level": "ultra_fast"})
}

fn is_near(answer: &Answer) -> bool {
    let says_so = answer.json()["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == WARNING);
    assert_eq!(
        says_so,
        answer.header("cache-status").ends_with("; detail=hot-near"),
        "{}",
        answer.header("cache-status")
    );
    says_so
}

#[tokio::test]
async fn nearly_the_same_is_answered_with_the_earlier_caption_and_a_warning() {
    let app = app("on").await;
    let first = app.post(about("Sunset over the lake with Anna")).await;
    let near = app.post(about("a photo of sunset over the lake with Anna!")).await;
    assert!(!is_near(&first) && is_near(&near));
    assert_eq!(near.header("etag"), first.header("etag"));
    let (first, near) = (first.json(), near.json());
    for same in ["id", "caption", "hashtags", "variants", "model"] {
        assert_eq!(first[same], near[same], "{same}");
    }
    assert_eq!(near["performance_metrics"]["cache_hit"], true);
    // Exactly the same again is the ordinary hit.
    assert!(!is_near(&app.post(about("Sunset over the lake with Anna")).await));
}

#[tokio::test]
async fn where_they_are_off_and_for_what_is_not_nearly_the_same_a_caption_is_written() {
    let (on, off) = (app("on").await, app("off").await);
    for app in [&on, &off] {
        app.post(about("lamps, 30% off, open today")).await;
    }
    assert!(!is_near(&off.post(about("Lamps, 30% off, open today.")).await));
    for other in ["lamps, 40% off, open today", "lamps, 30% off, closed today", "lamps, 30% off, not open today"] {
        assert!(!is_near(&on.post(about(other)).await), "{other}");
    }
    let mut styled = about("Lamps, 30% off, open today.");
    styled["style"] = "luxury".into();
    assert!(!is_near(&on.post(styled).await));
}

#[tokio::test]
async fn who_wants_a_new_caption_or_that_of_a_seed_gets_one() {
    let app = app("on").await;
    app.post(about("coffee on the balcony")).await;
    let mut seeded = about("coffee on the balcony!");
    seeded["seed"] = 7.into();
    assert!(!is_near(&app.post(seeded).await));
    for (number, directive) in ["no-cache", "max-age=0"].into_iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let body = about(&format!("coffee on the balcony{}", "!".repeat(number + 2)));
        assert!(!is_near(&app.post_with(body, &[("cache-control", directive)]).await), "{directive}");
    }
    let body = about("coffee on the balcony…");
    app.post_with(body, &[("cache-control", "only-if-cached")]).await.assert_problem(
        504,
        "not_cached",
        "only exactly",
    );
}

#[tokio::test]
async fn nobody_keeps_it_as_the_exact_answer() {
    let app = app("on").await;
    app.post(about("two boats in the harbour")).await;
    let near = app
        .get("/api/v14/generate?content_description=two+boats+in+the+harbor&optimization_level=ultra_fast", &[])
        .await;
    assert!(is_near(&near));
    assert_eq!(near.header("cache-control"), "no-store");
    // What the edge decides by.
    let response: CaptionResponse = serde_json::from_slice(&near.body).unwrap();
    let verdict = cacheability(&response, &response.model, &response.policy_version, false);
    assert_eq!(verdict, Cacheability::NotStorable(NotStorable::NearDuplicate));
    // Here, too, it is looked for anew.
    let again = app.post(about("two boats in the harbor")).await;
    assert!(is_near(&again));
    assert_eq!(again.json()["warnings"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn private_entries_and_those_of_another_epoch_are_apart() {
    let app = app("on").await;
    app.post(about("our new logo")).await;
    let of = |tenant: &str, cache_is_private: bool, cache_epoch: u64| Claims {
        cache_is_private,
        cache_epoch,
        ..Claims::of(TenantId::parse(tenant).unwrap())
    };
    let asked = [
        (of("birch", false, 0), "Our new logo", true),
        (of("birch", true, 0), "Our new logo.", false),
        (of("birch", true, 0), "our new logo!", true),
        (of("cedar", true, 0), "our new logo!!", false),
        (of("birch", true, 1), "our new logo!!!", false),
        (of("birch", false, 1), "our new logo...", false),
    ];
    for (nonce, (claims, description, expected)) in (0u8..).zip(asked) {
        let body = about(description).to_string();
        let request = signed_for(&claims, ("POST", GENERATE, &body), nonce, clock::now());
        assert_eq!(is_near(&app.send(request).await), expected, "{claims:?}, {description}");
    }
}

#[tokio::test]
async fn a_stream_and_a_batch_tell_it_too() {
    let app = app("on").await;
    app.post(about("pancakes with my sister")).await;
    let streamed = app.post_with(about("Pancakes with my sister"), &[("accept", "text/event-stream")]).await;
    assert!(streamed.header("cache-status").ends_with("detail=hot-near"), "{}", streamed.header("cache-status"));
    assert!(String::from_utf8_lossy(&streamed.body).contains(WARNING));
    let batch = json!({"requests": [about("Pancakes with my sister.")]});
    let request = json_request("POST", "/api/v14/batch", batch.to_string());
    let answer = app.send(request).await.json();
    assert_eq!(answer["results"][0]["response"]["warnings"][0]["code"], WARNING, "{answer}");
}
