//! Every way to ask wrongly, and the answer that says what to change.

use lede_shared::api::{BATCH_PATH, GENERATE_PATH};
use lede_shared::problem::ProblemCode;

use super::deployment::{Deployment, batch, generate, json, post, problem, request, with};
use crate::bindings::in_memory::ChunksInMemory;
use crate::http::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, JSON, Method, Request, WWW_AUTHENTICATE};

/// The problem, and that neither a store nor the origin was asked.
fn refused(request: Request) -> (u16, ProblemCode, Vec<String>) {
    let deployment = Deployment::new();
    let response = deployment.send_and_finish(request);
    let problem = problem(&response);
    assert_eq!((deployment.origin_requests(), deployment.captions.reads.get()), (0, 0));
    (problem.status, problem.code, problem.errors.into_iter().map(|error| error.pointer).collect())
}

fn invalid(pointers: &[&str]) -> (u16, ProblemCode, Vec<String>) {
    (422, ProblemCode::InvalidFields, pointers.iter().map(ToString::to_string).collect())
}

fn plain(status: u16, code: ProblemCode) -> (u16, ProblemCode, Vec<String>) {
    (status, code, Vec::new())
}

#[test]
fn bodies_that_cannot_be_read_are_malformed() {
    let malformed = plain(400, ProblemCode::MalformedRequest);
    assert_eq!(refused(request(Method::Post, GENERATE_PATH)), malformed, "no body");
    assert_eq!(refused(generate("")), malformed, "an empty body");
    assert_eq!(refused(generate("not JSON")), malformed);
    assert_eq!(
        refused(post(GENERATE_PATH, b"{\"content_description\": \"\xff\xfe\"}")),
        malformed,
        "invalid UTF-8"
    );
    assert_eq!(refused(batch("[")), malformed);
}

#[test]
fn fields_at_fault_are_pointed_at() {
    let fields = |body: &str| refused(generate(body));
    assert_eq!(fields("[]"), invalid(&[""]));
    assert_eq!(fields("{}"), invalid(&["/content_description"]));
    assert_eq!(fields(r#"{"content_description": 5}"#), invalid(&["/content_description"]));
    assert_eq!(fields(r#"{"content_description": "  "}"#), invalid(&["/content_description"]));
    let long = "x".repeat(2_001);
    assert_eq!(fields(&format!(r#"{{"content_description": "{long}"}}"#)), invalid(&["/content_description"]));
    assert_eq!(fields(r#"{"content_description": "a", "style": "gothic"}"#), invalid(&["/style"]));
    for count in ["-1", "31", "\"5\"", "1.5"] {
        let body = format!(r#"{{"content_description": "a", "hashtag_count": {count}}}"#);
        assert_eq!(fields(&body), invalid(&["/hashtag_count"]), "{count}");
    }
    let two = r#"{"content_description": 5, "style": 5}"#;
    assert_eq!(fields(two), invalid(&["/content_description", "/style"]));
}

#[test]
fn items_at_fault_and_fields_in_conflict_are_pointed_at() {
    let fields = |fields: &str| refused(generate(&format!(r#"{{"content_description": "a", {fields}}}"#)));
    assert_eq!(fields(r#""must_include": ["fine", ""]"#), invalid(&["/must_include/1"]));
    assert_eq!(
        fields(r#""must_include": ["cheap"], "banned_words": ["x", "CHEAP"]"#),
        invalid(&["/banned_words/1"])
    );
    assert_eq!(fields(r#""call_to_action": "shop", "max_length": 59"#), invalid(&["/max_length"]));
    let item = r#"{"requests": [{"content_description": "a"}, {"content_description": "b", "emoji": "none",
        "must_include": ["🎉"]}]}"#;
    let response = Deployment::new().send_and_finish(batch(item));
    assert_eq!(json(&response)["results"][1]["problem"]["errors"][0]["pointer"], "/requests/1/must_include/0");
}

#[test]
fn the_longest_description_is_taken() {
    let body = format!(r#"{{"content_description": "{}"}}"#, "x".repeat(2_000));
    assert_eq!(Deployment::new().send(generate(&body)).status, 200);
}

#[test]
fn a_body_above_the_limit_is_refused_unread() {
    let too_large = plain(413, ProblemCode::BodyTooLarge);
    let ten_megabytes = vec![b' '; 10_000_000];
    assert_eq!(refused(post(GENERATE_PATH, &ten_megabytes)), too_large);
    assert_eq!(refused(post(BATCH_PATH, &ten_megabytes)), too_large);
    let mut undeclared = post(GENERATE_PATH, &ten_megabytes);
    undeclared.headers.0.retain(|(name, _)| *name != CONTENT_LENGTH);
    assert_eq!(refused(undeclared), too_large);
}

#[test]
fn a_body_that_breaks_off_is_malformed() {
    let mut request = post(GENERATE_PATH, b"");
    request.headers.0.retain(|(name, _)| *name != CONTENT_LENGTH);
    request.body = Some(Box::new(ChunksInMemory::broken_after(&[b"{\"content"])));
    assert_eq!(refused(request), plain(400, ProblemCode::MalformedRequest));
}

#[test]
fn a_body_that_never_arrives_is_not_waited_for_without_end() {
    for declared in [true, false] {
        let mut request = post(GENERATE_PATH, b"0123456789");
        if !declared {
            request.headers.0.retain(|(name, _)| *name != CONTENT_LENGTH);
        }
        request.body = Some(Box::new(ChunksInMemory::hanging_after(&[b"{\"content"])));
        assert_eq!(refused(request), plain(504, ProblemCode::DeadlineExceeded));
    }
}

#[test]
fn only_json_is_taken() {
    let unsupported = plain(415, ProblemCode::UnsupportedMediaType);
    assert_eq!(refused(with(generate("{}"), CONTENT_TYPE, "text/plain")), unsupported);
    let mut silent = generate("{}");
    silent.headers.0.retain(|(name, _)| *name != CONTENT_TYPE);
    assert_eq!(refused(silent), unsupported);
}

#[test]
fn unknown_routes_and_methods_are_told_apart() {
    assert_eq!(refused(request(Method::Get, "/nowhere")), plain(404, ProblemCode::NotFound));
    let response = Deployment::new().send(request(Method::Get, BATCH_PATH));
    assert_eq!((response.status, response.headers.get(ALLOW)), (405, Some("POST")));
    let response = Deployment::new().send(request(Method::Other, GENERATE_PATH));
    assert_eq!((response.status, response.headers.get(ALLOW)), (405, Some("GET, HEAD, POST")));
}

#[test]
fn a_caller_without_a_known_key_is_challenged_and_its_body_left_alone() {
    for path in [GENERATE_PATH, BATCH_PATH] {
        for (authorization, code) in
            [("", ProblemCode::MissingApiKey), ("Bearer guess", ProblemCode::InvalidApiKey)]
        {
            // A body that fails when it is read.
            let mut request = with(request(Method::Post, path), AUTHORIZATION, authorization);
            request.headers.push(CONTENT_TYPE, JSON);
            request.body = Some(Box::new(ChunksInMemory::broken_after(&[])));
            let response = Deployment::new().send(request);
            assert_eq!((response.status, problem(&response).code), (401, code), "{path}");
            assert!(response.headers.get(WWW_AUTHENTICATE).is_some_and(|value| value.starts_with("Bearer")));
        }
    }
}

#[test]
fn a_query_string_is_checked_like_a_body() {
    let query = |query: &str| refused(request(Method::Get, &format!("{GENERATE_PATH}?{query}")));
    assert_eq!(query(""), invalid(&["/content_description"]));
    assert_eq!(query("content_description=a&hashtag_count=31"), invalid(&["/hashtag_count"]));
    assert_eq!(query("content_description=a&hashtag_count=five"), invalid(&["/hashtag_count"]));
    assert_eq!(query("content_description=a&style=gothic"), invalid(&["/style"]));
    assert_eq!(query("content_description=a&must_include=b,,c"), invalid(&["/must_include/1"]));
    assert_eq!(query("content_description=a&max_length=long"), invalid(&["/max_length"]));
    assert_eq!(query("content_description=%ff"), plain(400, ProblemCode::MalformedRequest));
    assert_eq!(query("content_description=a&content_description=b"), plain(400, ProblemCode::MalformedRequest));
}

#[test]
fn a_batch_with_an_unsound_frame_is_refused() {
    assert_eq!(refused(batch("{}")), invalid(&["/requests"]));
    assert_eq!(refused(batch(r#"{"requests": 5}"#)), invalid(&["/requests"]));
    assert_eq!(refused(batch(r#"{"requests": []}"#)), invalid(&["/requests"]));
    let many = vec!["{}"; 101].join(",");
    assert_eq!(refused(batch(&format!(r#"{{"requests": [{many}]}}"#))), invalid(&["/requests"]));
}
