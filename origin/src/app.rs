//! What the process is made of.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::backend::ort::{self, OrtSettings};
use crate::backend::{Backend, BackendError};
use crate::cache::cold::ColdTier;
use crate::cache::cold::redis::RedisStore;
use crate::cache::{ColdChoice, TieredCache};
use crate::captions::{CaptionSources, Captions, Epochs, LocalModel, Sharing};
use crate::config::{Config, ConfigError, RemoteRole};
use crate::engine::vocabulary::Vocabulary;
use crate::engine::{EngineHandle, EngineStatus};
use crate::extract::Authenticator;
use crate::keys::KeysError;
use crate::models::{ChatModel, Model, ModelError};
use crate::redis_link::RedisLink;
use crate::remote::{ClientError, Remote};

/// Everything a handler may need.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The local model's text side; none where a provider writes without it.
    pub model: Option<Arc<Model>>,
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
    /// The remote provider cannot be asked.
    #[error(transparent)]
    Remote(#[from] ClientError),
    /// The file of keys cannot be read.
    #[error("LEDE_KEYS_FILE: {0}")]
    Keys(#[from] KeysError),
    /// The engine's thread could not be started.
    #[error("the engine cannot be started: {0}")]
    Engine(#[from] std::io::Error),
}

impl App {
    /// Opens the model folder and starts the engine, which loads the model while the caller goes on. Where a provider
    /// writes, a model that cannot be opened is done without.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn build(config: Config) -> Result<AppState, StartError> {
        let remote = match config.remote.provider.clone() {
            Some((role, settings)) => Some((role, Remote::new(settings)?)),
            None => None,
        };
        let (model, engine) = match Self::open_model(&config) {
            Ok((model, engine)) => (Some(model), engine),
            Err(error) if matches!(remote, Some((RemoteRole::Primary, _))) => {
                (None, EngineHandle::failed(error.to_string()))
            }
            Err(error) => return Err(error),
        };
        Self::assemble(config, model, engine, remote)
    }

    fn open_model(config: &Config) -> Result<(Model, EngineHandle), StartError> {
        let model = Model::open_with(&config.model.model_dir, &config.model.chat_settings())?;
        let settings = OrtSettings {
            library: config.model.library()?,
            model_file: model.graph_file().to_owned(),
            execution_providers: config.model.execution_providers.clone(),
            intra_op_threads: config.model.intra_op_threads,
            intra_op_spinning: config.model.intra_op_spinning,
            rows_max: config.engine.sequences_max,
            context_tokens_max: model.context_tokens_max(),
            sizes: model.chat().and_then(ChatModel::graph_sizes),
        };
        let vocabulary = Arc::clone(model.vocabulary());
        let load = move || load_backend(&settings, &vocabulary);
        let engine = EngineHandle::start(config.engine.limits(), load)?;
        Ok((model, engine))
    }

    /// Puts the parts together. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the file of keys cannot be read.
    pub fn assemble(
        config: Config,
        model: Option<Model>,
        engine: EngineHandle,
        remote: Option<(RemoteRole, Remote)>,
    ) -> Result<AppState, StartError> {
        let limits = config.engine.limits();
        let admission = Admission::new(limits.waiting_sequences_max);
        let settings = config.cache.caption_settings();
        let background = config.background.settings(&config.cache);
        let model = model.map(Arc::new);
        let local = model.clone().map(|model| LocalModel { model, engine: engine.clone(), admission });
        let sources = CaptionSources { local, remote };
        let (cache, sharing) = open_cache(&config, sources.model_id())?;
        Ok(AppState(Arc::new(Self {
            captions: Captions::new(sources, (cache, sharing), settings, background),
            authenticator: Authenticator::new(&config.auth)?,
            deep_checks: Semaphore::new(1),
            draining: AtomicBool::new(false),
            config,
            model,
            engine,
        })))
    }

    /// Finish what runs, take nothing new. Writes down what was popular.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.captions.stop_background();
    }

    /// Can captions be generated now?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.captions.is_ready()
    }

    /// Does somebody else write anyway, so that the process is of use without a model of its own?
    #[must_use]
    pub fn can_do_without_local_model(&self) -> bool {
        matches!(self.config.remote.provider, Some((RemoteRole::Primary, _)))
    }

    /// The state in one word, for the health summary.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.engine.status() {
            _ if self.draining.load(Ordering::Relaxed) => "draining",
            _ if self.captions.is_ready() => "ready",
            EngineStatus::Loading => "loading",
            EngineStatus::Ready(_) => "ready",
            EngineStatus::Failed(_) => "failed",
            EngineStatus::Stopped => "stopped",
        }
    }
}

/// The tiers in memory, the cold one behind them, and what is shared with other origins.
fn open_cache(config: &Config, model: &str) -> Result<(TieredCache, Sharing), StartError> {
    let (memory, cold) = (config.cache.memory_settings(), config.cache.cold_settings());
    let epochs = Epochs::open(model, None);
    let Some(address) = config.cache.redis_address()? else {
        return Ok((TieredCache::new(memory, None), Sharing::alone(epochs)));
    };
    let link = RedisLink::start(address, epochs.greeting());
    let has_common_cold = matches!(cold.choice, ColdChoice::Auto | ColdChoice::Redis);
    let tier = has_common_cold.then(|| {
        let store = RedisStore::new(link.clone(), cold.read_timeout);
        ColdTier::start(Arc::new(store), cold.read_timeout)
    });
    let cache = TieredCache::new(memory, tier);
    let sharing = Sharing::over(link, epochs, &cache, has_common_cold);
    Ok((cache, sharing))
}

/// Loads the graph, which runs a few steps to find out its layout (the first ones cost more than later ones, so they had
/// better not be a caller's), and checks that it speaks of the tokenizer's vocabulary.
fn load_backend(settings: &OrtSettings, vocabulary: &Vocabulary) -> Result<Box<dyn Backend>, BackendError> {
    let backend = ort::open(settings)?;
    let (width, entries) = (backend.shape().vocabulary_entries, vocabulary.entries());
    if width != entries {
        let reason = format!("the graph has {width} entries, config.json {entries}");
        return Err(BackendError::new("the vocabulary", reason));
    }
    Ok(backend)
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
