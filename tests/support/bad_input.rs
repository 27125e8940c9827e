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
    [unreadable(), fields_at_fault(), vocabulary_at_fault(), fields_in_conflict(), wrong_routes(), wrong_keys()]
        .into_iter()
        .flatten()
        .collect()
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

fn described(field: &str, value: serde_json::Value) -> serde_json::Value {
    json!({ "content_description": "x", field: value })
}

fn fields_at_fault() -> Vec<BadRequest> {
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

fn vocabulary_at_fault() -> Vec<BadRequest> {
    let list = |items: usize| (0..items).map(|n| format!("word{n}")).collect::<Vec<_>>();
    let banned_words = json!(["fine", {}, "!?", "x".repeat(41)]);
    let must_include = json!(["fine", 7, "\u{202e}", "#tag", "x".repeat(61)]);
    vec![
        BadRequest::field("a language by its name", &described("language", "English".into()), &["/language"]),
        BadRequest::field("not a language tag", &described("language", "en_US; DROP".into()), &["/language"]),
        BadRequest::field("unknown emoji level", &described("emoji", "🔥".into()), &["/emoji"]),
        BadRequest::field("unknown call to action", &described("call_to_action", 1.into()), &["/call_to_action"]),
        BadRequest::field("must_include not a list", &described("must_include", "x".into()), &["/must_include"]),
        BadRequest::field("9 texts to include", &described("must_include", list(9).into()), &["/must_include"]),
        BadRequest::field(
            "texts to include at fault",
            &described("must_include", must_include),
            &["/must_include/1", "/must_include/2", "/must_include/3", "/must_include/4"],
        ),
        BadRequest::field("51 banned words", &described("banned_words", list(51).into()), &["/banned_words"]),
        BadRequest::field(
            "banned words at fault",
            &described("banned_words", banned_words),
            &["/banned_words/1", "/banned_words/2", "/banned_words/3"],
        ),
        BadRequest::field("an empty brand voice", &described("brand_voice", " \u{0} ".into()), &["/brand_voice"]),
        BadRequest::field(
            "a long brand voice",
            &described("brand_voice", "x".repeat(281).into()),
            &["/brand_voice"],
        ),
        BadRequest::field("max_length 39", &described("max_length", 39.into()), &["/max_length"]),
        BadRequest::field("max_length 2,201", &described("max_length", 2_201.into()), &["/max_length"]),
        BadRequest {
            method: Method::GET,
            path: "/api/v14/generate?content_description=x&emoji=lots&must_include=a,,b&max_length=many",
            ..BadRequest::field("lists in a query", &json!({}), &["/emoji", "/must_include/1", "/max_length"])
        },
    ]
}

fn fields_in_conflict() -> Vec<BadRequest> {
    let banned =
        json!({ "content_description": "x", "must_include": ["A cheap deal"], "banned_words": ["CHEAP"] });
    let pictured = json!({ "content_description": "x", "must_include": ["fine", "party 🎉"], "emoji": "none" });
    let crowded = json!({ "content_description": "x", "must_include": ["x".repeat(39)], "max_length": 40 });
    let hurried = json!({ "content_description": "x", "call_to_action": "shop", "max_length": 59 });
    vec![
        BadRequest::field("a banned word to include", &banned, &["/banned_words/0"]),
        BadRequest::field("an emoji to include where none may be", &pictured, &["/must_include/1"]),
        BadRequest::field("no room for a text to include", &crowded, &["/max_length"]),
        BadRequest::field("no room for a call to action", &hurried, &["/max_length"]),
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
