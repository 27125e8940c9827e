//! What the tiers do, counted.
//!
//! A look-up counts in memory that belongs to its thread alone, so counting costs it a load, an addition and a store. Ages
//! are noted for one hit in 16. What leaves a tier is counted where it leaves, which is on nobody's way.

mod departures;
mod lanes;
mod report;

use std::time::Duration;

use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;

pub(super) use self::departures::Departures;
use self::lanes::{Counter, Lanes};
pub use self::report::{
    AgeBucket, CacheStats, ColdStats, Evictions, GhostStats, HotStats, SizeAdvice, TierStats, WarmStats,
};
use super::MemorySettings;
use super::entry::{Entry, Found, Tier};
use super::ghost::Ghosts;
use super::warm::ENTRY_OVERHEAD_BYTES;
use crate::clock;

/// Of how many hits the age of one is noted.
pub(super) const AGES_ONE_IN: u64 = 16;
/// Ages are told apart up to these, and one beyond.
pub(super) const AGES_UP_TO: [Duration; 6] = [
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3_600),
    Duration::from_secs(6 * 3_600),
    Duration::from_secs(24 * 3_600),
    Duration::from_secs(7 * 24 * 3_600),
];
/// Numbers of ages.
pub(super) const AGES: usize = AGES_UP_TO.len() + 1;

/// Everything that is counted of the cache.
#[derive(Debug)]
pub(super) struct Counts {
    lanes: Lanes,
    ghosts: Ghosts,
}

impl Counts {
    /// Counts from nought, of tiers with these bounds.
    pub(super) fn new(settings: &MemorySettings) -> Self {
        Self { lanes: Lanes::default(), ghosts: Ghosts::new(settings) }
    }

    /// A look-up in the tiers in memory.
    pub(super) fn looked_up(&self, key: &CacheKey, found: Option<&Found>) {
        let counted = match found {
            None => self.lanes.add(Counter::MemoryMisses, 1),
            Some(found) if found.tier == Tier::Hot => self.lanes.add(Counter::HotHits, 1),
            Some(_) => self.lanes.add(Counter::WarmHits, 1),
        };
        if let Some(found) = found
            && counted.is_multiple_of(AGES_ONE_IN)
        {
            self.lanes.note_age(found.tier, age_group(&found.entry, clock::now()));
        }
        self.ghosts.looked_up(key, found.map(|found| found.entry.body.len()));
    }

    /// A look-up in the cold tier. What it had is kept in memory from now on.
    pub(super) fn looked_up_cold(&self, key: &CacheKey, found: Option<(&Entry, usize)>) {
        let Some((entry, encoded_bytes)) = found else {
            self.lanes.add(Counter::ColdMisses, 1);
            return;
        };
        if self.lanes.add(Counter::ColdHits, 1).is_multiple_of(AGES_ONE_IN) {
            self.lanes.note_age(Tier::Cold, age_group(entry, clock::now()));
        }
        self.ghosts.put(key, entry.body.len(), encoded_bytes + ENTRY_OVERHEAD_BYTES);
    }

    /// Something new is kept.
    pub(super) fn put(&self, key: &CacheKey, body_bytes: usize, encoded_bytes: usize) {
        self.lanes.add(Counter::Puts, 1);
        self.lanes.add(Counter::BodyBytes, body_bytes as u64);
        self.lanes.add(Counter::EncodedBytes, encoded_bytes as u64);
        self.ghosts.put(key, body_bytes, encoded_bytes + ENTRY_OVERHEAD_BYTES);
    }

    /// A tier was emptied.
    pub(super) fn cleared(&self, tier: Tier) {
        match tier {
            Tier::Hot => self.ghosts.clear_hot(),
            Tier::Warm => self.ghosts.clear_warm(),
            Tier::Cold => {}
        }
    }
}

/// In which group of ages an entry is, counted from when it was made.
pub(super) fn age_group(entry: &Entry, now: UnixMillis) -> usize {
    let age = Duration::from_millis(entry.freshness.age_ms(now));
    AGES_UP_TO.iter().position(|up_to| age < *up_to).unwrap_or(AGES_UP_TO.len())
}
