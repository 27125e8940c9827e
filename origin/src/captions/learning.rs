//! What is learnt from look-ups: what is popular, and what is likely to be asked for next.
//!
//! A look-up is noted where it happens and learnt from behind. Noting waits for nobody: when another is noting in the same
//! place, or too many wait already, the look-up is not learnt from. Under load that makes a sample, which is enough.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lede_shared::api::{CaptionRequest, ValidRequest};
use lede_shared::api_key::TenantId;
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::signature::Claims;
use tokio::sync::{Notify, watch};

use super::background::Job;
use super::{Asking, Captions, Inner};
use crate::clock;
use crate::prediction::{Guess, Ledger, LookUp, Prediction, Predictor, Rhythm, Source, SourceStats};

/// Places where look-ups are noted; a tenant's always in the same, so that they stay in their order.
const PLACES: usize = 8;
/// Look-ups that wait in one place.
const NOTED_MAX: usize = 128;
/// Keys whose request need not be handed over again, by a part of each.
const FAMILIAR: usize = 1 << 14;
/// Keys that were not held when they were asked for, waiting to be told.
const LOST_MAX: usize = 1_024;
/// Predictions that are gone into each time, the likeliest.
const PREDICTIONS_MAX: usize = 32;
/// After the first look-up is noted, so long more are gathered.
const GATHERING: Duration = Duration::from_millis(20);
/// How often the calendar is looked at and what is popular written down.
const MINUTE: Duration = Duration::from_secs(60);

/// A request and what its key stands on besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Canonical JSON.
    pub(super) request: String,
    /// The purges that the edge knew of.
    pub(super) epoch: u64,
    /// The purges that were known here.
    pub(super) own_epoch: u64,
}

impl Wanted {
    pub(super) fn request(&self) -> Option<ValidRequest> {
        CaptionRequest::from_json(self.request.as_bytes()).ok()?.validate().ok()
    }

    /// Of a caller whose answers are everybody's.
    pub(super) fn claims(&self) -> Claims {
        Claims { cache_epoch: self.epoch, ..Claims::of_the_edge() }
    }
}

#[derive(Debug)]
struct Noted {
    look_up: LookUp,
    /// What it was, unless that is known.
    unknown: Option<Box<Unknown>>,
}

/// A request whose text is not known.
#[derive(Debug)]
struct Unknown {
    request: ValidRequest,
    epoch: u64,
    own_epoch: u64,
}

/// Apart in memory from its neighbours, so that those who note in one do not slow those who note in the next.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place {
    noted: Mutex<Vec<Noted>>,
    /// About how many there are.
    count: AtomicUsize,
    /// Look-ups that found no room.
    passed_over: AtomicU64,
}

#[derive(Debug)]
struct Learnt {
    predictor: Predictor<Arc<Wanted>>,
    ledger: Ledger,
}

/// Learns from look-ups.
#[derive(Debug)]
pub(super) struct Learner {
    places: [Place; PLACES],
    lost: Mutex<Vec<CacheKey>>,
    familiar: Box<[AtomicU32]>,
    learnt: Mutex<Learnt>,
    is_noted: Notify,
    hasher: RandomState,
    look_ups: AtomicU64,
}

impl Learner {
    pub(super) fn new(probability_min: f64, used_share_min: f64) -> Self {
        let learnt = Learnt { predictor: Predictor::new(probability_min), ledger: Ledger::new(used_share_min) };
        Self {
            places: Default::default(),
            lost: Mutex::default(),
            familiar: (0..FAMILIAR).map(|_| AtomicU32::new(0)).collect(),
            learnt: Mutex::new(learnt),
            is_noted: Notify::new(),
            hasher: RandomState::new(),
            look_ups: AtomicU64::new(0),
        }
    }

    /// Notes a look-up. Waits for nothing. `own_epoch` is asked for when the key is not known.
    pub(super) fn note(
        &self,
        request: &ValidRequest,
        key: CacheKey,
        claims: &Claims,
        own_epoch: impl FnOnce() -> u64,
    ) {
        let tenant = self.tenant(&claims.tenant);
        let place = &self.places[(tenant % PLACES as u64) as usize];
        if place.count.load(Ordering::Relaxed) >= NOTED_MAX {
            place.passed_over.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let unknown = (!self.is_familiar(&key)).then(|| {
            let (request, epoch) = (request.clone(), claims.cache_epoch);
            Box::new(Unknown { request, epoch, own_epoch: own_epoch() })
        });
        let Ok(mut noted) = place.noted.try_lock() else {
            place.passed_over.fetch_add(1, Ordering::Relaxed);
            return;
        };
        noted.push(Noted { look_up: LookUp { key, tenant, at: clock::now() }, unknown });
        place.count.store(noted.len(), Ordering::Relaxed);
        if noted.len() == 1 {
            self.is_noted.notify_one();
        }
    }

    /// A caller's answer had to be made.
    pub(super) fn lost(&self, key: CacheKey) {
        let mut lost = lock(&self.lost);
        if lost.len() < LOST_MAX {
            lost.push(key);
        }
    }

    pub(super) fn may_guess(&self, source: Source, now: UnixMillis) -> bool {
        lock(&self.learnt).ledger.may_make(source, now)
    }

    pub(super) fn made(&self, guess: Guess) {
        lock(&self.learnt).ledger.made(guess);
    }

    /// Learns from what was noted, and says what is likely to follow, where guesses of that kind are worth it; each key once.
    fn learn(&self) -> Vec<Prediction<Arc<Wanted>>> {
        let mut predictions = Vec::new();
        let mut learnt = lock(&self.learnt);
        for place in &self.places {
            let noted = std::mem::take(&mut *lock(&place.noted));
            place.count.store(0, Ordering::Relaxed);
            self.look_ups.fetch_add(noted.len() as u64, Ordering::Relaxed);
            for Noted { look_up, unknown } in noted {
                learnt.ledger.asked(&look_up.key, look_up.at);
                let Some(wanted) = self.recall(&learnt, &look_up.key, unknown) else { continue };
                predictions.extend(learnt.predictor.seen(&look_up, &wanted));
            }
        }
        let now = clock::now();
        std::mem::take(&mut *lock(&self.lost)).iter().for_each(|key| learnt.ledger.lost(key, now));
        predictions.retain(|prediction| learnt.ledger.may_make(prediction.source, now));
        predictions.sort_by(|one, other| other.probability.total_cmp(&one.probability));
        let mut keys = HashSet::new();
        predictions.retain(|prediction| keys.insert(prediction.key));
        predictions.truncate(PREDICTIONS_MAX);
        predictions
    }

    /// What is likely in the hour that is about to begin; once for each.
    fn due(&self, now: UnixMillis) -> Vec<Prediction<Arc<Wanted>>> {
        let mut learnt = lock(&self.learnt);
        learnt.ledger.settle(now);
        learnt.predictor.due(now)
    }

    /// The requests asked for most, the most popular first, with about how often.
    pub(super) fn popular(&self) -> Vec<(CacheKey, u64, Arc<Wanted>)> {
        let learnt = lock(&self.learnt);
        learnt.predictor.most_first().map(|(key, count, wanted)| (*key, count, Arc::clone(wanted))).collect()
    }

    /// The requests that come back on many days first, with their histories; at most `requests_max`.
    pub(super) fn rhythms(&self, requests_max: usize) -> Vec<(CacheKey, Rhythm, Arc<Wanted>)> {
        let learnt = lock(&self.learnt);
        let rhythms = learnt.predictor.rhythms().take(requests_max);
        rhythms.map(|(key, rhythm, wanted)| (*key, rhythm.clone(), Arc::clone(wanted))).collect()
    }

    /// Takes over what an earlier process knew.
    pub(super) fn remember(&self, key: CacheKey, wanted: Wanted, count: u64, rhythm: Option<Rhythm>) {
        lock(&self.learnt).predictor.remember(key, &Arc::new(wanted), count, rhythm);
        self.set_familiar(&key, true);
    }

    /// Look-ups learnt from and passed over, and what became of guesses.
    pub(super) fn stats(&self) -> (u64, u64, Vec<SourceStats>) {
        let sources = {
            let mut learnt = lock(&self.learnt);
            learnt.ledger.settle(clock::now());
            learnt.ledger.stats()
        };
        let passed_over = self.places.iter().map(|place| place.passed_over.load(Ordering::Relaxed)).sum();
        (self.look_ups.load(Ordering::Relaxed), passed_over, sources)
    }

    fn tenant(&self, tenant: &TenantId) -> u64 {
        self.hasher.hash_one(tenant.as_str())
    }

    /// What belongs to a key: as it was handed over now, or as it is known.
    fn recall(&self, learnt: &Learnt, key: &CacheKey, unknown: Option<Box<Unknown>>) -> Option<Arc<Wanted>> {
        if let Some(known) = learnt.predictor.value(key) {
            return Some(Arc::clone(known));
        }
        let known = unknown.map(|unknown| {
            let Unknown { request, epoch, own_epoch } = *unknown;
            Arc::new(Wanted { request: request.to_json(), epoch, own_epoch })
        });
        // What was forgotten is asked for again at its next look-up.
        self.set_familiar(key, known.is_some());
        known
    }

    fn is_familiar(&self, key: &CacheKey) -> bool {
        let (place, part) = familiar(key);
        self.familiar[place].load(Ordering::Relaxed) == part
    }

    fn set_familiar(&self, key: &CacheKey, is_familiar: bool) {
        let (place, part) = familiar(key);
        self.familiar[place].store(if is_familiar { part } else { 0 }, Ordering::Relaxed);
    }
}

/// Where a key is looked for among the familiar ones, and what is found there.
const fn familiar(key: &CacheKey) -> (usize, u32) {
    let place = u16::from_le_bytes([key.0[16], key.0[17]]) as usize % FAMILIAR;
    // Zero is nobody.
    (place, u32::from_le_bytes([key.0[18], key.0[19], key.0[20], key.0[21]]) | 1)
}

/// Learns until it is stopped or the captions are gone.
pub(super) async fn learn(captions: Weak<Inner>, learner: Arc<Learner>, mut stop: watch::Receiver<bool>) {
    let learning = async {
        let mut minute = tokio::time::interval(MINUTE);
        loop {
            let is_minute = tokio::select! {
                _ = minute.tick() => true,
                () = learner.is_noted.notified() => {
                    tokio::time::sleep(GATHERING).await;
                    false
                }
            };
            let Some(inner) = captions.upgrade() else { return };
            let captions = Captions(inner);
            captions.catch_up();
            if is_minute {
                captions.prepare(&learner.due(clock::now()));
                captions.write_popular_behind().await;
            }
        }
    };
    tokio::select! {
        () = learning => {}
        _ = stop.wait_for(|is_stopped| *is_stopped) => {}
    }
}

impl Captions {
    /// Counts a request of the caller of `claims`, and learns from it. One whose answer is the caller's own, or must not be
    /// kept, is nobody else's business.
    pub fn count(&self, request: &ValidRequest, key: CacheKey, (claims, asking): (&Claims, &Asking)) {
        if !claims.cache_is_private && !asking.cache_control.no_store {
            self.0.learner.note(request, key, claims, || self.own_epoch(claims));
        }
    }

    /// Learns from all that was noted until now.
    pub(super) fn catch_up(&self) {
        self.prepare(&self.0.learner.learn());
    }

    /// What is likely to be asked for is made when there is time, where guesses of its kind have been worth it.
    fn prepare(&self, predictions: &[Prediction<Arc<Wanted>>]) {
        if !self.0.guesses {
            return;
        }
        for prediction in predictions {
            // After a purge it has another key; nobody will ask for this one.
            if self.is_current(&prediction.value)
                && let Some(request) = prediction.value.request()
            {
                self.0.background.put(Job::on_a_guess(request, prediction));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is complete in itself, so a poisoned state is still a good one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
