//! The client against real sockets whose other end follows a script.

mod provider;
mod self_signed;

use std::time::{Duration, Instant};

use lede_shared::breaker::BreakerSettings;
use serde_json::{Value, json};

use self::provider::{Provider, completion, status};
use super::*;

const MESSAGES: [Message<'static>; 1] = [Message { role: "user", content: "a quiet harbour" }];
const GOOD: &str = r#"{"variants": [{"caption": "Slow light.", "hashtags": ["sun"]}]}"#;
const NEVER: BreakerSettings = BreakerSettings { failures_to_open: u32::MAX, open_for_ms: 1 };

fn settings(provider: &Provider) -> RemoteSettings {
    RemoteSettings {
        base_url: format!("http://{}/v1", provider.address).parse().unwrap(),
        api_key: ProviderKey::parse("sk-secret"),
        model: "writer-1".to_owned(),
        timeout: Duration::from_secs(10),
        concurrency_max: 64,
        retry_percent: 10,
        breaker: NEVER,
        response_bytes_max: 16 * 1_024,
    }
}

fn remote(provider: &Provider) -> Remote {
    Remote::new(settings(provider)).unwrap()
}

fn ask(within: Duration) -> Ask<'static> {
    Ask { messages: &MESSAGES, variants: 1, seed: None, is_again: false, deadline: Instant::now() + within }
}

const PATIENT: Duration = Duration::from_secs(20);

fn failed_with(outcome: Result<Written, RemoteError>) -> CallError {
    match outcome {
        Err(RemoteError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_good_answer_is_read_and_the_request_says_who_asks_for_what() {
    let provider = Provider::start(|_| completion(GOOD)).await;
    let written = remote(&provider).write(&ask(PATIENT)).await.unwrap();
    let proposals = written.proposals.unwrap();
    assert_eq!(
        (proposals[0].caption.as_str(), proposals[0].hashtags.as_slice()),
        ("Slow light.", &["sun".to_owned()][..])
    );
    assert_eq!((written.prompt_tokens, written.completion_tokens), (7, 5));
    let request = provider.requests().remove(0);
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("authorization: bearer sk-secret\r\n"), "{request}");
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["messages"][0], json!({ "role": "user", "content": "a quiet harbour" }));
    assert_eq!(body["response_format"]["type"], "json_schema");
}

#[tokio::test]
async fn a_provider_that_fails_for_a_moment_is_asked_again() {
    let provider = Provider::start(|nth| if nth < 2 { status(503, "") } else { completion(GOOD) }).await;
    assert!(remote(&provider).write(&ask(PATIENT)).await.is_ok());
    assert_eq!(provider.requests().len(), 3);
}

#[tokio::test]
async fn a_wait_that_the_provider_names_is_kept_when_it_fits_the_deadline() {
    let provider =
        Provider::start(|nth| if nth == 0 { status(429, "retry-after: 1\r\n") } else { completion(GOOD) }).await;
    let started = Instant::now();
    assert!(remote(&provider).write(&ask(PATIENT)).await.is_ok());
    assert!(started.elapsed() >= Duration::from_secs(1));
    let provider = Provider::start(|_| status(429, "retry-after: 60\r\n")).await;
    let started = Instant::now();
    let error = failed_with(remote(&provider).write(&ask(PATIENT)).await);
    assert_eq!(error, CallError::Status { status: 429, retry_after: Some(Duration::from_secs(60)) });
    assert!(started.elapsed() < Duration::from_secs(1) && provider.requests().len() == 1);
}

#[tokio::test]
async fn what_will_not_get_better_is_asked_once_and_nobody_is_followed_elsewhere() {
    for (code, headers) in [(400, ""), (401, ""), (404, ""), (302, "location: /v1/elsewhere\r\n"), (204, "")] {
        let provider = Provider::start(move |_| status(code, headers)).await;
        let error = failed_with(remote(&provider).write(&ask(PATIENT)).await);
        assert_eq!(error, CallError::Status { status: code, retry_after: None });
        assert_eq!(provider.requests().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_whether_announced_or_not() {
    let body = "x".repeat(20 * 1_024);
    for head in [format!("content-length: {}\r\n", body.len()), "connection: close\r\n".to_owned()] {
        let reply = format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}");
        let provider = Provider::start(move |_| reply.clone()).await;
        let error = failed_with(remote(&provider).write(&ask(PATIENT)).await);
        assert_eq!(error, CallError::TooLarge(16 * 1_024));
    }
}

#[tokio::test]
async fn a_cut_connection_and_an_answer_that_is_no_completion_are_failures_told_apart() {
    for reply in ["", "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"choices\": ["] {
        let provider = Provider::start(move |_| reply.to_owned()).await;
        let error = failed_with(remote(&provider).write(&ask(PATIENT)).await);
        assert!(matches!(error, CallError::Cut(_)), "{error}");
    }
    for body in ["<html>", "{}", "[1]", "{\"choices\": 3}"] {
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let provider = Provider::start(move |_| reply.clone()).await;
        assert_eq!(failed_with(remote(&provider).write(&ask(PATIENT)).await), CallError::NotACompletion, "{body}");
    }
}

#[tokio::test]
async fn a_slow_provider_is_waited_for_until_the_deadline_or_the_time_of_an_attempt() {
    let provider = Provider::silent().await;
    let hurried = remote(&provider).write(&ask(Duration::from_millis(50))).await.unwrap_err();
    assert_eq!(hurried, RemoteError::DeadlineExceeded);
    let impatient = RemoteSettings { timeout: Duration::from_millis(50), ..settings(&provider) };
    let error = failed_with(Remote::new(impatient).unwrap().write(&ask(PATIENT)).await);
    assert_eq!(error, CallError::TimedOut);
}

#[tokio::test]
async fn a_provider_that_keeps_failing_is_left_alone_and_tried_again_later() {
    let provider = Provider::start(|nth| if nth < 2 { status(500, "") } else { completion(GOOD) }).await;
    let breaker = BreakerSettings { failures_to_open: 2, open_for_ms: 300 };
    let remote = Remote::new(RemoteSettings { retry_percent: 0, breaker, ..settings(&provider) }).unwrap();
    for _ in 0..2 {
        assert!(remote.is_usable());
        failed_with(remote.write(&ask(PATIENT)).await);
    }
    assert!(!remote.is_usable());
    let error = remote.write(&ask(PATIENT)).await.unwrap_err();
    assert!(matches!(error, RemoteError::LeftAlone { wait_ms: 1..=300 }), "{error}");
    assert_eq!(provider.requests().len(), 2, "nothing was sent");
    tokio::time::sleep(Duration::from_millis(310)).await;
    assert!(remote.is_usable());
    assert!(remote.write(&ask(PATIENT)).await.is_ok());
}

#[tokio::test]
async fn callers_in_a_hurry_do_not_make_the_provider_look_dead() {
    let provider = Provider::silent().await;
    let breaker = BreakerSettings { failures_to_open: 1, open_for_ms: 60_000 };
    let remote = Remote::new(RemoteSettings { breaker, ..settings(&provider) }).unwrap();
    for _ in 0..3 {
        assert_eq!(
            remote.write(&ask(Duration::from_millis(20))).await.unwrap_err(),
            RemoteError::DeadlineExceeded
        );
        let gone = tokio::time::timeout(Duration::from_millis(20), remote.write(&ask(PATIENT))).await;
        assert!(gone.is_err(), "the caller left");
    }
    assert!(remote.is_usable());
}

#[tokio::test]
async fn retries_stay_within_their_share_of_the_calls() {
    let provider = Provider::start(|_| status(500, "")).await;
    let remote = remote(&provider);
    let (calls, reserve) = (20, RETRIES_RESERVE as usize);
    let patient = ask(PATIENT);
    let outcomes = futures_util::future::join_all((0..calls).map(|_| remote.write(&patient))).await;
    assert!(outcomes.iter().all(Result::is_err));
    // All first tries are made at once, while the reserve is full, so none of them adds to it.
    assert_eq!(provider.requests().len(), calls + reserve);
}

#[tokio::test]
async fn asking_again_for_a_better_answer_is_a_retry_too() {
    let provider = Provider::start(|_| completion(GOOD)).await;
    let remote = Remote::new(RemoteSettings { retry_percent: 0, ..settings(&provider) }).unwrap();
    let again = Ask { is_again: true, ..ask(PATIENT) };
    assert_eq!(remote.write(&again).await.unwrap_err(), RemoteError::BudgetSpent);
    assert!(provider.requests().is_empty());
}

#[tokio::test]
async fn more_calls_than_are_allowed_are_not_made() {
    let provider = Provider::silent().await;
    let remote = Remote::new(RemoteSettings { concurrency_max: 1, ..settings(&provider) }).unwrap();
    let one = ask(Duration::from_millis(200));
    let (first, second) = tokio::join!(remote.write(&one), remote.write(&one));
    assert_eq!(first.unwrap_err(), RemoteError::DeadlineExceeded);
    assert_eq!(second.unwrap_err(), RemoteError::Full);
}

#[tokio::test]
async fn a_host_where_nobody_listens_or_that_speaks_no_tls_is_unreachable() {
    let provider = Provider::start(|_| completion(GOOD)).await;
    let mut nobody = settings(&provider).base_url;
    nobody.set_port(Some(1)).unwrap();
    let plain = format!("https://{}/v1", provider.address).parse().unwrap();
    for base_url in [nobody, plain] {
        let settings = RemoteSettings { base_url, retry_percent: 0, ..settings(&provider) };
        let error = failed_with(Remote::new(settings).unwrap().write(&ask(PATIENT)).await);
        assert!(matches!(error, CallError::Unreachable(_)), "{error}");
        assert!(!error.to_string().contains("/v1"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_refused() {
    let provider = Provider::silent().await;
    let base_url = format!("https://{}/v1", self_signed::start()).parse().unwrap();
    let remote = Remote::new(RemoteSettings { base_url, retry_percent: 0, ..settings(&provider) }).unwrap();
    let error = failed_with(remote.write(&ask(PATIENT)).await);
    assert!(matches!(&error, CallError::Unreachable(reason) if reason.contains("certificate")), "{error}");
}

#[test]
fn the_key_shows_in_no_debug_output() {
    let shown = format!("{:?}", ProviderKey::parse("sk-secret"));
    assert!(!shown.contains("secret"), "{shown}");
}
