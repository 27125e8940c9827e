//! The warm tier: in memory, encoded, bounded by the bytes that it takes (moka, TinyLFU).

use std::time::Duration;

use bytes::Bytes;
use lede_shared::cache_key::CacheKey;

/// What an entry takes besides its bytes.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = 256;

/// The warm tier. It keeps what [`super::codec`] has encoded.
#[derive(Clone, Debug)]
pub struct WarmTier {
    entries: moka::sync::Cache<CacheKey, Bytes>,
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

impl WarmTier {
    /// What it holds.
    #[must_use]
    pub fn stats(&self) -> WarmStats {
        WarmStats {
            entries: self.entries.entry_count(),
            bytes: self.entries.weighted_size(),
            evicted: 0,
            expired: 0,
        }
    }

    /// A tier of at most `bytes_max` bytes, each entry for `idle` after it was last asked for.
    #[must_use]
    pub fn new(bytes_max: u64, idle: Duration) -> Self {
        let weigh = |_: &CacheKey, encoded: &Bytes| {
            u32::try_from(encoded.len().saturating_add(ENTRY_OVERHEAD_BYTES)).unwrap_or(u32::MAX)
        };
        let builder = moka::sync::Cache::builder().max_capacity(bytes_max).weigher(weigh);
        Self { entries: builder.time_to_idle(idle).build() }
    }

    /// What is kept under `key`, encoded.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.entries.get(key)
    }

    /// Keeps `encoded` under `key`.
    pub fn put(&self, key: CacheKey, encoded: Bytes) {
        self.entries.insert(key, encoded);
    }

    /// Forgets what is kept under `key`.
    pub fn remove(&self, key: &CacheKey) {
        self.entries.invalidate(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.invalidate_all();
    }
}
