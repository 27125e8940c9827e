//! `/api/v14/generate` for those who want to see the caption being written: the way of [`super::captions`], told as
//! server-sent events.
//!
//! A hit is told at once. A miss is passed on from the origin as it comes, and looked at on the way: when it is complete
//! it is stored as any other answer. The caller who leaves drops the stream, and with it the origin's work.

use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use lede_shared::api::CaptionResponse;
use lede_shared::api::stream::{StreamEvent, replayed};
use lede_shared::cache_status::{CacheOutcome, ForwardReason};
use lede_shared::freshness::Cacheability;
use lede_shared::headers::{CACHE_STATUS, EVENT_STREAM, EVENT_STREAM_ESSENCE, X_ACCEL_BUFFERING, accept_names};
use lede_shared::problem::Problem;

use super::captions::{
    Wanted, after_origin, forwarded_failure, not_cached, revalidate_behind, served, store_behind,
};
use crate::auth::Principal;
use crate::bindings::{BindingError, ByteSource};
use crate::context::RequestContext;
use crate::error::Failure;
use crate::http::{ACCEPT, Body, CACHE_CONTROL, CONTENT_TYPE, Headers, Method, Request, Response};
use crate::origin_client::{self, OriginFailure, OriginStream, Told};
use crate::quota::{self, Charge, Cost};
use crate::response_cache::{self, CachedAnswer, Lookup};
use crate::router::edge_cache_status;

/// What `Cache-Status` says of an answer whose fate is not known yet.
const DETAIL: &str = "streamed";

/// Is a stream asked for? `HEAD` asks for none.
pub(super) fn is_wanted(request: &Request) -> bool {
    let names_it = |accept: &str| accept_names(accept, EVENT_STREAM_ESSENCE);
    request.method != Method::Head && request.headers.get(ACCEPT).is_some_and(names_it)
}

/// Fresh: replay. Stale: replay, and revalidate behind. Miss: pass the origin's stream on, and store behind.
pub(super) async fn answer(
    context: &Rc<RequestContext>,
    principal: &Principal,
    wanted: Wanted,
) -> Result<Response, Failure> {
    let looking_up = response_cache::lookup(context, &wanted.key);
    match context.timed(&context.spans.cache_ms, looking_up).await {
        Lookup::Hit { answer, revalidate } => {
            quota::charge(context, principal, Cost::Hits(1)).await?.spend();
            if revalidate && response_cache::may_revalidate(context, &wanted.key) {
                revalidate_behind(context, principal, wanted);
            }
            replay(context, &answer)
        }
        Lookup::Miss { why, .. } if context.directives.only_if_cached => Err(not_cached(why)),
        Lookup::Miss { why, stale_if_error } => forward(context, principal, wanted, (why, stale_if_error)).await,
    }
}

async fn forward(
    context: &Rc<RequestContext>,
    principal: &Principal,
    wanted: Wanted,
    (why, stale_if_error): (ForwardReason, Option<CachedAnswer>),
) -> Result<Response, Failure> {
    let cost = Cost::GeneratedVariants(u32::from(wanted.request.variants()));
    let charge = match (quota::charge(context, principal, cost).await, &stale_if_error) {
        (Ok(charge), _) => charge,
        (Err(failure), Some(stale)) if failure.is_outage() => {
            return standing_in(context, stale, &failure.problem);
        }
        (Err(failure), _) => return Err(failure),
    };
    let claims = origin_client::claims(context, principal);
    let asking = origin_client::ask_streaming(context, &claims, (wanted.request.to_json(), &wanted.key));
    let failure = match context.timed(&context.spans.origin_ms, asking).await {
        Ok(begun) => return Ok(pass_on(context, wanted, (why, charge), begun)),
        Err(failure) => failure,
    };
    settle_as_hit(Some(charge));
    match stale_if_error.filter(|_| failure.is_outage()) {
        Some(stale) => standing_in(context, &stale, &failure.problem),
        None => Err(forwarded_failure(why, failure)),
    }
}

/// What is kept, in place of what cannot be had.
fn standing_in(context: &RequestContext, stale: &CachedAnswer, problem: &Problem) -> Result<Response, Failure> {
    context.warn("served_stale_if_error", problem.code.as_str());
    replay(context, stale)
}

/// What was not generated for this caller costs what a hit costs.
fn settle_as_hit(charge: Option<Charge>) {
    if let Some(charge) = charge {
        charge.settle(Cost::Hits(1).cells());
    }
}

fn replay(context: &RequestContext, cached: &CachedAnswer) -> Result<Response, Failure> {
    let outcome = CacheOutcome::Hit { ttl_s: cached.freshness.ttl_s(context.now()) };
    let cache_status = edge_cache_status(outcome, Some(cached.tier.into()));
    let events = replayed(&served(context, cached)?);
    Ok(respond(cache_status, Body::Whole(events.into_bytes())))
}

fn pass_on(
    context: &Rc<RequestContext>,
    wanted: Wanted,
    (why, charge): (ForwardReason, Charge),
    (mut origin, first): (OriginStream, Told),
) -> Response {
    let outcome = CacheOutcome::Forwarded { why, stored: false, collapsed: false };
    let cache_status = after_origin(origin.cache_status.take(), edge_cache_status(outcome, Some(DETAIL)));
    let context = Rc::clone(context);
    let passing = Passing { context, wanted, charge: Some(charge), first: Some(first), origin: Some(origin) };
    respond(cache_status, Body::Streamed(Box::new(passing)))
}

fn respond(cache_status: String, body: Body) -> Response {
    let headers = vec![
        (CONTENT_TYPE, EVENT_STREAM.to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (X_ACCEL_BUFFERING, "no".to_owned()),
        (CACHE_STATUS, cache_status),
    ];
    Response { status: 200, headers: Headers(headers), body }
}

/// The origin's stream on its way to the caller.
struct Passing {
    context: Rc<RequestContext>,
    wanted: Wanted,
    /// Until it is known what it is worth. Who leaves before pays all of it.
    charge: Option<Charge>,
    first: Option<Told>,
    /// None when everything has been told.
    origin: Option<OriginStream>,
}

impl Passing {
    async fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(first) = self.first.take() {
            return Some(self.pass(first));
        }
        match self.origin.as_mut()?.next(&self.context).await {
            Ok(Some(told)) => Some(self.pass(told)),
            Ok(None) => {
                self.end();
                None
            }
            Err(failure) => {
                self.end();
                Some(self.error(failure))
            }
        }
    }

    fn pass(&mut self, told: Told) -> Vec<u8> {
        if let Some(response) = told.done {
            let charge = self.charge.take();
            if response.performance_metrics.cache_hit {
                settle_as_hit(charge);
            }
            self.store(response);
        }
        told.events
    }

    fn end(&mut self) {
        self.origin = None;
        settle_as_hit(self.charge.take());
    }

    fn store(&self, response: CaptionResponse) {
        let context = &self.context;
        let created = self.origin.as_ref().map_or(context.started_at, |origin| origin.created);
        let verdict = response_cache::storable(context, &self.wanted.request, &response);
        if verdict == Cacheability::Storable {
            store_behind(context, self.wanted.key, context.config.lifetimes.record(created), &response);
        }
    }

    /// In place of what the origin has left untold. Whole events only have been passed on, so this is one too.
    fn error(&self, failure: OriginFailure) -> Vec<u8> {
        let problem = failure.problem.for_request(self.context.trace.request_id.as_str());
        StreamEvent::Error(problem).to_sse().into_bytes()
    }
}

impl ByteSource for Passing {
    fn whole(&mut self) -> LocalBoxFuture<'_, Result<Vec<u8>, BindingError>> {
        async move {
            let mut whole = Vec::new();
            while let Some(events) = self.next().await {
                whole.extend(events);
            }
            Ok(whole)
        }
        .boxed_local()
    }

    fn next_chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, BindingError>> {
        self.next().map(Ok).boxed_local()
    }
}
