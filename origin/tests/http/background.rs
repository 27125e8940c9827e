//! What is made while nobody waits for it, and what callers are told meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lede_origin::backend::scripted::Script;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp, eventually, letters, letters_while_not};

fn about(description: &str) -> Value {
    json!({ "content_description": description, "hashtag_count": 0 })
}

/// Sequences that the engine has brought to their end.
fn written(app: &TestApp) -> u64 {
    app.state.engine.counters().finished.load(Ordering::Relaxed)
}

fn settings<'a>(fresh_ms: u64, revalidate_ms: u64, error_ms: u64) -> Vec<(&'a str, Value)> {
    vec![
        ("fresh_ms", fresh_ms.into()),
        ("stale_while_revalidate_ms", revalidate_ms.into()),
        ("stale_if_error_ms", error_ms.into()),
    ]
}

fn assert_stale_hit(answer: &Answer) {
    let status = answer.header("cache-status");
    assert!(status.contains("hit") && status.contains("ttl=-"), "{status}");
}

fn assert_fresh_hit(answer: &Answer) {
    let status = answer.header("cache-status");
    assert!(status.contains("hit") && !status.contains("ttl=-"), "{status}");
}

async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test]
async fn a_stale_answer_is_given_at_once_and_renewed_behind_once() {
    let app = TestApp::with(&settings(400, 60_000, 60_000), Duration::ZERO, letters()).await;
    app.post(about("a harbour")).await.caption();
    let first = written(&app);
    pass(450).await;
    for _ in 0..5 {
        let answer = app.post(about("a harbour")).await;
        answer.caption();
        if written(&app) == first {
            assert_stale_hit(&answer);
        }
    }
    assert!(eventually(|| app.state.captions.background_stats().refreshes.made == 1).await);
    assert_fresh_hit(&app.post(about("a harbour")).await);
    let refreshes = app.state.captions.background_stats().refreshes;
    assert_eq!((refreshes.made, refreshes.failed, refreshes.waiting), (1, 0, 0));
}

#[tokio::test]
async fn a_stream_of_a_stale_answer_goes_the_same_way() {
    let app = TestApp::with(&settings(300, 60_000, 60_000), Duration::ZERO, letters()).await;
    app.post(about("a harbour")).await.caption();
    pass(350).await;
    let answer = app.post_with(about("a harbour"), &[("accept", "text/event-stream")]).await;
    assert_stale_hit(&answer);
    assert!(String::from_utf8_lossy(&answer.body).contains("event: done"));
    assert!(eventually(|| app.state.captions.background_stats().refreshes.made == 1).await);
}

#[tokio::test]
async fn who_wants_a_new_answer_is_given_one_and_who_wants_only_a_kept_one_causes_none() {
    let app = TestApp::with(&settings(300, 60_000, 60_000), Duration::ZERO, letters()).await;
    app.post(about("a harbour")).await.caption();
    pass(350).await;
    assert_stale_hit(&app.post_with(about("a harbour"), &[("cache-control", "only-if-cached")]).await);
    pass(50).await;
    assert_eq!(app.state.captions.background_stats().refreshes.queued, 0);
    let answer = app.post_with(about("a harbour"), &[("cache-control", "no-cache")]).await;
    assert!(answer.header("cache-status").contains("fwd=stale"), "{}", answer.header("cache-status"));
}

#[tokio::test]
async fn a_queue_that_cannot_meet_the_deadline_lets_a_stale_answer_stand_in_at_once() {
    let mut busy = settings(300, 0, 60_000);
    busy.extend([("sequences_max", 1.into()), ("waiting_sequences_max", 64.into())]);
    let held = Arc::new(AtomicBool::new(false));
    let app = Arc::new(TestApp::with(&busy, Duration::ZERO, letters_while_not(&held)).await);
    app.post(about("a harbour")).await.caption();
    pass(350).await;
    held.store(true, Ordering::Relaxed);
    let crowd: Vec<_> = (0..8)
        .map(|name| {
            let app = Arc::clone(&app);
            let mut body = about(&format!("crowd {name}"));
            body["optimization_level"] = "ultra_fast".into();
            tokio::spawn(async move { app.post(body).await.status })
        })
        .collect();
    let steps = || app.state.engine.counters().decode_steps.load(Ordering::Relaxed);
    let before = steps();
    assert!(eventually(|| steps() > before).await);
    // Nobody has left for longer than the caller has.
    pass(2_500).await;
    let deadline = lede_origin::clock::now().plus(2_000);
    let answer = app.post_with(about("a harbour"), &[("x-deadline-ms", &deadline.0.to_string())]).await;
    assert!(lede_origin::clock::now() < deadline, "it waited");
    assert_stale_hit(&answer);
    assert_eq!(app.state.captions.background_stats().refreshes.made, 0, "the device has callers to work for");
    held.store(false, Ordering::Relaxed);
    for one in crowd {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert!(eventually(|| app.state.captions.background_stats().refreshes.made == 1).await);
    assert_fresh_hit(&app.post(about("a harbour")).await);
}

#[tokio::test]
async fn while_the_engine_is_gone_stale_answers_are_given_and_nothing_is_begun() {
    let fails = Arc::new(AtomicBool::new(false));
    let (is_told, mut write) = (Arc::clone(&fails), letters());
    let script: Script = Box::new(move |history, logits| {
        assert!(!is_told.load(Ordering::Relaxed), "the device is lost");
        write(history, logits);
    });
    let app = TestApp::with(&settings(300, 0, 60_000), Duration::ZERO, script).await;
    app.post(about("a harbour")).await.caption();
    fails.store(true, Ordering::Relaxed);
    app.post(about("anything else")).await;
    assert!(eventually(|| !app.state.captions.is_ready()).await);
    pass(300).await;
    assert_stale_hit(&app.post(about("a harbour")).await);
    pass(100).await;
    let refreshes = app.state.captions.background_stats().refreshes;
    assert_eq!((refreshes.queued, refreshes.waiting, refreshes.failed), (1, 1, 0));
}

#[tokio::test]
async fn what_has_followed_before_is_made_before_it_is_asked_for() {
    let app = TestApp::with(&settings(700, 0, 0), Duration::ZERO, letters()).await;
    for week in 0..2 {
        app.post(about("monday's post")).await.caption();
        app.post(about("tuesday's post")).await.caption();
        // What lies between is not the same twice.
        for other in 0..3 {
            app.post(about(&format!("another post {week} {other}"))).await.caption();
        }
        pass(750).await;
    }
    app.post(about("monday's post")).await.caption();
    assert!(eventually(|| app.state.captions.background_stats().guesses.made == 1).await);
    assert_fresh_hit(&app.post(about("tuesday's post")).await);
    assert!(eventually(|| app.state.captions.background_stats().sources[0].used == 1).await);
}

#[tokio::test]
async fn nothing_is_guessed_when_that_is_switched_off_or_must_not_be_learnt() {
    let mut off = settings(200, 0, 0);
    off.push(("prefetch", "off".into()));
    for (settings, headers) in [(off, vec![]), (settings(200, 0, 0), vec![("cache-control", "no-store")])] {
        let app = TestApp::with(&settings, Duration::ZERO, letters()).await;
        for _ in 0..3 {
            app.post_with(about("monday's post"), &headers).await.caption();
            app.post_with(about("tuesday's post"), &headers).await.caption();
            pass(220).await;
        }
        let stats = app.state.captions.background_stats();
        assert_eq!((stats.guesses.queued, stats.prefetch), (0, !headers.is_empty()));
    }
}

#[tokio::test]
async fn what_was_popular_is_made_again_after_a_restart_that_kept_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let kept = [("cold", "disk".into()), ("cold_dir", folder.path().to_str().unwrap().into())];
    let app = TestApp::with(&kept, Duration::ZERO, letters()).await;
    for (description, times) in [("a harbour", 3), ("a forest", 1)] {
        for _ in 0..times {
            app.post(about(description)).await.caption();
        }
    }
    app.state.start_draining();
    drop(app);
    // Whatever the cold tier has kept.
    for entry in std::fs::read_dir(folder.path()).unwrap().flatten() {
        let is_list = entry.file_name() == "popular.json";
        let _ = if is_list { Ok(()) } else { std::fs::remove_dir_all(entry.path()) };
    }
    let app = TestApp::with(&kept, Duration::ZERO, letters()).await;
    assert!(eventually(|| app.state.captions.background_stats().guesses.made == 1).await);
    assert_fresh_hit(&app.post(about("a harbour")).await);
    assert!(app.post(about("a forest")).await.header("cache-status").contains("fwd=uri-miss"));
}

#[tokio::test]
async fn after_a_change_of_epoch_nothing_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let kept = |epoch: u64| {
        let dir = folder.path().to_str().unwrap().to_owned();
        [("cold", "disk".into()), ("cold_dir", dir.into()), ("cache_epoch", epoch.into())]
    };
    let app = TestApp::with(&kept(1), Duration::ZERO, letters()).await;
    for _ in 0..3 {
        app.post(about("a harbour")).await.caption();
    }
    app.state.start_draining();
    drop(app);
    let app = TestApp::with(&kept(2), Duration::ZERO, letters()).await;
    pass(300).await;
    assert_eq!(app.state.captions.background_stats().guesses.queued, 0);
}
