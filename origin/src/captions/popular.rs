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
        let popular = self.0.learner.popular().into_iter();
        let popular = popular.filter(|(_, _, wanted)| wanted.epoch == epoch && self.is_current(wanted));
        popular.filter_map(|(key, _, wanted)| self.held(&key, &wanted)).take(limit).collect()
    }

    /// Has nothing been purged since that it is about?
    pub(super) fn is_current(&self, wanted: &Wanted) -> bool {
        wanted.own_epoch == self.own_epoch(&wanted.claims())
    }

    fn held(&self, key: &CacheKey, wanted: &Wanted) -> Option<PopularCaption> {
        let found = self.0.cache.held(key)?;
        let created_ms = found.entry.freshness.created_ms;
        let metrics = PerformanceMetrics::of_hit(named(found.tier), 0.0);
        let json = json_with_metrics(&found.entry.body, &metrics).ok()?;
        let response = serde_json::from_slice(&json).ok()?;
        let request = serde_json::from_str(&wanted.request).ok()?;
        Some(PopularCaption { request, created_ms, response })
    }
}
