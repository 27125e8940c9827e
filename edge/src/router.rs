//! The route table, and what every answer carries.

use std::rc::Rc;

use lede_shared::api::{BATCH_PATH, GENERATE_PATH, INFO_PATH};
use lede_shared::cache_status::{CacheOutcome, CacheStatus, ForwardReason};
use lede_shared::headers::{CACHE_STATUS, SERVER_TIMING, TRACEPARENT, X_REQUEST_ID};
use lede_shared::problem::{Problem, ProblemCode};

use crate::bindings::Bindings;
use crate::config::{Config, ConfigError};
use crate::context::{RequestContext, Spans, Trace};
use crate::cors;
use crate::error::Failure;
use crate::http::{Body, Method, Request, Response};
use crate::quota;
use crate::routes::{batch, captions, health, info, purge};

/// What administrators purge caches with.
const PURGE_PATH: &str = "/admin/v1/purge";

/// Which code answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    GenerateFromBody,
    GenerateFromQuery,
    Batch,
    Info,
    Live,
    Ready,
    Preflight,
    Purge,
}

/// Path and method to route. `HEAD` goes where `GET` goes; every path that there is takes `OPTIONS`.
fn route(method: Method, path: &str) -> Result<Route, Failure> {
    use Method::{Get, Head, Options, Post};
    match (path, method) {
        (_, Options) => match route(Get, path) {
            Err(failure) if failure.problem.code == ProblemCode::NotFound => Err(failure),
            _ => Ok(Route::Preflight),
        },
        (GENERATE_PATH, Post) => Ok(Route::GenerateFromBody),
        (GENERATE_PATH, Get | Head) => Ok(Route::GenerateFromQuery),
        (GENERATE_PATH, _) => Err(Failure::method_not_allowed("GET, HEAD, POST")),
        (BATCH_PATH, Post) => Ok(Route::Batch),
        (PURGE_PATH, Post) => Ok(Route::Purge),
        (BATCH_PATH | PURGE_PATH, _) => Err(Failure::method_not_allowed("POST")),
        (INFO_PATH, Get | Head) => Ok(Route::Info),
        ("/health" | "/health/live", Get | Head) => Ok(Route::Live),
        ("/health/ready", Get | Head) => Ok(Route::Ready),
        (INFO_PATH | "/health" | "/health/live" | "/health/ready", _) => {
            Err(Failure::method_not_allowed("GET, HEAD"))
        }
        _ => Err(Failure::not_found()),
    }
}

async fn dispatch(context: &Rc<RequestContext>, request: Request) -> Result<Response, Failure> {
    match route(request.method, &request.path)? {
        Route::GenerateFromBody => captions::from_body(context, request).await,
        Route::GenerateFromQuery => captions::from_query(context, &request).await,
        Route::Batch => batch::batch(context, request).await,
        Route::Info => Ok(info::info(context)),
        Route::Live => Ok(health::live()),
        Route::Ready => health::ready(context).await,
        Route::Preflight => Ok(cors::preflight()),
        Route::Purge => purge::from_body(context, request).await,
    }
}

/// Answers any request, whatever is wrong with it or with the deployment.
pub(crate) async fn answer(
    config: Result<Rc<Config>, ConfigError>,
    bindings: Bindings,
    request: Request,
) -> Response {
    let head = request.method == Method::Head;
    let trace = Trace::of(&request.headers, &bindings);
    let mut response = match config {
        Ok(config) => within_context(config, bindings, trace, request).await,
        Err(error) => not_configured(error, &bindings, &trace),
    };
    if head {
        response.body = Body::empty();
    }
    response
}

async fn within_context(config: Rc<Config>, bindings: Bindings, trace: Trace, request: Request) -> Response {
    let context = RequestContext::new(config, bindings, trace, &request.headers);
    let answered = dispatch(&context, request).await;
    let mut response = answered.unwrap_or_else(|failure| failure.into_response(context.trace.request_id.as_str()));
    quota::describe(&context, &mut response.headers);
    response.headers.push(SERVER_TIMING, context.spans.server_timing(context.elapsed_ms()));
    finish(response, &context.trace)
}

/// The operator's fault: says which binding, never its value.
fn not_configured(error: ConfigError, bindings: &Bindings, trace: &Trace) -> Response {
    let line = serde_json::json!({
        "severity": "error", "event": "not_configured", "cause": error.to_string(),
        "request_id": trace.request_id.as_str(),
    });
    bindings.log.write(&line.to_string());
    let problem = Problem::new(ProblemCode::InternalError, format!("the edge is not configured: {error}"));
    let response = Failure::from(problem).into_response(trace.request_id.as_str());
    finish(response.with(SERVER_TIMING, Spans::default().server_timing(0)), trace)
}

/// The headers of every answer.
fn finish(mut response: Response, trace: &Trace) -> Response {
    if response.headers.get(CACHE_STATUS).is_none() {
        let not_asked = CacheOutcome::Forwarded { why: ForwardReason::Bypass, stored: false, collapsed: false };
        response.headers.push(CACHE_STATUS, edge_cache_status(not_asked, None));
    }
    response.headers.push(X_REQUEST_ID, trace.request_id.as_str());
    response.headers.push(TRACEPARENT, trace.traceparent.as_str());
    cors::allow_reading(&mut response.headers);
    response
}

/// Our own member of `Cache-Status`.
pub(crate) fn edge_cache_status(outcome: CacheOutcome, detail: Option<&str>) -> String {
    CacheStatus { cache: "lede-edge", outcome, detail }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_route_is_not_found_whatever_the_method() {
        for path in ["/", "/api/v14/generate/", "/api/v13/generate", "/api/v14/jobs", "/health/deep"] {
            let failure = route(Method::Post, path).unwrap_err();
            assert_eq!(failure.problem.code, ProblemCode::NotFound, "{path}");
        }
    }

    #[test]
    fn head_goes_where_get_goes() {
        for path in [GENERATE_PATH, INFO_PATH, "/health", "/health/live", "/health/ready"] {
            assert_eq!(route(Method::Head, path).unwrap(), route(Method::Get, path).unwrap(), "{path}");
        }
    }

    #[test]
    fn every_path_that_there_is_takes_options_and_no_other_does() {
        for path in [GENERATE_PATH, BATCH_PATH, INFO_PATH, "/health", "/health/live", "/health/ready"] {
            assert_eq!(route(Method::Options, path).unwrap(), Route::Preflight, "{path}");
        }
        assert_eq!(route(Method::Options, "/nowhere").unwrap_err().problem.code, ProblemCode::NotFound);
    }

    #[test]
    fn a_route_refuses_the_methods_it_does_not_take() {
        for (method, path) in
            [(Method::Other, GENERATE_PATH), (Method::Get, BATCH_PATH), (Method::Post, INFO_PATH)]
        {
            let failure = route(method, path).unwrap_err();
            assert_eq!(failure.problem.code, ProblemCode::MethodNotAllowed, "{path}");
        }
    }
}
