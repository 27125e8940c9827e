//! The response cache of the edge, three tiers: this isolate's memory, the data centre's cache, Workers KV.
//!
//! 1. Look the key up tier by tier, the nearest first; a tier that fails or hangs is a miss and a log line, never an error.
//! 2. Decide from the entry's age and the caller's `Cache-Control` whether it may be served.
//! 3. What a slower tier had is kept in the faster ones. The freshness record travels with it.
//! 4. What the origin generates is stored behind the answer, unless [`cacheability`] says why not.
//! 5. Workers KV is written only for captions that are popular, within a budget (docs/decisions/0013-three-tiers.md).

mod colo;
mod entry;
pub(crate) mod epochs;
mod flights;
mod isolate_memory;
mod under_way;
mod workers_kv;
mod write_budget;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lede_shared::api::{CacheTier, CaptionResponse, PerformanceMetrics, ValidRequest};
use lede_shared::api_key::TenantId;
use lede_shared::cache_key::{CacheKey, CacheNamespace};
use lede_shared::cache_status::ForwardReason;
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::{Cacheability, Freshness, FreshnessRecord, cacheability};
use lede_shared::policy::POLICY;
use lede_shared::popularity::Sketch;
use lede_shared::request_cache_control::RequestCacheControl;

pub(crate) use self::entry::Entry;
pub(crate) use self::flights::{Flight, join};
use self::under_way::UnderWay;
use crate::auth::Principal;
use crate::context::RequestContext;

/// Renewals at once; a stale entry that finds no place is renewed for a later caller.
const REVALIDATIONS_MAX: usize = 256;
/// Work behind an answer lasts no longer than this. A renewal that failed keeps its place as long, so that a failing
/// origin is not asked anew with every caller.
const REVALIDATION_MS_MAX: u64 = 30_000;

/// Stale keys that are being renewed behind an answer.
type Revalidations = UnderWay<REVALIDATIONS_MAX, REVALIDATION_MS_MAX>;

/// The response cache's part of an isolate's memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    entries: RefCell<isolate_memory::IsolateMemory>,
    /// Counts look-ups in this isolate.
    popularity: RefCell<Sketch>,
    workers_kv_writes: RefCell<write_budget::WriteBudget>,
    flights: RefCell<flights::Flights>,
    revalidations: RefCell<Revalidations>,
    epochs: epochs::EpochMemory,
}

/// An answer from one of the tiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CachedAnswer {
    pub(crate) tier: CacheTier,
    pub(crate) freshness: FreshnessRecord,
    entry: Entry,
    /// Workers KV is known to hold it.
    in_workers_kv: bool,
}

impl CachedAnswer {
    fn of(tier: CacheTier, entry: Entry, in_workers_kv: bool) -> Self {
        Self { tier, freshness: entry.freshness(), entry, in_workers_kv }
    }

    /// The response's JSON with this serving's own metrics.
    ///
    /// # Errors
    /// When the metrics cannot be written; for the log.
    pub(crate) fn json(&self, processing_time_ms: f64) -> Result<Vec<u8>, String> {
        self.entry.json(&PerformanceMetrics::of_hit(self.tier, processing_time_ms))
    }
}

/// What a look-up found, as the route acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Answer with it.
    Hit {
        answer: CachedAnswer,
        /// It is stale: ask the origin for a new one behind the answer.
        revalidate: bool,
    },
    /// Ask the origin.
    Miss {
        why: ForwardReason,
        /// To be served when the origin has no answer.
        stale_if_error: Option<CachedAnswer>,
    },
}

/// The name of the answer to `request` for this caller.
pub(crate) async fn key_of(
    context: &Rc<RequestContext>,
    principal: &Principal,
    request: &ValidRequest,
) -> CacheKey {
    let tenant = owner(principal);
    key_under(context, epochs::effective(context, tenant).await, tenant, request)
}

/// The epoch in the keys of what all tenants share.
pub(crate) async fn shared_epoch(context: &Rc<RequestContext>) -> u64 {
    epochs::effective(context, None).await
}

/// The epoch in the keys of this caller, as far as it is known: [`key_of`] has asked for it.
pub(crate) fn epoch_in_use(context: &RequestContext, principal: &Principal) -> u64 {
    epochs::known(context, owner(principal))
}

/// Whose entries the caller is served, when they are not everybody's.
fn owner(principal: &Principal) -> Option<&TenantId> {
    principal.record.plan.cache_is_private.then_some(&principal.record.tenant)
}

/// The name of the answer to `request` under a given epoch.
pub(crate) fn key_under(
    context: &RequestContext,
    epoch: u64,
    tenant: Option<&TenantId>,
    request: &ValidRequest,
) -> CacheKey {
    let namespace = CacheNamespace {
        model: context.config.models.at(request.optimization_level()),
        policy_version: POLICY.version,
        epoch,
        tenant: tenant.map(TenantId::as_str),
    };
    CacheKey::of(&namespace, request)
}

/// Looks `key` up for a caller with the context's `Cache-Control`.
pub(crate) async fn lookup(context: &Rc<RequestContext>, key: &CacheKey) -> Lookup {
    let seen = memory(context).popularity.borrow_mut().record(key);
    let mut miss = (ForwardReason::UriMiss, None);
    if context.directives.no_cache {
        return Lookup::Miss { why: ForwardReason::Request, stale_if_error: None };
    }
    for tier in [CacheTier::Isolate, CacheTier::Colo, CacheTier::WorkersKv] {
        let found = read(context, tier, key).await;
        match decide(found, &context.directives, context.now()) {
            Lookup::Hit { answer, revalidate } => {
                backfill(context, key, &answer);
                promote_behind(context, key, &answer, seen);
                return Lookup::Hit { answer, revalidate };
            }
            Lookup::Miss { why, stale_if_error } => miss = least_bad(miss, (why, stale_if_error)),
        }
    }
    let (why, stale_if_error) = miss;
    Lookup::Miss { why, stale_if_error }
}

async fn read(context: &RequestContext, tier: CacheTier, key: &CacheKey) -> Option<CachedAnswer> {
    let entry = match tier {
        CacheTier::Isolate => {
            let held = memory(context).entries.borrow_mut().get(key, context.now())?;
            return Some(CachedAnswer::of(tier, held.entry, held.in_workers_kv));
        }
        CacheTier::Colo => colo::read(context, key).await?,
        CacheTier::WorkersKv => workers_kv::read(context, key).await?,
        CacheTier::Hot | CacheTier::Warm | CacheTier::Cold => return None,
    };
    Some(CachedAnswer::of(tier, entry, tier == CacheTier::WorkersKv))
}

/// May what was found be served?
fn decide(found: Option<CachedAnswer>, directives: &RequestCacheControl, now: UnixMillis) -> Lookup {
    let miss = |why, stale_if_error| Lookup::Miss { why, stale_if_error };
    let Some(answer) = found else {
        return miss(ForwardReason::UriMiss, None);
    };
    if !directives.accepts_age_ms(answer.freshness.age_ms(now)) {
        return miss(ForwardReason::Request, None);
    }
    match answer.freshness.at(now) {
        Freshness::Fresh { .. } => Lookup::Hit { answer, revalidate: false },
        // Who asks for `only-if-cached` wants nothing forwarded on their behalf.
        Freshness::Stale { while_revalidate: true, .. } => {
            Lookup::Hit { answer, revalidate: !directives.only_if_cached }
        }
        Freshness::Stale { while_revalidate: false, if_error } => {
            miss(ForwardReason::Stale, if_error.then_some(answer))
        }
        Freshness::Expired => miss(ForwardReason::UriMiss, None),
    }
}

/// Why a look-up ends as a miss, and what may still be served when the origin fails.
type Missed = (ForwardReason, Option<CachedAnswer>);

/// Of two tiers' misses: the reason of the first that held something, and the newest answer, the nearer one of equals.
fn least_bad(before: Missed, after: Missed) -> Missed {
    let why = if before.0 == ForwardReason::UriMiss { after.0 } else { before.0 };
    let created = |missed: &Missed| missed.1.as_ref().map(|answer| answer.freshness.created_ms);
    let is_newer = created(&after) > created(&before);
    (why, if is_newer { after.1 } else { before.1 })
}

/// Keeps what a tier had in those before it: in this isolate at once, in the data centre behind the answer.
fn backfill(context: &Rc<RequestContext>, key: &CacheKey, answer: &CachedAnswer) {
    if context.directives.no_store || answer.tier == CacheTier::Isolate {
        return;
    }
    remember(context, key, answer);
    if answer.tier == CacheTier::WorkersKv {
        let (behind, key, entry) = (Rc::clone(context), *key, answer.entry.clone());
        context.behind(async move { colo::write(&behind, &key, &entry).await });
    }
}

fn remember(context: &RequestContext, key: &CacheKey, answer: &CachedAnswer) {
    memory(context).entries.borrow_mut().put(*key, answer.entry.clone(), answer.in_workers_kv);
}

/// Writes to Workers KV behind the answer what has become popular here and is not known to lie there.
fn promote_behind(context: &Rc<RequestContext>, key: &CacheKey, answer: &CachedAnswer, seen: u8) {
    let is_wanted = !answer.in_workers_kv && !context.directives.no_store && is_fresh(&answer.freshness, context);
    if is_wanted && is_popular(context, seen) && may_write(context, key) {
        let (behind, key, entry) = (Rc::clone(context), *key, answer.entry.clone());
        context.behind(async move {
            // Another isolate may have written it, and reading costs a tenth of writing.
            let there = workers_kv::read(&behind, &key).await;
            if there.is_some_and(|there| is_fresh(&there.freshness(), &behind)) {
                mark_in_workers_kv(&behind, &key, &entry);
            } else {
                promote(&behind, &key, &entry).await;
            }
        });
    }
}

async fn promote(context: &RequestContext, key: &CacheKey, entry: &Entry) {
    if workers_kv::write(context, key, entry).await {
        mark_in_workers_kv(context, key, entry);
    }
}

fn mark_in_workers_kv(context: &RequestContext, key: &CacheKey, entry: &Entry) {
    let created = entry.freshness().created_ms;
    memory(context).entries.borrow().mark_in_workers_kv(key, created);
}

fn is_popular(context: &RequestContext, seen: u8) -> bool {
    u64::from(seen) >= context.config.popular_after_lookups
}

fn may_write(context: &RequestContext, key: &CacheKey) -> bool {
    let per_minute = context.config.workers_kv_writes_per_minute;
    memory(context).workers_kv_writes.borrow_mut().take(key, context.now(), per_minute)
}

/// May `response` to `request` be kept, for this caller and this deployment?
pub(crate) fn storable(
    context: &RequestContext,
    request: &ValidRequest,
    response: &CaptionResponse,
) -> Cacheability {
    let model = context.config.models.at(request.optimization_level());
    cacheability(response, model, POLICY.version, context.directives.no_store)
}

/// Keeps a new answer in this isolate, at once: who asked for the same meanwhile finds it there. `None` and a log line when
/// it cannot be written.
pub(crate) fn keep_here(
    context: &RequestContext,
    key: &CacheKey,
    freshness: FreshnessRecord,
    response: &CaptionResponse,
) -> Option<Entry> {
    let written = Entry::new(key, freshness, response);
    let entry = written.inspect_err(|error| context.warn("entry_not_written", &error.to_string())).ok()?;
    memory(context).entries.borrow_mut().put(*key, entry.clone(), false);
    Some(entry)
}

/// Keeps what [`keep_here`] kept in the data centre, too, and in Workers KV when it is popular. A write that fails is a log
/// line.
pub(crate) async fn keep_further(context: &RequestContext, key: &CacheKey, entry: &Entry) {
    colo::write(context, key, entry).await;
    let seen = memory(context).popularity.borrow().estimate(key);
    // Whoever asked the origin has just found nothing fresh in Workers KV.
    if is_popular(context, seen) && may_write(context, key) {
        promote(context, key, entry).await;
    }
}

/// What became of a caption that was to be written before anybody asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warmed {
    Written,
    /// Workers KV holds a fresh one.
    FreshAlready,
    /// It is not fresh itself.
    NotFresh,
    /// The log says why.
    Failed,
    OverBudget,
}

/// Writes an answer of the origin's to Workers KV unless a fresh one lies there. `budget` is how many more may be written.
pub(crate) async fn warm(
    context: &RequestContext,
    key: &CacheKey,
    (freshness, response): (FreshnessRecord, &CaptionResponse),
    budget: &Cell<u64>,
) -> Warmed {
    if !is_fresh(&freshness, context) {
        return Warmed::NotFresh;
    }
    if workers_kv::read(context, key).await.is_some_and(|there| is_fresh(&there.freshness(), context)) {
        return Warmed::FreshAlready;
    }
    let Some(writes_left) = budget.get().checked_sub(1) else { return Warmed::OverBudget };
    budget.set(writes_left);
    match Entry::new(key, freshness, response) {
        Ok(entry) if workers_kv::write(context, key, &entry).await => Warmed::Written,
        Ok(_) => Warmed::Failed,
        Err(error) => {
            context.warn("entry_not_written", &error.to_string());
            Warmed::Failed
        }
    }
}

/// May this stale key be renewed behind the answer? Whoever is told so renews it and says [`revalidated`].
pub(crate) fn may_revalidate(context: &RequestContext, key: &CacheKey) -> bool {
    memory(context).revalidations.borrow_mut().begin(key, context.now())
}

/// The key that [`may_revalidate`] gave leave for has been renewed.
pub(crate) fn revalidated(context: &RequestContext, key: &CacheKey) {
    memory(context).revalidations.borrow_mut().end(key);
}

/// Another isolate may have renewed the key already: takes its fresh entry over from the slower tiers, if there is one.
pub(crate) async fn renewed_elsewhere(context: &RequestContext, key: &CacheKey) -> bool {
    for tier in [CacheTier::Colo, CacheTier::WorkersKv] {
        let found = read(context, tier, key).await;
        if let Some(fresh) = found.filter(|found| is_fresh(&found.freshness, context)) {
            remember(context, key, &fresh);
            if tier == CacheTier::WorkersKv {
                colo::write(context, key, &fresh.entry).await;
            }
            return true;
        }
    }
    false
}

fn is_fresh(freshness: &FreshnessRecord, context: &RequestContext) -> bool {
    matches!(freshness.at(context.now()), Freshness::Fresh { .. })
}

fn memory(context: &RequestContext) -> &Memory {
    &context.bindings.isolate.response_cache
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::caption_response;

    const FRESH_MS: u64 = 100_000;

    fn answer() -> CachedAnswer {
        let freshness = FreshnessRecord {
            created_ms: UnixMillis(1_000_000),
            fresh_for_ms: FRESH_MS,
            stale_while_revalidate_ms: 50_000,
            stale_if_error_ms: 200_000,
        };
        let entry = Entry::new(&CacheKey([7; 32]), freshness, &caption_response("Hello")).unwrap();
        CachedAnswer::of(CacheTier::WorkersKv, entry, true)
    }

    fn decide_at(age_ms: u64, cache_control: &str) -> Lookup {
        decide(Some(answer()), &RequestCacheControl::parse(cache_control), UnixMillis(1_000_000 + age_ms))
    }

    #[test]
    fn an_entry_is_served_then_revalidated_then_kept_for_errors_then_forgotten() {
        let hit = |revalidate| Lookup::Hit { answer: answer(), revalidate };
        let miss = |why, stale_if_error| Lookup::Miss { why, stale_if_error };
        assert_eq!(decide_at(FRESH_MS - 1, ""), hit(false));
        assert_eq!(decide_at(FRESH_MS, ""), hit(true));
        assert_eq!(decide_at(FRESH_MS + 50_000, ""), miss(ForwardReason::Stale, Some(answer())));
        assert_eq!(decide_at(FRESH_MS + 200_000, ""), miss(ForwardReason::UriMiss, None));
    }

    #[test]
    fn an_entry_older_than_the_caller_takes_is_not_served_even_when_the_origin_fails() {
        let expected = Lookup::Miss { why: ForwardReason::Request, stale_if_error: None };
        assert_eq!(decide_at(10_001, "max-age=10"), expected);
        assert_eq!(decide_at(10_000, "max-age=10"), Lookup::Hit { answer: answer(), revalidate: false });
    }

    #[test]
    fn only_if_cached_is_served_stale_without_a_word_to_the_origin() {
        assert_eq!(decide_at(FRESH_MS, "only-if-cached"), Lookup::Hit { answer: answer(), revalidate: false });
    }
}
