//! What of a batch is known here.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::{StreamExt, stream};
use lede_shared::api::{BatchItem, CaptionResponse, ValidRequest};
use lede_shared::cache_key::CacheKey;
use lede_shared::cache_status::{CacheOutcome, ForwardReason};
use lede_shared::problem::{Problem, ProblemCode};

use super::super::captions::{Wanted, served};
use crate::auth::Principal;
use crate::context::RequestContext;
use crate::response_cache::{self, CachedAnswer, Lookup};
use crate::router::edge_cache_status;

/// The platform opens no more connections at once for one request; more would wait there instead of here.
const LOOK_UPS_AT_ONCE_MAX: usize = 6;

/// A request that an origin is to answer, for all items that ask for the same.
pub(super) struct Pending {
    /// Positions in the batch.
    pub(super) indices: Vec<usize>,
    pub(super) wanted: Wanted,
    pub(super) stale_if_error: Option<CachedAnswer>,
}

impl Pending {
    /// How many items ask for it.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.indices.len()).unwrap_or(u32::MAX)
    }

    /// The answer, or what is kept where that failed through no fault of the caller's.
    pub(super) fn or_stale(
        &self,
        context: &RequestContext,
        answer: Result<CaptionResponse, Problem>,
    ) -> Result<CaptionResponse, Problem> {
        match (answer, &self.stale_if_error) {
            (Err(problem), Some(stale)) if problem.status >= 500 => {
                context.warn("served_stale_if_error", problem.code.as_str());
                served(context, stale)
            }
            (answer, _) => answer,
        }
    }

    /// Each item's own copy of the one answer.
    pub(super) fn items(&self, answer: &Result<CaptionResponse, Problem>) -> Vec<BatchItem> {
        self.indices.iter().map(|index| BatchItem::new(*index, answer.clone())).collect()
    }
}

/// A batch after the look-up.
#[derive(Default)]
pub(super) struct Sorted {
    /// Answered already: hits and problems.
    pub(super) results: Vec<BatchItem>,
    /// How many of them are hits.
    pub(super) hits: u32,
    /// How many items the batch has.
    items_count: usize,
    has_misses: bool,
    /// Answered from stale entries; to be asked again behind the answer.
    pub(super) stale: Vec<Pending>,
    pub(super) misses: Vec<Pending>,
    /// The least freshness of all hits.
    ttl_s_min: Option<i64>,
}

/// Looks every different request up once.
pub(super) async fn look_up_all(
    context: &Rc<RequestContext>,
    principal: &Principal,
    items: Vec<Result<ValidRequest, Problem>>,
) -> Sorted {
    let mut sorted = Sorted { items_count: items.len(), ..Sorted::default() };
    let mut places: BTreeMap<CacheKey, usize> = BTreeMap::new();
    let mut different: Vec<Pending> = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        match item {
            Err(problem) => sorted.results.push(BatchItem::new(index, Err(problem))),
            Ok(request) => {
                let wanted = Wanted::new(context, principal, request).await;
                let place = *places.entry(wanted.key).or_insert(different.len());
                match different.get_mut(place) {
                    Some(equal) => equal.indices.push(index),
                    None => different.push(Pending { indices: vec![index], wanted, stale_if_error: None }),
                }
            }
        }
    }
    let look_ups = stream::iter(different).map(|pending| async move {
        let found = response_cache::lookup(context, &pending.wanted.key).await;
        (pending, found)
    });
    let mut look_ups = std::pin::pin!(look_ups.buffered(LOOK_UPS_AT_ONCE_MAX));
    while let Some((pending, found)) = look_ups.next().await {
        sorted.sort(context, pending, found);
    }
    sorted
}

impl Sorted {
    fn sort(&mut self, context: &RequestContext, pending: Pending, found: Lookup) {
        match found {
            Lookup::Hit { answer, revalidate } => {
                let ttl_s = answer.freshness.ttl_s(context.now());
                self.ttl_s_min = Some(self.ttl_s_min.map_or(ttl_s, |least| least.min(ttl_s)));
                self.hits = self.hits.saturating_add(pending.count());
                self.results.extend(pending.items(&served(context, &answer)));
                if revalidate && response_cache::may_revalidate(context, &pending.wanted.key) {
                    self.stale.push(pending);
                }
            }
            Lookup::Miss { .. } if context.directives.only_if_cached => {
                let problem =
                    Problem::new(ProblemCode::NotCached, "only-if-cached was asked and nothing is cached");
                self.results.extend(pending.items(&Err(problem)));
            }
            Lookup::Miss { stale_if_error, .. } => {
                self.has_misses = true;
                self.misses.push(Pending { stale_if_error, ..pending });
            }
        }
    }

    /// Variants that would have to be generated.
    pub(super) fn variants_missing(&self) -> u32 {
        self.misses.iter().map(|pending| u32::from(pending.wanted.request.variants())).sum()
    }

    /// Could nothing stand in for any miss?
    pub(super) fn has_nothing_stale(&self) -> bool {
        self.misses.iter().all(|pending| pending.stale_if_error.is_none())
    }

    /// None of the misses is forwarded. When that is a failure of ours, what is kept stands in.
    pub(super) fn refuse_misses(&mut self, context: &RequestContext, problem: &Problem) {
        for pending in std::mem::take(&mut self.misses) {
            self.results.extend(pending.items(&pending.or_stale(context, Err(problem.clone()))));
        }
    }

    /// What our own caches did; `None` when nothing was asked of them.
    pub(super) fn cache_status(&self, is_stored: bool) -> Option<String> {
        if !self.has_misses {
            let ttl_s = self.ttl_s_min?;
            return Some(edge_cache_status(CacheOutcome::Hit { ttl_s }, None));
        }
        let hits = format!("hits-{}-of-{}", self.hits, self.items_count);
        let why = ForwardReason::UriMiss;
        let outcome = CacheOutcome::Forwarded { why, stored: is_stored, collapsed: false };
        Some(edge_cache_status(outcome, Some(&hits)))
    }
}
