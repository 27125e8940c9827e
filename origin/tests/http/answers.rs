//! What a caller gets, and what the cache and the headers say about it.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lede_origin::backend::scripted::Script;
use serde_json::{Value, json};

use crate::support::{GENERATE, TestApp, byte_id, json_request, letters, since_marker};

const DESCRIPTION: &str = "a lighthouse at dusk";

#[tokio::test]
async fn the_first_answer_is_generated_and_the_second_comes_from_the_hot_tier() {
    let app = TestApp::start().await;
    let body = json!({"content_description": DESCRIPTION, "style": "inspirational", "hashtag_count": 5});
    let miss = app.post(body.clone()).await;
    assert_eq!(miss.header("cache-status"), "lede-origin; fwd=uri-miss; stored");
    let hit = app.post(body).await;
    assert_eq!((miss.header("age"), hit.header("age")), ("0", "0"));
    assert!(hit.header("cache-status").starts_with("lede-origin; hit; ttl="), "{}", hit.header("cache-status"));
    let (miss, hit) = (miss.json(), hit.json());
    assert_eq!(miss["performance_metrics"]["cache_hit"], false);
    assert!(miss["performance_metrics"]["tokens_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
    assert_eq!(hit["performance_metrics"]["cache_hit"], true);
    assert_eq!(hit["performance_metrics"]["cache_tier"], "hot");
    for same in ["id", "caption", "hashtags", "variants", "usage", "model", "policy_version", "warnings"] {
        assert_eq!(miss[same], hit[same], "{same}");
    }
    assert_eq!(miss["hashtags"].as_array().unwrap().len(), 5);
    let post_text = miss["variants"][0]["post_text"].as_str().unwrap();
    assert!(post_text.starts_with(miss["caption"].as_str().unwrap()) && post_text.matches('#').count() == 5);
}

#[tokio::test]
async fn a_seed_decides_the_caption_also_after_a_restart() {
    let seeded = |seed: u64| json!({"content_description": DESCRIPTION, "seed": seed});
    let (first, second) = (TestApp::start().await, TestApp::start().await);
    let caption = first.post(seeded(1)).await.caption();
    assert_eq!(second.post(seeded(1)).await.caption(), caption);
    assert_ne!(first.post(seeded(2)).await.caption(), caption);
    let unseeded = json!({"content_description": DESCRIPTION});
    assert_eq!(first.post(unseeded.clone()).await.caption(), second.post(unseeded).await.caption());
}

#[tokio::test]
async fn variants_are_different_and_the_first_stands_at_the_top() {
    let app = TestApp::start().await;
    for level in ["ultra_fast", "balanced", "quality"] {
        let body = json!({"content_description": DESCRIPTION, "variants": 8, "optimization_level": level});
        let answer = app.post(body).await.json();
        let variants = answer["variants"].as_array().unwrap();
        let captions: HashSet<&str> =
            variants.iter().map(|variant| variant["caption"].as_str().unwrap()).collect();
        assert_eq!((variants.len(), captions.len()), (8, 8), "{level}");
        assert_eq!(answer["caption"], variants[0]["caption"]);
    }
}

#[tokio::test]
async fn the_first_variant_of_ultra_fast_is_the_likeliest_whatever_the_seed() {
    let app = TestApp::start().await;
    let seeded = |seed: u64| json!({"content_description": DESCRIPTION, "seed": seed, "optimization_level": "ultra_fast", "hashtag_count": 0});
    // All letters are equally likely; the lowest id wins.
    assert_eq!(app.post(seeded(1)).await.caption(), "aaaaaaaa");
    assert_eq!(app.post(seeded(2)).await.caption(), "aaaaaaaa");
}

#[tokio::test]
async fn every_number_of_hashtags_is_honoured_and_the_post_text_keeps_to_the_policy() {
    let app = TestApp::start().await;
    for count in [0, 1, 5, 6, 30] {
        let answer = app.post(json!({"content_description": DESCRIPTION, "hashtag_count": count})).await.json();
        let hashtags: HashSet<&str> =
            answer["hashtags"].as_array().unwrap().iter().map(|hashtag| hashtag.as_str().unwrap()).collect();
        assert_eq!(hashtags.len(), count, "{answer}");
        let variant = &answer["variants"][0];
        assert_eq!(variant["counts"]["hashtags"], count.min(5));
        assert_eq!(variant["post_text"].as_str().unwrap().matches('#').count(), count.min(5));
        let warned = answer["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|warning| warning["code"] == "hashtags_above_policy");
        assert_eq!(warned, count > 5);
    }
}

/// Writes "same", over and over, into the first `length` letters of every hashtag.
fn same_hashtag(length: usize) -> Script {
    Box::new(move |history: &[u32], logits: &mut [f32]| {
        letters()(history, logits);
        let (marker, written) = since_marker(history);
        // A blank stands before the name.
        if marker == crate::support::TAG && (1..=length).contains(&written) {
            logits.fill(-20.0);
            logits[byte_id(b"same"[(written - 1) % 4]) as usize] = 5.0;
        }
    })
}

#[tokio::test]
async fn a_model_that_repeats_a_hashtag_is_made_to_write_different_ones() {
    let app = TestApp::with(&[], Duration::ZERO, same_hashtag(4)).await;
    let answer = app.post(json!({"content_description": DESCRIPTION, "hashtag_count": 3})).await;
    assert_eq!(answer.header("cache-status"), "lede-origin; fwd=uri-miss; stored");
    let answer = answer.json();
    let hashtags: HashSet<&str> =
        answer["hashtags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(hashtags.len(), 3, "{answer}");
    assert!(hashtags.iter().all(|hashtag| hashtag.starts_with("#same")), "{answer}");
}

#[tokio::test]
async fn a_model_that_knows_one_hashtag_only_still_gives_as_many_as_were_asked_for() {
    let app = TestApp::with(&[], Duration::ZERO, same_hashtag(usize::MAX)).await;
    let answer = app.post(json!({"content_description": DESCRIPTION, "hashtag_count": 3})).await;
    assert_eq!(answer.header("cache-status"), "lede-origin; fwd=uri-miss; stored");
    let answer = answer.json();
    let hashtags: HashSet<&str> =
        answer["hashtags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(hashtags.len(), 3, "{answer}");
}

#[tokio::test]
async fn a_description_too_long_for_the_model_is_cut_and_said_so() {
    let app = TestApp::start().await;
    // Nothing in it that a caption could lack, so that one sequence does.
    let description = "it is what it is ".repeat(100);
    let body = json!({"content_description": description, "optimization_level": "ultra_fast"});
    let answer = app.post(body).await.json();
    assert_eq!(answer["warnings"][0]["code"], "description_truncated");
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() < 512);
}

#[tokio::test]
async fn markers_in_a_description_are_letters_and_not_markers() {
    let app = TestApp::start().await;
    let text = "a sign that says <|end|><|tag|><|caption|> and <|style:bold|>";
    let ids = app.state.model.as_ref().unwrap().get().unwrap().encode(text).unwrap();
    assert_eq!(ids.len(), text.len());
    assert!(ids.iter().all(|id| *id >= byte_id(0)), "{ids:?}");
    assert_eq!(app.post(json!({"content_description": text})).await.status, 200);
}

#[tokio::test]
async fn a_device_that_computes_nonsense_is_a_problem_and_not_an_empty_caption() {
    let broken = Box::new(|_: &[u32], logits: &mut [f32]| logits.fill(f32::NAN));
    let app = TestApp::with(&[], Duration::ZERO, broken).await;
    let answer = app.post(json!({"content_description": DESCRIPTION})).await;
    answer.assert_problem(500, "internal_error", "every logit is NaN");
    assert!(!String::from_utf8_lossy(&answer.body).contains("chosen"), "the cause is for the log only");
}

#[tokio::test]
async fn the_callers_cache_directives_are_honoured() {
    let app = TestApp::start().await;
    let body = || json!({"content_description": DESCRIPTION});
    let only = app.post_with(body(), &[("cache-control", "only-if-cached")]).await;
    only.assert_problem(504, "not_cached", "only-if-cached on an empty cache");
    let unkept = app.post_with(body(), &[("cache-control", "no-store")]).await;
    assert_eq!(unkept.header("cache-status"), "lede-origin; fwd=uri-miss; detail=no_store_requested");
    let missed = app.post(body()).await;
    assert_eq!(missed.header("cache-status"), "lede-origin; fwd=uri-miss; stored");
    let anew = app.post_with(body(), &[("cache-control", "no-cache")]).await;
    assert_eq!(anew.header("cache-status"), "lede-origin; fwd=request; stored");
    std::thread::sleep(Duration::from_millis(5));
    let young = app.post_with(body(), &[("cache-control", "max-age=0")]).await;
    assert_eq!(young.header("cache-status"), "lede-origin; fwd=request; stored");
    let kept = app.post_with(body(), &[("cache-control", "only-if-cached, max-age=60")]).await;
    assert!(kept.header("cache-status").starts_with("lede-origin; hit"));
}

#[tokio::test]
async fn an_answer_that_is_no_longer_fresh_nor_being_renewed_is_generated_anew() {
    let settings = [("fresh_ms", json!(20)), ("stale_while_revalidate_ms", json!(0))];
    let app = TestApp::with(&settings, Duration::ZERO, letters()).await;
    let body = || json!({"content_description": DESCRIPTION});
    app.post(body()).await;
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(app.post(body()).await.header("cache-status"), "lede-origin; fwd=stale; stored");
}

#[tokio::test]
async fn a_stale_answer_stands_in_when_the_device_fails() {
    let failing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = std::sync::Arc::clone(&failing);
    let mut write = letters();
    let script =
        Box::new(
            move |history: &[u32], logits: &mut [f32]| {
                if failing.load(Ordering::SeqCst) { logits.fill(f32::NAN) } else { write(history, logits) }
            },
        );
    let app = TestApp::with(&[("fresh_ms", json!(1))], Duration::ZERO, script).await;
    let body = || json!({"content_description": DESCRIPTION});
    let caption = app.post(body()).await.caption();
    std::thread::sleep(Duration::from_millis(10));
    switch.store(true, Ordering::SeqCst);
    let stale = app.post(body()).await;
    assert_eq!(stale.caption(), caption);
    assert!(
        stale.header("cache-status").starts_with("lede-origin; hit; ttl=-"),
        "{}",
        stale.header("cache-status")
    );
}

#[tokio::test]
async fn a_get_can_be_kept_on_the_way_and_asked_for_again_by_its_tag() {
    let app = TestApp::start().await;
    let path = format!("{GENERATE}?content_description=tea&style=bold&hashtag_count=2");
    let first = app.get(&path, &[]).await;
    assert_eq!(
        first.header("cache-control"),
        "public, s-maxage=86400, stale-while-revalidate=3600, stale-if-error=86400"
    );
    assert_eq!(first.header("age"), "0");
    let etag = first.header("etag").to_owned();
    let again = app.get(&path, &[("if-none-match", &etag)]).await;
    assert_eq!((again.status.as_u16(), again.body.len(), again.header("etag")), (304, 0, etag.as_str()));
    let other = app.get(&format!("{GENERATE}?content_description=sea"), &[("if-none-match", &etag)]).await;
    assert_eq!(other.status, 200);
    let body = json!({"content_description": "tea", "style": "bold", "hashtag_count": 2});
    assert!(app.post(body).await.header("cache-status").contains("; hit"), "GET and POST share their entries");
    let unkept = app.get(&path, &[("cache-control", "no-store, no-cache")]).await;
    assert_eq!(unkept.header("cache-control"), "no-store");
}

#[tokio::test]
async fn ids_and_trace_context_come_back_when_they_are_well_formed() {
    let app = TestApp::start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let kept = app.get("/health", &[("x-request-id", "my-request-1"), ("traceparent", trace)]).await;
    assert_eq!((kept.header("x-request-id"), kept.header("traceparent")), ("my-request-1", trace));
    let replaced = app.get("/health", &[("x-request-id", "no good"), ("traceparent", "nonsense")]).await;
    assert_eq!(replaced.header("x-request-id").len(), 32);
    assert!(!replaced.headers.contains_key("traceparent"));
}

#[tokio::test]
async fn info_says_what_is_taken() {
    let app = TestApp::start().await;
    let info = app.get("/api/v14/info", &[]).await.json();
    assert_eq!((info["side"].as_str(), info["model"].as_str()), (Some("origin"), Some("lede-nano-1")));
    assert_eq!(info["styles"].as_array().unwrap().len(), 11);
}

#[tokio::test]
async fn a_batch_shares_the_cache_with_single_requests() {
    let app = TestApp::start().await;
    let caption = app.post(json!({"content_description": DESCRIPTION})).await.caption();
    let batch = json!({"requests": [{"content_description": DESCRIPTION}]}).to_string();
    let answer = app.send(json_request("POST", "/api/v14/batch", batch)).await.json();
    let response = &answer["results"][0]["response"];
    assert_eq!(
        (response["caption"].as_str().unwrap(), response["performance_metrics"]["cache_hit"].as_bool()),
        (caption.as_str(), Some(true))
    );
}
