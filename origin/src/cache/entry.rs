//! What is kept.

use bytes::Bytes;
use lede_shared::freshness::FreshnessRecord;

/// Bytes and how long they are good for. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is kept; the cache does not look inside.
    pub body: Bytes,
    /// How long it is good for.
    pub freshness: FreshnessRecord,
}
