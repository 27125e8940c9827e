//! What the leader of a flight does for all who wait: look in the cold tier, and generate when neither it nor another
//! origin has anything.

use std::time::Duration;

use lede_shared::api::stream::StreamStart;
use lede_shared::api::{PerformanceMetrics, ValidRequest};
use lede_shared::cache_key::CacheKey;
use lede_shared::freshness::{Cacheability, FreshnessRecord, NotStorable, cacheability};
use lede_shared::policy::POLICY;
use lede_shared::request_cache_control::RequestCacheControl;

use super::answering::elapsed_ms;
use super::progress::Progress;
use super::sharing::Maker;
use super::writers::Assignment;
use super::{Asking, CaptionError, Inner, compose};
use crate::cache::{Entry, Found};
use crate::clock;

/// What a flight came to.
pub(super) type Outcome = Result<Made, CaptionError>;

/// What a leader has for its followers.
#[derive(Clone, Debug)]
pub(super) enum Made {
    /// It was there already, in the cold tier, and good enough.
    Kept(Found),
    /// It was written.
    Generated(Box<Generated>),
}

impl Made {
    /// Is it good enough for a caller with these directives?
    pub(super) fn suits(&self, cache_control: RequestCacheControl) -> bool {
        match self {
            Self::Kept(found) => cache_control.accepts_age_ms(found.entry.freshness.age_ms(clock::now())),
            Self::Generated(_) => true,
        }
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub(super) struct Generated {
    pub(super) entry: Entry,
    pub(super) metrics: PerformanceMetrics,
    pub(super) not_stored: Option<NotStorable>,
    pub(super) queue_time: Duration,
    pub(super) device_time: Duration,
}

impl Inner {
    /// The way of a flight's leader.
    pub(super) async fn lead(
        &self,
        request: &ValidRequest,
        key: CacheKey,
        (asking, progress): (Asking, &Progress),
    ) -> Outcome {
        // 1. The cold tier, once for all who wait.
        if let Some(made) = self.kept_cold(request, &key, asking).await {
            return Ok(made);
        }
        // 2. One origin of all that ask for the same.
        let lease = match self.maker(request, &key, asking).await {
            Maker::Another(made) => return Ok(made),
            Maker::Us(lease) => lease,
        };
        // 3. The device. Whoever leaves on the way drops the lease.
        if !asking.is_behind && asking.wants_what_is_kept() {
            // What was made on a guess would not have had to be made again.
            self.learner.lost(key);
        }
        let outcome = self.generate(request, key, (asking, progress)).await;
        if let Some(lease) = lease {
            self.release(lease);
        }
        if asking.is_behind {
            // Whoever has joined what nobody waited for tries for itself, where another may stand in.
            return outcome
                .inspect_err(|error| tracing::debug!(%error, "nothing came of background work"))
                .map_err(|_| CaptionError::DeadlineExceeded);
        }
        outcome
    }

    /// What the cold tier has that is good enough for who asks; from now on for who asks for nearly the same, too.
    pub(super) async fn kept_cold(&self, request: &ValidRequest, key: &CacheKey, asking: Asking) -> Option<Made> {
        let found = self.cache.in_cold(key).await?;
        self.judge(&found, request, (key, asking)).ok()?;
        self.offer_as_near(request, *key, asking);
        Some(Made::Kept(found))
    }

    /// Generates one answer and keeps it when it may be kept.
    async fn generate(
        &self,
        request: &ValidRequest,
        key: CacheKey,
        (asking, progress): (Asking, &Progress),
    ) -> Outcome {
        let Asking { deadline, priority, endpoint, is_behind, .. } = asking;
        let assignment = Assignment { request, key: &key, deadline, progress, priority, endpoint, is_behind };
        let (generation, author) = self.sources.write(assignment).await?;
        let (queue_time, device_time) =
            (generation.cost.waited.unwrap_or_default(), generation.cost.device_time());
        let processing_time_ms = elapsed_ms(asking.started_at);
        let response = compose::compose(request, &key, author, generation, processing_time_ms);
        // A provider says nothing until it has written all.
        let (id, model) = (response.id.clone(), response.model.clone());
        progress.begin(StreamStart { id, model, variants: request.variants() });
        progress.finish(&response.variants);
        let entry = Entry {
            body: response.json_without_metrics().map_err(CaptionError::Internal)?.into(),
            freshness: self.freshness_from_now(),
            device_ms: u32::try_from(device_time.as_millis()).unwrap_or(u32::MAX),
        };
        let model = self.served.at(request.optimization_level());
        let verdict = cacheability(&response, model, POLICY.version, asking.cache_control.no_store);
        let not_stored = match verdict {
            Cacheability::Storable => {
                self.cache.put(key, entry.clone());
                self.offer_as_near(request, key, asking);
                None
            }
            Cacheability::NotStorable(reason) => Some(reason),
        };
        let metrics = response.performance_metrics;
        Ok(Made::Generated(Box::new(Generated { entry, metrics, not_stored, queue_time, device_time })))
    }

    fn freshness_from_now(&self) -> FreshnessRecord {
        FreshnessRecord {
            created_ms: clock::now(),
            fresh_for_ms: self.settings.fresh_for_ms,
            stale_while_revalidate_ms: self.settings.stale_while_revalidate_ms,
            stale_if_error_ms: self.settings.stale_if_error_ms,
        }
    }
}
