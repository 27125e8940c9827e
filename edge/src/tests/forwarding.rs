//! What the origin's faults become.

use lede_shared::headers::{CACHE_STATUS, TRACEPARENT, X_DEADLINE_MS, X_LEDE_NONCE, X_REQUEST_ID};
use lede_shared::problem::{Problem, ProblemCode};

use super::deployment::{Deployment, NOW_MS, generate, json, problem, whole, with};
use super::fixtures::{answer, caption_response, origin_down, problem_answer, sound_origin};
use crate::bindings::in_memory::ChunksInMemory;
use crate::bindings::{FetchError, IncomingResponse};
use crate::http::{CONTENT_LENGTH, JSON, RETRY_AFTER};

const SUNSET: &str = r#"{"content_description": "Sunset over the ocean"}"#;
const SECRET_WORDS: &str = r#"{"content_description": "A secret garden"}"#;

#[test]
fn a_miss_is_forwarded_signed_with_a_deadline_and_its_names() {
    let deployment = Deployment::new();
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = with(with(generate(SUNSET), X_REQUEST_ID, "caller-0001"), TRACEPARENT, traceparent);
    deployment.send(request);
    let requests = deployment.origin.requests.borrow();
    let header = |name| requests[0].headers.get(name);
    assert_eq!(header(X_REQUEST_ID), Some("caller-0001"));
    assert_eq!(header(TRACEPARENT), Some(traceparent));
    assert_eq!(header(X_DEADLINE_MS), Some((NOW_MS + 20_000).to_string().as_str()));
    assert_eq!(requests[0].timeout_ms, 20_000);
    let canonical = r#"{"content_description":"Sunset over the ocean","style":"casual","hashtag_count":5,
        "optimization_level":"balanced","variants":1,"language":"en","emoji":"none","call_to_action":"none",
        "must_include":[],"banned_words":[],"brand_voice":null,"max_length":null,"seed":null}"#;
    let sent: serde_json::Value = serde_json::from_slice(requests[0].body.as_ref().unwrap()).unwrap();
    assert_eq!(sent, serde_json::from_str::<serde_json::Value>(canonical).unwrap());
}

#[test]
fn an_origin_that_is_down_is_a_503_with_retry_after_and_cached_captions_are_still_answered() {
    let deployment = Deployment::new();
    deployment.send_and_finish(generate(SUNSET));
    deployment.set_origin(origin_down);

    let refused = deployment.send(generate(SECRET_WORDS));
    assert_eq!(problem(&refused).code, ProblemCode::OriginUnavailable);
    assert_eq!((refused.status, refused.headers.get(RETRY_AFTER)), (503, Some("5")));
    assert_eq!(refused.headers.get(CACHE_STATUS), Some("lede-edge; fwd=uri-miss"));
    assert_eq!(deployment.send(generate(SUNSET)).status, 200);
}

#[test]
fn a_connection_that_fails_once_is_tried_again_with_a_new_nonce() {
    let deployment = Deployment::new();
    let failed = std::cell::Cell::new(false);
    deployment.set_origin(
        move |request| if failed.replace(true) { sound_origin(request) } else { origin_down(request) },
    );
    assert_eq!(deployment.send(generate(SUNSET)).status, 200);
    let requests = deployment.origin.requests.borrow();
    let nonces: Vec<_> = requests.iter().map(|request| request.headers.get(X_LEDE_NONCE).unwrap()).collect();
    assert_eq!(nonces.len(), 2);
    assert_ne!(nonces[0], nonces[1]);
}

#[test]
fn no_more_than_two_attempts_are_made() {
    let deployment = Deployment::with_origin(origin_down);
    deployment.send(generate(SUNSET));
    assert_eq!(deployment.origin_requests(), 2);
}

#[test]
fn an_origin_that_does_not_answer_in_time_is_a_504_and_is_not_asked_again() {
    let deployment = Deployment::with_origin(|_| Err(FetchError::TimedOut));
    let response = deployment.send(generate(SUNSET));
    assert_eq!((response.status, problem(&response).code), (504, ProblemCode::DeadlineExceeded));
    assert_eq!(deployment.origin_requests(), 1);
}

#[test]
fn an_answer_whose_body_stops_coming_is_a_504_too() {
    let deployment = Deployment::new();
    let clock = deployment.clock.clone();
    deployment.set_origin(move |_| {
        // The platform cuts the body when the request's time is over.
        clock.advance_s(20);
        let mut response = answer(200, JSON, "");
        response.body = Some(Box::new(ChunksInMemory::broken_after(&[b"{"])));
        Ok(response)
    });
    let response = deployment.send(generate(SUNSET));
    assert_eq!((response.status, problem(&response).code), (504, ProblemCode::DeadlineExceeded));
}

#[test]
fn the_origin_s_own_problem_is_passed_on_with_its_wait() {
    let overloaded = Problem::new(ProblemCode::Overloaded, "the queue is full").retry_after(9);
    let deployment = Deployment::with_origin(move |_| Ok(problem_answer(&overloaded)));
    let response = deployment.send(generate(SUNSET));
    let problem = problem(&response);
    assert_eq!((problem.code, problem.detail.as_str()), (ProblemCode::Overloaded, "the queue is full"));
    assert_eq!(response.headers.get(RETRY_AFTER), Some("9"));
}

#[test]
fn a_refused_signature_is_our_fault_and_not_told_to_the_caller() {
    for code in [ProblemCode::InvalidSignature, ProblemCode::ReplayedSignature, ProblemCode::Forbidden] {
        let deployment = Deployment::with_origin(move |_| Ok(problem_answer(&Problem::new(code, "no"))));
        let response = deployment.send(generate(SUNSET));
        assert_eq!(problem(&response).code, ProblemCode::OriginUnavailable, "{code:?}");
        assert!(!String::from_utf8_lossy(whole(&response)).contains("signature"));
        assert!(deployment.log.has("origin_problem"));
    }
}

#[test]
fn an_answer_that_is_not_of_the_contract_is_unavailable() {
    let answers: [fn() -> IncomingResponse; 7] = [
        || answer(200, JSON, "{}"),
        || answer(200, JSON, "<html>"),
        || answer(200, JSON, ""),
        || answer(302, "text/html", ""),
        || answer(502, "text/html", "<html>bad gateway</html>"),
        || answer(500, "application/problem+json", "{\"status\":500}"),
        || {
            answer(
                500,
                "application/problem+json",
                &serde_json::json!(Problem::new(ProblemCode::NotFound, "x")).to_string(),
            )
        },
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        let deployment = Deployment::with_origin(move |_| Ok(answer()));
        let response = deployment.send_and_finish(generate(SUNSET));
        assert_eq!(problem(&response).code, ProblemCode::OriginUnavailable, "case {index}");
        assert!(deployment.log.has("origin_answer_unreadable"), "case {index}");
        assert!(deployment.captions.entries.borrow().is_empty());
    }
}

#[test]
fn an_answer_that_is_too_long_or_cut_is_unavailable() {
    let long = || answer(200, JSON, &" ".repeat(256 * 1_024 + 1));
    let cut = || {
        let body = serde_json::json!(caption_response("Hello")).to_string();
        let mut response = answer(200, JSON, "");
        response.body = Some(Box::new(ChunksInMemory::broken_after(&[&body.as_bytes()[..40]])));
        response.headers.0.retain(|(name, _)| *name != CONTENT_LENGTH);
        response
    };
    for answer in [Box::new(long) as Box<dyn Fn() -> IncomingResponse>, Box::new(cut)] {
        let deployment = Deployment::with_origin(move |_| Ok(answer()));
        assert_eq!(problem(&deployment.send(generate(SUNSET))).code, ProblemCode::OriginUnavailable);
    }
}

#[test]
fn without_entropy_nothing_is_signed_and_cached_captions_are_still_answered() {
    let deployment = Deployment::new();
    deployment.send_and_finish(generate(SUNSET));
    deployment.entropy.failing.set(true);
    assert_eq!(problem(&deployment.send(generate(SECRET_WORDS))).code, ProblemCode::InternalError);
    assert_eq!(deployment.origin_requests(), 1);
    assert_eq!(deployment.send(generate(SUNSET)).status, 200);
}

#[test]
fn an_origin_hit_is_passed_on_as_it_is_and_its_age_counts() {
    let body = serde_json::json!(caption_response("Hello").served_from(lede_shared::api::CacheTier::Hot, 1.0))
        .to_string();
    let deployment = Deployment::with_origin(move |_| {
        let mut response = answer(200, JSON, &body);
        response.headers.push(crate::http::AGE, "30");
        Ok(response)
    });
    let first = deployment.send_and_finish(generate(SUNSET));
    assert_eq!(json(&first)["performance_metrics"]["cache_tier"], "hot");
    let second = deployment.send(generate(SUNSET));
    assert_eq!(second.headers.get(CACHE_STATUS), Some("lede-edge; hit; ttl=70; detail=isolate"));
}

#[test]
fn what_a_caller_wrote_is_in_no_log_line() {
    let deployment = Deployment::with_origin(origin_down);
    deployment.send(generate(SECRET_WORDS));
    let lines = deployment.log.0.borrow();
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| !line.contains("garden") && !line.contains("lede_test_key")), "{lines:?}");
}
