//! What is kept.

use bytes::Bytes;
use lede_shared::freshness::FreshnessRecord;

/// Bytes and how long they are good for. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is kept; the cache does not look inside.
    pub body: Bytes,
    /// How long it is good for. The same record in every tier.
    pub freshness: FreshnessRecord,
    /// Device time that it took to make, and that a hit saves.
    pub device_ms: u32,
}

/// The tiers, the quickest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// In memory as it is served, bounded by entries.
    Hot,
    /// In memory, compressed, bounded by bytes.
    Warm,
    /// Outlives the process: on disk, or in Redis and shared by all origins.
    Cold,
}

/// What a look-up found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was kept; whoever asked judges its freshness.
    pub entry: Entry,
    /// The quickest tier that had it.
    pub tier: Tier,
}
