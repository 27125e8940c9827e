//! Quota and floods: what is charged, what is refused and for how long, what every answer says of it, and what happens
//! when the limiters themselves fail.

use std::rc::Rc;

use lede_shared::api::GENERATE_PATH;
use lede_shared::headers::{RATELIMIT, RATELIMIT_POLICY};
use lede_shared::plan::Plan;
use lede_shared::problem::{Problem, ProblemCode};
use lede_shared::quota::LEASE_MS;

use super::deployment::{
    API_KEY, Deployment, FRESH_S, STALE_WHILE_REVALIDATE_S, batch, binding, generate, json, problem, request, with,
};
use super::fixtures::{answer, caption_response, origin_down};
use crate::bindings::in_memory::StoreHealth;
use crate::config::Config;
use crate::http::{ACCEPT, AUTHORIZATION, CF_CONNECTING_IP, JSON, Method, RETRY_AFTER, Request, Response};

const SUNSET: &str = r#"{"content_description": "Sunset"}"#;
const HARBOUR: &str = r#"{"content_description": "Harbour"}"#;

/// 60 cells a minute, that is one a second, and no more than `burst_cells` at once.
fn plan(burst_cells: u32, daily_cells: u64) -> Plan {
    Plan { name: "small".to_owned(), cells_per_minute: 60, burst_cells, daily_cells, ..Plan::default() }
}

fn deployment(plan: &Plan) -> Deployment {
    let mut deployment = Deployment::new();
    set_plan(&mut deployment, plan);
    deployment
}

fn set_plan(deployment: &mut Deployment, plan: &Plan) {
    let plan = serde_json::to_string(plan).unwrap();
    let text = |name: &'static str| if name == "API_KEY_PLAN" { Some(plan.clone()) } else { binding(name) };
    deployment.config = Config::read(text).map(Rc::new);
}

/// What is left of the burst, as the answer says.
fn burst_left(response: &Response) -> u64 {
    let value = response.headers.get(RATELIMIT).unwrap();
    let left = value.strip_prefix(r#""burst";r="#).and_then(|rest| rest.split(';').next());
    left.unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

fn another(number: usize) -> Request {
    generate(&format!(r#"{{"content_description": "Something else, number {number}"}}"#))
}

#[test]
fn a_generated_caption_costs_ten_cells_for_each_variant_and_a_cached_one_costs_one() {
    let deployment = deployment(&plan(100, 1_000));
    assert_eq!(burst_left(&deployment.send_and_finish(generate(SUNSET))), 90);
    assert_eq!(burst_left(&deployment.send_and_finish(generate(SUNSET))), 89);
    let three = generate(r#"{"content_description": "Harbour", "variants": 3}"#);
    assert_eq!(burst_left(&deployment.send_and_finish(three)), 59);
}

#[test]
fn a_batch_is_charged_for_its_hits_and_for_its_misses() {
    let deployment = deployment(&plan(100, 1_000));
    deployment.send_and_finish(generate(SUNSET));
    let body = format!(r#"{{"requests": [{SUNSET}, {HARBOUR}, {SUNSET}, {{"style": 5}}]}}"#);
    assert_eq!(burst_left(&deployment.send_and_finish(batch(&body))), 90 - 2 - 10);
}

#[test]
fn what_the_origin_did_not_generate_for_this_caller_costs_what_a_hit_costs() {
    let deployment = deployment(&plan(100, 1_000));
    deployment.set_origin(origin_down);
    assert_eq!(burst_left(&deployment.send(generate(SUNSET))), 99);
    deployment.set_origin(|_| {
        let mut cached = caption_response("Hello");
        cached.performance_metrics.cache_hit = true;
        Ok(answer(200, JSON, &serde_json::json!(cached).to_string()))
    });
    assert_eq!(burst_left(&deployment.send(generate(HARBOUR))), 98);
    let body = r#"{"requests": [{"content_description": "x"}, {"content_description": "y"}]}"#;
    deployment.set_origin(origin_down);
    assert_eq!(burst_left(&deployment.send(batch(body))), 96);
}

#[test]
fn every_answer_to_an_authenticated_caller_says_what_the_plan_is_and_what_is_left() {
    let deployment = deployment(&plan(100, 1_000));
    let policy = r#""burst";q=100;w=100, "daily";q=1000;w=86400"#;
    let get = format!("{GENERATE_PATH}?content_description=Sunset");
    let requests = [
        generate("{}"),
        generate(SUNSET),
        generate(SUNSET),
        request(Method::Get, &get),
        batch("{}"),
        generate("["),
    ];
    for request in requests {
        let response = deployment.send_and_finish(request);
        assert_eq!(response.headers.get(RATELIMIT_POLICY), Some(policy), "{response:?}");
        assert!(response.headers.get(RATELIMIT).unwrap().contains(r#", "daily";r="#), "{response:?}");
    }
    let stranger = deployment.send(with(generate(SUNSET), AUTHORIZATION, "Bearer nobody"));
    assert_eq!(stranger.headers.get(RATELIMIT_POLICY), None);
    assert_eq!(stranger.headers.get(RATELIMIT), None);
}

#[test]
fn who_is_over_the_burst_is_refused_with_the_wait_from_memory_and_admitted_after_it() {
    let deployment = deployment(&plan(10, 1_000));
    assert_eq!(deployment.send_and_finish(generate(SUNSET)).status, 200);
    let refused = deployment.send(generate(HARBOUR));
    let document = problem(&refused);
    assert_eq!((refused.status, document.code), (429, ProblemCode::RateLimited));
    assert_eq!((document.retry_after_s, refused.headers.get(RETRY_AFTER)), (Some(11), Some("11")));
    assert!(document.detail.contains("60 cells a minute, 10 at once"), "{}", document.detail);
    assert!(document.detail.contains("costs 10 cells"), "{}", document.detail);
    deployment.clock.advance_s(2);
    assert_eq!(problem(&deployment.send(generate(HARBOUR))).retry_after_s, Some(9));
    let calls = deployment.quota_objects.calls.get();
    deployment.clock.advance_s(8);
    assert_eq!(problem(&deployment.send(generate(HARBOUR))).retry_after_s, Some(1));
    assert_eq!(deployment.quota_objects.calls.get(), calls, "the refusal was remembered");
    deployment.clock.advance_s(1);
    assert_eq!(deployment.send_and_finish(generate(HARBOUR)).status, 200);
    assert_eq!(deployment.origin_requests(), 2);
}

#[test]
fn a_day_s_cells_are_all_there_are_until_the_next_day() {
    let deployment = deployment(&plan(100, 15));
    assert_eq!(deployment.send_and_finish(generate(SUNSET)).status, 200);
    let refused = problem(&deployment.send(generate(HARBOUR)));
    assert_eq!(refused.code, ProblemCode::RateLimited);
    assert!(refused.detail.contains("15 cells a day (UTC)"), "{}", refused.detail);
    let wait_s = u64::from(refused.retry_after_s.unwrap());
    assert_eq!(deployment.send(generate(SUNSET)).status, 200, "a hit still fits");
    deployment.clock.advance_s(wait_s - 1);
    assert_eq!(deployment.send(generate(HARBOUR)).status, 429);
    deployment.clock.advance_s(1);
    assert_eq!(deployment.send(generate(HARBOUR)).status, 200);
}

#[test]
fn more_than_the_plan_ever_holds_is_refused_without_a_wait() {
    let deployment = deployment(&plan(30, 1_000));
    let refused = deployment.send(generate(r#"{"content_description": "Sunset", "variants": 4}"#));
    let problem = problem(&refused);
    assert_eq!((problem.status, problem.retryable, problem.retry_after_s), (429, false, None));
    assert_eq!(deployment.send(generate(SUNSET)).status, 200);
}

#[test]
fn most_requests_ask_nobody() {
    let deployment = deployment(&plan(10_000, 1_000_000));
    deployment.send_and_finish(generate(SUNSET));
    let calls = deployment.quota_objects.calls.get();
    for _ in 0..1_000 {
        deployment.clock.0.set(deployment.clock.0.get() + 50);
        assert_eq!(deployment.send_and_finish(generate(SUNSET)).status, 200);
    }
    let calls = deployment.quota_objects.calls.get() - calls;
    assert!(calls <= 20, "{calls} calls for 1,000 requests");
}

#[test]
fn two_isolates_share_one_quota() {
    let mut deployment = deployment(&plan(40, 1_000));
    for number in 0..4 {
        deployment.isolate = Rc::default();
        assert_eq!(deployment.send_and_finish(another(number)).status, 200);
    }
    deployment.isolate = Rc::default();
    assert_eq!(deployment.send(another(5)).status, 429);
    assert_eq!(deployment.origin_requests(), 4);
}

#[test]
fn an_evicted_object_forgets_nothing() {
    let mut deployment = deployment(&plan(10, 1_000));
    deployment.send_and_finish(generate(SUNSET));
    deployment.quota_objects.evict();
    deployment.isolate = Rc::default();
    assert_eq!(deployment.send(generate(HARBOUR)).status, 429);
}

#[test]
fn an_object_whose_ledger_cannot_be_read_refuses_until_everything_unknown_has_ended() {
    let mut deployment = deployment(&plan(10, 1_000));
    deployment.send_and_finish(generate(SUNSET));
    deployment.clock.advance_s(1_000);
    deployment.quota_objects.overwrite("garbage");
    deployment.quota_objects.evict();
    deployment.isolate = Rc::default();
    assert_eq!(deployment.send(generate(HARBOUR)).status, 429);
    deployment.clock.advance_s(86_400);
    assert_eq!(deployment.send(generate(HARBOUR)).status, 200);
}

#[test]
fn with_the_limiter_down_hits_flow_and_misses_are_refused_until_it_is_back() {
    for health in [StoreHealth::Failing, StoreHealth::Hanging] {
        let deployment = deployment(&plan(1_000, 10_000));
        deployment.send_and_finish(generate(SUNSET));
        deployment.clock.advance_s(LEASE_MS / 1_000);
        deployment.quota_objects.health.set(health);
        let calls = deployment.quota_objects.calls.get();
        assert_eq!(deployment.send(generate(SUNSET)).status, 200, "{health:?}");
        let refused = problem(&deployment.send(generate(HARBOUR)));
        assert_eq!((refused.status, refused.code), (503, ProblemCode::Overloaded), "{health:?}");
        assert_eq!(refused.retry_after_s, Some(2));
        assert_eq!(deployment.quota_objects.calls.get(), calls + 1, "not every request waits for it again");
        assert!(deployment.log.has("quota_object_failed"));
        assert_eq!(deployment.origin_requests(), 1);

        let body = format!(r#"{{"requests": [{SUNSET}, {HARBOUR}]}}"#);
        let mixed = json(&deployment.send(batch(&body)));
        assert_eq!((&mixed["results"][0]["status"], &mixed["results"][1]["status"]), (&200.into(), &503.into()));

        deployment.quota_objects.health.set(StoreHealth::Sound);
        deployment.clock.advance_s(2);
        assert_eq!(deployment.send(generate(HARBOUR)).status, 200, "{health:?}");
    }
}

#[test]
fn with_the_limiter_down_a_stale_caption_stands_in_alone_streamed_and_in_a_batch() {
    let deployment = deployment(&plan(1_000, 10_000));
    deployment.send_and_finish(generate(SUNSET));
    deployment.clock.advance_s(FRESH_S + STALE_WHILE_REVALIDATE_S + 1);
    deployment.quota_objects.health.set(StoreHealth::Failing);
    assert_eq!(deployment.send(generate(SUNSET)).status, 200);
    assert!(deployment.log.has("served_stale_if_error"));
    assert_eq!(deployment.send(with(generate(SUNSET), ACCEPT, "text/event-stream")).status, 200);
    let results = json(&deployment.send(batch(&format!(r#"{{"requests": [{SUNSET}, {HARBOUR}]}}"#))));
    assert_eq!((&results["results"][0]["status"], &results["results"][1]["status"]), (&200.into(), &503.into()));
    assert_eq!(deployment.origin_requests(), 1);
}

#[test]
fn a_batch_over_the_quota_is_answered_as_far_as_it_is_cached() {
    let deployment = deployment(&plan(15, 1_000));
    deployment.send_and_finish(generate(SUNSET));
    let mixed = deployment.send(batch(&format!(r#"{{"requests": [{HARBOUR}, {SUNSET}]}}"#)));
    let results = &json(&mixed)["results"];
    assert_eq!(results[0]["problem"]["code"], "rate_limited");
    assert_eq!(results[1]["status"], 200);
    let alone = deployment.send(batch(&format!(r#"{{"requests": [{HARBOUR}]}}"#)));
    assert_eq!(problem(&alone).code, ProblemCode::RateLimited);
}

#[test]
fn a_larger_plan_counts_from_the_next_question_on() {
    let mut deployment = deployment(&plan(10, 1_000));
    deployment.send_and_finish(generate(SUNSET));
    assert_eq!(deployment.send(generate(HARBOUR)).status, 429);
    set_plan(&mut deployment, &plan(100, 1_000));
    deployment.clock.advance_s(11);
    assert_eq!(burst_left(&deployment.send(generate(HARBOUR))), 90);
}

#[test]
fn a_flood_with_one_key_is_stopped_before_anything_is_counted() {
    let deployment = deployment(&plan(1_000, 10_000));
    deployment.flood_of_keys.requests_max.set(2);
    for _ in 0..2 {
        assert_eq!(deployment.send_and_finish(generate(SUNSET)).status, 200);
    }
    let refused = deployment.send(generate(SUNSET));
    assert_eq!(problem(&refused).code, ProblemCode::RateLimited);
    assert_eq!(refused.headers.get(RETRY_AFTER), Some("10"));
    assert!(refused.headers.get(RATELIMIT_POLICY).is_some());
    let names: Vec<_> = deployment.flood_of_keys.counts.borrow().keys().cloned().collect();
    assert!(names.len() == 1 && !names[0].contains(API_KEY), "the key itself is given to nobody: {names:?}");
}

#[test]
fn strangers_are_counted_by_address_and_known_callers_are_not() {
    let deployment = Deployment::new();
    deployment.flood_of_strangers.requests_max.set(2);
    let stranger =
        |address| with(with(generate(SUNSET), AUTHORIZATION, "Bearer nobody"), CF_CONNECTING_IP, address);
    let codes: Vec<u16> = (0..3).map(|_| deployment.send(stranger("203.0.113.7")).status).collect();
    assert_eq!(codes, [401, 401, 429]);
    assert_eq!(deployment.send(stranger("203.0.113.8")).status, 401);
    assert_eq!(deployment.send(with(generate(SUNSET), CF_CONNECTING_IP, "203.0.113.7")).status, 200);
}

#[test]
fn a_flood_limiter_that_fails_lets_everybody_through_and_says_so() {
    for health in [StoreHealth::Failing, StoreHealth::Hanging] {
        let deployment = Deployment::new();
        deployment.flood_of_keys.health.set(health);
        deployment.flood_of_strangers.health.set(health);
        assert_eq!(deployment.send(generate(SUNSET)).status, 200);
        assert_eq!(deployment.send(with(generate(SUNSET), AUTHORIZATION, "")).status, 401);
        assert!(deployment.log.has("flood_limiter_failed"));
    }
}

#[test]
fn a_problem_of_the_origin_carries_what_is_left_too() {
    let deployment = deployment(&plan(100, 1_000));
    deployment.set_origin(|_| {
        let problem = Problem::new(ProblemCode::Overloaded, "the queue is full").retry_after(7);
        Ok(super::fixtures::problem_answer(&problem))
    });
    let response = deployment.send(generate(SUNSET));
    assert_eq!((response.headers.get(RETRY_AFTER), burst_left(&response)), (Some("7"), 99));
}
