//! What the process is made of.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::backend::ort::{OrtBackend, OrtSettings};
use crate::backend::{Backend, BackendError};
use crate::captions::Captions;
use crate::config::{Config, ConfigError};
use crate::engine::vocabulary::Vocabulary;
use crate::engine::{EngineHandle, EngineStatus};
use crate::extract::Authenticator;
use crate::models::{Model, ModelError};

/// Everything a handler may need.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The model's text side.
    pub model: Arc<Model>,
    /// The way to the engine.
    pub engine: EngineHandle,
    /// The domain.
    pub captions: Captions,
    /// Who is let in.
    pub authenticator: Authenticator,
    /// One deep health check at a time.
    pub deep_checks: Semaphore,
    draining: AtomicBool,
}

/// The process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model folder is incomplete.
    #[error("the model cannot be opened: {0}")]
    Model(#[from] ModelError),
    /// The engine's thread could not be started.
    #[error("the engine cannot be started: {0}")]
    Engine(#[from] std::io::Error),
}

impl App {
    /// Opens the model folder and starts the engine, which loads the model while the caller goes on.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn build(config: Config) -> Result<AppState, StartError> {
        let model = Model::open(&config.model.model_dir)?;
        let settings = OrtSettings {
            library: config.model.library()?,
            model_file: model.graph_file().to_owned(),
            execution_providers: config.model.execution_providers.clone(),
            intra_op_threads: config.model.intra_op_threads,
            intra_op_spinning: config.model.intra_op_spinning,
            rows_max: config.engine.sequences_max,
            context_tokens_max: model.context_tokens_max(),
        };
        let vocabulary = Arc::clone(model.vocabulary());
        let load = move || load_backend(&settings, &vocabulary);
        let engine = EngineHandle::start(config.engine.limits(), load)?;
        Ok(Self::assemble(config, model, engine))
    }

    /// Puts the parts together.
    #[must_use]
    pub fn assemble(config: Config, model: Model, engine: EngineHandle) -> AppState {
        let model = Arc::new(model);
        let limits = config.engine.limits();
        let admission = Admission::new(limits.waiting_sequences_max);
        let settings = config.cache.caption_settings();
        AppState(Arc::new(Self {
            captions: Captions::new(Arc::clone(&model), engine.clone(), admission, settings),
            authenticator: Authenticator::new(&config.auth),
            deep_checks: Semaphore::new(1),
            draining: AtomicBool::new(false),
            config,
            model,
            engine,
        }))
    }

    /// Finish what runs, take nothing new.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Can captions be generated now?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && matches!(self.engine.status(), EngineStatus::Ready(_))
    }

    /// The state in one word, for the health summary.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.engine.status() {
            _ if self.draining.load(Ordering::Relaxed) => "draining",
            EngineStatus::Loading => "loading",
            EngineStatus::Ready(_) => "ready",
            EngineStatus::Failed(_) => "failed",
            EngineStatus::Stopped => "stopped",
        }
    }
}

/// Loads the graph, checks that it speaks of the tokenizer's vocabulary and that it runs: the first steps also cost
/// more than later ones, so they had better not be a caller's.
fn load_backend(settings: &OrtSettings, vocabulary: &Vocabulary) -> Result<Box<dyn Backend>, BackendError> {
    let mut backend = OrtBackend::open(settings)?;
    let (width, entries) = (backend.shape().vocabulary_entries, vocabulary.entries());
    if width != entries {
        let reason = format!("the graph has {width} entries, config.json {entries}");
        return Err(BackendError::new("the vocabulary", reason));
    }
    let begin = vocabulary.special().begin;
    backend.prefill(&[begin])?;
    let logits = backend.decode(&[begin])?;
    if !logits.iter().all(|logit| logit.is_finite()) {
        return Err(BackendError::new("the first step", "the model computes no finite logits"));
    }
    backend.release(0);
    Ok(Box::new(backend))
}

/// Shared by all handlers.
#[derive(Clone, Debug)]
pub struct AppState(Arc<App>);

impl Deref for AppState {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}
