//! What the process is made of.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lede_shared::served_models::ServedModels;
use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::backend_opening::BackendOpening;
use crate::cache::cold::disk::{DiskSettings, DiskStore};
use crate::cache::cold::redis::RedisStore;
use crate::cache::cold::{ColdSettings, ColdStore, ColdTier};
use crate::cache::{ColdChoice, TieredCache};
use crate::captions::{CaptionSources, Captions, Epochs, Sharing};
use crate::config::{Config, ConfigError, RemoteRole};
use crate::engine::EngineHandle;
use crate::extract::{AdminDoor, Authenticator};
use crate::keys::KeysError;
use crate::model_registry::{LocalModel, ModelRegistry, admission, start_engine};
use crate::models::{ModelError, OpeningModel};
use crate::redis_link::RedisLink;
use crate::remote::{ClientError, Remote};

/// Everything a handler may need.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The primary model's text side, once it is read; none where a provider writes without it.
    pub model: Option<OpeningModel>,
    /// The way to the primary model's engine.
    pub engine: EngineHandle,
    /// The door to it.
    pub admission: Admission,
    /// All models.
    pub registry: ModelRegistry,
    /// The domain.
    pub captions: Captions,
    /// Who is let in.
    pub authenticator: Authenticator,
    /// Who may look at and change how it runs.
    pub admin_door: AdminDoor,
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
    /// A thread could not be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl App {
    /// Starts the engine, which opens the model folder and loads the model while the caller goes on: what is cached is
    /// answered meanwhile. Where a provider writes, a model that cannot be opened is done without.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn build(config: Config) -> Result<AppState, StartError> {
        let remote = match config.remote.provider.clone() {
            Some((role, settings)) => Some((role, Remote::new(settings)?)),
            None => None,
        };
        let (model, engine) = match Self::start_engine(&config) {
            Ok((model, engine)) => (Some(model), engine),
            Err(error) if matches!(remote, Some((RemoteRole::Primary, _))) => {
                (None, EngineHandle::failed(error.to_string()))
            }
            Err(error) => return Err(error),
        };
        Self::assemble(config, model, engine, remote)
    }

    fn start_engine(config: &Config) -> Result<(OpeningModel, EngineHandle), StartError> {
        let model = OpeningModel::named_in(&config.model.model_dir)?;
        let engine = start_engine(config, &model, BackendOpening::chain(config)?)?;
        Ok((model, engine))
    }

    /// Puts the parts together. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the file of keys cannot be read, or a level's model is not there.
    pub fn assemble(
        config: Config,
        model: Option<OpeningModel>,
        engine: EngineHandle,
        remote: Option<(RemoteRole, Remote)>,
    ) -> Result<AppState, StartError> {
        let settings = config.cache.caption_settings();
        let background = config.background.settings(&config.cache);
        let admission = admission(&config);
        let local =
            model.clone().map(|model| LocalModel { model, engine: engine.clone(), admission: admission.clone() });
        let registry = ModelRegistry::configured(&config, local)?;
        let sources = CaptionSources { registry: registry.clone(), remote };
        let (cache, sharing) = open_cache(&config, &sources.served())?;
        Ok(AppState(Arc::new(Self {
            captions: Captions::new(sources, (cache, sharing), settings, background),
            authenticator: Authenticator::new(&config.auth)?,
            admin_door: AdminDoor::new(config.server.admin_requests_per_minute),
            deep_checks: Semaphore::new(1),
            draining: AtomicBool::new(false),
            config,
            model,
            engine,
            admission,
            registry,
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
            status => status.name(),
        }
    }
}

/// The tiers in memory, the cold one behind them, and what is shared with other origins.
fn open_cache(config: &Config, served: &ServedModels) -> Result<(TieredCache, Sharing), StartError> {
    let cold = config.cache.cold_settings();
    let epochs = Epochs::open(served, config.cache.local_folder().as_deref());
    let address = config.cache.redis_address()?;
    let link = address.map(|address| RedisLink::start(address, epochs.greeting()));
    let cache = TieredCache::new(config.cache.memory_settings(), open_cold(&cold, link.as_ref())?);
    let Some(link) = link else { return Ok((cache, Sharing::alone(epochs))) };
    let has_common_cold = matches!(cold.choice, ColdChoice::Auto | ColdChoice::Redis);
    let sharing = Sharing::over(link, epochs, &cache, has_common_cold);
    Ok((cache, sharing))
}

fn open_cold(cold: &ColdSettings, link: Option<&RedisLink>) -> std::io::Result<Option<ColdTier>> {
    let store: Arc<dyn ColdStore> = match (cold.choice, link, &cold.folder) {
        (ColdChoice::Auto | ColdChoice::Redis, Some(link), _) => {
            Arc::new(RedisStore::new(link.clone(), cold.read_timeout))
        }
        (ColdChoice::Auto | ColdChoice::Disk, _, Some(folder)) => {
            let (folder, bytes_max, flush_every) = (folder.clone(), cold.bytes_max, cold.flush_every);
            Arc::new(DiskStore::start(DiskSettings { folder, bytes_max, flush_every })?)
        }
        (ColdChoice::Auto | ColdChoice::Disk | ColdChoice::Redis | ColdChoice::Off, ..) => return Ok(None),
    };
    Ok(Some(ColdTier::start(store, cold.read_timeout)))
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
