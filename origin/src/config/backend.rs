//! Which of the two engines runs the model.

use std::str::FromStr;

use figment::Figment;
use serde::Deserialize;

use super::{ConfigError, section, within};
use crate::backend::wgpu::PrecisionChoice;

const ATTENTION_BYTES_MAX_DEFAULT: u64 = 1024 * 1024 * 1024;

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// wgpu where there is a GPU that it can use and ONNX Runtime cannot; else ONNX Runtime.
    Auto,
    /// ONNX Runtime, on the exported graph.
    Ort,
    /// wgpu, on the safetensors.
    Wgpu,
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
    wgpu_adapter: Option<String>,
    wgpu_precision: String,
    wgpu_attention_bytes_max: u64,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            backend: "auto".to_owned(),
            wgpu_adapter: None,
            wgpu_precision: "auto".to_owned(),
            wgpu_attention_bytes_max: ATTENTION_BYTES_MAX_DEFAULT,
        }
    }
}

impl BackendConfig {
    pub(super) fn read(source: &Figment) -> Result<Self, ConfigError> {
        let raw: Raw = section(source)?;
        within("wgpu_attention_bytes_max", raw.wgpu_attention_bytes_max, 1, u64::MAX)?;
        let precision = raw.wgpu_precision.parse();
        Ok(Self {
            choice: raw.backend.parse().map_err(|reason: &str| ConfigError::new("backend", reason))?,
            wgpu_adapter: raw.wgpu_adapter.filter(|name| !name.trim().is_empty()),
            wgpu_precision: precision.map_err(|error| ConfigError::new("wgpu_precision", error))?,
            wgpu_attention_bytes_max: raw.wgpu_attention_bytes_max,
        })
    }
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
        for (name, value) in [("backend", "cuda"), ("wgpu_precision", "int5")] {
            let error = read(name, value).unwrap_err().to_string();
            assert!(error.starts_with(&format!("LEDE_{}: ", name.to_uppercase())), "{error}");
        }
    }
}
