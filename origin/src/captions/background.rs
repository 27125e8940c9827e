//! What is made while nobody waits for it: stale answers renewed, popular ones brought back, likely ones prepared.
//!
//! A bounded queue in two classes, refreshes before guesses, and one task that takes a job only while the device is idle,
//! one at a time. A job goes through the same flights as a caller's request, so whoever comes meanwhile joins it. A job that
//! has begun is not interrupted: it shares the device with those who come, at the lowest priority.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use lede_shared::api::ValidRequest;
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::{Freshness, FreshnessRecord};
use lede_shared::plan::Priority;
use lede_shared::request_cache_control::RequestCacheControl;
use serde::Serialize;
use tokio::sync::{Notify, watch};

use super::leading::Made;
use super::{Asking, Captions, Inner};
use crate::admission::Endpoint;
use crate::clock;
use crate::prediction::{Guess, Prediction, Source};

/// Jobs of one class that wait.
const JOBS_MAX: usize = 1_024;
/// A job that has waited longer is dropped: who wants its answer will have asked again.
const JOB_AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// How long one job may take.
const JOB_TIMEOUT: Duration = Duration::from_secs(60);
/// While jobs wait, it is looked so often whether the device is idle.
const IDLE_POLL: Duration = Duration::from_millis(20);

/// Why something is made that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Why {
    /// A stale answer was served.
    Refresh,
    /// It was popular before a restart and is not kept any more.
    WarmUp,
    /// It is likely to be asked for until then.
    Guess(Source, UnixMillis),
}

/// Something to be made.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) request: ValidRequest,
    pub(super) key: CacheKey,
    pub(super) why: Why,
}

/// What has been done while nobody waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobStats {
    /// Jobs taken in.
    pub queued: u64,
    /// Jobs that wait now.
    pub waiting: usize,
    /// Answers made.
    pub made: u64,
    /// Jobs whose answer was there already when their turn came.
    pub needless: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs that waited too long, found the queue full, or whose source is closed.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counts {
    queued: AtomicU64,
    made: AtomicU64,
    needless: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// Jobs of one class and what became of them.
#[derive(Debug, Default)]
struct Class {
    jobs: Mutex<Jobs>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<(Instant, Job)>,
    keys: HashSet<CacheKey>,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Background {
    refreshes: Class,
    guesses: Class,
    changed: Notify,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Made,
    Needless,
    Failed,
    Dropped,
}

impl Background {
    /// Takes a job in, unless its key waits already or its class is full.
    pub(super) fn put(&self, job: Job) {
        let class = self.class_of(job.why);
        let key = job.key;
        if job.why == Why::Refresh {
            self.guesses.forget(&key);
        } else if self.refreshes.lock().keys.contains(&key) {
            return;
        }
        if class.put(job, Instant::now()) {
            self.changed.notify_one();
        }
    }

    /// The next job: a refresh if there is one. None that has waited too long.
    fn next(&self, now: Instant) -> Option<Job> {
        self.refreshes.next(now).or_else(|| self.guesses.next(now))
    }

    /// What has been done: refreshes, and all that was made on a guess or at a start.
    pub(super) fn stats(&self) -> (JobStats, JobStats) {
        (self.refreshes.stats(), self.guesses.stats())
    }

    fn is_empty(&self) -> bool {
        [&self.refreshes, &self.guesses].iter().all(|class| class.lock().waiting.is_empty())
    }

    fn ended(&self, why: Why, done: Done) {
        let counts = &self.class_of(why).counts;
        let count = match done {
            Done::Made => &counts.made,
            Done::Needless => &counts.needless,
            Done::Failed => &counts.failed,
            Done::Dropped => &counts.dropped,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    const fn class_of(&self, why: Why) -> &Class {
        match why {
            Why::Refresh => &self.refreshes,
            Why::WarmUp | Why::Guess(..) => &self.guesses,
        }
    }
}

impl Class {
    fn put(&self, job: Job, now: Instant) -> bool {
        let mut jobs = self.lock();
        if jobs.keys.contains(&job.key) {
            return false;
        }
        self.counts.queued.fetch_add(1, Ordering::Relaxed);
        self.drop_old(&mut jobs, now);
        if jobs.waiting.len() == JOBS_MAX {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        jobs.keys.insert(job.key);
        jobs.waiting.push_back((now, job));
        true
    }

    fn next(&self, now: Instant) -> Option<Job> {
        let mut jobs = self.lock();
        self.drop_old(&mut jobs, now);
        let (_, job) = jobs.waiting.pop_front()?;
        jobs.keys.remove(&job.key);
        Some(job)
    }

    fn drop_old(&self, jobs: &mut Jobs, now: Instant) {
        while jobs.waiting.front().is_some_and(|(queued_at, _)| now.duration_since(*queued_at) > JOB_AGE_MAX) {
            if let Some((_, job)) = jobs.waiting.pop_front() {
                jobs.keys.remove(&job.key);
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn forget(&self, key: &CacheKey) {
        let mut jobs = self.lock();
        if jobs.keys.remove(key) {
            jobs.waiting.retain(|(_, job)| job.key != *key);
        }
    }

    fn stats(&self) -> JobStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { queued, made, needless, failed, dropped } = &self.counts;
        JobStats {
            queued: read(queued),
            waiting: self.lock().waiting.len(),
            made: read(made),
            needless: read(needless),
            failed: read(failed),
            dropped: read(dropped),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        // Every change under the lock is complete in itself, so a poisoned queue is still a good one.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    pub(super) fn on_a_guess(request: ValidRequest, prediction: &Prediction<impl Clone>) -> Self {
        Self { request, key: prediction.key, why: Why::Guess(prediction.source, prediction.until) }
    }

    /// What another origin, or a caller here, has made meanwhile will do.
    fn directives(&self, fresh_for_ms: u64) -> RequestCacheControl {
        let max_age_s = match self.why {
            Why::Refresh | Why::WarmUp => None,
            Why::Guess(..) => Some(fresh_for_ms / 2_000),
        };
        RequestCacheControl { max_age_s, ..RequestCacheControl::default() }
    }

    /// Will what is kept do? What is likely to be asked for later should still be fresh then, or be young at least.
    fn is_met_by(&self, kept: &FreshnessRecord, now: UnixMillis) -> bool {
        let is_fresh = |at: UnixMillis| matches!(kept.at(at), Freshness::Fresh { .. });
        match self.why {
            Why::Refresh | Why::WarmUp => is_fresh(now),
            Why::Guess(_, until) => is_fresh(until) || kept.age_ms(now) < kept.fresh_for_ms / 2,
        }
    }
}

/// Works on jobs until it is stopped or the captions are gone. A job under way is given up then, unless somebody has joined.
pub(super) async fn work(captions: Weak<Inner>, background: Arc<Background>, mut stop: watch::Receiver<bool>) {
    let work = async {
        while let Some(inner) = captions.upgrade() {
            if background.is_empty() {
                drop(inner);
                background.changed.notified().await;
            } else if !inner.sources.is_idle() {
                drop(inner);
                tokio::time::sleep(IDLE_POLL).await;
            } else if let Some(job) = background.next(Instant::now()) {
                let done = Captions(inner).work_on(&job).await;
                background.ended(job.why, done);
            }
        }
    };
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|is_stopped| *is_stopped) => {}
    }
}

impl Captions {
    async fn work_on(&self, job: &Job) -> Done {
        if self.has_what_will_do(job).await {
            return Done::Needless;
        }
        if let Why::Guess(source, _) = job.why
            && !self.0.learner.may_guess(source, clock::now())
        {
            return Done::Dropped;
        }
        let started_at = Instant::now();
        let asking = Asking {
            cache_control: job.directives(self.0.settings.fresh_for_ms),
            started_at,
            deadline: started_at + JOB_TIMEOUT,
            priority: Priority::Low,
            endpoint: Endpoint::Generate,
            is_behind: true,
            near_in: None,
        };
        let Ok(mut waiting) = self.join(&job.request, job.key, asking) else { return Done::Failed };
        let outcome = tokio::time::timeout(JOB_TIMEOUT, waiting.landed()).await;
        let Ok(Some(Ok(made))) = outcome else { return Done::Failed };
        let entry = match made {
            Made::Generated(generated) if generated.not_stored.is_none() => generated.entry,
            Made::Generated(_) => return Done::Failed,
            Made::Kept(_) => return Done::Needless,
        };
        if let Why::Guess(source, until) = job.why
            && !waiting.collapsed
        {
            let record = entry.freshness;
            let expires_at = record.created_ms.plus(record.fresh_for_ms);
            let (key, device_ms) = (job.key, entry.device_ms);
            self.0.learner.made(Guess { key, source, device_ms, until, expires_at });
        }
        Done::Made
    }

    async fn has_what_will_do(&self, job: &Job) -> bool {
        let will_do = |found: &crate::cache::Found| job.is_met_by(&found.entry.freshness, clock::now());
        let in_memory = self.0.cache.held(&job.key);
        in_memory.is_some_and(|found| will_do(&found))
            || self.0.cache.in_cold(&job.key).await.is_some_and(|found| will_do(&found))
    }
}

#[cfg(test)]
mod tests {
    use lede_shared::api::CaptionRequest;

    use super::*;

    fn job(name: u8, why: Why) -> Job {
        let request = CaptionRequest::from_json(br#"{"content_description": "a"}"#).unwrap().validate().unwrap();
        Job { request, key: CacheKey([name; 32]), why }
    }

    const GUESS: Why = Why::Guess(Source::Follows, UnixMillis(0));

    #[test]
    fn refreshes_come_before_guesses_and_equal_keys_once() {
        let background = Background::default();
        for (name, why) in [(1, GUESS), (2, GUESS), (3, Why::Refresh), (2, Why::Refresh), (3, GUESS), (1, GUESS)] {
            background.put(job(name, why));
        }
        let next = || background.next(Instant::now()).map(|job| job.key.0[0]);
        assert_eq!([next(), next(), next(), next()], [Some(3), Some(2), Some(1), None]);
    }

    #[test]
    fn what_has_waited_too_long_is_dropped_and_so_is_what_finds_no_room() {
        let background = Background::default();
        for name in 0..=JOBS_MAX {
            let mut job = job(0, Why::Refresh);
            job.key.0[..8].copy_from_slice(&name.to_be_bytes());
            background.put(job);
        }
        assert_eq!(background.stats().0.dropped, 1);
        assert!(background.next(Instant::now()).is_some());
        assert!(background.next(Instant::now() + JOB_AGE_MAX + Duration::from_secs(1)).is_none());
        assert_eq!((background.stats().0.dropped, background.stats().0.waiting), (JOBS_MAX as u64, 0));
        assert!(background.is_empty());
    }
}
