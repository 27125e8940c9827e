//! From a problem to an answer.

use lede_shared::headers::{CACHE_STATUS, PROBLEM_JSON};
use lede_shared::problem::{Problem, ProblemCode};

use crate::http::{
    ALLOW, Body, CACHE_CONTROL, CONTENT_TYPE, Headers, RETRY_AFTER, Response, WWW_AUTHENTICATE, to_json,
};

/// A request that ends with a problem, and the headers that belong to it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) problem: Problem,
    headers: Headers,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem, headers: Headers::default() }
    }
}

impl Failure {
    /// Is it a failure of ours, so that a stale answer is better than this one?
    pub(crate) fn is_outage(&self) -> bool {
        self.problem.status >= 500
    }

    /// 404.
    pub(crate) fn not_found() -> Self {
        Problem::new(ProblemCode::NotFound, "no route has this path").into()
    }

    /// 405 with the methods that the route takes.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let problem = Problem::new(ProblemCode::MethodNotAllowed, format!("this route takes {allow}"));
        Self::from(problem).with(ALLOW, allow)
    }

    /// 401 with the challenge that RFC 6750 asks for.
    pub(crate) fn unauthorized(code: ProblemCode, detail: &str, challenge: &str) -> Self {
        Self::from(Problem::new(code, detail)).with(WWW_AUTHENTICATE, challenge)
    }

    /// The same, saying what the caches on the way did.
    pub(crate) fn with_cache_status(self, cache_status: String) -> Self {
        self.with(CACHE_STATUS, cache_status)
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The problem document, which is never kept by anyone.
    pub(crate) fn into_response(self, request_id: &str) -> Response {
        let Self { problem, mut headers } = self;
        let problem = problem.for_request(request_id);
        headers.push(CONTENT_TYPE, PROBLEM_JSON);
        headers.push(CACHE_CONTROL, "no-store");
        if let Some(seconds) = problem.retry_after_s {
            headers.push(RETRY_AFTER, seconds.to_string());
        }
        Response { status: problem.status, headers, body: Body::Whole(to_json(&problem)) }
    }
}
