//! The model and the library that runs it.

use std::path::PathBuf;

use figment::Figment;
use serde::Deserialize;

use super::{ConfigError, section, within};
use crate::backend::ort::ExecutionProviderName;
use crate::models::{CONTEXT_TOKENS_MAX_DEFAULT, ChatSettings, PrecisionChoice, UnknownPrecision, check_name};

const MODEL_BYTES_MAX_DEFAULT: u64 = 8 * 1024 * 1024 * 1024;
/// Less would not hold one prompt of the smallest model.
const ATTENTION_BYTES_LEAST: u64 = 1024 * 1024;
/// Less has no room for a prompt.
const CONTEXT_TOKENS_LEAST: usize = 128;
const CONTEXT_TOKENS_MOST: usize = 131_072;

/// The model and the library that runs it.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// `LEDE_MODEL_DIR`: a model folder. Default `models/lede-nano`; with `LEDE_MODEL`, that model's folder in the store.
    pub model_dir: PathBuf,
    /// `LEDE_MODEL`: the name of a model in the store, instead of `LEDE_MODEL_DIR`.
    pub model: Option<String>,
    /// `LEDE_MODELS_DIR`: the store. Default `$XDG_DATA_HOME/lede/models`.
    pub models_dir: PathBuf,
    /// `LEDE_MODEL_BYTES_MAX`: most bytes of a model in the store. Default 8 GiB.
    pub model_bytes_max: u64,
    /// `LEDE_MODEL_PRECISION`: auto, fp32, fp16, int8, q4 or q4f16. Default auto.
    pub model_precision: PrecisionChoice,
    /// `LEDE_CONTEXT_TOKENS_MAX`: most positions, prompt and completion together, of a model with a chat template; it
    /// may have fewer. Default 2,048.
    pub context_tokens_max: usize,
    /// `LEDE_ORT_LIBRARY`: ONNX Runtime's shared library. Needed where it may run the model: not for wgpu
    /// asked for by name, nor for a folder without a graph.
    pub ort_library: Option<PathBuf>,
    /// `LEDE_EXECUTION_PROVIDERS`: in order of preference, from cpu, cuda, tensorrt, coreml, directml, or auto,
    /// the default: the first of cuda, coreml, directml and cpu that can run the model.
    pub execution_providers: Vec<ExecutionProviderName>,
    /// `LEDE_ATTENTION_BYTES_MAX`: most bytes of attention keys and values. Default: what three full batches take.
    pub attention_bytes_max: Option<u64>,
    /// `LEDE_INTRA_OP_THREADS`: threads of one operator; 0, the default, leaves it to ONNX Runtime.
    pub intra_op_threads: usize,
    /// `LEDE_INTRA_OP_SPINNING`: let idle threads spin; only for a machine of one's own. Default false.
    pub intra_op_spinning: bool,
}

#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    model_dir: Option<PathBuf>,
    model: Option<String>,
    models_dir: Option<PathBuf>,
    model_bytes_max: u64,
    model_precision: String,
    context_tokens_max: usize,
    ort_library: Option<PathBuf>,
    execution_providers: String,
    attention_bytes_max: Option<u64>,
    intra_op_threads: usize,
    intra_op_spinning: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            model_dir: None,
            model: None,
            models_dir: None,
            model_bytes_max: MODEL_BYTES_MAX_DEFAULT,
            model_precision: "auto".to_owned(),
            context_tokens_max: CONTEXT_TOKENS_MAX_DEFAULT,
            ort_library: None,
            execution_providers: "auto".to_owned(),
            attention_bytes_max: None,
            intra_op_threads: 0,
            intra_op_spinning: false,
        }
    }
}

impl ModelConfig {
    pub(super) fn read(source: &Figment) -> Result<Self, ConfigError> {
        let raw: Raw = section(source)?;
        within("intra_op_threads", raw.intra_op_threads, 0, 1_024)?;
        within("context_tokens_max", raw.context_tokens_max, CONTEXT_TOKENS_LEAST, CONTEXT_TOKENS_MOST)?;
        within(
            "attention_bytes_max",
            raw.attention_bytes_max.unwrap_or(u64::MAX),
            ATTENTION_BYTES_LEAST,
            u64::MAX,
        )?;
        within("model_bytes_max", raw.model_bytes_max, 1, u64::MAX)?;
        let models_dir = raw.models_dir.unwrap_or_else(default_models_dir);
        let model_dir = match (&raw.model, raw.model_dir) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::new("model", "is set beside LEDE_MODEL_DIR; set one of them"));
            }
            (Some(name), None) => {
                check_name(name).map_err(|error| ConfigError::new("model", error))?;
                models_dir.join(name)
            }
            (None, folder) => folder.unwrap_or_else(|| PathBuf::from("models/lede-nano")),
        };
        let execution_providers = ExecutionProviderName::list(&raw.execution_providers);
        Ok(Self {
            model_dir,
            model: raw.model,
            models_dir,
            model_bytes_max: raw.model_bytes_max,
            model_precision: raw
                .model_precision
                .parse()
                .map_err(|error: UnknownPrecision| ConfigError::new("model_precision", error))?,
            context_tokens_max: raw.context_tokens_max,
            ort_library: raw.ort_library,
            execution_providers: execution_providers
                .map_err(|error| ConfigError::new("execution_providers", error))?,
            attention_bytes_max: raw.attention_bytes_max,
            intra_op_threads: raw.intra_op_threads,
            intra_op_spinning: raw.intra_op_spinning,
        })
    }

    /// How a folder with a chat template is opened.
    #[must_use]
    pub const fn chat_settings(&self) -> ChatSettings {
        ChatSettings { precision: self.model_precision, context_tokens_max: self.context_tokens_max }
    }

    /// The library's path.
    ///
    /// # Errors
    /// When it is not set or there is no such file.
    pub fn library(&self) -> Result<PathBuf, ConfigError> {
        const NOT_SET: &str = "is not set; it is the path of ONNX Runtime's shared library (libonnxruntime.so)";
        let path = self.ort_library.clone().ok_or_else(|| ConfigError::new("ort_library", NOT_SET))?;
        if !path.is_file() {
            return Err(ConfigError::new("ort_library", format!("there is no file {}", path.display())));
        }
        Ok(path)
    }
}

/// Where a user's programs keep their data, by the XDG base directory specification.
fn default_models_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local").join("share")));
    data.unwrap_or_default().join("lede").join("models")
}

#[cfg(test)]
mod tests {
    use figment::providers::Serialized;

    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<ModelConfig, ConfigError> {
        let source = settings.iter().fold(Figment::new(), |source, (name, value)| {
            let value: figment::value::Value = value.parse().unwrap();
            source.merge(Serialized::default(name, value))
        });
        ModelConfig::read(&source)
    }

    #[test]
    fn a_name_is_looked_up_in_the_store_and_a_folder_is_taken_as_it_is() {
        let config = read(&[("model", "tiny"), ("models_dir", "/srv/models")]).unwrap();
        assert_eq!(config.model_dir, PathBuf::from("/srv/models/tiny"));
        assert_eq!(read(&[("model_dir", "here")]).unwrap().model_dir, PathBuf::from("here"));
        assert_eq!(read(&[]).unwrap().model_dir, PathBuf::from("models/lede-nano"));
        assert!(read(&[]).unwrap().models_dir.ends_with("lede/models"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (settings, name) in [
            (&[("model", "tiny"), ("model_dir", "here")][..], "LEDE_MODEL: "),
            (&[("model", "../tiny")], "LEDE_MODEL: "),
            (&[("model_precision", "q5")], "LEDE_MODEL_PRECISION: "),
            (&[("context_tokens_max", "12")], "LEDE_CONTEXT_TOKENS_MAX: "),
            (&[("model_bytes_max", "0")], "LEDE_MODEL_BYTES_MAX: "),
            (&[("attention_bytes_max", "1000")], "LEDE_ATTENTION_BYTES_MAX: "),
            (&[("execution_providers", "tpu")], "LEDE_EXECUTION_PROVIDERS: "),
        ] {
            let error = read(settings).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
