//! The response cache of the edge. One tier so far, Workers KV; isolate and colo will stand before it.
//!
//! 1. Look the key up tier by tier; a tier that fails is a miss and a log line, never an error.
//! 2. Decide from the entry's age and the caller's `Cache-Control` whether it may be served.
//! 3. What the origin generates is stored behind the answer, unless [`cacheability`] says why not.

mod entry;
mod workers_kv;

use lede_shared::api::{CacheTier, CaptionResponse, ValidRequest};
use lede_shared::cache_key::{CacheKey, CacheNamespace};
use lede_shared::cache_status::ForwardReason;
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::{Cacheability, Freshness, FreshnessRecord, cacheability};
use lede_shared::policy::POLICY;
use lede_shared::request_cache_control::RequestCacheControl;

use crate::auth::Principal;
use crate::context::RequestContext;

/// An answer from one of the tiers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CachedAnswer {
    pub(crate) tier: CacheTier,
    pub(crate) freshness: FreshnessRecord,
    pub(crate) response: CaptionResponse,
}

/// What a look-up found, as the route acts on it.
#[derive(Clone, Debug, PartialEq)]
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
pub(crate) async fn key_of(context: &RequestContext, principal: &Principal, request: &ValidRequest) -> CacheKey {
    let record = &principal.record;
    let namespace = CacheNamespace {
        model: &context.config.model,
        policy_version: POLICY.version,
        epoch: context.config.cache_epoch,
        tenant: record.plan.cache_is_private.then(|| record.tenant.as_str()),
    };
    CacheKey::of(&namespace, request)
}

/// Looks `key` up for a caller with the context's `Cache-Control`.
pub(crate) async fn lookup(context: &RequestContext, key: &CacheKey) -> Lookup {
    if context.directives.no_cache {
        return Lookup::Miss { why: ForwardReason::Request, stale_if_error: None };
    }
    let found = workers_kv::read(context, key).await;
    decide(found, &context.directives, context.now())
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

/// May `response` be kept, for this caller and this deployment?
pub(crate) fn storable(context: &RequestContext, response: &CaptionResponse) -> Cacheability {
    cacheability(response, &context.config.model, POLICY.version, context.directives.no_store)
}

/// Writes a new answer to the tiers. A write that fails is a log line.
pub(crate) async fn store(
    context: &RequestContext,
    key: &CacheKey,
    freshness: FreshnessRecord,
    response: &CaptionResponse,
) {
    workers_kv::write(context, key, freshness, response).await;
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
        CachedAnswer { tier: CacheTier::WorkersKv, freshness, response: caption_response("Hello") }
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
