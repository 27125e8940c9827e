//! The domain: request → cache → (leader only) prompt → generate → constrain → policy → answer.

mod candidate;
mod compose;
mod content;
pub(crate) mod epochs;
mod facts;
mod generation;
mod instructions;
mod plan;
mod popular;
mod progress;
mod prompt;
mod proposal;
mod remote_writer;
mod rules;
mod streaming;
mod writers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lede_shared::api::stream::StreamStart;
use lede_shared::api::{CacheTier, PerformanceMetrics, ValidRequest, json_with_metrics};
use lede_shared::cache_key::{CacheKey, CacheNamespace};
use lede_shared::cache_status::{CacheOutcome, ForwardReason};
use lede_shared::freshness::{Cacheability, Freshness, FreshnessRecord, NotStorable, cacheability};
use lede_shared::policy::POLICY;
use lede_shared::request_cache_control::RequestCacheControl;
use lede_shared::signature::Claims;

use self::progress::Progress;
pub use self::streaming::AnswerStream;
use self::writers::Assignment;
pub use self::writers::{CaptionSources, LocalModel};
use crate::cache::single_flight::{SingleFlight, Waiting};
use crate::cache::{Entry, HotTier};
use crate::clock;

/// How many leaders a request may lose before it gives up.
const LEADERS_MAX: usize = 3;
/// What a caller is told to wait when too much different work is in flight.
const RETRY_AFTER_FLIGHTS_S: u32 = 1;

/// How long answers are good for, and the bounds of what keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptionSettings {
    /// Part of every key; raised to purge everything at once.
    pub cache_epoch: u64,
    /// Most entries of the hot tier.
    pub hot_entries_max: u64,
    /// How long an answer is fresh.
    pub fresh_for_ms: u64,
    /// How long after that a downstream cache may serve it while it asks again.
    pub stale_while_revalidate_ms: u64,
    /// How long after that it may be served when no new answer can be had.
    pub stale_if_error_ms: u64,
    /// Most different generations in flight.
    pub flights_max: usize,
}

/// How an answer is asked for, besides the request itself.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// The caller's cache directives.
    pub cache_control: RequestCacheControl,
    /// When the request began to be handled.
    pub started_at: Instant,
    /// When nobody waits any more.
    pub deadline: Instant,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptionError {
    /// The model is not loaded, or no longer.
    #[error("not ready to generate")]
    NotReady {
        /// When to try again.
        retry_after_s: u32,
    },
    /// All places are taken.
    #[error("all places are taken")]
    Overloaded {
        /// When a place is expected.
        retry_after_s: u32,
    },
    /// The deadline passed first.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// `only-if-cached`, and nothing is.
    #[error("nothing is cached")]
    NotCached,
    /// The model wrote nothing that could be posted.
    #[error("no postable caption came out")]
    GenerationFailed,
    /// A fault of ours; the reason is for the log.
    #[error("{0}")]
    Internal(String),
}

impl CaptionError {
    /// May a kept answer that is no longer fresh stand in?
    const fn lets_stale_stand_in(&self) -> bool {
        !matches!(self, Self::NotCached)
    }
}

/// An answer and how it came about.
#[derive(Clone, Debug)]
pub struct Answer {
    /// A `CaptionResponse` as JSON.
    pub body: Bytes,
    /// Its key.
    pub key: CacheKey,
    /// How long it is good for.
    pub freshness: FreshnessRecord,
    /// What the cache did.
    pub cache: CacheOutcome,
    /// Which tier answered, or why nothing was kept.
    pub cache_detail: Option<&'static str>,
    /// Waiting for the device; zero for a hit.
    pub queue_time: Duration,
    /// On the device; zero for a hit.
    pub device_time: Duration,
}

impl Answer {
    /// Does the cache hold it?
    #[must_use]
    pub const fn was_kept(&self) -> bool {
        matches!(self.cache, CacheOutcome::Hit { .. } | CacheOutcome::Forwarded { stored: true, .. })
    }
}

/// What a leader has made and its followers share.
#[derive(Clone, Debug)]
struct Generated {
    entry: Entry,
    metrics: PerformanceMetrics,
    not_stored: Option<NotStorable>,
    queue_time: Duration,
    device_time: Duration,
}

type Outcome = Result<Generated, CaptionError>;

/// Answers requests.
#[derive(Clone, Debug)]
pub struct Captions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sources: CaptionSources,
    hot: HotTier,
    popularity: popular::Popularity,
    flights: SingleFlight<CacheKey, Progress, Outcome>,
    settings: CaptionSettings,
}

impl Captions {
    /// Captions by `sources`.
    #[must_use]
    pub fn new(sources: CaptionSources, settings: CaptionSettings) -> Self {
        let hot = HotTier::new(settings.hot_entries_max);
        let flights = SingleFlight::new(settings.flights_max);
        let popularity = popular::Popularity::default();
        Self(Arc::new(Inner { sources, hot, popularity, flights, settings }))
    }

    /// The name of the model that should write.
    #[must_use]
    pub fn model_id(&self) -> &str {
        self.0.sources.model_id()
    }

    /// Can captions be written now?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.sources.is_ready()
    }

    /// The key under which the answer to `request` is kept for the caller of `claims`.
    #[must_use]
    pub fn key_of(&self, request: &ValidRequest, claims: &Claims) -> CacheKey {
        let namespace = CacheNamespace {
            model: self.0.sources.model_id(),
            policy_version: POLICY.version,
            epoch: self.0.settings.cache_epoch.saturating_add(claims.cache_epoch),
            tenant: claims.cache_is_private.then(|| claims.tenant.as_str()),
        };
        CacheKey::of(&namespace, request)
    }

    /// Answers from the cache, or generates. `key` is that of [`Self::key_of`].
    ///
    /// # Errors
    /// See [`CaptionError`].
    pub async fn answer(
        &self,
        request: &ValidRequest,
        key: CacheKey,
        asking: Asking,
    ) -> Result<Answer, CaptionError> {
        let (why, stale) = match self.look_up(&key, asking.cache_control)? {
            Kept::Fresh(entry) => return hit(key, &entry, asking.started_at),
            Kept::Nothing { why, stale } => (why, stale),
        };
        match (self.generate(request, key, asking).await, stale) {
            (Ok((generated, collapsed)), _) => miss(key, &generated, (why, collapsed), asking.started_at),
            (Err(error), Some(entry)) if error.lets_stale_stand_in() => {
                tracing::warn!(%error, "a stale answer stands in");
                hit(key, &entry, asking.started_at)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// What the hot tier has for a caller with these directives.
    fn look_up(&self, key: &CacheKey, cache_control: RequestCacheControl) -> Result<Kept, CaptionError> {
        let kept = self.0.hot.get(key);
        let now = clock::now();
        let why = match &kept {
            None => ForwardReason::UriMiss,
            Some(entry) => match entry.freshness.at(now) {
                Freshness::Fresh { .. } if cache_control.accepts_age_ms(entry.freshness.age_ms(now)) => {
                    return Ok(Kept::Fresh(entry.clone()));
                }
                Freshness::Fresh { .. } => ForwardReason::Request,
                Freshness::Stale { .. } | Freshness::Expired => ForwardReason::Stale,
            },
        };
        if cache_control.only_if_cached {
            return Err(CaptionError::NotCached);
        }
        let stale =
            kept.filter(|entry| matches!(entry.freshness.at(now), Freshness::Stale { if_error: true, .. }));
        Ok(Kept::Nothing { why, stale })
    }

    /// One token through the engine, to see that it works. Where a provider writes while there is no engine, nothing is
    /// sent: it would cost money.
    ///
    /// # Errors
    /// See [`CaptionError`].
    pub async fn canary(&self, deadline: Instant) -> Result<(), CaptionError> {
        let Some(generator) = self.0.sources.writers().ready_local() else { return Ok(()) };
        let written = tokio::time::timeout_at(deadline.into(), generator.write_one_token(deadline));
        written.await.map_err(|_| CaptionError::DeadlineExceeded)?
    }

    /// Generates, together with all who ask for the same. Says also whether another request led.
    async fn generate(
        &self,
        request: &ValidRequest,
        key: CacheKey,
        asking: Asking,
    ) -> Result<(Generated, bool), CaptionError> {
        for _ in 0..LEADERS_MAX {
            let mut waiting = self.join(request, key, asking)?;
            let collapsed = waiting.collapsed;
            let outcome = tokio::time::timeout_at(asking.deadline.into(), waiting.landed()).await;
            match outcome.map_err(|_| CaptionError::DeadlineExceeded)? {
                // The leader was in more of a hurry than we are, or was lost: another leads.
                Some(Err(CaptionError::DeadlineExceeded)) if collapsed => {}
                None => {}
                Some(outcome) => return outcome.map(|generated| (generated, collapsed)),
            }
        }
        Err(every_leader_was_lost())
    }

    /// Joins those who wait for the same, or leads.
    fn join(
        &self,
        request: &ValidRequest,
        key: CacheKey,
        asking: Asking,
    ) -> Result<Waiting<Progress, Outcome>, CaptionError> {
        let (leader, request) = (Arc::clone(&self.0), request.clone());
        let lead = |progress| async move { leader.lead(&request, key, (asking, &progress)).await };
        if asking.cache_control.no_store {
            // Nobody can find this answer later, so nobody should wait for it now.
            return Ok(self.0.flights.alone(&key, lead));
        }
        let joined = self.0.flights.join(&key, lead);
        joined.map_err(|_| CaptionError::Overloaded { retry_after_s: RETRY_AFTER_FLIGHTS_S })
    }
}

/// What a look-up found.
enum Kept {
    /// To be answered with.
    Fresh(Entry),
    /// Nothing that may be served, unless nothing better can be had.
    Nothing { why: ForwardReason, stale: Option<Entry> },
}

fn every_leader_was_lost() -> CaptionError {
    CaptionError::Internal("every leader was lost".to_owned())
}

impl Inner {
    /// Generates one answer and keeps it when it may be kept.
    async fn lead(
        &self,
        request: &ValidRequest,
        key: CacheKey,
        (asking, progress): (Asking, &Progress),
    ) -> Outcome {
        let assignment = Assignment { request, key: &key, deadline: asking.deadline, progress };
        let (generation, author) = self.sources.writers().write(assignment).await?;
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
        };
        let verdict =
            cacheability(&response, self.sources.model_id(), POLICY.version, asking.cache_control.no_store);
        let not_stored = match verdict {
            Cacheability::Storable => {
                self.hot.put(key, entry.clone());
                None
            }
            Cacheability::NotStorable(reason) => Some(reason),
        };
        Ok(Generated { entry, metrics: response.performance_metrics, not_stored, queue_time, device_time })
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

fn hit(key: CacheKey, entry: &Entry, started_at: Instant) -> Result<Answer, CaptionError> {
    let processing_time_ms = compose::milliseconds(elapsed_ms(started_at));
    let metrics = PerformanceMetrics::of_hit(CacheTier::Hot, processing_time_ms);
    Ok(Answer {
        body: json_with_metrics(&entry.body, &metrics).map_err(CaptionError::Internal)?.into(),
        key,
        freshness: entry.freshness,
        cache: CacheOutcome::Hit { ttl_s: entry.freshness.ttl_s(clock::now()) },
        cache_detail: Some(CacheTier::Hot.into()),
        queue_time: Duration::ZERO,
        device_time: Duration::ZERO,
    })
}

fn miss(
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
    })
}

fn elapsed_ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}
