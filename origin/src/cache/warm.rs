//! The warm tier: in memory, encoded, bounded by the bytes that it takes.
//!
//! On quick_cache (a modified CLOCK-Pro) and not on moka, which takes more memory for its own books about an entry than an encoded caption
//! has bytes (docs/decisions/0025). The library knows no time, so an entry that is past its time is dropped when it is
//! asked for or, with all others of its kind, by a sweep, which comes along with a write several times in the idle span.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lede_shared::cache_key::CacheKey;
use lede_shared::freshness::FreshnessRecord;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, Weighter};
use triomphe::ThinArc;

use super::codec;
use super::key_hash::KeyHash;
use super::worth::Worth;
use crate::clock;

/// What an entry takes besides its bytes, measured as resident memory (`cargo xtask bench cache --only compression`): key, place
/// in the table, in the queues and among the ghosts, counters, and what the allocator rounds up and keeps.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = 192;
/// About what an entry takes in all; how many there may be is for the library to lay out its tables.
const ENTRY_BYTES_TYPICAL: u64 = 480;
/// Sweeps in one idle span.
const SWEEPS: u64 = 4;

/// The warm tier. It keeps what [`super::codec`] has encoded. Clones share it.
#[derive(Clone, Debug)]
pub struct WarmTier(Arc<Warm>);

#[derive(Debug)]
struct Warm {
    entries: Cache<CacheKey, Encoded, Weight, KeyHash, Leaving>,
    started: Instant,
    idle: Duration,
    sweep_every_ms: u64,
    /// When the next sweep is due, in milliseconds since the start.
    sweep_at_ms: AtomicU64,
    counts: Arc<Counts>,
}

/// The bytes of an entry and when they were last asked for: milliseconds since the tier's start, modulo 49 days.
#[derive(Clone, Debug)]
pub struct Encoded(ThinArc<AtomicU32, u8>);

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.slice
    }
}

/// What the tier holds, and why entries left it since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmStats {
    /// Entries now.
    pub entries: u64,
    /// Bytes now, with what each entry takes besides its own.
    pub bytes: u64,
    /// Entries that had to make room.
    pub evicted: u64,
    /// Entries that were good for nothing, or that nobody had asked for.
    pub expired: u64,
}

#[derive(Debug, Default)]
struct Counts {
    evicted: AtomicU64,
    expired: AtomicU64,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<CacheKey, Encoded> for Weight {
    fn weight(&self, _: &CacheKey, encoded: &Encoded) -> u64 {
        encoded.len().saturating_add(ENTRY_OVERHEAD_BYTES) as u64
    }
}

/// Chooses those that make room, and counts them.
#[derive(Clone, Debug)]
struct Leaving {
    worth: Arc<Worth>,
    counts: Arc<Counts>,
}

impl Lifecycle<CacheKey, Encoded> for Leaving {
    type RequestState = ();

    fn begin_request(&self) {}

    /// Asked of what is about to go. What is worth more than others may stay this time.
    fn is_pinned(&self, _: &CacheKey, encoded: &Encoded) -> bool {
        let device_ms = codec::device_ms_of(encoded).unwrap_or(0);
        self.worth.survives(device_ms, encoded.len() + ENTRY_OVERHEAD_BYTES)
    }

    fn on_evict(&self, (): &mut (), _: CacheKey, _: Encoded) {
        self.counts.evicted.fetch_add(1, Ordering::Relaxed);
    }
}

impl WarmTier {
    /// A tier of at most `bytes_max` bytes, each entry for `idle` after it was last asked for, and no longer than it is
    /// good for.
    #[must_use]
    pub fn new(bytes_max: u64, idle: Duration) -> Self {
        let counts = Arc::<Counts>::default();
        let entries_typical = usize::try_from(bytes_max / ENTRY_BYTES_TYPICAL).unwrap_or(usize::MAX).max(1);
        let leaving = Leaving { worth: Arc::default(), counts: Arc::clone(&counts) };
        let entries = Cache::with(entries_typical, bytes_max, Weight, KeyHash::default(), leaving);
        let sweep_every_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX) / SWEEPS;
        Self(Arc::new(Warm {
            entries,
            started: Instant::now(),
            idle,
            sweep_every_ms,
            sweep_at_ms: AtomicU64::new(sweep_every_ms),
            counts,
        }))
    }

    /// What is kept under `key`, encoded.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Encoded> {
        let encoded = self.0.entries.get(key)?;
        if self.0.is_over(&encoded) {
            // Unless another was put in its place meanwhile.
            self.0.entries.remove_if(key, |held| self.0.counted_as_expired(held));
            return None;
        }
        encoded.touched_ms().store(modulo(self.0.since_start_ms()), Ordering::Relaxed);
        Some(encoded)
    }

    /// Keeps `encoded` under `key`.
    pub fn put(&self, key: CacheKey, encoded: &[u8]) {
        let kept = ThinArc::from_header_and_slice(AtomicU32::new(modulo(self.0.since_start_ms())), encoded);
        self.0.entries.insert(key, Encoded(kept));
        self.0.sweep_if_due();
    }

    /// Forgets what is kept under `key`.
    pub fn remove(&self, key: &CacheKey) {
        self.0.entries.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.entries.clear();
    }

    /// What it holds.
    #[must_use]
    pub fn stats(&self) -> WarmStats {
        let Warm { entries, counts, .. } = &*self.0;
        WarmStats {
            entries: entries.len() as u64,
            bytes: entries.weight(),
            evicted: counts.evicted.load(Ordering::Relaxed),
            expired: counts.expired.load(Ordering::Relaxed),
        }
    }
}

impl Encoded {
    fn touched_ms(&self) -> &AtomicU32 {
        &self.0.header.header
    }
}

impl Warm {
    fn since_start_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Nobody has asked for it for too long, or it is good for nothing any more.
    fn is_over(&self, encoded: &Encoded) -> bool {
        let untouched_ms =
            modulo(self.since_start_ms()).wrapping_sub(encoded.touched_ms().load(Ordering::Relaxed));
        let is_useless = |freshness: FreshnessRecord| freshness.useful_for_ms(clock::now()) == 0;
        Duration::from_millis(untouched_ms.into()) >= self.idle
            || codec::freshness_of(encoded).is_none_or(is_useless)
    }

    fn sweep_if_due(&self) {
        let now_ms = self.since_start_ms();
        let due_ms = self.sweep_at_ms.load(Ordering::Relaxed);
        let next_ms = now_ms.saturating_add(self.sweep_every_ms);
        // Only one of those who write at this moment.
        let mine = || self.sweep_at_ms.compare_exchange(due_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed);
        if now_ms >= due_ms && mine().is_ok() {
            self.entries.retain(|_, encoded| !self.counted_as_expired(encoded));
        }
    }

    fn counted_as_expired(&self, encoded: &Encoded) -> bool {
        let is_over = self.is_over(encoded);
        self.counts.expired.fetch_add(u64::from(is_over), Ordering::Relaxed);
        is_over
    }
}

/// The low 32 bits.
const fn modulo(ms: u64) -> u32 {
    let [low @ .., _, _, _, _] = ms.to_le_bytes();
    u32::from_le_bytes(low)
}

#[cfg(test)]
mod tests;
