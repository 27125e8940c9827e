//! Which of the two engines runs the model.

use std::str::FromStr;

use figment::Figment;
use serde::Deserialize;

use super::{ConfigError, section, within};
use crate::backend::wgpu::PrecisionChoice;
use crate::models::WeightsWanted;

const ATTENTION_BYTES_MAX_DEFAULT: u64 = 1024 * 1024 * 1024;

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// wgpu where the model has no graph, or where there is a GPU that it can use and ONNX Runtime cannot; else ONNX Runtime.
    Auto,
    /// ONNX Runtime, on the exported graph.
    Ort,
    /// wgpu, on the safetensors.
    Wgpu,
}

impl BackendChoice {
    /// As it is configured.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ort => "ort",
            Self::Wgpu => "wgpu",
        }
    }
}

impl FromStr for BackendChoice {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "ort" => Ok(Self::Ort),
            "wgpu" => Ok(Self::Wgpu),
            _ => Err("must be auto, ort or wgpu"),
        }
    }
}

/// Which of the two engines runs the model.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// `LEDE_BACKEND`: auto, ort or wgpu. Default auto.
    pub choice: BackendChoice,
    /// `LEDE_BACKEND_FALLBACK`: ort, wgpu or none; stands in when the first one cannot open the model or its device is gone.
    /// With none the first is alone, the one that auto chose, too. Default: ort behind auto, else none.
    fallback: Option<BackendChoice>,
    /// `LEDE_WGPU_ADAPTER`: part of an adapter's name. Default: the first discrete GPU, then others.
    pub wgpu_adapter: Option<String>,
    /// `LEDE_WGPU_PRECISION`: auto, f32, f16, int8 or int4. Default auto: f16 on a GPU, f32 on a software adapter.
    pub wgpu_precision: PrecisionChoice,
    /// `LEDE_WGPU_ATTENTION_BYTES_MAX`: most memory for attention keys and values. Default 1 GiB.
    pub wgpu_attention_bytes_max: u64,
}

#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    backend: String,
    backend_fallback: String,
    wgpu_adapter: Option<String>,
    wgpu_precision: String,
    wgpu_attention_bytes_max: u64,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            backend: "auto".to_owned(),
            backend_fallback: "auto".to_owned(),
            wgpu_adapter: None,
            wgpu_precision: "auto".to_owned(),
            wgpu_attention_bytes_max: ATTENTION_BYTES_MAX_DEFAULT,
        }
    }
}

impl BackendConfig {
    /// Who stands in for the first one.
    #[must_use]
    pub const fn fallback(&self) -> Option<BackendChoice> {
        self.fallback
    }

    /// What weights have to be read from by the engines that may run a model.
    #[must_use]
    pub const fn weights_wanted(&self) -> WeightsWanted {
        match (self.choice, self.fallback) {
            (BackendChoice::Auto, _) => WeightsWanted::Either,
            (BackendChoice::Ort, Some(BackendChoice::Wgpu)) | (BackendChoice::Wgpu, Some(BackendChoice::Ort)) => {
                WeightsWanted::Both
            }
            (BackendChoice::Ort, _) => WeightsWanted::Graph,
            (BackendChoice::Wgpu, _) => WeightsWanted::Safetensors,
        }
    }

    pub(super) fn read(source: &Figment) -> Result<Self, ConfigError> {
        let raw: Raw = section(source)?;
        within("wgpu_attention_bytes_max", raw.wgpu_attention_bytes_max, 1, u64::MAX)?;
        let precision = raw.wgpu_precision.parse();
        let choice = raw.backend.parse().map_err(|reason: &str| ConfigError::new("backend", reason))?;
        Ok(Self {
            choice,
            fallback: fallback(choice, &raw.backend_fallback)?,
            wgpu_adapter: raw.wgpu_adapter.filter(|name| !name.trim().is_empty()),
            wgpu_precision: precision.map_err(|error| ConfigError::new("wgpu_precision", error))?,
            wgpu_attention_bytes_max: raw.wgpu_attention_bytes_max,
        })
    }
}

/// Who stands in for `choice`.
fn fallback(choice: BackendChoice, name: &str) -> Result<Option<BackendChoice>, ConfigError> {
    let wanted = match name.trim().to_ascii_lowercase().as_str() {
        "none" => None,
        "auto" => (choice == BackendChoice::Auto).then_some(BackendChoice::Ort),
        "ort" => Some(BackendChoice::Ort),
        "wgpu" => Some(BackendChoice::Wgpu),
        _ => return Err(ConfigError::new("backend_fallback", "must be ort, wgpu or none")),
    };
    if wanted == Some(choice) {
        return Err(ConfigError::new("backend_fallback", "is the engine that it would stand in for"));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use figment::providers::Serialized;

    use super::*;

    fn read(name: &str, value: &str) -> Result<BackendConfig, ConfigError> {
        BackendConfig::read(&Figment::from(Serialized::default(name, value)))
    }

    #[test]
    fn engines_and_precisions_go_by_their_names_and_others_are_refused() {
        assert_eq!(read("backend", "WGPU").unwrap().choice, BackendChoice::Wgpu);
        let nothing_said = read("wgpu_adapter", " ").unwrap();
        assert_eq!((nothing_said.choice, nothing_said.wgpu_adapter), (BackendChoice::Auto, None));
        assert_eq!(read("wgpu_precision", "int4").unwrap().wgpu_precision, PrecisionChoice::Int4);
        for (name, value) in [("backend", "cuda"), ("backend_fallback", "auto, ort"), ("wgpu_precision", "int5")] {
            let error = read(name, value).unwrap_err().to_string();
            assert!(error.starts_with(&format!("LEDE_{}: ", name.to_uppercase())), "{error}");
        }
    }

    #[test]
    fn onnx_runtime_stands_in_where_nothing_is_said_and_nobody_stands_in_for_itself() {
        let fallback = |choice: &str, fallback: &str| {
            let source = Figment::from(Serialized::default("backend", choice));
            let config = BackendConfig::read(&source.merge(Serialized::default("backend_fallback", fallback)));
            config.map(|config| config.fallback())
        };
        assert_eq!(fallback("auto", "auto").unwrap(), Some(BackendChoice::Ort));
        assert_eq!(fallback("wgpu", "auto").unwrap(), None);
        assert_eq!(fallback("wgpu", "ort").unwrap(), Some(BackendChoice::Ort));
        assert_eq!(fallback("ort", "wgpu").unwrap(), Some(BackendChoice::Wgpu));
        assert_eq!(fallback("auto", "none").unwrap(), None);
        assert!(fallback("ort", "ort").is_err());
    }
}
