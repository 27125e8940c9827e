//! 1. Who asks under which id, and what every answer carries.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use lede_shared::headers::{PROBLEM_JSON, SERVER_TIMING, TRACEPARENT, X_REQUEST_ID, traceparent_is_valid};
use lede_shared::problem::Problem;
use lede_shared::request_id::RequestId;
use pin_project_lite::pin_project;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tower::{Layer, Service};

use super::panics::Contained;
use crate::error::Cause;

/// So many headers has an answer with all that is added on its way out. One growth of the map costs as much as a few of
/// them.
pub(crate) const HEADERS_TYPICAL: usize = 12;

static REQUEST_ID_NAME: HeaderName = HeaderName::from_static(X_REQUEST_ID);
static TRACEPARENT_NAME: HeaderName = HeaderName::from_static(TRACEPARENT);
static SERVER_TIMING_NAME: HeaderName = HeaderName::from_static(SERVER_TIMING);

/// What is known of a request before its handler runs.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Taken over from the caller, or new.
    pub request_id: RequestId,
    /// When handling began.
    pub started_at: Instant,
}

/// The layer. It is a service of its own rather than a function, which would box each request's way twice more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identify;

impl<S> Layer<S> for Identify {
    type Service = Identifying<S>;

    fn layer(&self, routes: S) -> Identifying<S> {
        Identifying(routes)
    }
}

/// Routes whose requests have an id and whose answers carry it.
#[derive(Clone, Debug)]
pub(super) struct Identifying<S>(S);

impl<S: Service<Request, Response = Response, Error = Infallible>> Service<Request> for Identifying<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Identified<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Identified<S::Future> {
        let asked = Asked::by(&request);
        request.extensions_mut().insert(asked.context.clone());
        Identified { answering: Contained::new(self.0.call(request)), asked }
    }
}

pin_project! {
    /// An answer under way.
    pub(super) struct Identified<F> {
        #[pin]
        answering: Contained<F>,
        asked: Asked,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Identified<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answering.poll(context));
        Poll::Ready(Ok(this.asked.answer(response)))
    }
}

/// What the way out has to know of the way in.
struct Asked {
    context: RequestContext,
    traceparent: Option<HeaderValue>,
    method: Method,
    route: Option<MatchedPath>,
}

impl Asked {
    fn by(request: &Request) -> Self {
        let traceparent = request.headers().get(&TRACEPARENT_NAME);
        let traceparent = traceparent.filter(|value| value.to_str().is_ok_and(traceparent_is_valid));
        Self {
            context: RequestContext { request_id: request_id(request), started_at: Instant::now() },
            traceparent: traceparent.cloned(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
        }
    }

    fn answer(&mut self, response: Response) -> Response {
        let request_id = self.context.request_id.as_str();
        let mut response = write_problem(response, request_id);
        let headers = response.headers_mut();
        headers.reserve(HEADERS_TYPICAL.saturating_sub(headers.len()));
        if let Ok(value) = HeaderValue::from_str(request_id) {
            headers.insert(&REQUEST_ID_NAME, value);
        }
        if let Some(traceparent) = self.traceparent.take() {
            headers.insert(&TRACEPARENT_NAME, traceparent);
        }
        let total = self.context.started_at.elapsed();
        if let Ok(value) = HeaderValue::from_str(&format!("total;dur={}", in_milliseconds(total))) {
            headers.append(&SERVER_TIMING_NAME, value);
        }
        self.log(&response, total);
        response
    }

    fn log(&self, response: &Response, total: Duration) {
        let (method, route) = (self.method.as_str(), self.route.as_ref().map_or("none", MatchedPath::as_str));
        let status = response.status().as_u16();
        let code = response.extensions().get::<lede_shared::problem::ProblemCode>().map(|code| code.as_str());
        let cause = response.extensions().get::<Cause>().map(|cause| cause.0.as_str());
        let cache = response.headers().get(header::CACHE_STATUS).and_then(|value| value.to_str().ok());
        let request_id = self.context.request_id.as_str();
        let total_ms = (total.as_secs_f64() * 1_000_000.0).round() / 1_000.0;
        if response.status().is_server_error() {
            tracing::warn!(method, route, status, total_ms, request_id, code, cause, cache, "answered");
        } else {
            tracing::info!(method, route, status, total_ms, request_id, code, cause, cache, "answered");
        }
    }
}

/// Milliseconds with three decimals, as `Server-Timing` has them.
pub(crate) fn in_milliseconds(duration: Duration) -> impl std::fmt::Display {
    let us = (duration.as_nanos() + 500) / 1_000;
    let (whole, thousandths) = (us / 1_000, us % 1_000);
    std::fmt::from_fn(move |formatter| write!(formatter, "{whole}.{thousandths:03}"))
}

fn request_id(request: &Request) -> RequestId {
    let sent = request.headers().get(&REQUEST_ID_NAME).and_then(|value| value.to_str().ok());
    sent.and_then(RequestId::parse).unwrap_or_else(new_request_id)
}

/// Ids need not be secret, only different: each thread draws them from a generator that the system has seeded.
fn new_request_id() -> RequestId {
    thread_local! {
        static IDS: RefCell<ChaCha8Rng> = RefCell::new(ChaCha8Rng::from_seed(seed()));
    }
    let mut entropy = [0; 16];
    IDS.with_borrow_mut(|ids| ids.fill_bytes(&mut entropy));
    RequestId::from_entropy(entropy)
}

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    if getrandom::fill(&mut seed).is_err() {
        // Without entropy, clock and thread still tell requests apart.
        let nanoseconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        seed[..16].copy_from_slice(&nanoseconds.as_nanos().to_be_bytes());
        let thread = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::thread::current().id());
        seed[16..24].copy_from_slice(&thread.to_be_bytes());
    }
    seed
}

/// Writes out the problem that a failed response carries.
fn write_problem(mut response: Response, request_id: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let problem = problem.for_request(request_id);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.extensions_mut().insert(problem.code);
    *response.body_mut() = Body::from(body);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_milliseconds_with_three_decimals() {
        for (ns, told) in
            [(0, "0.000"), (499, "0.000"), (500, "0.001"), (1_000_000, "1.000"), (12_345_678, "12.346")]
        {
            assert_eq!(in_milliseconds(Duration::from_nanos(ns)).to_string(), told);
        }
    }

    #[test]
    fn no_two_new_ids_are_alike_on_any_thread() {
        let draw = || (0..1_000).map(|_| new_request_id()).collect::<Vec<_>>();
        let mut ids: Vec<RequestId> =
            (0..4).map(|_| std::thread::spawn(draw)).flat_map(|drawn| drawn.join().unwrap()).collect();
        ids.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        ids.dedup();
        assert_eq!(ids.len(), 4_000);
    }
}
