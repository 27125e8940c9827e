//! What lets pages of other sites ask (the CORS protocol of the Fetch standard). An API key travels in a header that a
//! page has to set itself, never in a cookie, so any site may ask and read: nothing is sent on a visitor's behalf
//! that the page does not know already.

use crate::http::{Body, Headers, Response};

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const EXPOSE_HEADERS: &str = "access-control-expose-headers";
/// What a page may read besides the body; browsers hide every other header.
const EXPOSED: &str =
    "age, cache-status, etag, ratelimit, ratelimit-policy, retry-after, server-timing, x-request-id";
const METHODS: &str = "GET, HEAD, POST";
const REQUEST_HEADERS: &str =
    "accept, authorization, cache-control, content-type, if-none-match, traceparent, x-priority, x-request-id";
/// A day; browsers keep it for less.
const MAX_AGE_S: &str = "86400";

/// The answer to a browser that asks before it asks. It says the same of every route; what a route does not take,
/// it refuses when it is asked.
pub(crate) fn preflight() -> Response {
    let headers = Headers(vec![
        ("access-control-allow-methods", METHODS.to_owned()),
        ("access-control-allow-headers", REQUEST_HEADERS.to_owned()),
        ("access-control-max-age", MAX_AGE_S.to_owned()),
    ]);
    Response { status: 204, headers, body: Body::empty() }
}

/// Put on every answer, whoever asks and however it went: a cache on the way may hand it to somebody else, and a page
/// that may not read a problem cannot tell its visitor of it.
pub(crate) fn allow_reading(headers: &mut Headers) {
    headers.push(ALLOW_ORIGIN, "*");
    headers.push(EXPOSE_HEADERS, EXPOSED);
}
