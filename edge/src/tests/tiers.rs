//! Isolate, colo, Workers KV: which one answers, what is kept where, and what happens when one of them fails.

use lede_shared::headers::CACHE_STATUS;
use lede_shared::problem::{Problem, ProblemCode};

use super::deployment::{
    Deployment, FRESH_S, STALE_IF_ERROR_S, STALE_WHILE_REVALIDATE_S, batch, generate, json, with,
};
use super::fixtures::{origin_down, problem_answer, sound_origin};
use crate::bindings::FetchError;
use crate::bindings::in_memory::StoreHealth;
use crate::http::{CACHE_CONTROL, Response};

const SUNSET: &str = r#"{"content_description": "Sunset over the ocean"}"#;
const FAULTS: [StoreHealth; 2] = [StoreHealth::Failing, StoreHealth::Hanging];

/// The tier that answered; none for an answer of the origin.
fn tier(response: &Response) -> Option<String> {
    assert_eq!(response.status, 200);
    let metrics = &json(response)["performance_metrics"];
    let tier = metrics["cache_tier"].as_str().map(str::to_owned);
    let status = response.headers.get(CACHE_STATUS).unwrap();
    match &tier {
        Some(tier) => assert!(status.ends_with(&format!("; detail={tier}")), "{status}"),
        None => assert!(status.contains("fwd="), "{status}"),
    }
    tier
}

fn ask(deployment: &Deployment) -> Option<String> {
    tier(&deployment.send_and_finish(generate(SUNSET)))
}

/// Asked for until it lies in every tier.
fn popular() -> Deployment {
    let deployment = Deployment::new();
    assert_eq!(ask(&deployment), None);
    assert_eq!(ask(&deployment).as_deref(), Some("isolate"));
    assert_eq!(deployment.captions.names("response:").len(), 1);
    deployment
}

#[test]
fn the_nearest_tier_that_holds_a_caption_answers_and_those_before_it_are_filled() {
    let deployment = popular();
    let same_colo = deployment.another_isolate();
    assert_eq!(ask(&same_colo).as_deref(), Some("colo"));
    assert_eq!(ask(&same_colo).as_deref(), Some("isolate"));

    let elsewhere = deployment.elsewhere();
    assert_eq!(ask(&elsewhere).as_deref(), Some("workers_kv"));
    assert_eq!(ask(&elsewhere.another_isolate()).as_deref(), Some("colo"));
    assert_eq!(ask(&elsewhere).as_deref(), Some("isolate"));
    assert_eq!(deployment.origin_requests(), 1);
}

#[test]
fn one_freshness_record_goes_through_all_tiers() {
    let deployment = popular();
    deployment.clock.advance_s(40);
    for isolate in [&deployment, &deployment.another_isolate(), &deployment.elsewhere()] {
        let response = isolate.send_and_finish(generate(SUNSET));
        let status = response.headers.get(CACHE_STATUS).unwrap();
        assert!(status.contains("; ttl=60;"), "{status}");
    }
    let (_, kept_s) = deployment.colo.entries.borrow().values().next().unwrap().clone();
    assert_eq!(kept_s, FRESH_S + STALE_IF_ERROR_S);
    let name = &deployment.captions.names("response:")[0];
    assert_eq!(deployment.captions.entries.borrow()[name].1, FRESH_S + STALE_IF_ERROR_S);
}

#[test]
fn a_caption_asked_for_once_costs_no_write_to_workers_kv() {
    let deployment = Deployment::new();
    ask(&deployment);
    assert_eq!((deployment.captions.writes.get(), deployment.colo.writes.get()), (0, 1));
    ask(&deployment);
    assert_eq!(deployment.captions.writes.get(), 1);
}

#[test]
fn what_lies_in_workers_kv_is_not_written_again_by_anyone() {
    let deployment = popular();
    let others = [deployment.another_isolate(), deployment.elsewhere()];
    for isolate in others.iter().chain([&deployment]) {
        for _ in 0..5 {
            ask(isolate);
        }
    }
    assert_eq!(deployment.captions.writes.get(), 1);
}

#[test]
fn no_isolate_writes_more_to_workers_kv_than_its_budget() {
    let deployment = Deployment::new();
    for number in 0..100 {
        let body = format!(r#"{{"content_description": "Sunset number {number}"}}"#);
        deployment.send_and_finish(generate(&body));
        deployment.send_and_finish(generate(&body));
    }
    assert_eq!(deployment.captions.writes.get(), 30);
    deployment.clock.advance_s(2);
    deployment.send_and_finish(generate(r#"{"content_description": "Sunset number 99"}"#));
    assert_eq!(deployment.captions.writes.get(), 31, "it fills again as time goes by");
}

#[test]
fn an_isolate_hit_asks_no_store() {
    let deployment = popular();
    let calls =
        || (deployment.captions.reads.get(), deployment.colo.reads.get(), deployment.captions.writes.get());
    let before = calls();
    assert_eq!(ask(&deployment).as_deref(), Some("isolate"));
    assert_eq!(calls(), before);
}

#[test]
fn a_workers_kv_that_fails_or_hangs_is_a_miss_and_a_log_line() {
    for health in FAULTS {
        let deployment = popular();
        deployment.captions.health.set(health);
        assert_eq!(ask(&deployment.elsewhere()), None, "{health:?}");
        assert!(deployment.log.has("workers_kv_read_failed"));
        assert_eq!(ask(&deployment.another_isolate()).as_deref(), Some("colo"), "{health:?}");
    }
}

#[test]
fn a_write_that_workers_kv_refuses_is_a_log_line_and_is_tried_again_later() {
    for health in FAULTS {
        let deployment = Deployment::new();
        deployment.captions.write_health.set(health);
        ask(&deployment);
        assert_eq!(ask(&deployment).as_deref(), Some("isolate"), "{health:?}");
        assert!(deployment.log.has("workers_kv_write_failed"));
        deployment.captions.write_health.set(StoreHealth::Sound);
        deployment.clock.advance_s(2);
        ask(&deployment);
        assert_eq!(ask(&deployment.elsewhere()).as_deref(), Some("workers_kv"), "{health:?}");
    }
}

#[test]
fn a_colo_cache_that_fails_or_hangs_is_a_miss_and_a_log_line() {
    for health in FAULTS {
        let deployment = popular();
        deployment.colo.health.set(health);
        assert_eq!(ask(&deployment.another_isolate()).as_deref(), Some("workers_kv"), "{health:?}");
        assert!(deployment.log.has("colo_read_failed"));
        assert!(deployment.log.has("colo_write_failed"));
    }
}

#[test]
fn where_there_is_no_colo_cache_workers_kv_answers() {
    let deployment = popular();
    deployment.colo.entries.borrow_mut().clear();
    assert_eq!(ask(&deployment.another_isolate()).as_deref(), Some("workers_kv"));
}

#[test]
fn an_unreadable_entry_is_a_miss_in_its_tier_and_is_replaced() {
    let deployment = popular();
    let damage = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    deployment.colo.entries.borrow_mut().values_mut().for_each(|(bytes, _)| damage(bytes));
    assert_eq!(ask(&deployment.another_isolate()).as_deref(), Some("workers_kv"));
    assert!(deployment.log.has("colo_entry_unreadable"));
    assert_eq!(ask(&deployment.another_isolate()).as_deref(), Some("colo"), "filled again");

    deployment.captions.entries.borrow_mut().values_mut().for_each(|(bytes, _)| damage(bytes));
    let elsewhere = deployment.elsewhere();
    assert_eq!(ask(&elsewhere), None);
    assert!(deployment.log.has("workers_kv_entry_unreadable"));
    ask(&elsewhere);
    assert_eq!(ask(&deployment.elsewhere()).as_deref(), Some("workers_kv"), "written anew");
}

#[test]
fn no_store_keeps_nothing_of_a_hit_either() {
    let deployment = popular();
    let elsewhere = deployment.elsewhere();
    let no_store = || with(generate(SUNSET), CACHE_CONTROL, "no-store");
    for _ in 0..3 {
        assert_eq!(tier(&elsewhere.send_and_finish(no_store())).as_deref(), Some("workers_kv"));
    }
    assert!(elsewhere.colo.entries.borrow().is_empty());
}

#[test]
fn only_if_cached_is_answered_from_any_tier() {
    let deployment = popular();
    for isolate in [&deployment, &deployment.another_isolate(), &deployment.elsewhere()] {
        let response = isolate.send_and_finish(with(generate(SUNSET), CACHE_CONTROL, "only-if-cached"));
        assert!(tier(&response).is_some());
    }
    assert_eq!(deployment.origin_requests(), 1);
}

#[test]
fn max_age_goes_past_an_old_entry_to_a_tier_that_has_a_newer_one() {
    let deployment = popular();
    deployment.clock.advance_s(20);
    let same_colo = deployment.another_isolate();
    same_colo.send_and_finish(with(generate(SUNSET), CACHE_CONTROL, "no-cache"));
    assert_eq!(deployment.origin_requests(), 2);
    let young = || with(generate(SUNSET), CACHE_CONTROL, "max-age=19");
    assert_eq!(tier(&deployment.send_and_finish(young())).as_deref(), Some("colo"));
    assert_eq!(tier(&deployment.send_and_finish(young())).as_deref(), Some("isolate"));
    assert_eq!(tier(&deployment.elsewhere().send_and_finish(young())), None, "Workers KV holds the older one");
}

#[test]
fn a_stale_entry_is_renewed_once_however_many_ask() {
    let deployment = popular();
    deployment.clock.advance_s(FRESH_S);
    for _ in 0..10 {
        assert_eq!(tier(&deployment.send(generate(SUNSET))).as_deref(), Some("isolate"));
    }
    deployment.background.finish();
    assert_eq!(deployment.origin_requests(), 2);
}

#[test]
fn a_renewal_takes_over_what_another_isolate_has_renewed_already() {
    let deployment = popular();
    let (same_colo, elsewhere) = (deployment.another_isolate(), deployment.elsewhere());
    ask(&same_colo);
    ask(&elsewhere);
    deployment.clock.advance_s(FRESH_S);
    for isolate in [&deployment, &same_colo, &elsewhere] {
        let stale = isolate.send_and_finish(generate(SUNSET));
        assert!(stale.headers.get(CACHE_STATUS).unwrap().contains("ttl=-1"));
        let fresh = isolate.send_and_finish(generate(SUNSET));
        assert!(fresh.headers.get(CACHE_STATUS).unwrap().contains("ttl=100"));
    }
    assert_eq!(deployment.origin_requests(), 2, "one generated, one renewed");
}

#[test]
fn a_failing_origin_is_not_asked_for_a_stale_entry_with_every_caller() {
    let deployment = popular();
    deployment.clock.advance_s(FRESH_S);
    deployment.set_origin(origin_down);
    let before = deployment.origin_requests();
    ask(&deployment);
    let tried = deployment.origin_requests() - before;
    for _ in 0..20 {
        ask(&deployment);
    }
    assert_eq!(deployment.origin_requests() - before, tried);
    deployment.clock.advance_s(30);
    ask(&deployment);
    assert_eq!(deployment.origin_requests() - before, 2 * tried);
}

#[test]
fn whatever_the_origin_fails_with_a_stale_entry_stands_in_also_from_the_slower_tiers() {
    let deployment = popular();
    deployment.clock.advance_s(FRESH_S + STALE_WHILE_REVALIDATE_S);
    let failures = [
        ProblemCode::OriginUnavailable,
        ProblemCode::Overloaded,
        ProblemCode::NotReady,
        ProblemCode::DeadlineExceeded,
        ProblemCode::InternalError,
    ];
    for code in failures {
        deployment.set_origin(move |_| Ok(problem_answer(&Problem::new(code, "no"))));
        for (isolate, expected) in [
            (&deployment, "isolate"),
            (&deployment.another_isolate(), "colo"),
            (&deployment.elsewhere(), "workers_kv"),
        ] {
            assert_eq!(ask(isolate).as_deref(), Some(expected), "{code:?}");
            let batched = json(&isolate.send_and_finish(batch(&format!(r#"{{"requests": [{SUNSET}]}}"#))));
            assert_eq!(batched["results"][0]["response"]["performance_metrics"]["cache_tier"], expected);
        }
    }
    deployment.set_origin(|_| Err(FetchError::TimedOut));
    assert_eq!(ask(&deployment).as_deref(), Some("isolate"), "the deadline cannot be met");
    deployment.set_origin(sound_origin);
    assert_eq!(ask(&deployment), None);
}

#[test]
fn popular_captions_outlive_the_origin_without_an_error() {
    let deployment = popular();
    deployment.set_origin(origin_down);
    for seconds in [1, FRESH_S, STALE_WHILE_REVALIDATE_S, STALE_WHILE_REVALIDATE_S] {
        deployment.clock.advance_s(seconds);
        for isolate in [&deployment, &deployment.another_isolate(), &deployment.elsewhere()] {
            assert!(ask(isolate).is_some(), "after {seconds} s more");
        }
    }
}
