//! The model and the library that runs it.

use std::path::PathBuf;

use figment::Figment;
use serde::Deserialize;

use super::{ConfigError, section, within};
use crate::backend::ort::ExecutionProviderName;

/// The model and the library that runs it.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// `LEDE_MODEL_DIR`: a model folder. Default `models/lede-nano`.
    pub model_dir: PathBuf,
    /// `LEDE_ORT_LIBRARY`: ONNX Runtime's shared library. Needed to start.
    pub ort_library: Option<PathBuf>,
    /// `LEDE_EXECUTION_PROVIDERS`: in order of preference, from cpu, cuda, tensorrt, coreml, directml. Default cpu.
    pub execution_providers: Vec<ExecutionProviderName>,
    /// `LEDE_INTRA_OP_THREADS`: threads of one operator; 0, the default, leaves it to ONNX Runtime.
    pub intra_op_threads: usize,
    /// `LEDE_INTRA_OP_SPINNING`: let idle threads spin; only for a machine of one's own. Default false.
    pub intra_op_spinning: bool,
}

#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    model_dir: PathBuf,
    ort_library: Option<PathBuf>,
    execution_providers: String,
    intra_op_threads: usize,
    intra_op_spinning: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            model_dir: PathBuf::from("models/lede-nano"),
            ort_library: None,
            execution_providers: "cpu".to_owned(),
            intra_op_threads: 0,
            intra_op_spinning: false,
        }
    }
}

impl ModelConfig {
    pub(super) fn read(source: &Figment) -> Result<Self, ConfigError> {
        let raw: Raw = section(source)?;
        within("intra_op_threads", raw.intra_op_threads, 0, 1_024)?;
        let execution_providers: Result<Vec<ExecutionProviderName>, _> =
            raw.execution_providers.split(',').map(str::parse).collect();
        Ok(Self {
            model_dir: raw.model_dir,
            ort_library: raw.ort_library,
            execution_providers: execution_providers
                .map_err(|error| ConfigError::new("execution_providers", error))?,
            intra_op_threads: raw.intra_op_threads,
            intra_op_spinning: raw.intra_op_spinning,
        })
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
