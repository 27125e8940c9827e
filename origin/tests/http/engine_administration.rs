//! `/performance/ai`, `/performance/tasks…` and `/performance/memory…`: what is told, and what is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use lede_origin::backend::scripted::ScriptedBackend;
use serde_json::{Value, json};

use crate::performance::WithAdmin;
use crate::support::{API_KEY, eventually, letters, letters_while_not};

const AI: &str = "/performance/ai";
const STATS: &str = "/performance/tasks/stats";
const MANAGE: &str = "/performance/tasks/manage";
const CLEANUP: &str = "/performance/memory/cleanup";

fn about(seed: usize) -> Value {
    json!({"content_description": "a picture", "seed": seed, "optimization_level": "ultra_fast"})
}

#[tokio::test]
async fn only_keys_for_administration_see_the_engine() {
    let app = WithAdmin::start(&[]).await;
    for path in [AI, STATS] {
        app.get(path, API_KEY).await.assert_problem(403, "forbidden", path);
    }
    app.app.send(crate::support::json_request("POST", MANAGE, "{}")).await.assert_problem(
        403,
        "forbidden",
        MANAGE,
    );
    app.app.send(crate::support::json_request("POST", CLEANUP, "{}")).await.assert_problem(
        403,
        "forbidden",
        CLEANUP,
    );
}

#[tokio::test]
async fn the_engine_says_what_it_runs_on_and_what_it_has_done() {
    let app = WithAdmin::start(&[]).await;
    assert_eq!(app.app.post(about(1)).await.status, StatusCode::OK);
    // The engine counts after it has answered.
    let finished = || app.app.state.engine.counters().finished.load(Ordering::Relaxed);
    assert!(eventually(|| finished() == 1).await);
    let ai = app.get(AI, crate::performance::ADMIN_KEY).await.json();
    assert_eq!((&ai["state"], &ai["condition"]["backend"]), (&json!("ready"), &json!("only")));
    assert_eq!(ai["engine"]["sequences_finished"], 1);
    assert!(ai["engine"]["written_tokens"].as_u64().is_some_and(|written| written > 8));
    let description = &ai["condition"]["description"];
    assert_eq!((&description["backend"], &description["device_kind"]), (&json!("scripted"), &json!("other")));
    assert_eq!(description["batched"], true);
    assert!(ai["engine"]["device"]["attention_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
}

#[tokio::test]
async fn what_the_device_computed_for_nobody_is_told_as_a_share_of_all_that_it_computed() {
    for (padded_to, is_padded) in [(1, false), (4, true)] {
        let app = WithAdmin::loading(&[], move |shape| {
            let scripted = ScriptedBackend::new(shape, Duration::ZERO, letters());
            Ok(Box::new(scripted.with_steps_padded_to(padded_to)))
        })
        .await;
        assert_eq!(app.app.post(about(1)).await.status, StatusCode::OK);
        let engine = app.get(AI, crate::performance::ADMIN_KEY).await.json()["engine"].clone();
        let count = |name: &str| engine[name].as_u64().unwrap();
        let (computed, padding) = (count("computed_entries"), count("padding_entries"));
        // Whatever was asked for was a prompt's, chosen before, or guessed.
        let asked = count("prefilled_tokens") + count("decoded_tokens") + count("guessed_tokens");
        assert_eq!(computed - padding, asked, "{engine}");
        assert!(asked > 8 && (padding > 0) == is_padded, "{engine}");
        assert!(computed.is_multiple_of(padded_to as u64), "{engine}");
        let waste = engine["padding_waste"].as_f64().unwrap();
        assert!((waste - padding as f64 / computed as f64).abs() < 1e-9, "{engine}");
    }
}

#[tokio::test]
async fn who_is_inside_is_told_and_can_be_ended() {
    let held = Arc::new(AtomicBool::new(true));
    let app = WithAdmin::with(&[("sequences_max", json!(1))], Duration::ZERO, letters_while_not(&held)).await;
    let low = app.app.post_with(about(1), &[("x-priority", "low")]);
    let normal = app.app.post_with(about(2), &[("x-priority", "critical")]);
    let manage = async {
        assert!(eventually(|| app.app.state.admission.sequences() == 2).await);
        held.store(false, Ordering::Relaxed);
        app.act(MANAGE, &json!({ "action": "cancel", "priority": "low" })).await
    };
    let (low, normal, managed) = tokio::join!(low, normal, manage);
    assert_eq!(managed.status, StatusCode::OK);
    assert_eq!(normal.status, StatusCode::OK, "nobody is raised above their plan, and so it is not low");
    if managed.json()["cancelled"] == 1 {
        low.assert_problem(503, "overloaded", "it was cancelled");
    }
    let stats = app.get(STATS, crate::performance::ADMIN_KEY).await.json();
    assert_eq!((&stats["engine_answers"], &stats["sequences"]), (&json!(true), &json!([])));
    assert_eq!(stats["admission"]["admitted"], json!({ "low": 1, "normal": 1, "high": 0, "critical": 0 }));
}

#[tokio::test]
async fn what_is_kept_of_prompts_is_given_up_and_of_answers_only_by_force() {
    let app = WithAdmin::with(&[], Duration::ZERO, letters()).await;
    assert_eq!(app.app.post(about(1)).await.status, StatusCode::OK);
    let gentle = app.act(CLEANUP, &json!({})).await.json();
    assert_eq!((&gentle["engine_answers"], &gentle["after"]["prefix_positions_kept"]), (&json!(true), &json!(0)));
    assert!(app.app.post(about(1)).await.header("cache-status").contains("detail=hot"));
    assert_eq!(app.act(CLEANUP, &json!({ "force": true })).await.json()["force"], true);
    assert!(app.app.post(about(1)).await.header("cache-status").contains("detail=warm"));
}
