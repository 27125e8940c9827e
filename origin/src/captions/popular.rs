//! Which captions are asked for most, for the edge to spread them before anybody asks again.

use std::sync::{Mutex, PoisonError};

use lede_shared::api::{PerformanceMetrics, PopularCaption, ValidRequest, json_with_metrics};
use lede_shared::cache_key::CacheKey;
use lede_shared::popularity::TopTable;
use lede_shared::signature::Claims;

use super::Captions;
use super::answering::named;

/// Requests remembered, each with its text of a few hundred bytes.
const REQUESTS_MAX: usize = 2_000;

/// Counts look-ups.
#[derive(Debug)]
pub(super) struct Popularity(Mutex<TopTable<Wanted>>);

/// What belongs to a key.
#[derive(Clone, Debug)]
struct Wanted {
    /// Canonical JSON.
    request: String,
    /// The purges that the edge knew of.
    epoch: u64,
    /// The purges that were known here: what lies under a key from before them is not to be spread any more.
    own_epoch: u64,
}

impl Default for Popularity {
    fn default() -> Self {
        Self(Mutex::new(TopTable::new(REQUESTS_MAX)))
    }
}

impl Captions {
    /// Counts a request of the caller of `claims`. One whose answer is the caller's own is nobody else's business.
    pub fn count(&self, request: &ValidRequest, key: CacheKey, claims: &Claims) {
        if claims.cache_is_private {
            return;
        }
        let own_epoch = self.own_epoch(claims);
        let wanted = || Wanted { request: request.to_json(), epoch: claims.cache_epoch, own_epoch };
        let mut counted = self.0.popularity.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.record(key, wanted);
    }

    /// The captions asked for most under `epoch` that are still held, the most popular first.
    #[must_use]
    pub fn popular(&self, limit: usize, epoch: u64) -> Vec<PopularCaption> {
        let own_epoch = self.own_epoch(&Claims::of_the_edge());
        // Copied, so that nobody who counts has to wait for what is made of it.
        let wanted: Vec<(CacheKey, Wanted)> = {
            let counted = self.0.popularity.0.lock().unwrap_or_else(PoisonError::into_inner);
            let is_current = |wanted: &Wanted| wanted.epoch == epoch && wanted.own_epoch == own_epoch;
            let of_epoch = counted.most_first().filter(|(_, entry)| is_current(&entry.value));
            of_epoch.map(|(key, entry)| (*key, entry.value.clone())).collect()
        };
        wanted.into_iter().filter_map(|(key, wanted)| self.held(&key, &wanted)).take(limit).collect()
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
