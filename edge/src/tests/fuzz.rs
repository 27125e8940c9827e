//! The whole pipeline against what anybody may send, what a store may hold and what an origin may answer. `PROPTEST_CASES`
//! makes it long.

#[path = "../../../tests/fuzz/damaged.rs"]
mod damaged;

use std::sync::LazyLock;

use lede_shared::api::{BATCH_PATH, GENERATE_PATH};
use proptest::prelude::*;

use self::damaged::damaged;
use super::deployment::{API_KEY, Deployment, generate, json, request, whole, with};
use super::fixtures::{answer, caption_response, sound_origin};
use crate::bindings::in_memory::ChunksInMemory;
use crate::http::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, JSON, Method, Request, Response};

/// Enough to be quick; long runs set `PROPTEST_CASES`.
const CASES: u32 = 300;
const SUNSET: &str = r#"{"content_description": "Sunset over the ocean"}"#;

static BODIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let batch = format!(r#"{{"requests": [{SUNSET}, {{"content_description": "Harbour", "style": "bold"}}]}}"#);
    [SUNSET, &batch].map(|body| body.as_bytes().to_vec()).to_vec()
});
static ANSWERS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let problem =
        r#"{"type":"about:blank","title":"x","status":503,"code":"overloaded","detail":"x","retry_after_s":1}"#;
    vec![serde_json::json!(caption_response("Hello")).to_string().into_bytes(), problem.as_bytes().to_vec()]
});
static HEADER_VALUES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let values = [
        &format!("Bearer {API_KEY}"),
        "no-cache, max-age=10",
        "application/json; charset=utf-8",
        "W/\"0a\", *",
        "17",
    ];
    values.map(|value| value.as_bytes().to_vec()).to_vec()
});

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(CASES), ..ProptestConfig::default() }
}

/// Method, target, body, and headers by their position among those that are read.
type AnyRequest = (Method, String, Vec<u8>, Vec<(usize, Vec<u8>)>);

fn any_request() -> impl Strategy<Value = AnyRequest> {
    let methods = prop::sample::select(vec![Method::Get, Method::Head, Method::Post, Method::Other]);
    let paths = prop::sample::select(vec![GENERATE_PATH, BATCH_PATH, "/api/v14/info", "/health/ready", "/", "//"]);
    let query = damaged(&[b"?content_description=a+harbour&style=bold&seed=7".to_vec(), Vec::new()]);
    let target = (paths, query).prop_map(|(path, query)| format!("{path}{}", String::from_utf8_lossy(&query)));
    let headers = prop::collection::vec((0..Request::HEADERS_READ.len(), damaged(&HEADER_VALUES)), 0..4);
    (methods, target, damaged(&BODIES), headers)
}

/// What a caller may rely on, whatever was sent.
fn is_an_answer(response: &Response, has_body: bool) -> Result<(), TestCaseError> {
    prop_assert!((200..600).contains(&response.status), "{response:?}");
    prop_assert!(response.headers.get("x-request-id").is_some_and(|id| !id.is_empty()), "{response:?}");
    let media_type = response.headers.get(CONTENT_TYPE);
    if has_body && media_type.is_some_and(|media_type| media_type.contains("json")) {
        prop_assert!(serde_json::from_slice::<serde_json::Value>(whole(response)).is_ok(), "{response:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_request_gets_an_answer((method, target, body, headers) in any_request()) {
        let deployment = Deployment::with_origin(|_| Ok(answer(200, JSON, "{}")));
        let mut sent = request(method, &target);
        sent.headers.push(CONTENT_TYPE, JSON);
        sent.headers.push(CONTENT_LENGTH, body.len().to_string());
        sent.body = Some(Box::new(ChunksInMemory::new(&[&body])));
        for (name, value) in headers {
            sent = with(sent, Request::HEADERS_READ[name], &String::from_utf8_lossy(&value));
        }
        is_an_answer(&deployment.send_and_finish(sent), method != Method::Head)?;
    }

    #[test]
    fn an_entry_that_is_damaged_is_a_miss_or_a_caption_and_never_an_error(damage in damaged(&ANSWERS), place in any::<u16>()) {
        let deployment = Deployment::with_origin(sound_origin);
        deployment.send_and_finish(generate(SUNSET));
        for (value, _) in deployment.captions.entries.borrow_mut().values_mut() {
            let place = usize::from(place) % (value.len() + 1);
            value.truncate(place);
            value.extend_from_slice(&damage);
        }
        let again = deployment.send_and_finish(generate(SUNSET));
        is_an_answer(&again, true)?;
        prop_assert_eq!(again.status, 200);
        prop_assert!(json(&again)["caption"].is_string());
    }

    #[test]
    fn whatever_the_origin_answers_the_caller_gets_an_answer(
        (status, body) in (100_u16..1_000, damaged(&ANSWERS)),
        broken in any::<bool>(),
    ) {
        let deployment = Deployment::with_origin(move |_| {
            let mut answered = answer(status, JSON, &String::from_utf8_lossy(&body));
            if broken {
                answered.body = Some(Box::new(ChunksInMemory::broken_after(&[&body])));
            }
            Ok(answered)
        });
        let sent = with(generate(SUNSET), AUTHORIZATION, &format!("Bearer {API_KEY}"));
        is_an_answer(&deployment.send_and_finish(sent), true)?;
    }
}
