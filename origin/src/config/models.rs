//! Several models: which one writes at which level, and what all of them may take.

use std::time::Duration;

use figment::Figment;
use lede_shared::api::OptimizationLevel;
use serde::Deserialize;

use super::{ConfigError, RemoteConfig, RemoteRole, section, within};
use crate::models::check_name;

const MODELS_BYTES_MAX_DEFAULT: u64 = 8 * 1024 * 1024 * 1024;
const CANARY_EVERY_MS_DEFAULT: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// Several models: which one writes at which level, and what all of them may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelsConfig {
    /// `LEDE_MODEL_ULTRA_FAST`: a model of the store that writes at that level instead of the primary one.
    pub ultra_fast: Option<String>,
    /// `LEDE_MODEL_BALANCED`: the same.
    pub balanced: Option<String>,
    /// `LEDE_MODEL_QUALITY`: the same.
    pub quality: Option<String>,
    /// `LEDE_MODELS_BYTES_MAX`: most bytes that all loaded models take together. Default 8 GiB.
    pub bytes_max: u64,
    /// `LEDE_MODELS_PINNED`: names, separated by commas, of models that are not unloaded once they are loaded.
    pub pinned: Vec<String>,
    /// `LEDE_CANARY_EVERY_MS`: a loaded model that nobody has used for so long writes one entry, to see that it can; 0 for
    /// never. Default 60 s.
    canary_every_ms: u64,
}

#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    model_ultra_fast: Option<String>,
    model_balanced: Option<String>,
    model_quality: Option<String>,
    models_bytes_max: u64,
    models_pinned: String,
    canary_every_ms: u64,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            model_ultra_fast: None,
            model_balanced: None,
            model_quality: None,
            models_bytes_max: MODELS_BYTES_MAX_DEFAULT,
            models_pinned: String::new(),
            canary_every_ms: CANARY_EVERY_MS_DEFAULT,
        }
    }
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self {
            ultra_fast: None,
            balanced: None,
            quality: None,
            bytes_max: MODELS_BYTES_MAX_DEFAULT,
            pinned: Vec::new(),
            canary_every_ms: CANARY_EVERY_MS_DEFAULT,
        }
    }
}

/// The setting that names a level's model.
#[must_use]
pub(crate) const fn setting_of(level: OptimizationLevel) -> &'static str {
    match level {
        OptimizationLevel::UltraFast => "model_ultra_fast",
        OptimizationLevel::Balanced => "model_balanced",
        OptimizationLevel::Quality => "model_quality",
    }
}

impl ModelsConfig {
    pub(super) fn read(source: &Figment, remote: &RemoteConfig) -> Result<Self, ConfigError> {
        let raw: Raw = section(source)?;
        within("models_bytes_max", raw.models_bytes_max, 1, u64::MAX)?;
        within("canary_every_ms", raw.canary_every_ms, 0, DAY_MS)?;
        let names = raw.models_pinned.split(',').map(str::trim).filter(|name| !name.is_empty());
        let config = Self {
            ultra_fast: raw.model_ultra_fast,
            balanced: raw.model_balanced,
            quality: raw.model_quality,
            bytes_max: raw.models_bytes_max,
            pinned: names.map(str::to_owned).collect(),
            canary_every_ms: raw.canary_every_ms,
        };
        for level in OptimizationLevel::ALL {
            config.check(*level, remote)?;
        }
        Ok(config)
    }

    fn check(&self, level: OptimizationLevel, remote: &RemoteConfig) -> Result<(), ConfigError> {
        let Some(name) = self.at(level) else { return Ok(()) };
        check_name(name).map_err(|error| ConfigError::new(setting_of(level), error))?;
        if matches!(remote.provider, Some((RemoteRole::Primary, _))) {
            let reason = "has no effect: with LEDE_REMOTE_MODE=primary the provider writes at every level";
            return Err(ConfigError::new(setting_of(level), reason));
        }
        Ok(())
    }

    /// The model that writes at a level, unless it is the primary one.
    #[must_use]
    pub fn at(&self, level: OptimizationLevel) -> Option<&str> {
        match level {
            OptimizationLevel::UltraFast => self.ultra_fast.as_deref(),
            OptimizationLevel::Balanced => self.balanced.as_deref(),
            OptimizationLevel::Quality => self.quality.as_deref(),
        }
    }

    /// How long a model is unused before it is tried.
    #[must_use]
    pub fn canary_every(&self) -> Option<Duration> {
        (self.canary_every_ms > 0).then(|| Duration::from_millis(self.canary_every_ms))
    }
}

#[cfg(test)]
mod tests {
    use figment::providers::Serialized;

    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<ModelsConfig, ConfigError> {
        let source = settings.iter().fold(Figment::new(), |source, (name, value)| {
            let value: figment::value::Value = value.parse().unwrap();
            source.merge(Serialized::default(name, value))
        });
        ModelsConfig::read(&source, &RemoteConfig::read(&source)?)
    }

    #[test]
    fn a_level_has_the_model_that_is_named_for_it_and_no_other() {
        let config = read(&[("model_quality", "large"), ("models_pinned", "large, nano,")]).unwrap();
        let at = OptimizationLevel::ALL.iter().map(|level| config.at(*level));
        assert_eq!(at.collect::<Vec<_>>(), [None, None, Some("large")]);
        assert_eq!(config.pinned, ["large", "nano"]);
        assert_eq!(read(&[]).unwrap(), ModelsConfig::default());
        assert_eq!(read(&[("canary_every_ms", "0")]).unwrap().canary_every(), None);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let provider = [("remote_url", "https://api.example.com/v1"), ("remote_model", "m")];
        let with_provider = [&provider[..], &[("remote_mode", "primary"), ("model_balanced", "large")]].concat();
        for (settings, name) in [
            (&[("model_quality", "../large")][..], "LEDE_MODEL_QUALITY: "),
            (&[("models_bytes_max", "0")], "LEDE_MODELS_BYTES_MAX: "),
            (&[("canary_every_ms", "-1")], "LEDE_CANARY_EVERY_MS: "),
            (&with_provider, "LEDE_MODEL_BALANCED: has no effect"),
        ] {
            let error = read(settings).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
