//! The cache for those who run the service.

use super::Captions;
use crate::cache::{CacheStats, Tier};

impl Captions {
    /// What the cache has done since the start, and what it holds.
    pub async fn cache_stats(&self) -> CacheStats {
        self.0.cache.stats().await
    }

    /// Forgets everything that one tier keeps.
    pub async fn clear_tier(&self, tier: Tier) {
        self.0.cache.clear(tier).await;
    }
}
