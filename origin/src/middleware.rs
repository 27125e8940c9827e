//! What every request passes, outermost first.

mod identify;
mod panics;

use axum::Router;

pub use identify::RequestContext;
pub(crate) use identify::{HEADERS_TYPICAL, in_milliseconds};

/// Wraps `routes` in the middleware. It is one layer, because each costs a hit a box and a copy of all routes' way; the
/// order within it is the list's.
///
/// 1. `identify`: request id and trace context in; on the way out it writes problems, sets the headers that every
///    answer has, and logs one line.
/// 2. `panics`: a panic in a handler becomes a problem like any other.
pub fn apply(routes: Router) -> Router {
    routes.layer(identify::Identify)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::routing::get;
    use lede_shared::problem::{Problem, ProblemCode};
    use tower::ServiceExt;

    use super::*;

    async fn panicking() -> &'static str {
        panic!("secret details");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_without_its_message_and_the_next_request_is_served() {
        let routes = apply(Router::new().route("/panic", get(panicking)).route("/fine", get(|| async { "fine" })));
        let ask = |path: &str| Request::get(path).header("x-request-id", "request-1").body(Body::empty()).unwrap();
        let response = routes.clone().oneshot(ask("/panic")).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["x-request-id"], "request-1");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.code, ProblemCode::InternalError);
        assert_eq!(problem.request_id.as_deref(), Some("request-1"));
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
        assert_eq!(routes.oneshot(ask("/fine")).await.unwrap().status(), 200);
    }
}
