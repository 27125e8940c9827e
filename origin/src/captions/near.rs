//! Near-duplicates: an earlier answer to *nearly* the same description stands in, if the operator wants it so.
//!
//! 1. Only when the exact key has nothing in memory, the caller takes what is kept, and no seed asks for one certain caption.
//! 2. The index goes by everything that decides an answer, with the description's [`DescriptionSignature`] in its
//!    place: another style, count, word list, tenant, model, policy or epoch is another entry.
//! 3. Numbers, names, negations and pictures of both descriptions are compared once more, apart from the signature.
//! 4. The answer says what it is, by a warning and in `Cache-Status`. Nobody keeps it as this request's own.
//!
//! How often it is right and wrong is measured on committed pairs (docs/decisions/0029-near-duplicates.md).

mod articles;
mod contractions;
mod guards;
mod index;
mod opening;
#[cfg(test)]
mod pairs;
mod signature;
mod terms;
mod words;

use std::time::Instant;

use lede_shared::api::{
    CaptionResponse, PerformanceMetrics, ValidRequest, Warning, WarningCode, json_with_metrics,
};
use lede_shared::cache_key::{CacheKey, NamespaceDigest};
use lede_shared::freshness::Freshness;
use lede_shared::signature::Claims;
use serde::Deserialize;

pub use self::index::{NearIndex, NearStats};
pub use self::signature::DescriptionSignature;
use super::answering::hit;
use super::{Answer, Asking, CaptionError, Captions, Inner};
use crate::cache::{Found, Tier};
use crate::clock;

/// Are near-duplicates looked for?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NearDuplicates {
    /// No: every caption is written for its own description.
    #[default]
    Off,
    /// Yes.
    On,
}

impl Captions {
    /// The same, with leave to look for near-duplicates on behalf of the caller of `claims`; without, where they are off.
    #[must_use]
    pub fn with_near(&self, asking: Asking, claims: &Claims) -> Asking {
        let near_in = self.0.near.is_some().then(|| NamespaceDigest::of(&self.namespace(self.model_id(), claims)));
        Asking { near_in, ..asking }
    }

    /// What came of looking for near-duplicates; none where they are off.
    #[must_use]
    pub fn near_stats(&self) -> Option<NearStats> {
        self.0.near.as_ref().map(NearIndex::stats)
    }

    /// A fresh answer to nearly the same request, out of the tiers in memory.
    pub(super) fn near_answer(
        &self,
        request: &ValidRequest,
        asking: Asking,
    ) -> Option<Result<Answer, CaptionError>> {
        let (key, found) = self.0.near_found(request, asking)?;
        Some(answer(key, &found, asking.started_at))
    }
}

impl Inner {
    fn near_found(&self, request: &ValidRequest, asking: Asking) -> Option<(CacheKey, Found)> {
        // Who names a seed wants the caption that it gives, and no other.
        let (index, namespace) = (self.near.as_ref()?, asking.near_in.filter(|_| request.seed().is_none())?);
        index.find(namespace, request, |key| {
            let found = self.cache.in_memory(key)?;
            let now = clock::now();
            let is_fresh = matches!(found.entry.freshness.at(now), Freshness::Fresh { .. });
            (is_fresh && asking.cache_control.accepts_age_ms(found.entry.freshness.age_ms(now))).then_some(found)
        })
    }

    /// From now on the answer under `key` may stand in for others like it.
    pub(super) fn offer_as_near(&self, request: &ValidRequest, key: CacheKey, asking: Asking) {
        if let (Some(index), Some(namespace)) = (&self.near, asking.near_in) {
            index.put(namespace, request, key);
        }
    }
}

/// The answer under `key`, which is another request's, with the warning that it is.
fn answer(key: CacheKey, found: &Found, started_at: Instant) -> Result<Answer, CaptionError> {
    let kept = hit(key, found, started_at)?;
    let broken = |error: serde_json::Error| CaptionError::Internal(error.to_string());
    let mut response: CaptionResponse = serde_json::from_slice(&kept.body).map_err(broken)?;
    response.warnings.push(Warning {
        code: WarningCode::AnsweredByNearDuplicate,
        detail: "the caption was written for a description that differs only in how it is typed".to_owned(),
    });
    let metrics: PerformanceMetrics = response.performance_metrics;
    let body = response.json_without_metrics().map_err(CaptionError::Internal)?;
    let body = json_with_metrics(body.as_bytes(), &metrics).map_err(CaptionError::Internal)?.into();
    Ok(Answer { body, cache_detail: Some(detail(found.tier)), is_near: true, ..kept })
}

/// What `Cache-Status` says.
const fn detail(tier: Tier) -> &'static str {
    match tier {
        Tier::Hot => "hot-near",
        Tier::Warm => "warm-near",
        Tier::Cold => "cold-near",
    }
}
