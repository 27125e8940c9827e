//! A device that fails: who was on it is answered all the same, and the process lives.

use std::time::Duration;

use lede_origin::backend::FailureKind;
use lede_origin::backend::faulty::{Fault, Faults};
use lede_origin::engine::{BackendSource, EngineHandle, EngineLimits, EngineStatus, SurvivalLimits};
use serde_json::{Value, json};

use crate::support::{TestApp, eventually};

/// Less patient than usual.
const LIMITS: SurvivalLimits = SurvivalLimits {
    call_stalled: Duration::from_millis(100),
    call_max: Duration::from_millis(500),
    open_max: Duration::from_secs(60),
    reopenings_max: 2,
    abandoned_max: 1,
    return_after: Duration::from_millis(300),
};
/// Longer than any call may take.
const LONG: Duration = Duration::from_secs(3);

/// A request of one sequence.
fn about(seed: usize) -> Value {
    json!({"content_description": "a picture", "seed": seed, "optimization_level": "ultra_fast"})
}

async fn surviving(chain: &[(&'static str, Faults)]) -> TestApp {
    let app = TestApp::surviving(&[], LIMITS, chain);
    assert!(matches!(app.state.engine.loaded().await, EngineStatus::Ready(_)));
    app
}

/// A device that fails at each of its next steps.
fn ruined() -> Faults {
    Faults::at((0..100).map(|step| (step, Fault::Submit(FailureKind::Lost))))
}

#[tokio::test]
async fn one_fault_of_any_kind_at_any_step_costs_an_answer_nothing_but_time() {
    let undisturbed = surviving(&[("only", Faults::default())]).await.post(about(1)).await.caption();
    let kinds = [FailureKind::Refused, FailureKind::OutOfMemory, FailureKind::Failed, FailureKind::Lost];
    let faults = kinds.into_iter().flat_map(|kind| [Fault::Submit(kind), Fault::Select(kind)]);
    for fault in faults.chain([Fault::Panic]) {
        for step in [0, 1, 5] {
            let app = surviving(&[("only", Faults::at([(step, fault)]))]).await;
            let answer = app.post(about(1)).await;
            if matches!(fault, Fault::Submit(FailureKind::Refused | FailureKind::OutOfMemory)) {
                // It was alone on the device, so there is nothing to be had by trying again.
                answer.assert_problem(500, "internal_error", "it does not fit");
            } else {
                assert_eq!(answer.caption(), undisturbed, "{fault:?} at {step}");
            }
            assert_eq!(app.post(about(2)).await.status, 200, "{fault:?} at {step}");
        }
    }
}

#[tokio::test]
async fn many_on_a_device_that_is_lost_are_answered_by_the_one_that_takes_its_place() {
    for fault in [Fault::Select(FailureKind::Lost), Fault::Panic] {
        let app = surviving(&[("only", Faults::at([(4, fault)]))]).await;
        let answers = futures_util::future::join_all((0..40).map(|seed| app.post(about(seed)))).await;
        for answer in answers {
            // Who comes just then is told to come again.
            if answer.status != 200 {
                answer.assert_problem(503, "not_ready", "while another is opened");
            }
        }
        assert_eq!(app.post(about(40)).await.status, 200, "{fault:?}");
        let condition = app.state.engine.condition();
        assert_eq!((condition.restarts, condition.failures, condition.threads_abandoned), (1, 1, 0), "{fault:?}");
    }
}

#[tokio::test]
async fn a_device_that_hangs_is_given_up_and_hits_are_served_all_along() {
    let faults = Faults::default();
    let app = surviving(&[("only", faults.clone())]).await;
    let kept = app.post(about(1)).await.caption();
    faults.strike(Fault::Hang(LONG));
    let asked = app.post(about(2));
    let watched = async {
        assert!(eventually(|| !app.state.is_ready()).await);
        app.get("/health/ready", &[]).await.assert_problem(503, "not_ready", "stalled");
        app.post(about(3)).await.assert_problem(503, "not_ready", "somebody new");
        assert_eq!(app.post(about(1)).await.caption(), kept);
    };
    let (answer, ()) = tokio::join!(asked, watched);
    assert_eq!(answer.status, 200, "it is written once more");
    assert_eq!(app.state.engine.condition().threads_abandoned, 1);
    assert!(app.state.is_ready());
    assert_eq!(app.post(about(3)).await.status, 200);
}

#[tokio::test]
async fn a_call_that_takes_long_and_comes_back_is_waited_for() {
    let faults = Faults::default();
    let app = surviving(&[("only", faults.clone())]).await;
    faults.strike(Fault::Hang(LIMITS.call_stalled * 3));
    let (answer, was_unready) = tokio::join!(app.post(about(1)), eventually(|| !app.state.is_ready()));
    assert!(was_unready);
    assert_eq!(answer.status, 200);
    assert!(eventually(|| app.state.is_ready()).await);
    assert_eq!(app.state.engine.condition().failures, 0);
}

#[tokio::test]
async fn who_hangs_too_often_is_not_opened_again_but_hits_are_still_served() {
    let faults = Faults::default();
    let app = surviving(&[("only", faults.clone())]).await;
    let kept = app.post(about(0)).await.caption();
    for seed in [1, 2] {
        faults.strike(Fault::Hang(LONG));
        app.post(about(seed)).await;
    }
    assert!(matches!(app.state.engine.status(), EngineStatus::Failed(_)));
    assert_eq!(app.state.engine.condition().threads_abandoned, 2);
    assert_eq!(app.get("/health", &[]).await.json()["status"], "failed");
    app.post(about(3)).await.assert_problem(503, "not_ready", "for good");
    assert_eq!(app.post(about(0)).await.caption(), kept);
}

#[tokio::test]
async fn when_nothing_helps_who_waits_is_told_and_the_process_lives() {
    let app = surviving(&[("only", ruined())]).await;
    // Who comes while it is opened again is told at once, so it may take several to use up what it is given.
    while !matches!(app.state.engine.status(), EngineStatus::Failed(_)) {
        let answers = futures_util::future::join_all((0..20).map(|seed| app.post(about(seed)))).await;
        for answer in answers {
            answer.assert_problem(503, "not_ready", "nothing helps");
        }
    }
    assert!(!app.state.is_ready());
    assert_eq!(app.get("/health/live", &[]).await.status, 200);
}

#[tokio::test]
async fn a_chain_of_which_nothing_can_be_opened_is_being_loaded_until_all_of_it_has_failed() {
    let broken = |name: &'static str| BackendSource::new(name, move || Err(format!("{name} is broken")));
    let limits = (EngineLimits::default(), LIMITS);
    let engine = EngineHandle::supervised(limits, vec![broken("the first"), broken("the second")]).unwrap();
    assert_eq!(engine.loaded().await, EngineStatus::Failed("the second is broken".to_owned()));
    assert_eq!(engine.condition().failures, 2);
}

#[tokio::test]
async fn the_next_of_the_chain_takes_the_place_of_one_that_fails_until_that_works_again() {
    // Three times it is lost, and a fourth time it is not.
    let first = Faults::at((0..3).map(|step| (step, Fault::Submit(FailureKind::Lost))));
    let app = surviving(&[("first", first), ("second", Faults::default())]).await;
    let backend = || app.state.engine.condition().backend;
    let asking = async {
        for seed in 1..=10 {
            assert!(eventually(|| app.state.is_ready()).await);
            let answer = app.post(about(seed)).await;
            if answer.status != 200 {
                answer.assert_problem(503, "not_ready", "it has been lost twice");
            }
        }
    };
    let ((), was_second) = tokio::join!(asking, eventually(|| backend().as_deref() == Some("second")));
    assert!(was_second, "{:?}", app.state.engine.condition());
    assert!(eventually(|| backend().as_deref() == Some("first")).await);
    assert_eq!(app.post(about(11)).await.status, 200);
}
