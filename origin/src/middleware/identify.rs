//! 1. Who asks under which id, and what every answer carries.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use lede_shared::headers::{
    CACHE_STATUS, PROBLEM_JSON, SERVER_TIMING, TRACEPARENT, X_REQUEST_ID, traceparent_is_valid,
};
use lede_shared::problem::Problem;
use lede_shared::request_id::RequestId;

use crate::error::Cause;

/// What is known of a request before its handler runs.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Taken over from the caller, or new.
    pub request_id: RequestId,
    /// When handling began.
    pub started_at: Instant,
}

pub(super) async fn identify(mut request: Request, next: Next) -> Response {
    let context = RequestContext { request_id: request_id(&request), started_at: Instant::now() };
    let traceparent =
        request.headers().get(TRACEPARENT).filter(|value| value.to_str().is_ok_and(traceparent_is_valid));
    let traceparent = traceparent.cloned();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    request.extensions_mut().insert(context.clone());
    let mut response = write_problem(next.run(request).await, &context.request_id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(context.request_id.as_str()) {
        headers.insert(X_REQUEST_ID, value);
    }
    if let Some(traceparent) = traceparent {
        headers.insert(TRACEPARENT, traceparent);
    }
    let total_ms = context.started_at.elapsed().as_secs_f64() * 1_000.0;
    if let Ok(value) = HeaderValue::from_str(&format!("total;dur={total_ms:.3}")) {
        headers.append(HeaderName::from_static(SERVER_TIMING), value);
    }
    log_line(&response, &method, &route, (&context, total_ms));
    response
}

fn request_id(request: &Request) -> RequestId {
    let sent = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    sent.and_then(RequestId::parse).unwrap_or_else(new_request_id)
}

fn new_request_id() -> RequestId {
    let mut entropy = [0; 16];
    if getrandom::fill(&mut entropy).is_err() {
        // An id need not be secret: without entropy the clock still tells requests apart.
        let nanoseconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        entropy = nanoseconds.as_nanos().to_be_bytes();
    }
    RequestId::from_entropy(entropy)
}

/// Writes out the problem that a failed response carries.
fn write_problem(mut response: Response, request_id: &RequestId) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let problem = problem.for_request(request_id.as_str());
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.extensions_mut().insert(problem.code);
    *response.body_mut() = Body::from(body);
    response
}

fn log_line(response: &Response, method: &Method, route: &str, (context, total_ms): (&RequestContext, f64)) {
    let status = response.status().as_u16();
    let code = response.extensions().get::<lede_shared::problem::ProblemCode>().map(|code| code.as_str());
    let cause = response.extensions().get::<Cause>().map(|cause| cause.0.as_str());
    let cache = response.headers().get(CACHE_STATUS).and_then(|value| value.to_str().ok());
    let request_id = context.request_id.as_str();
    let total_ms = (total_ms * 1_000.0).round() / 1_000.0;
    if response.status().is_server_error() {
        tracing::warn!(%method, route, status, total_ms, request_id, code, cause, cache, "answered");
    } else {
        tracing::info!(%method, route, status, total_ms, request_id, code, cause, cache, "answered");
    }
}
