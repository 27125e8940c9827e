//! `POST /api/v14/batch`: each request is looked up here; only the misses go to the origin, as one batch.
//! Results come back in the caller's order, each with its own caption or its own problem.

use std::rc::Rc;

use futures_util::{StreamExt, stream};
use lede_shared::api::{
    BATCH_BODY_BYTES_MAX, BatchItem, BatchOutcome, BatchRequest, BatchResponse, CaptionResponse, ValidRequest,
};
use lede_shared::cache_key::CacheKey;
use lede_shared::cache_status::{CacheOutcome, ForwardReason};
use lede_shared::freshness::{Cacheability, FreshnessRecord};
use lede_shared::headers::CACHE_STATUS;
use lede_shared::plan::Scope;
use lede_shared::problem::{Problem, ProblemCode};

use super::captions::{Wanted, after_origin, served};
use crate::auth::{Principal, authenticate, require};
use crate::body::receive_json;
use crate::context::RequestContext;
use crate::error::Failure;
use crate::http::{CACHE_CONTROL, Request, Response, to_json};
use crate::origin_client::{self, OriginAnswer, OriginFailure, OriginRequest};
use crate::quota::{self, Cost};
use crate::response_cache::{self, CachedAnswer, Lookup};
use crate::router::edge_cache_status;

/// The platform opens no more connections at once for one request; more would wait there instead of here.
const WORKERS_KV_CALLS_AT_ONCE: usize = 6;

/// Answers a batch.
pub(crate) async fn batch(context: &Rc<RequestContext>, request: Request) -> Result<Response, Failure> {
    let principal = authenticate(context, &request.headers).await?;
    require(&principal, Scope::Captions)?;
    let body = receive_json(context.bindings.clock.as_ref(), request, BATCH_BODY_BYTES_MAX).await?;
    let requests = BatchRequest::from_json(&body)?;
    let requests_count = requests.items.len();
    principal.record.plan.takes_batch_of(requests_count)?;
    let looking_up = look_up_all(context, &principal, requests.items);
    let Sorted { mut results, stale, misses, ttl_s_min } =
        context.timed(&context.spans.cache_ms, looking_up).await;
    charge_hits(context, &principal, &results).await?;
    revalidate_behind(context, &principal, stale);
    let cache_status = if misses.is_empty() {
        ttl_s_min.map(|ttl_s| edge_cache_status(CacheOutcome::Hit { ttl_s }, None))
    } else {
        let hits =
            format!("hits-{}-of-{requests_count}", results.iter().filter(|item| item.status == 200).count());
        let forwarding = forward_charged(context, &principal, misses);
        let forwarded = match context.timed(&context.spans.origin_ms, forwarding).await {
            Ok(forwarded) => forwarded,
            // Nothing to answer with but the refusal.
            Err((failure, _)) if results.is_empty() => return Err(failure),
            Err((failure, misses)) => Forwarded::refused(&failure.problem, &misses),
        };
        let outcome =
            CacheOutcome::Forwarded { why: ForwardReason::UriMiss, stored: forwarded.stored, collapsed: false };
        results.extend(forwarded.results);
        Some(after_origin(forwarded.cache_status, edge_cache_status(outcome, Some(&hits))))
    };
    results.sort_by_key(|item| item.index);
    let response = Response::json(to_json(&BatchResponse { results })).with(CACHE_CONTROL, "no-store");
    Ok(match cache_status {
        Some(cache_status) => response.with(CACHE_STATUS, cache_status),
        None => response,
    })
}

/// A request of the batch that the origin is to answer.
struct Pending {
    index: usize,
    wanted: Wanted,
    stale_if_error: Option<CachedAnswer>,
}

/// A batch after the look-up.
#[derive(Default)]
struct Sorted {
    /// Answered already: hits and problems.
    results: Vec<BatchItem>,
    /// Answered from stale entries; to be asked again behind the answer.
    stale: Vec<Pending>,
    misses: Vec<Pending>,
    /// The least freshness of all hits.
    ttl_s_min: Option<i64>,
}

async fn look_up_all(
    context: &Rc<RequestContext>,
    principal: &Principal,
    items: Vec<Result<ValidRequest, Problem>>,
) -> Sorted {
    let look_ups = stream::iter(items.into_iter().enumerate()).map(|(index, item)| async move {
        let request = item.map_err(|problem| BatchItem::new(index, Err(problem)))?;
        let wanted = Wanted::new(context, principal, request).await;
        let found = response_cache::lookup(context, &wanted.key).await;
        Ok((index, wanted, found))
    });
    let mut sorted = Sorted::default();
    let mut look_ups = std::pin::pin!(look_ups.buffered(WORKERS_KV_CALLS_AT_ONCE));
    while let Some(looked_up) = look_ups.next().await {
        match looked_up {
            Ok((index, wanted, found)) => sorted.sort(context, index, wanted, found),
            Err(result) => sorted.results.push(result),
        }
    }
    sorted
}

impl Sorted {
    fn sort(&mut self, context: &RequestContext, index: usize, wanted: Wanted, found: Lookup) {
        match found {
            Lookup::Hit { answer, revalidate } => {
                let ttl_s = answer.freshness.ttl_s(context.now());
                self.ttl_s_min = Some(self.ttl_s_min.map_or(ttl_s, |least| least.min(ttl_s)));
                self.results.push(BatchItem::new(index, served(context, &answer)));
                if revalidate && response_cache::may_revalidate(context, &wanted.key) {
                    self.stale.push(Pending { index, wanted, stale_if_error: None });
                }
            }
            Lookup::Miss { .. } if context.directives.only_if_cached => {
                let problem =
                    Problem::new(ProblemCode::NotCached, "only-if-cached was asked and nothing is cached");
                self.results.push(BatchItem::new(index, Err(problem)));
            }
            Lookup::Miss { stale_if_error, .. } => self.misses.push(Pending { index, wanted, stale_if_error }),
        }
    }
}

/// What came of the misses.
struct Forwarded {
    results: Vec<BatchItem>,
    cache_status: Option<String>,
    stored: bool,
}

impl Forwarded {
    /// None of them was forwarded.
    fn refused(problem: &Problem, pending: &[Pending]) -> Self {
        let results = pending.iter().map(|pending| BatchItem::new(pending.index, Err(problem.clone()))).collect();
        Self { results, cache_status: None, stored: false }
    }
}

/// One charge for all that was found.
async fn charge_hits(
    context: &Rc<RequestContext>,
    principal: &Principal,
    results: &[BatchItem],
) -> Result<(), Failure> {
    let hits = results.iter().filter(|item| item.status == 200).count();
    if hits > 0 {
        quota::charge(context, principal, Cost::Hits(u32::try_from(hits).unwrap_or(u32::MAX))).await?.spend();
    }
    Ok(())
}

/// One charge for all that has to be generated; what was not generated costs what a hit costs.
async fn forward_charged(
    context: &Rc<RequestContext>,
    principal: &Principal,
    pending: Vec<Pending>,
) -> Result<Forwarded, (Failure, Vec<Pending>)> {
    let variants: Vec<u32> = pending.iter().map(|pending| u32::from(pending.wanted.request.variants())).collect();
    let charge = match quota::charge(context, principal, Cost::GeneratedVariants(variants.iter().sum())).await {
        Ok(charge) => charge,
        Err(failure) => return Err((failure, pending)),
    };
    let places: Vec<usize> = pending.iter().map(|pending| pending.index).collect();
    let forwarded = forward(context, principal, pending).await;
    let costs = forwarded.results.iter().map(|item| match &item.outcome {
        BatchOutcome::Response(response) if !response.performance_metrics.cache_hit => {
            let place = places.iter().position(|place| *place == item.index);
            let variants = place.and_then(|place| variants.get(place)).copied();
            Cost::GeneratedVariants(variants.unwrap_or(1)).cells()
        }
        _ => Cost::Hits(1).cells(),
    });
    charge.settle(costs.sum());
    Ok(forwarded)
}

/// Asks the origin for all of `pending` at once and stores what may be stored behind the answer.
async fn forward(context: &Rc<RequestContext>, principal: &Principal, pending: Vec<Pending>) -> Forwarded {
    let (answers, cache_status) = match ask(context, principal, &pending).await {
        Ok(OriginAnswer { content, cache_status, created, .. }) => {
            let freshness = context.config.lifetimes.record(created);
            store_behind(context, freshness, &pending, &content.results);
            (content.results.into_iter().map(|item| item.outcome).collect(), cache_status)
        }
        Err(OriginFailure { problem, cache_status }) => {
            (vec![BatchOutcome::Problem(problem); pending.len()], cache_status)
        }
    };
    let stored = answers.iter().any(|answer| may_store(context, answer).is_some());
    let results = pending.into_iter().zip(answers).map(|(pending, answer)| result(context, pending, answer));
    Forwarded { results: results.collect(), cache_status, stored }
}

async fn ask(
    context: &RequestContext,
    principal: &Principal,
    pending: &[Pending],
) -> Result<OriginAnswer<BatchResponse>, OriginFailure> {
    let body = BatchRequest::to_json(pending.iter().map(|pending| &pending.wanted.request));
    let answer: OriginAnswer<BatchResponse> =
        origin_client::ask(context, &origin_client::claims(context, principal), &OriginRequest::batch(body))
            .await?;
    let results = &answer.content.results;
    let in_order = results.iter().enumerate().all(|(position, item)| item.index == position);
    if results.len() == pending.len() && in_order {
        Ok(answer)
    } else {
        Err(origin_client::unreadable(context, "the results are not those of the requests"))
    }
}

fn result(context: &RequestContext, pending: Pending, answer: BatchOutcome) -> BatchItem {
    let answer = match (answer, pending.stale_if_error) {
        (BatchOutcome::Response(response), _) => Ok(*response),
        (BatchOutcome::Problem(problem), Some(stale)) if problem.status >= 500 => {
            context.warn("served_stale_if_error", problem.code.as_str());
            served(context, &stale)
        }
        (BatchOutcome::Problem(problem), _) => Err(problem),
    };
    BatchItem::new(pending.index, answer)
}

fn may_store<'a>(context: &RequestContext, answer: &'a BatchOutcome) -> Option<&'a CaptionResponse> {
    match answer {
        BatchOutcome::Response(response) => {
            (response_cache::storable(context, response) == Cacheability::Storable).then_some(response)
        }
        BatchOutcome::Problem(_) => None,
    }
}

fn store_behind(
    context: &Rc<RequestContext>,
    freshness: FreshnessRecord,
    pending: &[Pending],
    results: &[BatchItem],
) {
    let storable = pending.iter().zip(results).filter_map(|(pending, item)| {
        may_store(context, &item.outcome).map(|response| (pending.wanted.key, response.clone()))
    });
    let storable: Vec<(CacheKey, CaptionResponse)> = storable.collect();
    let behind = Rc::clone(context);
    context.behind(async move {
        let context = behind.as_ref();
        let store = |(key, response): (CacheKey, CaptionResponse)| async move {
            response_cache::store(context, &key, freshness, &response).await;
        };
        stream::iter(storable).for_each_concurrent(WORKERS_KV_CALLS_AT_ONCE, store).await;
    });
}

/// The caller has answers already; failures here are in the log, and the next caller tries again.
fn revalidate_behind(context: &Rc<RequestContext>, principal: &Principal, stale: Vec<Pending>) {
    if stale.is_empty() {
        return;
    }
    let (behind, principal) = (Rc::clone(context), principal.clone());
    context.behind(async move {
        let keys: Vec<CacheKey> = stale.iter().map(|stale| stale.wanted.key).collect();
        if forward(&behind, &principal, stale).await.stored {
            keys.iter().for_each(|key| response_cache::revalidated(&behind, key));
        }
    });
}
