//! The hot tier: in memory as it is served, bounded by entries (moka, TinyLFU). An entry leaves when nobody has asked for
//! it for a while.
//!
//! Nothing here looks at how long an entry is good for: whoever asks judges its record anyway, and an expiry of its own would
//! cost each look-up a sixth of its time (`cargo xtask bench cache --only ops`). What is good for nothing leaves unasked
//! for, or is overwritten by who made it anew.

use std::sync::Arc;
use std::time::Duration;

use lede_shared::cache_key::CacheKey;

use super::Entry;
use super::key_hash::KeyHash;
use super::stats::Departures;

/// The hot tier.
#[derive(Clone, Debug)]
pub struct HotTier {
    entries: moka::sync::Cache<CacheKey, Entry, KeyHash>,
    departures: Arc<Departures>,
}

impl HotTier {
    /// A tier of at most `entries_max` entries, each for `idle` after it was last asked for.
    #[must_use]
    pub fn new(entries_max: u64, idle: Duration) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity(entries_max);
        let departures = Arc::<Departures>::default();
        let leaving = Arc::clone(&departures);
        let builder = builder.eviction_listener(move |_, entry, cause| leaving.left(&entry, cause));
        Self { entries: builder.time_to_idle(idle).build_with_hasher(KeyHash::default()), departures }
    }

    /// What is kept under `key`, fresh or stale.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Entry> {
        self.entries.get(key)
    }

    /// Keeps `entry` under `key`.
    pub fn put(&self, key: CacheKey, entry: Entry) {
        self.departures.came(&entry);
        self.entries.insert(key, entry);
    }

    /// Forgets what is kept under `key`.
    pub fn remove(&self, key: &CacheKey) {
        self.entries.invalidate(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// Entries that it holds, and what is known of those that left. What waits to be booked is not counted yet.
    pub(super) fn held(&self) -> (u64, &Departures) {
        (self.entries.entry_count(), &self.departures)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lede_shared::clock::UnixMillis;
    use lede_shared::freshness::FreshnessRecord;

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn entry() -> Entry {
        let freshness = FreshnessRecord {
            created_ms: UnixMillis(1),
            fresh_for_ms: 60_000,
            stale_while_revalidate_ms: 0,
            stale_if_error_ms: 0,
        };
        Entry { body: Bytes::from_static(b"{}"), freshness, device_ms: 0 }
    }

    #[test]
    fn an_entry_stays_while_it_is_asked_for() {
        let tier = HotTier::new(10, Duration::from_millis(400));
        tier.put(CacheKey([1; 32]), entry());
        tier.put(CacheKey([2; 32]), entry());
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(tier.get(&CacheKey([1; 32])), Some(entry()));
        }
        assert_eq!(tier.get(&CacheKey([2; 32])), None);
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let tier = HotTier::new(100, IDLE);
        for index in 0..10_000u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&index.to_be_bytes());
            tier.put(CacheKey(key), entry());
        }
        tier.entries.run_pending_tasks();
        assert!(tier.entries.entry_count() <= 100);
    }
}
