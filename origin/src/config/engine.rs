//! The engine.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, within};
use crate::engine::EngineLimits;
use crate::engine::speculation::SpeculationMode;

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
    /// `LEDE_STEP_TOKENS_MAX`: entries that a step reads, what running sequences need before what prompts do. Default 256.
    pub step_tokens_max: usize,
    /// `LEDE_PROMPT_STEP_MS`: how long a step that reads prompts may take, so that those who write do not wait for it; a
    /// quarter of that when they are of low priority. Where steps are slow anyway, twice as long as one without prompts.
    /// Default 120.
    pub prompt_step_ms: u64,
    /// `LEDE_PREFIX_POSITIONS_MAX`: positions of prompts that are kept for others that begin alike; 0 switches that off.
    /// Default 8,192.
    pub prefix_positions_max: usize,
    /// `LEDE_SPECULATION`: `auto` guesses entries where that has been measured to pay, `always`, `off`. Default `auto`.
    pub speculation: SpeculationMode,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let EngineLimits {
            waiting_sequences_max,
            sequences_max,
            step_tokens_max,
            prompt_step,
            prefix_positions_max,
            speculation,
        } = EngineLimits::default();
        let prompt_step_ms = prompt_step.as_millis() as u64;
        Self {
            sequences_max,
            waiting_sequences_max,
            step_tokens_max,
            prompt_step_ms,
            prefix_positions_max,
            speculation,
        }
    }
}

impl EngineConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("sequences_max", self.sequences_max, 1, 1_024)?;
        within("step_tokens_max", self.step_tokens_max, 16, 1_000_000)?;
        within("prompt_step_ms", self.prompt_step_ms, 1, 60_000)?;
        within("prefix_positions_max", self.prefix_positions_max, 0, 1_000_000_000)?;
        within("waiting_sequences_max", self.waiting_sequences_max, REQUEST_SEQUENCES_MAX, 1_000_000)
    }

    /// The part that the engine works with.
    #[must_use]
    pub const fn limits(&self) -> EngineLimits {
        EngineLimits {
            waiting_sequences_max: self.waiting_sequences_max,
            sequences_max: self.sequences_max,
            step_tokens_max: self.step_tokens_max,
            prompt_step: Duration::from_millis(self.prompt_step_ms),
            prefix_positions_max: self.prefix_positions_max,
            speculation: self.speculation,
        }
    }
}
