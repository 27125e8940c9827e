//! The response cache.

use serde::Deserialize;

use super::{ConfigError, within};
use crate::captions::CaptionSettings;

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// The response cache.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct CacheConfig {
    /// `LEDE_CACHE_EPOCH`: raise it to purge everything. Default 1.
    pub cache_epoch: u64,
    /// `LEDE_HOT_ENTRIES_MAX`: entries of the hot tier. Default 10,000.
    pub hot_entries_max: u64,
    /// `LEDE_HOT_FRESH_MS`: how long an answer is fresh. Default 5 minutes.
    pub hot_fresh_ms: u64,
    /// `LEDE_HOT_STALE_WHILE_REVALIDATE_MS`: what downstream caches are told. Default 1 minute.
    pub hot_stale_while_revalidate_ms: u64,
    /// `LEDE_HOT_STALE_IF_ERROR_MS`: how long a stale answer may stand in for an error. Default 1 hour.
    pub hot_stale_if_error_ms: u64,
    /// `LEDE_FLIGHTS_MAX`: different generations in flight. Default 4,096.
    pub flights_max: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            cache_epoch: 1,
            hot_entries_max: 10_000,
            hot_fresh_ms: 300_000,
            hot_stale_while_revalidate_ms: 60_000,
            hot_stale_if_error_ms: 3_600_000,
            flights_max: 4_096,
        }
    }
}

impl CacheConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("hot_entries_max", self.hot_entries_max, 0, 1_000_000_000)?;
        within("hot_fresh_ms", self.hot_fresh_ms, 0, YEAR_MS)?;
        within("hot_stale_while_revalidate_ms", self.hot_stale_while_revalidate_ms, 0, YEAR_MS)?;
        within("hot_stale_if_error_ms", self.hot_stale_if_error_ms, 0, YEAR_MS)?;
        within("flights_max", self.flights_max, 1, 1_000_000)
    }

    /// The part that the domain works with.
    #[must_use]
    pub const fn caption_settings(&self) -> CaptionSettings {
        CaptionSettings {
            cache_epoch: self.cache_epoch,
            hot_entries_max: self.hot_entries_max,
            fresh_for_ms: self.hot_fresh_ms,
            stale_while_revalidate_ms: self.hot_stale_while_revalidate_ms,
            stale_if_error_ms: self.hot_stale_if_error_ms,
            flights_max: self.flights_max,
        }
    }
}
