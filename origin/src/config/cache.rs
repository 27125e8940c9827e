//! The response cache.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, within};
use crate::cache::{ColdChoice, ColdSettings, MemorySettings};
use crate::captions::CaptionSettings;
use crate::captions::near::NearDuplicates;
use crate::redis_link::RedisAddress;

const YEAR_MS: u64 = 365 * 24 * 3_600_000;
const MIB: u64 = 1 << 20;
const GB: u64 = 1_000_000_000;

/// The response cache.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct CacheConfig {
    /// `LEDE_CACHE_EPOCH`: raise it to purge everything. Default 1.
    pub cache_epoch: u64,
    /// `LEDE_FRESH_MS`: how long an answer is fresh, in every tier. Default 24 hours.
    pub fresh_ms: u64,
    /// `LEDE_STALE_WHILE_REVALIDATE_MS`: how long after that it may be served while a new one is made. Default 1 hour.
    pub stale_while_revalidate_ms: u64,
    /// `LEDE_STALE_IF_ERROR_MS`: how long a stale answer may stand in for an error. Default 24 hours.
    pub stale_if_error_ms: u64,
    /// `LEDE_HOT_ENTRIES_MAX`: entries of the hot tier. Default 10,000.
    pub hot_entries_max: u64,
    /// `LEDE_HOT_IDLE_MS`: how long an entry stays hot after it was last asked for. Default 5 minutes.
    pub hot_idle_ms: u64,
    /// `LEDE_WARM_BYTES_MAX`: memory of the warm tier. Default 64 MiB.
    pub warm_bytes_max: u64,
    /// `LEDE_WARM_IDLE_MS`: how long an entry stays warm after it was last asked for. Default 1 hour.
    pub warm_idle_ms: u64,
    /// `LEDE_COLD`: `auto`, `disk`, `redis` or `off`. Default `auto`: Redis where `REDIS_URL` names one, or else the disk.
    pub cold: ColdChoice,
    /// `LEDE_COLD_DIR`: the folder of the cold tier on disk. Default: `lede/responses` in the user's cache folder.
    pub cold_dir: Option<PathBuf>,
    /// `LEDE_COLD_BYTES_MAX`: most bytes on disk. Default 10 GB.
    pub cold_bytes_max: u64,
    /// `LEDE_COLD_FLUSH_MS`: what is kept is on disk after so long; a crash loses what came later. Default 5 seconds.
    pub cold_flush_ms: u64,
    /// `LEDE_COLD_READ_TIMEOUT_MS`: how long a look-up waits for the cold tier. Default 100.
    pub cold_read_timeout_ms: u64,
    /// `REDIS_URL`: the Redis that all origins share: `redis://user:password@host:port/database`, `rediss://` with TLS.
    /// Several with commas between them, or one with `redis+cluster://` or `rediss+cluster://`, are nodes of a cluster.
    pub redis_url: Option<RedisUrl>,
    /// `LEDE_FLIGHTS_MAX`: different generations in flight. Default 4,096.
    pub flights_max: usize,
    /// `LEDE_NEAR_DUPLICATES`: `on` lets the answer to a description that differs only in how it is typed stand in. Default
    /// `off`.
    pub near_duplicates: NearDuplicates,
    /// `LEDE_NEAR_ENTRIES_MAX`: groups of near-duplicates that are remembered. Default 50,000.
    pub near_entries_max: u64,
}

/// Where a Redis is. It may hold a password and is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(pub String);

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RedisUrl(…)")
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            cache_epoch: 1,
            fresh_ms: 24 * 3_600_000,
            stale_while_revalidate_ms: 3_600_000,
            stale_if_error_ms: 24 * 3_600_000,
            hot_entries_max: 10_000,
            hot_idle_ms: 300_000,
            warm_bytes_max: 64 * MIB,
            warm_idle_ms: 3_600_000,
            cold: ColdChoice::Auto,
            cold_dir: None,
            cold_bytes_max: 10 * GB,
            cold_flush_ms: 5_000,
            cold_read_timeout_ms: 100,
            redis_url: None,
            flights_max: 4_096,
            near_duplicates: NearDuplicates::Off,
            near_entries_max: 50_000,
        }
    }
}

impl CacheConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("fresh_ms", self.fresh_ms, 0, YEAR_MS)?;
        within("stale_while_revalidate_ms", self.stale_while_revalidate_ms, 0, YEAR_MS)?;
        within("stale_if_error_ms", self.stale_if_error_ms, 0, YEAR_MS)?;
        within("hot_entries_max", self.hot_entries_max, 0, 1_000_000_000)?;
        within("hot_idle_ms", self.hot_idle_ms, 1, YEAR_MS)?;
        within("warm_bytes_max", self.warm_bytes_max, 0, 1_000 * GB)?;
        within("warm_idle_ms", self.warm_idle_ms, 1, YEAR_MS)?;
        within("cold_bytes_max", self.cold_bytes_max, 64 * MIB, 1_000_000 * GB)?;
        within("cold_flush_ms", self.cold_flush_ms, 10, 3_600_000)?;
        within("cold_read_timeout_ms", self.cold_read_timeout_ms, 1, 60_000)?;
        within("flights_max", self.flights_max, 1, 1_000_000)?;
        within("near_entries_max", self.near_entries_max, 1, 100_000_000)?;
        let has_redis = self.redis_address()?.is_some();
        if self.cold == ColdChoice::Redis && !has_redis {
            return Err(ConfigError::new("redis_url", "is not set, but LEDE_COLD needs it"));
        }
        Ok(())
    }

    /// The Redis that all origins share.
    ///
    /// # Errors
    /// When `REDIS_URL` is none; the error repeats nothing of it.
    pub fn redis_address(&self) -> Result<Option<RedisAddress>, ConfigError> {
        let parse =
            |url: &RedisUrl| RedisAddress::parse(&url.0).map_err(|error| ConfigError::new("redis_url", error));
        self.redis_url.as_ref().map(parse).transpose()
    }

    /// The part that the domain works with.
    #[must_use]
    pub const fn caption_settings(&self) -> CaptionSettings {
        CaptionSettings {
            cache_epoch: self.cache_epoch,
            fresh_for_ms: self.fresh_ms,
            stale_while_revalidate_ms: self.stale_while_revalidate_ms,
            stale_if_error_ms: self.stale_if_error_ms,
            flights_max: self.flights_max,
            near_duplicates: self.near_duplicates,
            near_entries_max: self.near_entries_max,
        }
    }

    /// The bounds of the tiers in memory.
    #[must_use]
    pub const fn memory_settings(&self) -> MemorySettings {
        MemorySettings {
            hot_entries_max: self.hot_entries_max,
            hot_idle: Duration::from_millis(self.hot_idle_ms),
            warm_bytes_max: self.warm_bytes_max,
            warm_idle: Duration::from_millis(self.warm_idle_ms),
        }
    }

    /// The folder on this machine for what outlives the process, unless nothing should.
    #[must_use]
    pub fn local_folder(&self) -> Option<PathBuf> {
        let folder = || self.cold_dir.clone().unwrap_or_else(default_folder);
        (self.cold != ColdChoice::Off).then(folder)
    }

    /// The cold tier's store and limits.
    #[must_use]
    pub fn cold_settings(&self) -> ColdSettings {
        ColdSettings {
            choice: self.cold,
            folder: self.local_folder(),
            bytes_max: self.cold_bytes_max,
            flush_every: Duration::from_millis(self.cold_flush_ms),
            read_timeout: Duration::from_millis(self.cold_read_timeout_ms),
        }
    }
}

/// Where a user's programs keep what can be made again, by the XDG base directory specification.
fn default_folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_default().join("lede").join("responses")
}
