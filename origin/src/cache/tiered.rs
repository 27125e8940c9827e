//! The three tiers as one.
//!
//! Reading: 1. hot; 2. warm, whose entry then goes to hot, too; 3. cold, whose entry then goes to warm and hot, unless
//! they hold one that was made later. A tier that fails, or holds what cannot be read, has nothing. Who asks judges
//! the freshness: what is found may be stale.
//!
//! Writing: 1. hot and warm at once; 2. cold behind, through a bounded queue. What the queue has no room for is not kept
//! there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lede_shared::cache_key::CacheKey;

use super::cold::{ColdTier, ColdWrite};
use super::entry::{Entry, Found, Tier};
use super::{HotTier, WarmTier, codec};
use crate::clock;

/// The bounds of the tiers in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// Most entries of the hot tier.
    pub hot_entries_max: u64,
    /// How long an entry stays hot after it was last asked for.
    pub hot_idle: Duration,
    /// Most bytes of the warm tier.
    pub warm_bytes_max: u64,
    /// How long an entry stays warm after it was last asked for.
    pub warm_idle: Duration,
}

/// The response cache. Clones share it.
#[derive(Clone, Debug)]
pub struct TieredCache(Arc<Tiers>);

#[derive(Debug)]
struct Tiers {
    hot: HotTier,
    warm: WarmTier,
    cold: Option<ColdTier>,
}

impl TieredCache {
    /// A cache with these bounds, before `cold` where there is one.
    #[must_use]
    pub fn new(memory: MemorySettings, cold: Option<ColdTier>) -> Self {
        let hot = HotTier::new(memory.hot_entries_max, memory.hot_idle);
        let warm = WarmTier::new(memory.warm_bytes_max, memory.warm_idle);
        Self(Arc::new(Tiers { hot, warm, cold }))
    }

    /// What the tiers in memory have. Waits for nothing.
    #[must_use]
    pub fn in_memory(&self, key: &CacheKey) -> Option<Found> {
        if let Some(entry) = self.0.hot.get(key) {
            return Some(Found { entry, tier: Tier::Hot });
        }
        let encoded = self.0.warm.get(key)?;
        let Ok(entry) = codec::decode(&encoded) else {
            self.0.warm.remove(key);
            return None;
        };
        self.0.hot.put(*key, entry.clone());
        Some(Found { entry, tier: Tier::Warm })
    }

    /// What the cold tier has. Waits no longer than that tier's read timeout.
    pub async fn in_cold(&self, key: &CacheKey) -> Option<Found> {
        let (entry, encoded) = self.0.cold.as_ref()?.get(key).await?;
        self.backfill(key, &entry, encoded);
        Some(Found { entry, tier: Tier::Cold })
    }

    /// Keeps `entry` under `key`.
    pub fn put(&self, key: CacheKey, entry: Entry) {
        let useful_for = Duration::from_millis(entry.freshness.useful_for_ms(clock::now()));
        let encoded = codec::encode(&entry);
        self.0.hot.put(key, entry);
        self.0.warm.put(key, encoded.clone());
        if let Some(cold) = &self.0.cold {
            cold.put(ColdWrite { key, encoded, useful_for });
        }
    }

    /// Forgets what is kept under `key`, in every tier.
    pub async fn invalidate(&self, key: &CacheKey) {
        self.forget_in_memory(key);
        if let Some(cold) = &self.0.cold {
            cold.remove(key).await;
        }
    }

    /// Forgets what the tiers in memory keep under `key`.
    pub fn forget_in_memory(&self, key: &CacheKey) {
        self.0.hot.remove(key);
        self.0.warm.remove(key);
    }

    /// Empties one tier.
    pub async fn clear(&self, tier: Tier) {
        match (tier, &self.0.cold) {
            (Tier::Hot, _) => self.0.hot.clear(),
            (Tier::Warm, _) => self.0.warm.clear(),
            (Tier::Cold, Some(cold)) => cold.clear().await,
            (Tier::Cold, None) => {}
        }
    }

    fn backfill(&self, key: &CacheKey, entry: &Entry, encoded: Bytes) {
        let held = self.0.hot.get(key);
        if held.is_some_and(|held| held.freshness.created_ms > entry.freshness.created_ms) {
            return;
        }
        self.0.hot.put(*key, entry.clone());
        self.0.warm.put(*key, encoded);
    }
}
