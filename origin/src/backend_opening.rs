//! Which of the two engines a model runs on, which one stands in for it, and opening either: from the settings and the files in
//! the model's folder alone, so that it can be done again.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use crate::backend::ort::{self, OrtSettings};
use crate::backend::wgpu::{self, WgpuSettings};
use crate::backend::{Backend, BackendError};
use crate::config::{BackendChoice, BackendConfig, Config, ConfigError, ModelConfig};
use crate::models::{ChatModel, Model, PrecisionChoice, WeightFiles};

/// Entries that wgpu works on at once: far beyond what fills a GPU, and small enough that its scratch buffers are.
const STEP_TOKENS_MAX: usize = 512;
/// A machine's drivers have so long to say which GPUs they have. It is asked before anything is served.
const GPU_FOUND_WITHIN: Duration = Duration::from_secs(5);

/// All that opening takes but the model's text side.
#[derive(Clone, Debug)]
pub struct BackendOpening {
    engine: Engine,
    /// Why it is in its place.
    why: String,
    backend: BackendConfig,
    model: ModelConfig,
    /// Of ONNX Runtime.
    library: PathBuf,
    rows_max: usize,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Ort,
    Wgpu,
}

impl Engine {
    const fn named(choice: BackendChoice) -> Option<Self> {
        match choice {
            BackendChoice::Auto => None,
            BackendChoice::Ort => Some(Self::Ort),
            BackendChoice::Wgpu => Some(Self::Wgpu),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ort => BackendChoice::Ort.name(),
            Self::Wgpu => BackendChoice::Wgpu.name(),
        }
    }
}

impl BackendOpening {
    /// The engine that is asked for, or chosen where none is, and, if there is one, the engine that stands in for it when it
    /// cannot be opened or while its device is gone. Each is there once.
    ///
    /// # Errors
    /// When an engine that is asked for could not run the model, or lacks its library.
    pub fn chain(config: &Config) -> Result<Vec<Self>, ConfigError> {
        let weights = WeightFiles::in_folder(&config.model.model_dir, config.model.model_precision);
        let fallback = config.backend.fallback().and_then(Engine::named);
        let mut order = Vec::new();
        if let Some(engine) = Engine::named(config.backend.choice) {
            check("backend", engine, (config, &weights))?;
            order.push((engine, "configured".to_owned()));
            if let Some(stand_in) = fallback {
                check("backend_fallback", stand_in, (config, &weights))?;
                order.push((stand_in, "it stands in".to_owned()));
            }
        } else {
            let (engine, why) = chosen(config, &weights)?;
            order.push((engine, why));
            // Nobody has asked for one that could not run the model, so it is no fault that it cannot.
            let stand_in = fallback.filter(|fallback| *fallback != engine);
            if let Some(stand_in) = stand_in.filter(|engine| can_run(*engine, (config, &weights)).is_ok()) {
                order.push((stand_in, "it stands in".to_owned()));
            }
        }
        order.into_iter().map(|(engine, why)| Self::new(engine, why, config)).collect()
    }

    fn new(engine: Engine, why: String, config: &Config) -> Result<Self, ConfigError> {
        let library = match engine {
            Engine::Wgpu => PathBuf::new(),
            Engine::Ort => config.model.library()?,
        };
        let (backend, model) = (config.backend.clone(), config.model.clone());
        Ok(Self { engine, why, backend, model, library, rows_max: config.engine.sequences_max })
    }

    /// What it is called in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.engine.name()
    }

    /// Loads the model, which runs a few steps to find out how (the first ones cost more than later ones, so they had better
    /// not be a caller's), and checks that it speaks of the tokenizer's vocabulary.
    ///
    /// # Errors
    /// When the model cannot be loaded, or is another than the tokenizer's.
    pub fn open(&self, model: &Model) -> Result<Box<dyn Backend>, BackendError> {
        tracing::info!(backend = self.name(), why = self.why, "backend chosen");
        let backend = match self.engine {
            Engine::Ort => ort::open(&self.ort_settings(model)?)?,
            Engine::Wgpu => wgpu::open(&self.wgpu_settings(model))?,
        };
        let (width, entries) = (backend.shape().vocabulary_entries, model.vocabulary().entries());
        if width != entries {
            let reason = format!("the model has {width} entries, config.json {entries}");
            return Err(BackendError::new("the vocabulary", reason));
        }
        Ok(backend)
    }

    fn ort_settings(&self, model: &Model) -> Result<OrtSettings, BackendError> {
        let graph = model.graph_file().map_err(|error| BackendError::new("the graph", error))?;
        Ok(OrtSettings {
            library: self.library.clone(),
            model_file: graph.to_owned(),
            execution_providers: self.model.execution_providers.clone(),
            intra_op_threads: self.model.intra_op_threads,
            intra_op_spinning: self.model.intra_op_spinning,
            rows_max: self.rows_max,
            context_tokens_max: model.context_tokens_max(),
            attention_bytes_max: self.model.attention_bytes_max,
            sizes: model.chat().and_then(ChatModel::graph_sizes),
        })
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

/// Has the engine something to read the weights from? What is wrong with it only opening tells.
fn can_run(engine: Engine, (config, weights): (&Config, &WeightFiles)) -> Result<(), String> {
    let folder = config.model.model_dir.display();
    match (engine, &weights.graph, weights.safetensors) {
        (Engine::Ort, Ok(_), _) | (Engine::Wgpu, _, Some(_)) => Ok(()),
        (Engine::Ort, Err(reason), Some(safetensors)) => Err(format!(
            "{folder}: {reason}; export one (docs/MODELS.md), or set LEDE_BACKEND=wgpu, which reads {safetensors}"
        )),
        (Engine::Ort, Err(reason), None) => Err(format!("{folder}: {reason}")),
        (Engine::Wgpu, ..) => {
            Err(format!("{folder}: there is no model.safetensors, nor model.safetensors.index.json"))
        }
    }
}

fn check(setting: &str, engine: Engine, about: (&Config, &WeightFiles)) -> Result<(), ConfigError> {
    let fault =
        |reason: String| ConfigError::new(setting, format!("{} cannot run the model: {reason}", engine.name()));
    can_run(engine, about).map_err(fault)
}

/// What `auto` comes to, and why.
fn chosen(config: &Config, weights: &WeightFiles) -> Result<(Engine, String), ConfigError> {
    if let Err(reason) = &weights.graph {
        // Who names a precision means a graph.
        if weights.safetensors.is_none() || config.model.model_precision != PrecisionChoice::Auto {
            check("backend", Engine::Ort, (config, weights))?;
        }
        return Ok((Engine::Wgpu, reason.clone()));
    }
    let (library, providers) = (config.model.library()?, &config.model.execution_providers);
    if let Some(provider) = ort::gpu_provider(&library, providers) {
        return Ok((Engine::Ort, format!("ONNX Runtime has the execution provider {provider}")));
    }
    Ok(match gpu_for(config) {
        Ok(adapter) => (Engine::Wgpu, format!("ONNX Runtime has no provider for a GPU; wgpu has {adapter}")),
        Err(reason) => (Engine::Ort, format!("not wgpu: {reason}")),
    })
}

/// The GPU on which wgpu would run the model, or why it would not.
fn gpu_for(config: &Config) -> Result<String, String> {
    wgpu::check(&config.model.model_dir).map_err(|error| error.to_string())?;
    let (adapter, (sender, found)) = (config.backend.wgpu_adapter.clone(), mpsc::sync_channel(1));
    // In a thread of its own, which is left behind should a driver hang.
    let look = move || drop(sender.send(wgpu::device::gpu(adapter.as_deref())));
    let looking = std::thread::Builder::new().name("adapters".to_owned()).spawn(look);
    looking.map_err(|error| error.to_string())?;
    let found = found.recv_timeout(GPU_FOUND_WITHIN).map_err(|_| "the drivers do not say which GPUs there are")?;
    found.ok_or_else(|| "there is no GPU".to_owned())
}

#[cfg(test)]
mod tests;
