//! An answer out of what is kept, or out of what was just made.

use std::time::{Duration, Instant};

use lede_shared::api::{CacheTier, PerformanceMetrics, json_with_metrics};
use lede_shared::cache_key::CacheKey;
use lede_shared::cache_status::{CacheOutcome, ForwardReason};

use super::leading::Generated;
use super::{Answer, CaptionError, compose};
use crate::cache::{Found, Tier};
use crate::clock;

/// How callers are told of a tier.
pub(super) const fn named(tier: Tier) -> CacheTier {
    match tier {
        Tier::Hot => CacheTier::Hot,
        Tier::Warm => CacheTier::Warm,
        Tier::Cold => CacheTier::Cold,
    }
}

/// What was kept.
pub(super) fn hit(key: CacheKey, found: &Found, started_at: Instant) -> Result<Answer, CaptionError> {
    let processing_time_ms = compose::milliseconds(elapsed_ms(started_at));
    let tier = named(found.tier);
    let metrics = PerformanceMetrics::of_hit(tier, processing_time_ms);
    let freshness = found.entry.freshness;
    Ok(Answer {
        body: json_with_metrics(&found.entry.body, &metrics).map_err(CaptionError::Internal)?.into(),
        key,
        freshness,
        cache: CacheOutcome::Hit { ttl_s: freshness.ttl_s(clock::now()) },
        cache_detail: Some(tier.into()),
        queue_time: Duration::ZERO,
        device_time: Duration::ZERO,
        is_near: false,
    })
}

/// What was made.
pub(super) fn miss(
    key: CacheKey,
    generated: &Generated,
    (why, collapsed): (ForwardReason, bool),
    started_at: Instant,
) -> Result<Answer, CaptionError> {
    let processing_time = compose::milliseconds(elapsed_ms(started_at));
    let metrics = PerformanceMetrics { processing_time, ..generated.metrics };
    Ok(Answer {
        body: json_with_metrics(&generated.entry.body, &metrics).map_err(CaptionError::Internal)?.into(),
        key,
        freshness: generated.entry.freshness,
        cache: CacheOutcome::Forwarded { why, stored: generated.not_stored.is_none(), collapsed },
        cache_detail: generated.not_stored.map(Into::into),
        queue_time: generated.queue_time,
        device_time: generated.device_time,
        is_near: false,
    })
}

/// Milliseconds since `since`.
pub(super) fn elapsed_ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}
