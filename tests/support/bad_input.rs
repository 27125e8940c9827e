//! What a hostile or mistaken caller may send, and what each side must answer. Both sides are held to one table.

use lede_shared::problem::{Problem, ProblemCode};
use reqwest::Method;
use serde_json::json;

use crate::{API_KEY, client, problem_of};

/// One bad request and the problem it must get.
pub struct BadRequest {
    /// What is wrong with it.
    pub name: &'static str,
    method: Method,
    path: &'static str,
    content_type: Option<&'static str>,
    api_key: Option<&'static str>,
    body: Vec<u8>,
    /// The code of the problem.
    pub code: ProblemCode,
    /// The pointers of its errors.
    pub pointers: &'static [&'static str],
}

const GENERATE: &str = "/api/v14/generate";
const BATCH: &str = "/api/v14/batch";
const TEN_MEGABYTES: usize = 10 * 1_024 * 1_024;

impl BadRequest {
    fn post(name: &'static str, body: impl Into<Vec<u8>>, code: ProblemCode) -> Self {
        Self {
            name,
            method: Method::POST,
            path: GENERATE,
            content_type: Some("application/json"),
            api_key: Some(API_KEY),
            body: body.into(),
            code,
            pointers: &[],
        }
    }

    fn field(name: &'static str, body: &serde_json::Value, pointers: &'static [&'static str]) -> Self {
        Self { pointers, ..Self::post(name, body.to_string(), ProblemCode::InvalidFields) }
    }

    /// Sends it to `url`.
    ///
    /// # Panics
    /// When there is no answer, or one that is not a problem document.
    pub async fn send(&self, url: &str) -> Problem {
        let mut request = client().request(self.method.clone(), format!("{url}{}", self.path));
        if let Some(content_type) = self.content_type {
            request = request.header("content-type", content_type);
        }
        if let Some(api_key) = self.api_key {
            request = request.bearer_auth(api_key);
        }
        let sent = request.body(self.body.clone()).send().await;
        problem_of(sent.unwrap_or_else(|error| panic!("{}: {error}", self.name))).await
    }
}

/// The whole table.
#[must_use]
pub fn bad_requests() -> Vec<BadRequest> {
    [unreadable(), fields_at_fault(), wrong_routes(), wrong_keys()].into_iter().flatten().collect()
}

fn unreadable() -> Vec<BadRequest> {
    use ProblemCode::{BodyTooLarge, MalformedRequest, UnsupportedMediaType};
    let valid = r#"{"content_description": "x"}"#;
    vec![
        BadRequest::post("no body", "", MalformedRequest),
        BadRequest::post("not JSON", "content_description=sunset", MalformedRequest),
        BadRequest::post("half a JSON document", r#"{"content_description": "x"#, MalformedRequest),
        BadRequest::post("invalid UTF-8", &b"{\"content_description\": \"\xff\xfe\"}"[..], MalformedRequest),
        BadRequest::post("a body of 10 MB", vec![b'x'; TEN_MEGABYTES], BodyTooLarge),
        BadRequest {
            path: BATCH,
            ..BadRequest::post("a batch of 10 MB", vec![b'x'; TEN_MEGABYTES], BodyTooLarge)
        },
        BadRequest { content_type: Some("text/plain"), ..BadRequest::post("text", valid, UnsupportedMediaType) },
        BadRequest { content_type: None, ..BadRequest::post("no content type", valid, UnsupportedMediaType) },
        BadRequest {
            method: Method::GET,
            path: "/api/v14/generate?content_description=%FF",
            ..BadRequest::post("a query that is not UTF-8", "", MalformedRequest)
        },
    ]
}

fn fields_at_fault() -> Vec<BadRequest> {
    let described = |field: &str, value: serde_json::Value| json!({ "content_description": "x", field: value });
    vec![
        BadRequest::field("not an object", &json!([1]), &[""]),
        BadRequest::field("no description", &json!({}), &["/content_description"]),
        BadRequest::field("wrong type", &json!({ "content_description": 7 }), &["/content_description"]),
        BadRequest::field("0 characters", &json!({ "content_description": "" }), &["/content_description"]),
        BadRequest::field(
            "2,001 characters",
            &json!({ "content_description": "x".repeat(2_001) }),
            &["/content_description"],
        ),
        BadRequest::field("unknown style", &described("style", "loud".into()), &["/style"]),
        BadRequest::field("hashtag_count -1", &described("hashtag_count", (-1).into()), &["/hashtag_count"]),
        BadRequest::field("hashtag_count 31", &described("hashtag_count", 31.into()), &["/hashtag_count"]),
        BadRequest::field("unknown field", &described("styel", "bold".into()), &["/styel"]),
        BadRequest::field(
            "two fields at once",
            &json!({ "content_description": "", "variants": 9 }),
            &["/content_description", "/variants"],
        ),
        BadRequest {
            path: BATCH,
            ..BadRequest::field("an empty batch", &json!({ "requests": [] }), &["/requests"])
        },
        BadRequest {
            path: BATCH,
            ..BadRequest::field("101 requests", &json!({ "requests": vec![sample(); 101] }), &["/requests"])
        },
        BadRequest {
            method: Method::GET,
            path: "/api/v14/generate?content_description=x&style=loud&hashtag_count=31",
            ..BadRequest::field("a query at fault", &json!({}), &["/style", "/hashtag_count"])
        },
    ]
}

fn sample() -> serde_json::Value {
    json!({ "content_description": "x" })
}

fn wrong_routes() -> Vec<BadRequest> {
    use ProblemCode::{MethodNotAllowed, NotFound};
    let body = sample().to_string();
    vec![
        BadRequest { path: "/api/v14/nothing", ..BadRequest::post("unknown route", body.clone(), NotFound) },
        BadRequest { path: "/api/v13/generate", ..BadRequest::post("unknown version", body.clone(), NotFound) },
        BadRequest { method: Method::PUT, ..BadRequest::post("wrong method", body.clone(), MethodNotAllowed) },
        BadRequest { method: Method::DELETE, ..BadRequest::post("another wrong method", body, MethodNotAllowed) },
        BadRequest {
            method: Method::GET,
            path: BATCH,
            ..BadRequest::post("a batch cannot be a GET", "", MethodNotAllowed)
        },
    ]
}

fn wrong_keys() -> Vec<BadRequest> {
    use ProblemCode::{InvalidApiKey, MissingApiKey};
    let body = sample().to_string();
    vec![
        BadRequest { api_key: None, ..BadRequest::post("no key", body.clone(), MissingApiKey) },
        BadRequest { api_key: Some("lede_wrong"), ..BadRequest::post("wrong key", body.clone(), InvalidApiKey) },
        BadRequest { api_key: None, path: BATCH, ..BadRequest::post("no key for a batch", body, MissingApiKey) },
        BadRequest {
            api_key: None,
            method: Method::GET,
            path: "/api/v14/generate?content_description=x",
            ..BadRequest::post("no key for a GET", "", MissingApiKey)
        },
    ]
}
