//! The engine.

use serde::Deserialize;

use super::{ConfigError, within};
use crate::engine::EngineLimits;

/// Sequences of the largest request: 8 variants of 6 candidates. Fewer places could never serve it.
pub const REQUEST_SEQUENCES_MAX: usize = 48;

/// The engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct EngineConfig {
    /// `LEDE_SEQUENCES_MAX`: sequences that run at once. Default 8.
    pub sequences_max: usize,
    /// `LEDE_WAITING_SEQUENCES_MAX`: sequences that wait for a place; more are refused. Default 256.
    pub waiting_sequences_max: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { sequences_max: 8, waiting_sequences_max: 256 }
    }
}

impl EngineConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("sequences_max", self.sequences_max, 1, 1_024)?;
        within("waiting_sequences_max", self.waiting_sequences_max, REQUEST_SEQUENCES_MAX, 1_000_000)
    }

    /// The part that the engine works with.
    #[must_use]
    pub const fn limits(&self) -> EngineLimits {
        EngineLimits { waiting_sequences_max: self.waiting_sequences_max, sequences_max: self.sequences_max }
    }
}
