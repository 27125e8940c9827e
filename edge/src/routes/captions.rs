//! `POST` and `GET /api/v14/generate`: the way of one request.
//!
//! Both methods have the same cache key, so an answer to one serves the other.

use std::rc::Rc;

use lede_shared::api::{CaptionRequest, CaptionResponse, GENERATE_BODY_BYTES_MAX, ValidRequest};
use lede_shared::cache_key::CacheKey;
use lede_shared::cache_status::{CacheOutcome, ForwardReason};
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::{Cacheability, Freshness, FreshnessRecord};
use lede_shared::headers::CACHE_STATUS;
use lede_shared::plan::Scope;
use lede_shared::problem::{Problem, ProblemCode};

use super::stream;
use crate::auth::{Principal, authenticate, require};
use crate::body::receive_json;
use crate::context::RequestContext;
use crate::error::Failure;
use crate::http::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, Request, Response, VARY};
use crate::origin_client::{self, OriginAnswer, OriginFailure, OriginRequest};
use crate::quota::{self, Cost};
use crate::response_cache::{self, CachedAnswer, Flight, Lookup};
use crate::router::edge_cache_status;

/// `POST`: the request is the body. The answer is kept by us, not by caches in between.
pub(crate) async fn from_body(context: &Rc<RequestContext>, request: Request) -> Result<Response, Failure> {
    let principal = authenticate(context, &request.headers).await?;
    require(&principal, Scope::Captions)?;
    let streams = stream::is_wanted(&request);
    let body = receive_json(context.bindings.clock.as_ref(), request, GENERATE_BODY_BYTES_MAX).await?;
    let wanted = Wanted::new(context, &principal, CaptionRequest::from_json(&body)?.validate()?).await;
    if streams {
        return stream::answer(context, &principal, wanted).await;
    }
    let answer = generate(context, &principal, wanted).await?;
    Ok(answer.into_response("no-store".to_owned()))
}

/// `GET`: the request is the query string, and caches in between may keep the answer for the same key.
pub(crate) async fn from_query(context: &Rc<RequestContext>, request: &Request) -> Result<Response, Failure> {
    let principal = authenticate(context, &request.headers).await?;
    require(&principal, Scope::Captions)?;
    let request_wanted = CaptionRequest::from_query(&request.query)?.validate()?;
    let wanted = Wanted::new(context, &principal, request_wanted).await;
    if stream::is_wanted(request) {
        return stream::answer(context, &principal, wanted).await;
    }
    let key = wanted.key;
    let answer = generate(context, &principal, wanted).await?;
    let etag_is_known = request.headers.get(IF_NONE_MATCH).is_some_and(|sent| key.is_named_by(sent));
    let cache_control = cache_control(answer.freshness.as_ref(), context.now());
    let response = answer.into_response(cache_control).with(VARY, "authorization, accept");
    Ok(if etag_is_known { response.not_modified() } else { response })
}

/// A valid request and the name of its answer.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: CacheKey,
    pub(crate) request: ValidRequest,
}

impl Wanted {
    pub(crate) async fn new(context: &Rc<RequestContext>, principal: &Principal, request: ValidRequest) -> Self {
        Self { key: response_cache::key_of(context, principal, &request).await, request }
    }
}

/// Fresh: answer. Stale: answer, and revalidate behind. Miss: ask the origin, together with those of this isolate who ask for
/// the same, answer, and store behind.
async fn generate(context: &Rc<RequestContext>, principal: &Principal, wanted: Wanted) -> Result<Answer, Failure> {
    let looking_up = response_cache::lookup(context, &wanted.key);
    match context.timed(&context.spans.cache_ms, looking_up).await {
        Lookup::Hit { answer, revalidate } => {
            quota::charge(context, principal, Cost::Hits(1)).await?.spend();
            let key = wanted.key;
            if revalidate && response_cache::may_revalidate(context, &key) {
                revalidate_behind(context, principal, wanted);
            }
            Answer::from_cache(context, &key, &answer)
        }
        Lookup::Miss { why, .. } if context.directives.only_if_cached => Err(not_cached(why)),
        Lookup::Miss { why, stale_if_error } => forward(context, principal, wanted, why, stale_if_error).await,
    }
}

async fn forward(
    context: &Rc<RequestContext>,
    principal: &Principal,
    wanted: Wanted,
    why: ForwardReason,
    stale_if_error: Option<CachedAnswer>,
) -> Result<Answer, Failure> {
    let _leading = match response_cache::join(context, &wanted.key).await {
        Flight::Landed(answer) => {
            quota::charge(context, principal, Cost::Hits(1)).await?.spend();
            return Answer::from_neighbour(context, &wanted.key, why, &answer);
        }
        Flight::Leads(leading) => Some(leading),
        Flight::Alone => None,
    };
    let cost = Cost::GeneratedVariants(u32::from(wanted.request.variants()));
    let charge = match (quota::charge(context, principal, cost).await, &stale_if_error) {
        (Ok(charge), _) => charge,
        (Err(failure), Some(stale)) if failure.is_outage() => {
            return standing_in(context, &wanted.key, stale, &failure.problem);
        }
        (Err(failure), _) => return Err(failure),
    };
    let asked = context.timed(&context.spans.origin_ms, ask(context, principal, &wanted)).await;
    // What was not generated for this caller costs what a hit costs.
    if asked.as_ref().map_or(true, |answer| answer.content.performance_metrics.cache_hit) {
        charge.settle(Cost::Hits(1).cells());
    } else {
        charge.spend();
    }
    match (asked, stale_if_error) {
        (Ok(from_origin), _) => Ok(Answer::from_origin(context, &wanted, why, from_origin)),
        (Err(failure), Some(stale)) if failure.is_outage() => {
            standing_in(context, &wanted.key, &stale, &failure.problem)
        }
        (Err(failure), _) => Err(forwarded_failure(why, failure)),
    }
}

/// What is kept, in place of what cannot be had.
fn standing_in(
    context: &RequestContext,
    key: &CacheKey,
    stale: &CachedAnswer,
    problem: &Problem,
) -> Result<Answer, Failure> {
    context.warn("served_stale_if_error", problem.code.as_str());
    Answer::from_cache(context, key, stale)
}

async fn ask(
    context: &RequestContext,
    principal: &Principal,
    wanted: &Wanted,
) -> Result<OriginAnswer<CaptionResponse>, OriginFailure> {
    let request = OriginRequest::generate(wanted.request.to_json(), &wanted.key);
    origin_client::ask(context, &origin_client::claims(context, principal), &request).await
}

/// The caller has an answer already; a failure here is in the log, and the next caller tries again.
pub(super) fn revalidate_behind(context: &Rc<RequestContext>, principal: &Principal, wanted: Wanted) {
    let (context, principal) = (Rc::clone(context), principal.clone());
    Rc::clone(&context).behind(async move {
        if response_cache::renewed_elsewhere(&context, &wanted.key).await {
            return response_cache::revalidated(&context, &wanted.key);
        }
        let Ok(answer) = ask(&context, &principal, &wanted).await else { return };
        if response_cache::storable(&context, &wanted.request, &answer.content) == Cacheability::Storable {
            let freshness = context.config.lifetimes.record(answer.created);
            if let Some(entry) = response_cache::keep_here(&context, &wanted.key, freshness, &answer.content) {
                response_cache::keep_further(&context, &wanted.key, &entry).await;
            }
        }
        response_cache::revalidated(&context, &wanted.key);
    });
}

pub(super) fn not_cached(why: ForwardReason) -> Failure {
    let outcome = CacheOutcome::Forwarded { why, stored: false, collapsed: false };
    Failure::from(Problem::new(
        ProblemCode::NotCached,
        "only-if-cached was asked and nothing fit to serve is cached",
    ))
    .with_cache_status(edge_cache_status(outcome, Some("only_if_cached")))
}

pub(super) fn forwarded_failure(why: ForwardReason, failure: OriginFailure) -> Failure {
    let outcome = CacheOutcome::Forwarded { why, stored: false, collapsed: false };
    let cache_status = after_origin(failure.cache_status, edge_cache_status(outcome, None));
    Failure::from(failure.problem).with_cache_status(cache_status)
}

/// The origin's member of `Cache-Status` comes before ours: the one nearest the caller is last.
pub(crate) fn after_origin(origins: Option<String>, ours: String) -> String {
    origins.map_or_else(|| ours.clone(), |origins| format!("{origins}, {ours}"))
}

/// What the caller gets, and how long it may be kept on the way.
struct Answer {
    body: Vec<u8>,
    etag: String,
    /// `None` for what must not be kept.
    freshness: Option<FreshnessRecord>,
    cache_status: String,
}

impl Answer {
    fn from_cache(context: &RequestContext, key: &CacheKey, cached: &CachedAnswer) -> Result<Self, Failure> {
        let outcome = CacheOutcome::Hit { ttl_s: cached.freshness.ttl_s(context.now()) };
        let cache_status = edge_cache_status(outcome, Some(cached.tier.into()));
        let freshness = (!context.directives.no_store).then_some(cached.freshness);
        let body = served_json(context, cached)?;
        Ok(Self { body, etag: key.etag(), freshness, cache_status })
    }

    /// The answer that another request of this isolate has just brought.
    fn from_neighbour(
        context: &RequestContext,
        key: &CacheKey,
        why: ForwardReason,
        landed: &CachedAnswer,
    ) -> Result<Self, Failure> {
        let outcome = CacheOutcome::Forwarded { why, stored: false, collapsed: true };
        let cache_status = edge_cache_status(outcome, Some(landed.tier.into()));
        Ok(Self { cache_status, ..Self::from_cache(context, key, landed)? })
    }

    fn from_origin(
        context: &Rc<RequestContext>,
        wanted: &Wanted,
        why: ForwardReason,
        from_origin: OriginAnswer<CaptionResponse>,
    ) -> Self {
        let OriginAnswer { content, body, cache_status, created } = from_origin;
        let freshness = context.config.lifetimes.record(created);
        let (freshness, detail) = match response_cache::storable(context, &wanted.request, &content) {
            Cacheability::Storable => (Some(freshness), None),
            Cacheability::NotStorable(reason) => (None, Some(reason.into())),
        };
        if let Some(freshness) = freshness {
            store_behind(context, wanted.key, freshness, &content);
        }
        let outcome = CacheOutcome::Forwarded { why, stored: freshness.is_some(), collapsed: false };
        let cache_status = after_origin(cache_status, edge_cache_status(outcome, detail));
        Self { body, etag: wanted.key.etag(), freshness, cache_status }
    }

    fn into_response(self, cache_control: String) -> Response {
        Response::json(self.body)
            .with(ETAG, self.etag)
            .with(CACHE_CONTROL, cache_control)
            .with(CACHE_STATUS, self.cache_status)
    }
}

/// The cached response's JSON with this request's own metrics.
fn served_json(context: &RequestContext, cached: &CachedAnswer) -> Result<Vec<u8>, Problem> {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one request are far below 2^52")]
    let processing_time_ms = context.elapsed_ms() as f64;
    cached.json(processing_time_ms).map_err(|error| unservable(context, &error))
}

/// The same as a part of a larger answer.
pub(crate) fn served(context: &RequestContext, cached: &CachedAnswer) -> Result<CaptionResponse, Problem> {
    let json = served_json(context, cached)?;
    serde_json::from_slice(&json).map_err(|error| {
        unservable(context, &format!("not of the contract at line {}, column {}", error.line(), error.column()))
    })
}

fn unservable(context: &RequestContext, cause: &str) -> Problem {
    context.warn("entry_not_servable", cause);
    Problem::new(ProblemCode::InternalError, "the cached answer could not be served")
}

/// Stores a new answer: here at once, in the slower tiers behind the answer.
pub(crate) fn store_behind(
    context: &Rc<RequestContext>,
    key: CacheKey,
    freshness: FreshnessRecord,
    response: &CaptionResponse,
) {
    if let Some(entry) = response_cache::keep_here(context, &key, freshness, response) {
        let behind = Rc::clone(context);
        context.behind(async move { response_cache::keep_further(&behind, &key, &entry).await });
    }
}

/// For caches in between: what is left of our own freshness.
fn cache_control(freshness: Option<&FreshnessRecord>, now: UnixMillis) -> String {
    let Some(record) = freshness else {
        return "no-store".to_owned();
    };
    let ttl_s = match record.at(now) {
        Freshness::Fresh { ttl_ms } => ttl_ms / 1_000,
        Freshness::Stale { .. } | Freshness::Expired => 0,
    };
    let revalidate_s = record.stale_while_revalidate_ms / 1_000;
    let error_s = record.stale_if_error_ms / 1_000;
    format!("s-maxage={ttl_s}, stale-while-revalidate={revalidate_s}, stale-if-error={error_s}")
}
