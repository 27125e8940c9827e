//! `generation_config.json`: how a model's makers want it to be sampled, and where an answer ends.

use std::path::Path;

use serde::Deserialize;

use super::architecture::Ids;
use super::folder::{ModelError, read_json};

/// Above this a distribution is as good as flat.
const TEMPERATURE_MAX: f32 = 5.0;

/// How to choose among what is likely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuggestedSampling {
    /// Divides the logits.
    pub temperature: f32,
    /// Share of the probability that is chosen from.
    pub top_p: f32,
}

/// What is read of `generation_config.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GenerationSettings {
    eos_token_id: Option<Ids>,
    temperature: Option<f32>,
    top_p: Option<f32>,
}

impl GenerationSettings {
    /// Reads the file; a folder without one suggests nothing.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let settings: Self = read_json(path)?;
        let is_share = |top_p: f32| top_p > 0.0 && top_p <= 1.0;
        let is_temperature = |temperature: f32| temperature > 0.0 && temperature <= TEMPERATURE_MAX;
        if !settings.top_p.is_none_or(is_share) || !settings.temperature.is_none_or(is_temperature) {
            let reason =
                format!("temperature must be above 0 and at most {TEMPERATURE_MAX}, top_p above 0 and at most 1");
            return Err(ModelError::new(path, reason));
        }
        Ok(settings)
    }

    /// Entries that end an answer.
    pub(super) fn end_ids(&self) -> &[u32] {
        self.eos_token_id.as_ref().map_or(&[], Ids::as_slice)
    }

    /// What is suggested, if anything is.
    pub(super) fn sampling(&self) -> Option<SuggestedSampling> {
        (self.temperature.is_some() || self.top_p.is_some()).then(|| SuggestedSampling {
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
        })
    }
}
