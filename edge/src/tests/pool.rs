//! Several origins: who is asked, who is left alone, and what is lost when one dies.

use lede_shared::api::GENERATE_PATH;
use lede_shared::problem::{Problem, ProblemCode};

use super::deployment::{Deployment, generate, problem};
use super::fixtures::{answer, origin_down, problem_answer, sound_origin};
use crate::bindings::in_memory::ChunksInMemory;
use crate::bindings::{Clock, FetchError, IncomingResponse, OutgoingRequest};
use crate::http::{CONTENT_LENGTH, JSON, RETRY_AFTER};

const A: &str = "https://a.example";
const B: &str = "https://b.example";
const BOTH: &str = "https://a.example,https://b.example";
const BREAKER_OPEN_S: u64 = 5;

type Answered = Result<IncomingResponse, FetchError>;
type Conduct = Box<dyn Fn(&OutgoingRequest) -> Answered>;

/// Two origins: `faulty` answers for the first, the second is sound.
fn with_faulty_a(faulty: impl Fn(&OutgoingRequest) -> Answered + 'static) -> Deployment {
    Deployment::with_origins(BOTH, move |request| {
        if request.url.starts_with(A) { faulty(request) } else { sound_origin(request) }
    })
}

fn post(number: usize) -> crate::http::Request {
    generate(&format!(r#"{{"content_description": "Post number {number}"}}"#))
}

/// Sends that many different posts. How many were answered with a caption?
fn answered(deployment: &Deployment, numbers: std::ops::Range<usize>) -> usize {
    numbers.filter(|number| deployment.send_and_finish(post(*number)).status == 200).count()
}

/// Requests for captions, not for health.
fn generations_at(deployment: &Deployment, url: &str) -> usize {
    deployment.requests_to(&format!("{url}{GENERATE_PATH}"))
}

#[test]
fn each_origin_answers_for_its_own_part_of_the_keys_and_always_for_the_same() {
    let deployment = Deployment::with_origins("https://a.example;weight=3,https://b.example", sound_origin);
    assert_eq!(answered(&deployment, 0..400), 400);
    let (at_a, at_b) = (generations_at(&deployment, A), generations_at(&deployment, B));
    assert_eq!(at_a + at_b, 400);
    assert!((260..=340).contains(&at_a), "three quarters of 400, not {at_a}");

    let again = Deployment::with_origins("https://b.example,https://a.example;weight=3", sound_origin);
    answered(&again, 0..400);
    let urls = |deployment: &Deployment| -> Vec<String> {
        deployment.origin.requests.borrow().iter().map(|request| request.url.clone()).collect()
    };
    assert_eq!(urls(&again), urls(&deployment), "whatever the order in the configuration");
}

#[test]
fn no_request_is_lost_when_one_of_two_origins_fails_in_any_way() {
    let cut = |_: &OutgoingRequest| {
        let mut response = answer(200, JSON, "");
        response.body = Some(Box::new(ChunksInMemory::broken_after(&[b"{\"id\":"])));
        response.headers.0.retain(|(name, _)| *name != CONTENT_LENGTH);
        Ok(response)
    };
    let faults: [(&str, Conduct); 8] = [
        ("gone", Box::new(origin_down)),
        ("too late", Box::new(|_: &OutgoingRequest| Err(FetchError::TimedOut))),
        ("an error page", Box::new(|_| Ok(answer(500, "text/html", "<html>")))),
        ("a gateway's error", Box::new(|_| Ok(answer(502, "text/html", "<html>")))),
        ("a page", Box::new(|_| Ok(answer(200, "text/html", "<html>hello</html>")))),
        ("not the contract", Box::new(|_| Ok(answer(200, JSON, "{\"id\": 7}")))),
        ("cut", Box::new(cut)),
        ("sick", Box::new(|_| Ok(problem_answer(&Problem::new(ProblemCode::InternalError, "sick"))))),
    ];
    for (name, fault) in faults {
        let deployment = with_faulty_a(fault);
        assert_eq!(answered(&deployment, 0..200), 200, "{name}");
        // The clock stands, so its breaker stays open after five failures.
        assert_eq!(generations_at(&deployment, A), 5, "{name}");
        assert!(deployment.log.has("origin_breaker_opened"), "{name}");
    }
}

#[test]
fn a_silent_origin_is_hedged_and_then_left_alone() {
    let deployment = Deployment::with_origins(BOTH, sound_origin);
    deployment.origin.silent.borrow_mut().push(A.to_owned());
    let first_at_a = (0..).find(|number| {
        assert_eq!(answered(&deployment, *number..number + 1), 1);
        generations_at(&deployment, A) == 1
    });
    assert!(first_at_a.is_some());
    let waited_ms = deployment.clock.now().0 - super::deployment::NOW_MS;
    assert_eq!(waited_ms, 5_000, "a quarter of the time");
    assert_eq!(answered(&deployment, 20..120), 100);
    assert!(deployment.log.has("origin_hedged"));
    assert!(generations_at(&deployment, A) < 20, "{}", generations_at(&deployment, A));
}

#[test]
fn a_silent_origin_without_another_is_a_504_at_the_deadline() {
    let deployment = Deployment::with_origins(A, sound_origin);
    deployment.origin.silent.borrow_mut().push(A.to_owned());
    let response = deployment.send(post(1));
    assert_eq!(problem(&response).code, ProblemCode::DeadlineExceeded);
    assert_eq!(deployment.origin_requests(), 1);
}

#[test]
fn a_body_that_stops_coming_is_hedged_too() {
    let deployment = with_faulty_a(|_| {
        let mut response = answer(200, JSON, "");
        response.body = Some(Box::new(ChunksInMemory::hanging_after(&[b"{\"id\":"])));
        response.headers.0.retain(|(name, _)| *name != CONTENT_LENGTH);
        Ok(response)
    });
    assert_eq!(answered(&deployment, 0..50), 50);
}

#[test]
fn what_the_origin_says_of_the_request_is_passed_on_and_not_asked_elsewhere() {
    for code in [ProblemCode::RateLimited, ProblemCode::InvalidFields, ProblemCode::GenerationFailed] {
        let deployment = Deployment::with_origins(BOTH, move |_| Ok(problem_answer(&Problem::new(code, "no"))));
        for number in 0..10 {
            assert_eq!(problem(&deployment.send(post(number))).code, code);
        }
        assert_eq!(deployment.origin_requests(), 10, "{code:?}");
    }
}

#[test]
fn all_breakers_open_is_a_503_at_once_with_the_wait_for_the_first_trial() {
    let deployment = Deployment::with_origins(BOTH, origin_down);
    assert_eq!(answered(&deployment, 0..20), 0);
    let asked = deployment.origin_requests();
    assert!(asked <= 12, "five failures for each, and a pair may overlap: {asked}");
    deployment.clock.advance_s(2);
    let response = deployment.send(post(99));
    assert_eq!(problem(&response).code, ProblemCode::OriginUnavailable);
    assert_eq!(response.headers.get(RETRY_AFTER), Some("3"));
    assert_eq!(deployment.origin_requests(), asked, "nobody is asked");
}

#[test]
fn an_origin_that_is_back_is_found_by_a_probe_behind_an_answer_and_gets_its_part_again() {
    let deployment = with_faulty_a(origin_down);
    answered(&deployment, 0..40);
    deployment.clock.advance_s(BREAKER_OPEN_S);
    let asked = generations_at(&deployment, A);
    assert_eq!(answered(&deployment, 40..80), 40);
    assert_eq!(generations_at(&deployment, A), asked, "no caller tries it while its probe fails");
    assert!(deployment.requests_to("https://a.example/health/ready") > 0);

    deployment.set_origin(sound_origin);
    deployment.clock.advance_s(BREAKER_OPEN_S);
    assert_eq!(answered(&deployment, 80..180), 100);
    let share = generations_at(&deployment, A) - asked;
    assert!((30..=70).contains(&share), "about half of 100, not {share}");
}

#[test]
fn a_single_origin_that_is_back_answers_the_first_who_asks_after_the_wait() {
    let deployment = Deployment::with_origins(A, origin_down);
    assert_eq!(answered(&deployment, 0..20), 0);
    deployment.set_origin(sound_origin);
    assert_eq!(answered(&deployment, 20..21), 0, "not before its time");
    deployment.clock.advance_s(BREAKER_OPEN_S);
    assert_eq!(answered(&deployment, 21..31), 10);
}

#[test]
fn an_origin_that_says_it_is_not_ready_rests_and_costs_no_retries() {
    let loading = || Problem::new(ProblemCode::NotReady, "loading").retry_after(2);
    let deployment = with_faulty_a(move |_| Ok(problem_answer(&loading())));
    assert_eq!(answered(&deployment, 0..200), 200);
    assert_eq!(generations_at(&deployment, A), 1);
    deployment.clock.advance_s(2);
    assert_eq!(answered(&deployment, 200..400), 200);
    assert_eq!(generations_at(&deployment, A), 2);
    assert!(!deployment.log.has("origin_breaker_opened"));
}

#[test]
fn a_full_origin_s_rush_goes_to_others_only_as_far_as_the_retry_budget_goes() {
    let full = || Problem::new(ProblemCode::Overloaded, "all places are taken").retry_after(7);
    let deployment = with_faulty_a(move |_| Ok(problem_answer(&full())));
    let answered = answered(&deployment, 0..1_000);
    let (at_a, at_b) = (generations_at(&deployment, A), generations_at(&deployment, B));
    let retries = at_a + at_b - 1_000;
    assert!(retries <= 20 + 100, "{retries} retries");
    assert_eq!(answered, at_b, "what was retried was answered");
    assert!(!deployment.log.has("origin_breaker_opened"));
    let refused =
        (0..).map(|number| deployment.send(post(number))).find(|response| response.status != 200).unwrap();
    assert_eq!((problem(&refused).code, refused.headers.get(RETRY_AFTER)), (ProblemCode::Overloaded, Some("7")));
}

#[test]
fn failures_that_open_no_breaker_are_retried_within_the_budget() {
    // Every second answer is sound, so no five failures come in a row.
    let count = std::cell::Cell::new(0u32);
    let deployment = with_faulty_a(move |request| {
        count.set(count.get() + 1);
        if count.get().is_multiple_of(2) { sound_origin(request) } else { origin_down(request) }
    });
    answered(&deployment, 0..1_000);
    let retries = deployment.origin_requests() - 1_000;
    assert!((100..=120).contains(&retries), "{retries} retries");
}

#[test]
fn the_edge_is_ready_while_any_origin_is() {
    let ready = |deployment: &Deployment| {
        deployment.send(super::deployment::request(crate::http::Method::Get, "/health/ready")).status
    };
    assert_eq!(ready(&with_faulty_a(origin_down)), 200);
    assert_eq!(ready(&Deployment::with_origins(BOTH, origin_down)), 503);
    let silent = Deployment::with_origins(BOTH, sound_origin);
    silent.origin.silent.borrow_mut().push(A.to_owned());
    assert_eq!(ready(&silent), 200);
}
