//! Many at once, those who leave, those who are late, and a device that is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lede_origin::clock;
use lede_origin::engine::EngineStatus;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp, eventually, letters, letters_while_not};

/// A step of a device that is slow enough to be caught at work: an answer takes about a third of a second.
const SLOW: Duration = Duration::from_millis(8);

/// A request of one sequence: one candidate, and nothing in the description that it could lack.
fn about(subject: usize) -> Value {
    json!({"content_description": "a picture", "seed": subject, "optimization_level": "ultra_fast"})
}

fn is_collapsed(answer: &Answer) -> bool {
    answer.header("cache-status").contains("; collapsed")
}

#[tokio::test]
async fn fifty_who_ask_for_the_same_at_once_cause_one_generation() {
    let app = TestApp::with(&[], SLOW, letters()).await;
    let answers = futures_util::future::join_all((0..50).map(|_| app.post(about(1)))).await;
    assert!(answers.iter().all(|answer| answer.caption() == answers[0].caption()));
    assert_eq!(answers.iter().filter(|answer| is_collapsed(answer)).count(), 49);
    assert_eq!(app.state.engine.counters().finished.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_client_who_leaves_frees_the_device_unless_somebody_else_waits() {
    let held = Arc::new(AtomicBool::new(true));
    let app = TestApp::with(&[], Duration::ZERO, letters_while_not(&held)).await;
    let counters = app.state.engine.counters();
    let (steps, dropped) =
        (|| counters.decode_steps.load(Ordering::Relaxed), || counters.dropped.load(Ordering::Relaxed));
    // Gone once the device is at work on it, which it then is for one step more.
    tokio::select! {
        _ = app.post(about(1)) => panic!("the device is held"),
        is_at_work = eventually(|| steps() > 0) => assert!(is_at_work),
    }
    let before = steps();
    held.store(false, Ordering::Relaxed);
    assert!(eventually(|| dropped() == 1).await);
    assert!(steps() <= before + 1, "the device is free after the step that it was at");
    held.store(true, Ordering::Relaxed);
    let before = steps();
    let leaving = async {
        tokio::select! {
            _ = app.post(about(2)) => panic!("the device is held"),
            is_at_work = eventually(|| steps() > before) => assert!(is_at_work),
        }
        held.store(false, Ordering::Relaxed);
    };
    let ((), stayed) = tokio::join!(leaving, app.post(about(2)));
    assert!(is_collapsed(&stayed) && !stayed.caption().is_empty());
    assert_eq!(dropped(), 1);
}

#[tokio::test]
async fn a_deadline_of_the_edge_is_kept() {
    let app = TestApp::with(&[], SLOW, letters()).await;
    let deadline = clock::now().plus(30).0.to_string();
    let late = app.post_with(about(1), &[("x-deadline-ms", &deadline)]).await;
    late.assert_problem(504, "deadline_exceeded", "30 ms");
    let passed = app.post_with(about(1), &[("x-deadline-ms", "1")]).await;
    passed.assert_problem(504, "deadline_exceeded", "long ago");
    assert_eq!(app.post_with(about(1), &[("x-deadline-ms", "soon")]).await.status, 200);
}

#[tokio::test]
async fn a_follower_with_more_time_outlives_a_leader_in_a_hurry() {
    let app = TestApp::with(&[], SLOW, letters()).await;
    let deadline = clock::now().plus(30).0.to_string();
    let headers = [("x-deadline-ms", deadline.as_str())];
    let (hurried, patient) = tokio::join!(app.post_with(about(1), &headers), app.post(about(1)));
    hurried.assert_problem(504, "deadline_exceeded", "the leader");
    assert_eq!(patient.status, 200);
}

#[tokio::test]
async fn a_full_house_refuses_at_once_and_says_when_to_come_back() {
    let app = TestApp::with(&[("waiting_sequences_max", json!(48))], SLOW, letters()).await;
    let answers = futures_util::future::join_all((0..60).map(|subject| app.post(about(subject)))).await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((served.len(), refused.len()), (48, 12));
    for answer in refused {
        answer.assert_problem(503, "overloaded", "one too many");
        let wait_s: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait_s));
        assert_eq!(answer.json()["retry_after_s"], wait_s);
    }
    assert_eq!(app.post(about(1_000)).await.status, 200, "there is room again");
}

#[tokio::test]
async fn hits_are_served_while_the_house_is_full() {
    let app = TestApp::with(&[("waiting_sequences_max", json!(48))], SLOW, letters()).await;
    let caption = app.post(about(0)).await.caption();
    let flood = futures_util::future::join_all((1..=60).map(|subject| app.post(about(subject))));
    let hit = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        app.post(about(0)).await
    };
    let (flood, hit) = tokio::join!(flood, hit);
    assert!(flood.iter().any(|answer| answer.status == 503));
    assert_eq!(hit.caption(), caption);
}

#[tokio::test]
async fn before_the_model_is_loaded_the_process_is_alive_but_not_ready() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let app = TestApp::loading(&[], move |_| {
        let _ = wait.recv();
        Err("the model is corrupt".to_owned())
    });
    assert_eq!(app.get("/health/live", &[]).await.status, 200);
    assert_eq!(app.get("/health", &[]).await.json()["status"], "loading");
    for path in ["/health/ready", "/health/deep"] {
        let answer = app.get(path, &[]).await;
        answer.assert_problem(503, "not_ready", path);
        assert!(!answer.header("retry-after").is_empty());
    }
    app.post(about(1)).await.assert_problem(503, "not_ready", "generate while loading");
    drop(go);
    assert_eq!(app.state.engine.loaded().await, EngineStatus::Failed("the model is corrupt".to_owned()));
    app.get("/health/ready", &[]).await.assert_problem(503, "not_ready", "failed");
}

#[tokio::test]
async fn a_ready_process_says_so_and_a_draining_one_no_longer() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/health/ready", &[]).await.json()["status"], "ready");
    let deep = app.get("/health/deep", &[]).await.json();
    assert!(deep["canary_ms"].as_f64().is_some_and(|canary_ms| canary_ms > 0.0));
    app.state.start_draining();
    app.get("/health/ready", &[]).await.assert_problem(503, "not_ready", "draining");
    assert_eq!(app.get("/health", &[]).await.json()["status"], "draining");
    assert_eq!(app.get("/health/live", &[]).await.status, 200);
}

#[tokio::test]
async fn an_engine_that_cannot_be_opened_again_is_never_taken_for_a_ready_one() {
    let app = TestApp::with(&[], Duration::ZERO, Box::new(|_, _| panic!("the device is gone"))).await;
    app.post(about(1)).await.assert_problem(503, "not_ready", "the request that was running");
    app.post(about(2)).await.assert_problem(503, "not_ready", "those who come after");
    assert!(eventually(|| !app.state.is_ready()).await);
    app.get("/health/ready", &[]).await.assert_problem(503, "not_ready", "failed");
    assert_eq!(app.get("/health", &[]).await.json()["status"], "failed");
}
