//! What is done while nobody waits for it.

use serde::Deserialize;

use super::{CacheConfig, ConfigError, within};
use crate::captions::BackgroundSettings;

/// What is done while nobody waits for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct BackgroundConfig {
    /// `LEDE_PREFETCH`: `on` or `off`: whether answers that are likely to be asked for are made in idle time. Default `on`.
    pub prefetch: Switch,
    /// `LEDE_PREFETCH_PROBABILITY_MIN`: how likely, 0 to 1. Default 0.4.
    pub prefetch_probability_min: f64,
    /// `LEDE_PREFETCH_USED_SHARE_MIN`: when less than this share of what was made so is used, it is stopped for a while, 0 to
    /// 1. Default 0.3.
    pub prefetch_used_share_min: f64,
}

/// On or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// On.
    #[default]
    On,
    /// Off.
    Off,
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self { prefetch: Switch::On, prefetch_probability_min: 0.4, prefetch_used_share_min: 0.3 }
    }
}

impl BackgroundConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("prefetch_probability_min", self.prefetch_probability_min, 0.0, 1.0)?;
        within("prefetch_used_share_min", self.prefetch_used_share_min, 0.0, 1.0)
    }

    /// The part that the domain works with. What is popular is written down beside the cold tier.
    #[must_use]
    pub fn settings(&self, cache: &CacheConfig) -> BackgroundSettings {
        BackgroundSettings {
            prefetch: self.prefetch == Switch::On,
            probability_min: self.prefetch_probability_min,
            used_share_min: self.prefetch_used_share_min,
            popular_file: cache.local_folder().map(|folder| folder.join("popular.json")),
        }
    }
}
