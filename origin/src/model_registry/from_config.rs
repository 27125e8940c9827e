//! The models that are configured.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lede_shared::api::OptimizationLevel;

use super::{LocalModel, ModelRegistry, ModelSource, PrimaryModel, RegistrySettings};
use crate::admission::{Admission, AdmissionLimits};
use crate::backend_opening::BackendOpening;
use crate::config::{Config, ConfigError, REQUEST_SEQUENCES_MAX, setting_of};
use crate::engine::{BackendSource, EngineHandle};
use crate::models::{OpeningModel, bytes_on_disk};

/// For so long nobody has asked for anything before a model is loaded that nobody has asked for.
const IDLE_BEFORE_LOADING: Duration = Duration::from_secs(5);

/// Starts the engine of `model`, which lies in the configured folder. What of its text side is not read yet, the engine's
/// thread reads before it opens the graph.
///
/// # Errors
/// When the operating system gives no thread.
pub(crate) fn start_engine(
    config: &Config,
    model: &OpeningModel,
    chain: Vec<BackendOpening>,
) -> std::io::Result<EngineHandle> {
    let limits = (config.engine.limits(), config.survival.limits());
    let source = |opening: BackendOpening| {
        let (model, config) = (model.clone(), config.model.clone());
        BackendSource::new(opening.name(), move || {
            let opened = model.open(&config.model_dir, &config.chat_settings());
            let model = opened.map_err(|error| format!("the model cannot be opened: {error}"))?;
            opening.open(model).map_err(|error| error.to_string())
        })
    };
    EngineHandle::supervised(limits, chain.into_iter().map(source).collect())
}

/// A door as wide as it is configured. Each model has one of its own.
pub(crate) fn admission(config: &Config) -> Admission {
    Admission::new(AdmissionLimits {
        sequences_max: config.engine.waiting_sequences_max,
        request_sequences_max: REQUEST_SEQUENCES_MAX,
        rows: config.engine.sequences_max,
        requests_max: config.admission.requests_max(),
    })
}

impl ModelRegistry {
    /// `primary`, and the models of levels that have their own. Needs a tokio runtime.
    ///
    /// # Errors
    /// When a level's model is not there, or goes by the name of another.
    pub fn configured(config: &Config, primary: Option<LocalModel>) -> Result<Self, ConfigError> {
        let primary = primary.map(|local| PrimaryModel {
            name: primary_name(config, &local),
            bytes: bytes_on_disk(&config.model.model_dir, config.model.model_precision),
            local,
        });
        let mut sources: Vec<ModelSource> = Vec::new();
        for level in OptimizationLevel::ALL.iter().copied() {
            add(config, level, &mut sources)?;
        }
        check_apart(primary.as_ref(), &sources)?;
        let is_known = |name: &String| {
            let is_primarys = primary.as_ref().is_some_and(|primary| primary.name == *name);
            is_primarys || sources.iter().any(|source| source.name == *name)
        };
        if let Some(name) = config.models.pinned.iter().find(|name| !is_known(name)) {
            return Err(ConfigError::new("models_pinned", format!("{name:?} is none of the models served")));
        }
        let settings = RegistrySettings {
            bytes_max: config.models.bytes_max,
            canary_every: config.models.canary_every(),
            idle_before_loading: IDLE_BEFORE_LOADING,
        };
        Ok(Self::start(settings, primary, sources))
    }
}

/// Its name in the store, or its folder's.
fn primary_name(config: &Config, local: &LocalModel) -> String {
    let folder = config.model.model_dir.file_name().map(|name| name.to_string_lossy().into_owned());
    config.model.model.clone().or(folder).unwrap_or_else(|| local.model.id().to_owned())
}

/// The model of a level, unless that is the primary one or is there for another level already.
fn add(config: &Config, level: OptimizationLevel, sources: &mut Vec<ModelSource>) -> Result<(), ConfigError> {
    let Some(name) = config.models.at(level) else { return Ok(()) };
    let folder = config.model.models_dir.join(name);
    if is_same(&folder, &config.model.model_dir) {
        return Ok(());
    }
    if let Some(source) = sources.iter_mut().find(|source| source.name == name) {
        source.levels.push(level);
        return Ok(());
    }
    let unusable = |reason: String| ConfigError::new(setting_of(level), reason);
    let found = OpeningModel::named_in(&folder).map_err(|error| unusable(error.to_string()))?;
    let mut own = config.clone();
    own.model.model_dir.clone_from(&folder);
    let chain = BackendOpening::chain(&own)?;
    sources.push(ModelSource {
        name: name.to_owned(),
        id: found.id().to_owned(),
        levels: vec![level],
        bytes: bytes_on_disk(&folder, own.model.model_precision),
        is_pinned: own.models.pinned.iter().any(|pinned| pinned == name),
        open: Arc::new(move || opened(&own, &folder, &chain)),
    });
    Ok(())
}

/// The text side, and an engine that begins to load the graph.
fn opened(config: &Config, folder: &Path, chain: &[BackendOpening]) -> Result<LocalModel, String> {
    let model = OpeningModel::named_in(folder).map_err(|error| error.to_string())?;
    model.open(folder, &config.model.chat_settings()).map_err(|error| error.to_string())?;
    let engine = start_engine(config, &model, chain.to_vec()).map_err(|error| error.to_string())?;
    Ok(LocalModel { model, engine, admission: admission(config) })
}

/// Keys go by ids, and operators by names.
fn check_apart(primary: Option<&PrimaryModel>, sources: &[ModelSource]) -> Result<(), ConfigError> {
    let primary = primary.iter().map(|primary| (primary.name.as_str(), primary.local.model.id()));
    let mut known: Vec<(&str, &str)> = primary.collect();
    for source in sources {
        let (name, id) = (source.name.as_str(), source.id.as_str());
        if known.iter().any(|(other_name, other_id)| name == *other_name || id == *other_id) {
            let setting = source.levels.first().map_or("model", |level| setting_of(*level));
            return Err(ConfigError::new(setting, format!("{name:?} goes by the name of another model")));
        }
        known.push((name, id));
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}
