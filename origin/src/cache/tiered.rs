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

use lede_shared::cache_key::CacheKey;

use super::cold::{ColdTier, ColdWrite};
use super::entry::{Entry, Found, Tier};
use super::stats::{CacheStats, Counts};
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
    counts: Counts,
}

impl TieredCache {
    /// A cache with these bounds, before `cold` where there is one.
    #[must_use]
    pub fn new(memory: MemorySettings, cold: Option<ColdTier>) -> Self {
        let hot = HotTier::new(memory.hot_entries_max, memory.hot_idle);
        let warm = WarmTier::new(memory.warm_bytes_max, memory.warm_idle);
        let counts = Counts::new(&memory);
        Self(Arc::new(Tiers { hot, warm, cold, counts }))
    }

    /// What the tiers in memory have. Waits for nothing.
    #[must_use]
    pub fn in_memory(&self, key: &CacheKey) -> Option<Found> {
        let found = self.held(key);
        self.0.counts.looked_up(key, found.as_ref());
        found
    }

    /// The same for who asks for his own ends: it is not counted.
    #[must_use]
    pub fn held(&self, key: &CacheKey) -> Option<Found> {
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
        let found = self.0.cold.as_ref()?.get(key).await;
        self.0.counts.looked_up_cold(key, found.as_ref().map(|(entry, encoded)| (entry, encoded.len())));
        let (entry, encoded) = found?;
        self.backfill(key, &entry, &encoded);
        Some(Found { entry, tier: Tier::Cold })
    }

    /// Keeps `entry` under `key`.
    pub fn put(&self, key: CacheKey, entry: Entry) {
        let useful_for = Duration::from_millis(entry.freshness.useful_for_ms(clock::now()));
        let encoded = codec::encode(&entry);
        self.0.counts.put(&key, entry.body.len(), encoded.len());
        self.0.hot.put(key, entry);
        self.0.warm.put(key, &encoded);
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

    /// Waits until the cold tier has, or has refused, what was kept so far.
    pub async fn written(&self) {
        if let Some(cold) = &self.0.cold {
            cold.written().await;
        }
    }

    /// Empties one tier.
    pub async fn clear(&self, tier: Tier) {
        match (tier, &self.0.cold) {
            (Tier::Hot, _) => self.0.hot.clear(),
            (Tier::Warm, _) => self.0.warm.clear(),
            (Tier::Cold, Some(cold)) => cold.clear().await,
            (Tier::Cold, None) => {}
        }
        self.0.counts.cleared(tier);
    }

    /// What the cache has done since the start, and what it holds. Waits for the cold tier no longer than a look-up.
    pub async fn stats(&self) -> CacheStats {
        let cold = match &self.0.cold {
            Some(cold) => Some(cold.state().await),
            None => None,
        };
        self.0.counts.report(self.0.hot.held(), self.0.warm.stats(), cold)
    }

    fn backfill(&self, key: &CacheKey, entry: &Entry, encoded: &[u8]) {
        let held = self.0.hot.get(key);
        if held.is_some_and(|held| held.freshness.created_ms > entry.freshness.created_ms) {
            return;
        }
        self.0.hot.put(*key, entry.clone());
        self.0.warm.put(*key, encoded);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};

    use bytes::Bytes;
    use futures_util::future::{BoxFuture, ready};
    use lede_shared::clock::UnixMillis;
    use lede_shared::freshness::FreshnessRecord;

    use super::*;
    use crate::cache::cold::{ColdError, ColdSize, ColdStore};

    const KEY: CacheKey = CacheKey([1; 32]);
    const MEMORY: MemorySettings = MemorySettings {
        hot_entries_max: 100,
        hot_idle: Duration::from_secs(60),
        warm_bytes_max: 1 << 20,
        warm_idle: Duration::from_secs(60),
    };

    /// A store that is always there.
    #[derive(Debug, Default)]
    struct InMemory(Mutex<HashMap<CacheKey, Bytes>>);

    impl InMemory {
        fn with<T>(&self, work: impl FnOnce(&mut HashMap<CacheKey, Bytes>) -> T) -> T {
            work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    impl ColdStore for InMemory {
        fn get<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<Option<Bytes>, ColdError>> {
            Box::pin(ready(Ok(self.with(|kept| kept.get(key).cloned()))))
        }

        fn put_many(&self, writes: Vec<ColdWrite>) -> BoxFuture<'_, Result<(), ColdError>> {
            self.with(|kept| kept.extend(writes.into_iter().map(|write| (write.key, write.encoded))));
            Box::pin(ready(Ok(())))
        }

        fn remove<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<(), ColdError>> {
            self.with(|kept| kept.remove(key));
            Box::pin(ready(Ok(())))
        }

        fn clear(&self) -> BoxFuture<'_, Result<(), ColdError>> {
            self.with(HashMap::clear);
            Box::pin(ready(Ok(())))
        }

        fn size(&self) -> BoxFuture<'_, Result<ColdSize, ColdError>> {
            let entries = self.with(|kept| kept.len() as u64);
            Box::pin(ready(Ok(ColdSize { entries: Some(entries), bytes: None })))
        }
    }

    /// A cache before `store`; another one before the same store is another process.
    fn cache(store: &Arc<InMemory>) -> TieredCache {
        let store: Arc<dyn ColdStore> = Arc::<InMemory>::clone(store);
        TieredCache::new(MEMORY, Some(ColdTier::start(store, Duration::from_millis(100))))
    }

    fn made_at(created_ms: UnixMillis) -> Entry {
        let (fresh_for_ms, stale_ms) = (60_000, 60_000);
        let freshness = FreshnessRecord {
            created_ms,
            fresh_for_ms,
            stale_while_revalidate_ms: stale_ms,
            stale_if_error_ms: stale_ms,
        };
        Entry { body: Bytes::from(format!("{{\"at\":{}}}", created_ms.0)), freshness, device_ms: 7 }
    }

    fn entry() -> Entry {
        made_at(clock::now())
    }

    fn tier_of(found: Option<Found>) -> Option<Tier> {
        found.map(|found| found.tier)
    }

    /// Changes are made in their order, so when a removal is done all before it is.
    async fn written(cache: &TieredCache) {
        cache.invalidate(&CacheKey([0xff; 32])).await;
    }

    #[tokio::test]
    async fn what_is_kept_is_found_in_the_quickest_tier_that_has_it_and_moves_up() {
        let store = Arc::default();
        let cache = cache(&store);
        let entry = entry();
        cache.put(KEY, entry.clone());
        written(&cache).await;
        assert_eq!(cache.in_memory(&KEY), Some(Found { entry: entry.clone(), tier: Tier::Hot }));
        cache.clear(Tier::Hot).await;
        assert_eq!(cache.in_memory(&KEY), Some(Found { entry: entry.clone(), tier: Tier::Warm }));
        assert_eq!(tier_of(cache.in_memory(&KEY)), Some(Tier::Hot));
        cache.forget_in_memory(&KEY);
        assert_eq!(cache.in_memory(&KEY), None);
        assert_eq!(cache.in_cold(&KEY).await, Some(Found { entry, tier: Tier::Cold }));
        assert_eq!(tier_of(cache.in_memory(&KEY)), Some(Tier::Hot));
    }

    #[tokio::test]
    async fn another_process_finds_it_in_the_cold_tier() {
        let store = Arc::default();
        let first = cache(&store);
        first.put(KEY, entry());
        written(&first).await;
        let second = cache(&store);
        assert_eq!(second.in_memory(&KEY), None);
        assert_eq!(tier_of(second.in_cold(&KEY).await), Some(Tier::Cold));
    }

    #[tokio::test]
    async fn what_the_cold_tier_has_does_not_drive_out_what_was_made_later() {
        let store = Arc::<InMemory>::default();
        let cache = cache(&store);
        let (older, newer) = (made_at(clock::now()), made_at(clock::now().plus(1)));
        store.with(|kept| kept.insert(KEY, codec::encode(&older)));
        cache.put(KEY, newer.clone());
        store.with(|kept| kept.insert(KEY, codec::encode(&older)));
        assert_eq!(cache.in_cold(&KEY).await.map(|found| found.entry), Some(older));
        assert_eq!(cache.in_memory(&KEY).map(|found| found.entry), Some(newer));
    }

    #[tokio::test]
    async fn what_is_invalidated_is_gone_from_every_tier_even_while_its_writing_waits() {
        let store = Arc::default();
        let cache = cache(&store);
        cache.put(KEY, entry());
        cache.invalidate(&KEY).await;
        assert_eq!((cache.in_memory(&KEY), cache.in_cold(&KEY).await), (None, None));
    }

    #[tokio::test]
    async fn a_tier_is_cleared_alone() {
        let store = Arc::default();
        let cache = cache(&store);
        cache.put(KEY, entry());
        cache.clear(Tier::Cold).await;
        assert_eq!(tier_of(cache.in_memory(&KEY)), Some(Tier::Hot));
        assert_eq!(cache.in_cold(&KEY).await, None);
        cache.clear(Tier::Hot).await;
        cache.clear(Tier::Warm).await;
        assert_eq!(cache.in_memory(&KEY), None);
    }

    #[tokio::test]
    async fn what_the_cold_tier_holds_and_cannot_be_read_is_not_there() {
        let store = Arc::<InMemory>::default();
        let cache = cache(&store);
        for garbage in [&b""[..], b"\x00", b"\xff\xff\xff\xff garbage"] {
            store.with(|kept| kept.insert(KEY, Bytes::copy_from_slice(garbage)));
            assert_eq!(cache.in_cold(&KEY).await, None, "{garbage:?}");
        }
    }
}
