//! Which of the two engines a model runs on, which one stands in for it, and opening either: from the settings alone, so
//! that it can be done again.

use std::path::PathBuf;

use crate::backend::ort::{self, OrtSettings};
use crate::backend::wgpu::{self, WgpuSettings};
use crate::backend::{Backend, BackendError, warm_up};
use crate::config::{BackendChoice, BackendConfig, Config, ConfigError, ModelConfig};
use crate::models::{ChatModel, Model};

/// Entries that wgpu works on at once: far beyond what fills a GPU, and small enough that its scratch buffers are.
const STEP_TOKENS_MAX: usize = 512;

/// All that opening takes but the model's text side.
#[derive(Clone, Debug)]
pub struct BackendOpening {
    choice: BackendChoice,
    backend: BackendConfig,
    model: ModelConfig,
    /// Needed unless wgpu is asked for by name.
    library: Option<PathBuf>,
    rows_max: usize,
    /// Entries of the longest step.
    step_tokens: usize,
}

impl BackendOpening {
    /// The engine that is asked for and, if there is one, the engine that stands in for it while its device is gone.
    ///
    /// # Errors
    /// When the library that may be needed is not there.
    pub fn chain(config: &Config) -> Result<Vec<Self>, ConfigError> {
        let choices = std::iter::once(config.backend.choice).chain(config.backend.fallback());
        choices.map(|choice| Self::new(choice, config)).collect()
    }

    fn new(choice: BackendChoice, config: &Config) -> Result<Self, ConfigError> {
        let library = match choice {
            BackendChoice::Wgpu => None,
            BackendChoice::Auto | BackendChoice::Ort => Some(config.model.library()?),
        };
        let (backend, model) = (config.backend.clone(), config.model.clone());
        let (rows_max, step_tokens) = (config.engine.sequences_max, config.engine.step_tokens_max);
        Ok(Self { choice, backend, model, library, rows_max, step_tokens })
    }

    /// What it is called in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.choice.name()
    }

    /// Loads the model, checks that it speaks of the tokenizer's vocabulary, and runs steps of the shapes that will be used:
    /// the first ones cost more than later ones, so they had better not be a caller's.
    ///
    /// # Errors
    /// When the model cannot be loaded, or is another than the tokenizer's.
    pub fn open(&self, model: &Model) -> Result<Box<dyn Backend>, BackendError> {
        let mut backend = self.open_chosen(model)?;
        let (width, entries) = (backend.shape().vocabulary_entries, model.vocabulary().entries());
        if width != entries {
            let reason = format!("the model has {width} entries, config.json {entries}");
            return Err(BackendError::new("the vocabulary", reason));
        }
        warm_up(backend.as_mut(), self.step_tokens)?;
        Ok(backend)
    }

    fn open_chosen(&self, model: &Model) -> Result<Box<dyn Backend>, BackendError> {
        let (choice, why) = self.choose();
        tracing::info!(backend = ?choice, why, "backend chosen");
        if choice == BackendChoice::Ort {
            return ort::open(&self.ort_settings(model));
        }
        match wgpu::open(&self.wgpu_settings(model)) {
            Err(error) if self.choice == BackendChoice::Auto => {
                tracing::warn!(%error, backend = ?BackendChoice::Ort, "wgpu cannot run the model after all");
                ort::open(&self.ort_settings(model))
            }
            opened => opened,
        }
    }

    /// The engine, never [`BackendChoice::Auto`], and why.
    fn choose(&self) -> (BackendChoice, String) {
        if self.choice != BackendChoice::Auto {
            return (self.choice, "configured".to_owned());
        }
        let providers = &self.model.execution_providers;
        let provider = self.library.as_deref().and_then(|library| ort::gpu_provider(library, providers));
        if let Some(provider) = provider {
            return (BackendChoice::Ort, format!("ONNX Runtime has the execution provider {provider}"));
        }
        match wgpu::gpu_for(&self.model.model_dir, self.backend.wgpu_adapter.as_deref()) {
            Ok(adapter) => {
                (BackendChoice::Wgpu, format!("ONNX Runtime has no provider for a GPU; wgpu has {adapter}"))
            }
            Err(reason) => (BackendChoice::Ort, format!("not wgpu: {reason}")),
        }
    }

    fn ort_settings(&self, model: &Model) -> OrtSettings {
        OrtSettings {
            library: self.library.clone().unwrap_or_default(),
            model_file: model.graph_file().to_owned(),
            execution_providers: self.model.execution_providers.clone(),
            intra_op_threads: self.model.intra_op_threads,
            intra_op_spinning: self.model.intra_op_spinning,
            rows_max: self.rows_max,
            context_tokens_max: model.context_tokens_max(),
            attention_bytes_max: self.model.attention_bytes_max,
            sizes: model.chat().and_then(ChatModel::graph_sizes),
        }
    }

    fn wgpu_settings(&self, model: &Model) -> WgpuSettings {
        WgpuSettings {
            model_dir: self.model.model_dir.clone(),
            adapter: self.backend.wgpu_adapter.clone(),
            precision: self.backend.wgpu_precision,
            rows_max: self.rows_max,
            context_tokens_max: model.context_tokens_max(),
            attention_bytes_max: self.backend.wgpu_attention_bytes_max,
            step_tokens_max: STEP_TOKENS_MAX,
        }
    }
}
