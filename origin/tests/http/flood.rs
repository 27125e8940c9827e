//! Far more than the device can do, and who is served then.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lede_origin::clock;
use lede_shared::api_key::TenantId;
use lede_shared::plan::Priority;
use lede_shared::signature::Claims;
use serde_json::{Value, json};

use crate::support::{Answer, GENERATE, TestApp, eventually, letters, letters_while_not, signed_for};

/// A request of one sequence.
fn about(seed: usize) -> Value {
    json!({"content_description": "a picture", "seed": seed, "optimization_level": "ultra_fast"})
}

/// Asks as somebody whose plan has this priority.
async fn ask(app: &TestApp, priority: Priority, seed: usize) -> Answer {
    static NONCES: AtomicU8 = AtomicU8::new(0);
    let claims = Claims { priority, ..Claims::of(TenantId::parse("acme").unwrap()) };
    let (body, nonce) = (about(seed).to_string(), NONCES.fetch_add(1, Ordering::Relaxed));
    app.send(signed_for(&claims, ("POST", GENERATE, &body), nonce, clock::now())).await
}

#[tokio::test]
async fn ten_times_too_many_are_refused_without_the_device_and_the_others_are_all_served() {
    let held = Arc::new(AtomicBool::new(true));
    let settings = [("waiting_sequences_max", json!(64)), ("sequences_max", json!(4))];
    let app = TestApp::with(&settings, Duration::ZERO, letters_while_not(&held)).await;
    let flood = futures_util::future::join_all((0..640).map(|seed| app.post(about(seed))));
    // As long as it is held, nobody is answered by the device: whoever is refused is refused by the door alone.
    let release = async {
        let refused = || app.state.admission.stats().refused.normal.full;
        assert!(eventually(|| refused() == 640 - 56).await, "{:?}", app.state.admission.stats());
        held.store(false, Ordering::Relaxed);
    };
    let (answers, ()) = tokio::join!(flood, release);
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((served.len(), refused.len()), (56, 640 - 56));
    refused.iter().for_each(|answer| drop(answer.assert_problem(503, "overloaded", "one too many")));
    assert_eq!(app.state.engine.condition().failures, 0);
    assert!(app.state.admission.is_idle() && app.state.is_ready());
}

#[tokio::test]
async fn whoever_is_let_in_is_answered_by_their_deadline_or_with_a_problem() {
    let settings = [("waiting_sequences_max", json!(64)), ("sequences_max", json!(2))];
    let app = TestApp::with(&settings, Duration::from_millis(10), letters()).await;
    let hurried = |seed: usize| {
        let app = &app;
        async move {
            let deadline = clock::now().plus(300 + 20 * seed as u64).0.to_string();
            app.post_with(about(seed), &[("x-deadline-ms", &deadline)]).await
        }
    };
    for wave in 0..4 {
        let answers = futures_util::future::join_all((0..40).map(|name| hurried(wave * 40 + name))).await;
        for answer in answers {
            match answer.status.as_u16() {
                200 => assert!(!answer.caption().is_empty()),
                503 => drop(answer.assert_problem(503, "overloaded", "it would have been too late")),
                _ => drop(answer.assert_problem(504, "deadline_exceeded", "it was too late")),
            }
        }
        assert!(eventually(|| app.state.admission.is_idle()).await);
    }
    assert_eq!(app.state.engine.condition().failures, 0);
}

#[tokio::test]
async fn who_is_critical_goes_before_a_flood_of_low_and_finds_a_place() {
    let held = Arc::new(AtomicBool::new(true));
    let settings = [("waiting_sequences_max", json!(96)), ("sequences_max", json!(1))];
    let app = TestApp::with(&settings, Duration::ZERO, letters_while_not(&held)).await;
    let order = Mutex::new(Vec::new());
    let note = async |priority: Priority, seed: usize| {
        let answer = ask(&app, priority, seed).await;
        if answer.status == 200 {
            order.lock().unwrap().push(priority);
        }
        answer.status.as_u16()
    };
    let flood = futures_util::future::join_all((0..100).map(|seed| note(Priority::Low, seed)));
    let critical = async {
        let low = || app.state.admission.stats().sequences.low;
        assert!(eventually(|| low() == 48).await, "half of the house");
        let asked = note(Priority::Critical, 1_000);
        let release = async {
            assert!(eventually(|| app.state.admission.stats().sequences.critical == 1).await);
            held.store(false, Ordering::Relaxed);
        };
        tokio::join!(asked, release).0
    };
    let (flood, critical) = tokio::join!(flood, critical);
    assert_eq!(critical, 200);
    assert_eq!(flood.iter().filter(|status| **status == 200).count(), 48);
    let place = order.lock().unwrap().iter().position(|priority| *priority == Priority::Critical);
    assert!(place.is_some_and(|place| place <= 1), "{place:?} were before it");
}
