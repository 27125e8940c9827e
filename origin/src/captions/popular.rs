//! Which captions are asked for most, for the edge to spread them before anybody asks again.

use lede_shared::api::{PerformanceMetrics, PopularCaption, json_with_metrics};
use lede_shared::cache_key::CacheKey;

use super::Captions;
use super::answering::named;
use super::learning::Wanted;

impl Captions {
    /// The captions asked for most under `epoch` that the tiers in memory hold, the most popular first.
    #[must_use]
    pub fn popular(&self, limit: usize, epoch: u64) -> Vec<PopularCaption> {
        // Including what was asked for just now.
        self.catch_up();
        let popular = self.0.learner.popular().into_iter().filter(|(_, _, wanted)| wanted.epoch == epoch);
        popular.filter_map(|(key, _, wanted)| self.held(&key, &wanted)).take(limit).collect()
    }

    fn held(&self, key: &CacheKey, wanted: &Wanted) -> Option<PopularCaption> {
        // What was purged here since has another key, and is not to be spread any more.
        if self.key_of(&wanted.request()?, &wanted.claims()) != *key {
            return None;
        }
        let found = self.0.cache.held(key)?;
        let created_ms = found.entry.freshness.created_ms;
        let metrics = PerformanceMetrics::of_hit(named(found.tier), 0.0);
        let json = json_with_metrics(&found.entry.body, &metrics).ok()?;
        let response = serde_json::from_slice(&json).ok()?;
        let request = serde_json::from_str(&wanted.request).ok()?;
        Some(PopularCaption { request, created_ms, response })
    }
}
