//! The domain: request → cache → (leader only) prompt → generate → constrain → policy → answer.

mod administration;
mod answering;
mod background;
mod candidate;
mod compose;
mod content;
mod epochs;
mod facts;
mod generation;
mod instructions;
mod leading;
mod learning;
pub mod near;
mod plan;
mod popular;
mod progress;
mod prompt;
mod proposal;
mod remote_writer;
mod revalidation;
mod rules;
mod sharing;
mod streaming;
mod warm_up;
mod writers;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lede_shared::api::ValidRequest;
use lede_shared::cache_key::{CacheKey, CacheNamespace, NamespaceDigest};
use lede_shared::cache_status::{CacheOutcome, ForwardReason};
use lede_shared::freshness::{Freshness, FreshnessRecord};
use lede_shared::plan::Priority;
use lede_shared::policy::POLICY;
use lede_shared::request_cache_control::RequestCacheControl;
use lede_shared::served_models::ServedModels;
use lede_shared::signature::Claims;
use serde::Serialize;
use tokio::sync::watch;

use self::answering::{hit, miss};
pub use self::background::JobStats;
use self::background::{Background, Job, Why};
pub use self::epochs::{Epochs, Purged};
use self::leading::{Made, Outcome};
use self::learning::Learner;
use self::near::{NearDuplicates, NearIndex};
use self::progress::Progress;
use self::revalidation::Verdict;
pub use self::sharing::Sharing;
pub use self::streaming::AnswerStream;
pub use self::warm_up::WarmUp;
pub use self::writers::CaptionSources;
use crate::admission::Endpoint;
use crate::cache::single_flight::{SingleFlight, Waiting};
use crate::cache::{Found, TieredCache};
use crate::clock;
use crate::prediction::SourceStats;

/// How many leaders a request may lose before it gives up.
const LEADERS_MAX: usize = 3;
/// What a caller is told to wait when too much different work is in flight.
const RETRY_AFTER_FLIGHTS_S: u32 = 1;

/// How long answers are good for, and how many are made at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptionSettings {
    /// Part of every key; raised to purge everything at once.
    pub cache_epoch: u64,
    /// How long an answer is fresh.
    pub fresh_for_ms: u64,
    /// How long after that it may be served while a new one is made.
    pub stale_while_revalidate_ms: u64,
    /// How long after it was fresh it may be served when no new answer can be had in time.
    pub stale_if_error_ms: u64,
    /// Most different generations in flight.
    pub flights_max: usize,
    /// Are near-duplicates looked for?
    pub near_duplicates: NearDuplicates,
    /// Most groups of near-duplicates that are remembered.
    pub near_entries_max: u64,
}

/// What is done while nobody waits for it.
#[derive(Clone, Debug, PartialEq)]
pub struct BackgroundSettings {
    /// Whether answers that are likely to be asked for are made.
    pub prefetch: bool,
    /// How likely, 0 to 1.
    pub probability_min: f64,
    /// The share of what is made so that should be used, 0 to 1; below it no more is made for a while.
    pub used_share_min: f64,
    /// Where what is popular is written down; nowhere when not set.
    pub popular_file: Option<PathBuf>,
}

/// What has been done while nobody waited for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackgroundStats {
    /// Whether answers are made on guesses.
    pub prefetch: bool,
    /// Stale answers renewed.
    pub refreshes: JobStats,
    /// Answers made on guesses, and popular ones made again after a start.
    pub guesses: JobStats,
    /// What became of guesses, by what they stood on.
    pub sources: Vec<SourceStats>,
    /// Look-ups that were learnt from.
    pub look_ups_learnt: u64,
    /// Look-ups that were not, because too many came at once.
    pub look_ups_passed_over: u64,
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
    /// How urgent it is.
    pub priority: Priority,
    /// How the request came.
    pub endpoint: Endpoint,
    /// Does nobody wait for it at all? Then it goes behind all others.
    pub is_behind: bool,
    /// Within what near-duplicates may be looked for ([`Captions::with_near`]); none: nowhere.
    pub near_in: Option<NamespaceDigest>,
}

impl Asking {
    /// Would an answer do that is kept, and may this one be?
    const fn wants_what_is_kept(&self) -> bool {
        !self.cache_control.no_cache && !self.cache_control.no_store
    }
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
    /// Is it the answer to another request that is nearly the same? `key` is that one's.
    pub is_near: bool,
}

impl Answer {
    /// Does the cache hold it as the answer to this request?
    #[must_use]
    pub const fn was_kept(&self) -> bool {
        !self.is_near
            && matches!(self.cache, CacheOutcome::Hit { .. } | CacheOutcome::Forwarded { stored: true, .. })
    }
}

/// Answers requests.
#[derive(Clone, Debug)]
pub struct Captions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sources: CaptionSources,
    /// Who should write at which level: the names that stand in keys. Whoever stands in is named in the answer only.
    served: ServedModels,
    cache: TieredCache,
    near: Option<NearIndex>,
    sharing: Sharing,
    flights: SingleFlight<CacheKey, Progress, Outcome>,
    settings: CaptionSettings,
    learner: Arc<Learner>,
    background: Arc<Background>,
    /// Whether answers are made that nobody has asked for.
    guesses: bool,
    popular_file: Option<PathBuf>,
    /// Has what an earlier process wrote down been taken over?
    popular_is_read: AtomicBool,
    /// Ends the tasks behind, also when it is dropped.
    stop: watch::Sender<bool>,
}

impl Captions {
    /// Captions by `sources`, kept in `cache` and told of by `sharing`. Starts what goes on behind, so it needs a tokio runtime.
    #[must_use]
    pub fn new(
        sources: CaptionSources,
        (cache, sharing): (TieredCache, Sharing),
        settings: CaptionSettings,
        behind: BackgroundSettings,
    ) -> Self {
        let guesses = behind.prefetch && !sources.is_paid_for();
        let (stop, stopped) = watch::channel(false);
        let inner = Arc::new(Inner {
            flights: SingleFlight::new(settings.flights_max),
            served: sources.served(),
            sources,
            cache,
            sharing,
            near: (settings.near_duplicates == NearDuplicates::On)
                .then(|| NearIndex::new(settings.near_entries_max)),
            settings,
            learner: Arc::new(Learner::new(behind.probability_min, behind.used_share_min)),
            background: Arc::default(),
            guesses,
            popular_file: behind.popular_file,
            popular_is_read: AtomicBool::new(false),
            stop,
        });
        let weak = || Arc::downgrade(&inner);
        tokio::spawn(background::work(weak(), Arc::clone(&inner.background), stopped.clone()));
        tokio::spawn(learning::learn(weak(), Arc::clone(&inner.learner), stopped));
        let captions = Self(inner);
        tokio::spawn(captions.clone().warm_up_from_file());
        captions
    }

    /// Ends what goes on behind, and writes down what was popular.
    pub fn stop_background(&self) {
        self.0.stop.send_replace(true);
        self.catch_up();
        self.write_popular();
    }

    /// What has been done while nobody waited for it.
    #[must_use]
    pub fn background_stats(&self) -> BackgroundStats {
        let (refreshes, guesses) = self.0.background.stats();
        let (look_ups_learnt, look_ups_passed_over, sources) = self.0.learner.stats();
        let prefetch = self.0.guesses;
        BackgroundStats { prefetch, refreshes, guesses, sources, look_ups_learnt, look_ups_passed_over }
    }

    /// The name of the model that should write; where levels have models of their own, of all of them.
    #[must_use]
    pub fn model_id(&self) -> &str {
        self.0.served.as_str()
    }

    /// Can captions be written now?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.sources.is_ready()
    }

    /// The key under which the answer to `request` is kept for the caller of `claims`.
    #[must_use]
    pub fn key_of(&self, request: &ValidRequest, claims: &Claims) -> CacheKey {
        let model = self.0.served.at(request.optimization_level());
        CacheKey::of(&self.namespace(model, claims), request)
    }

    /// What decides the answers of `model` to this caller besides their requests.
    fn namespace<'a>(&self, model: &'a str, claims: &'a Claims) -> CacheNamespace<'a> {
        CacheNamespace {
            model,
            policy_version: POLICY.version,
            epoch: self.own_epoch(claims).saturating_add(claims.cache_epoch),
            tenant: claims.cache_is_private.then(|| claims.tenant.as_str()),
        }
    }

    /// What this side adds to the epoch of keys for the caller of `claims`: the configured one, and its own purges.
    fn own_epoch(&self, claims: &Claims) -> u64 {
        self.0.settings.cache_epoch.saturating_add(self.0.sharing.epochs.of(claims))
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
        let why = match self.look_up(request, &key, asking).await? {
            LookUp::Kept(found) => return hit(key, &found, asking.started_at),
            LookUp::Nothing(why) => why,
        };
        if why == ForwardReason::UriMiss
            && let Some(near) = self.near_answer(request, asking)
        {
            return near;
        }
        // Boxed, so that a hit does not carry the memory of what it does not do.
        match Box::pin(self.make(request, key, asking)).await {
            Ok((Made::Kept(found), _)) => hit(key, &found, asking.started_at),
            Ok((Made::Generated(generated), collapsed)) => {
                miss(key, &generated, (why, collapsed), asking.started_at)
            }
            Err(error) => match self.stand_in(&key, &error) {
                Some(found) => hit(key, &found, asking.started_at),
                None => Err(error),
            },
        }
    }

    /// What can be said without work: an answer of the tiers in memory that is good enough for a caller with these
    /// directives. For who wants nothing else the cold tier is asked, too.
    async fn look_up(
        &self,
        request: &ValidRequest,
        key: &CacheKey,
        asking: Asking,
    ) -> Result<LookUp, CaptionError> {
        let is_all = asking.cache_control.only_if_cached;
        let found = match self.0.cache.in_memory(key) {
            None if is_all => Box::pin(self.0.cache.in_cold(key)).await,
            found => found,
        };
        let why = match found {
            None => ForwardReason::UriMiss,
            Some(found) => match self.0.judge(&found, request, (key, asking)) {
                Ok(()) => return Ok(LookUp::Kept(found)),
                Err(why) => why,
            },
        };
        if is_all { Err(CaptionError::NotCached) } else { Ok(LookUp::Nothing(why)) }
    }

    /// A stale answer in place of one that could not be made. What the cold tier had is in memory by now.
    fn stand_in(&self, key: &CacheKey, error: &CaptionError) -> Option<Found> {
        if !error.lets_stale_stand_in() {
            return None;
        }
        let found = self.0.cache.held(key)?;
        let may_stand_in = match found.entry.freshness.at(clock::now()) {
            Freshness::Fresh { .. } => true,
            Freshness::Stale { if_error, .. } => if_error,
            Freshness::Expired => false,
        };
        if may_stand_in {
            tracing::warn!(%error, "a kept answer stands in");
        }
        may_stand_in.then_some(found)
    }

    /// One token through the engine, to see that it works. Where a provider writes while there is no engine, nothing is
    /// sent: it would cost money.
    ///
    /// # Errors
    /// See [`CaptionError`].
    pub async fn canary(&self, deadline: Instant) -> Result<(), CaptionError> {
        let Some(local) = self.0.sources.registry.primary().filter(|local| local.is_ready()) else {
            return Ok(());
        };
        let written = local.write_one_token(deadline, Priority::Critical);
        let written = tokio::time::timeout_at(deadline.into(), written);
        Ok(written.await.map_err(|_| CaptionError::DeadlineExceeded)??)
    }

    /// Has the answer made, together with all who ask for the same. Says also whether another request led.
    async fn make(
        &self,
        request: &ValidRequest,
        key: CacheKey,
        asking: Asking,
    ) -> Result<(Made, bool), CaptionError> {
        for _ in 0..LEADERS_MAX {
            let mut waiting = self.join(request, key, asking)?;
            let collapsed = waiting.collapsed;
            let outcome = tokio::time::timeout_at(asking.deadline.into(), waiting.landed()).await;
            match outcome.map_err(|_| CaptionError::DeadlineExceeded)? {
                // Another may be more urgent, or have come another way.
                Some(Err(CaptionError::DeadlineExceeded | CaptionError::Overloaded { .. })) if collapsed => {}
                Some(Ok(made)) if !made.suits(asking.cache_control) => {}
                None => {}
                Some(outcome) => return outcome.map(|made| (made, collapsed)),
            }
            // The leader was in more of a hurry than we are, or content with what is kept, or was lost: another leads.
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

/// What a look-up without work came to.
enum LookUp {
    /// To be answered with.
    Kept(Found),
    /// Nothing that may be served, and why, unless nothing better can be had.
    Nothing(ForwardReason),
}

impl Inner {
    /// Is what is kept good enough? If so, and if it is stale, its renewal is seen to. If not, says why another is made.
    fn judge(
        &self,
        found: &Found,
        request: &ValidRequest,
        (key, asking): (&CacheKey, Asking),
    ) -> Result<(), ForwardReason> {
        let can_be_made = || self.sources.can_write_before(asking.deadline, request, asking.priority);
        match revalidation::judge(&found.entry.freshness, clock::now(), asking.cache_control, can_be_made) {
            Verdict::Serve => Ok(()),
            // This is the renewal.
            Verdict::ServeAndRefresh if asking.is_behind => Err(ForwardReason::Stale),
            Verdict::ServeAndRefresh => {
                self.background.put(Job { request: request.clone(), key: *key, why: Why::Refresh });
                Ok(())
            }
            Verdict::Make(why) => Err(why),
        }
    }
}

fn every_leader_was_lost() -> CaptionError {
    CaptionError::Internal("every leader was lost".to_owned())
}
