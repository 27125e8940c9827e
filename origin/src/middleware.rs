//! What every request passes, outermost first.

mod identify;
mod panics;

use axum::Router;
use axum::middleware::from_fn;
use tower_http::catch_panic::CatchPanicLayer;

pub use identify::RequestContext;

/// Wraps `routes` in the middleware. The order is the list's order, whatever the order of the calls below.
///
/// 1. `identify`: request id and trace context in; on the way out it writes problems, sets the headers that every
///    answer has, and logs one line.
/// 2. `panics`: a panic in a handler becomes a problem like any other.
pub fn apply(routes: Router) -> Router {
    // `layer` wraps what is there, so the last call is the outermost.
    routes.layer(CatchPanicLayer::custom(panics::to_problem)).layer(from_fn(identify::identify))
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
