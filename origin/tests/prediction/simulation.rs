//! A cache of answers that are fresh for a day, in front of one device, on made traces of look-ups: with habits in them,
//! with habits that end, and without any. What it is asked for is counted with and without prediction.

use std::collections::HashMap;

use lede_origin::prediction::{GateState, Guess, Ledger, LookUp, Prediction, Predictor, Source};
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use sha2::{Digest, Sha256};

/// The first day of every trace, a Monday.
const FIRST_DAY: u64 = 20_601;
const DAY_MS: u64 = 24 * HOUR_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const MINUTE_MS: u64 = 60_000;
const FRESH_FOR_MS: u64 = DAY_MS;
/// One answer's time on the device, and how long it takes until a guess reaches it.
const DEVICE_MS: u32 = 400;
const QUEUE_MS: u64 = 1_000;
const TENANTS: u64 = 20;
/// Of each tenant: campaigns of three posts after one another, each every two to four days.
const CHAINS: u64 = 12;
const CHAIN_POSTS: u64 = 3;
const CHAIN_GOES_ON_PERCENT: u64 = 85;
/// Of all: asked for once a day in an hour of their own, and once a week.
const DAILY_KEYS: u64 = 200;
const WEEKLY_KEYS: u64 = 100;
const KEEPS_HABIT_PERCENT: u64 = 85;
/// Each day, by anybody: keys that hardly ever come back.
const STRANGERS_A_DAY: u64 = 600;
const STRANGERS: u64 = 200_000;
/// Look-ups of a day of noise, of so few keys that everything has followed everything before long.
const NOISE_A_DAY: u64 = 2_000;
const NOISE_KEYS: u64 = 3_000;

/// One look-up of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    at: u64,
    tenant: u64,
    name: u64,
}

/// What is in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Campaigns, daily and weekly habits, and strangers among them.
    Habits,
    /// The same until the middle; from then on the same keys as often, by whomever and whenever.
    HabitsThatEnd,
    /// Every key of a small set as likely as any other at any time.
    Noise,
}

/// What came out of a trace.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Look-ups.
    pub(crate) look_ups: u64,
    /// Those that found a fresh answer.
    pub(crate) hits: u64,
    /// Answers made on a guess; used; expired before anybody asked.
    pub(crate) guesses: (u64, u64, u64),
    /// Time of the device: for callers, on guesses, on wasted guesses.
    pub(crate) device_ms: (u64, u64, u64),
    /// Sources that are closed in the end.
    pub(crate) closed: Vec<Source>,
}

impl Outcome {
    /// Share of look-ups that found a fresh answer, in percent.
    #[must_use]
    pub(crate) fn hit_percent(&self) -> f64 {
        self.hits as f64 * 100.0 / self.look_ups as f64
    }
}

/// Repeatable and good enough for dice (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The trace of `days` days, in the order of its look-ups.
#[must_use]
pub(crate) fn trace(kind: Kind, days: u64) -> Vec<Asked> {
    let mut dice = Dice(1);
    let mut trace = Vec::new();
    for day in 0..days {
        let midnight = (FIRST_DAY + day) * DAY_MS;
        match kind {
            Kind::Noise => noise(&mut dice, midnight, &mut trace),
            Kind::HabitsThatEnd if day >= days / 2 => {
                let first = trace.len();
                habits(&mut dice, (day, midnight), &mut trace);
                for asked in &mut trace[first..] {
                    asked.tenant = dice.below(TENANTS);
                    asked.at = midnight + dice.below(DAY_MS);
                }
            }
            Kind::Habits | Kind::HabitsThatEnd => habits(&mut dice, (day, midnight), &mut trace),
        }
    }
    trace.sort_unstable();
    trace
}

fn habits(dice: &mut Dice, (day, midnight): (u64, u64), trace: &mut Vec<Asked>) {
    let mut ask = |at: u64, tenant: u64, name: u64| trace.push(Asked { at, tenant, name });
    for tenant in 0..TENANTS {
        for chain in 0..CHAINS {
            if !dice.happens(33) {
                continue;
            }
            let mut at = midnight + 8 * HOUR_MS + dice.below(10 * HOUR_MS);
            for post in 0..CHAIN_POSTS {
                ask(at, tenant, 1_000_000 + (tenant * CHAINS + chain) * CHAIN_POSTS + post);
                at += MINUTE_MS + dice.below(2 * MINUTE_MS);
                if !dice.happens(CHAIN_GOES_ON_PERCENT) {
                    break;
                }
            }
        }
    }
    for name in 0..DAILY_KEYS + WEEKLY_KEYS {
        let is_day = name < DAILY_KEYS || day % 7 == name % 7;
        if is_day && dice.happens(KEEPS_HABIT_PERCENT) {
            let at = midnight + (name % 24) * HOUR_MS + dice.below(HOUR_MS);
            ask(at, name % TENANTS, 2_000_000 + name);
        }
    }
    for _ in 0..STRANGERS_A_DAY {
        ask(midnight + dice.below(DAY_MS), dice.below(TENANTS), 3_000_000 + dice.below(STRANGERS));
    }
}

fn noise(dice: &mut Dice, midnight: u64, trace: &mut Vec<Asked>) {
    for _ in 0..NOISE_A_DAY {
        let (at, tenant) = (midnight + dice.below(DAY_MS), dice.below(TENANTS));
        trace.push(Asked { at, tenant, name: 4_000_000 + dice.below(NOISE_KEYS) });
    }
}

/// The service as far as it matters here.
struct Service {
    predictor: Predictor<()>,
    ledger: Ledger,
    /// Until when each answer is fresh.
    fresh_until: HashMap<CacheKey, u64>,
    device_is_free_at: u64,
    /// Guesses on their way to the device.
    queue: Vec<(u64, Prediction<()>)>,
    hits: u64,
    callers_device_ms: u64,
}

/// What is made on guesses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefetch {
    /// How likely a guess must be.
    pub(crate) probability_min: f64,
    /// Below this share used it is stopped for a while; 0 never stops it.
    pub(crate) used_share_min: f64,
}

/// The defaults of the origin's settings.
pub(crate) const DEFAULT: Prefetch = Prefetch { probability_min: 0.4, used_share_min: 0.3 };

/// Plays a trace, with prefetching or without.
#[must_use]
pub(crate) fn play(trace: &[Asked], prefetch: Option<Prefetch>) -> Outcome {
    let mut service = Service {
        predictor: Predictor::new(prefetch.unwrap_or(DEFAULT).probability_min),
        ledger: Ledger::new(prefetch.unwrap_or(DEFAULT).used_share_min),
        fresh_until: HashMap::new(),
        device_is_free_at: 0,
        queue: Vec::new(),
        hits: 0,
        callers_device_ms: 0,
    };
    let mut minute = 0;
    for asked in trace {
        while prefetch.is_some() && minute < asked.at / MINUTE_MS {
            minute = if minute == 0 { asked.at / MINUTE_MS } else { minute + 1 };
            service.each_minute(minute * MINUTE_MS);
        }
        service.ask(asked, prefetch.is_some());
    }
    let ends = trace.last().map_or(0, |asked| asked.at);
    let closed = service.ledger.stats().into_iter().filter(|stats| stats.gate != GateState::Open);
    let closed = closed.map(|stats| stats.source).collect();
    // Whatever is still fresh is given its chance; nobody asks any more.
    service.ledger.settle(UnixMillis(ends + 2 * DAY_MS));
    let sum = |of: fn(&lede_origin::prediction::SourceStats) -> u64| service.ledger.stats().iter().map(of).sum();
    Outcome {
        look_ups: trace.len() as u64,
        hits: service.hits,
        guesses: (sum(|stats| stats.made), sum(|stats| stats.used), sum(|stats| stats.wasted)),
        device_ms: (service.callers_device_ms, sum(|stats| stats.device_ms), sum(|stats| stats.wasted_device_ms)),
        closed,
    }
}

impl Service {
    fn ask(&mut self, asked: &Asked, is_predicting: bool) {
        self.work_until(asked.at);
        let (key, at) = (key(asked.name), UnixMillis(asked.at));
        let is_hit = self.is_fresh(&key, asked.at);
        if is_predicting {
            self.ledger.asked(&key, at);
            let look_up = LookUp { key, tenant: asked.tenant, at };
            let predictions = self.predictor.seen(&look_up, &());
            self.take_in(predictions, asked.at);
        }
        if is_hit {
            self.hits += 1;
            return;
        }
        self.ledger.lost(&key, at);
        self.callers_device_ms += u64::from(DEVICE_MS);
        self.device_is_free_at = self.device_is_free_at.max(asked.at) + u64::from(DEVICE_MS);
        self.fresh_until.insert(key, asked.at + FRESH_FOR_MS);
    }

    fn each_minute(&mut self, now: u64) {
        self.work_until(now);
        let due = self.predictor.due(UnixMillis(now));
        self.take_in(due, now);
    }

    fn take_in(&mut self, predictions: Vec<Prediction<()>>, now: u64) {
        self.queue.extend(predictions.into_iter().map(|one| (now + QUEUE_MS, one)));
    }

    /// What the idle device makes until `now`, one guess after another.
    fn work_until(&mut self, now: u64) {
        let queue = std::mem::take(&mut self.queue);
        for (at, prediction) in queue {
            let ends = at.max(self.device_is_free_at) + u64::from(DEVICE_MS);
            if ends > now {
                self.queue.push((at, prediction));
                continue;
            }
            let is_wanted = !self.is_fresh(&prediction.key, prediction.until.0);
            if is_wanted && self.ledger.may_make(prediction.source, UnixMillis(at)) {
                self.device_is_free_at = ends;
                self.fresh_until.insert(prediction.key, ends + FRESH_FOR_MS);
                self.ledger.made(Guess {
                    key: prediction.key,
                    source: prediction.source,
                    device_ms: DEVICE_MS,
                    until: prediction.until,
                    expires_at: UnixMillis(ends + FRESH_FOR_MS),
                });
            }
        }
    }

    fn is_fresh(&self, key: &CacheKey, at: u64) -> bool {
        self.fresh_until.get(key).is_some_and(|until| at < *until)
    }
}

fn key(name: u64) -> CacheKey {
    CacheKey(Sha256::digest(name.to_be_bytes()).into())
}
