//! The models of this process: which are loaded, who uses them, and who goes when another is wanted.
//!
//! 1. The primary model is opened at the start and stays. A level may have a model of its own, which is opened when there is
//!    nothing else to do and room, or when it is asked for first.
//! 2. Whoever asks never waits for a load: until a level's model is there, the primary stands in.
//! 3. Who uses a model holds a lease, and a model that is leased, pinned or on its way in does not go
//!    ([`Residency`](crate::models::residency::Residency)).
//! 4. One task loads and unloads, one model at a time, so that what each takes can be measured (`loading`).
//! 5. A loaded model that nobody uses shows now and then that it still writes (`canary`).

mod canary;
mod from_config;
mod ledger;
mod loading;
mod local_model;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lede_shared::api::OptimizationLevel;
use lede_shared::served_models::ServedModels;
use tokio::sync::mpsc;

pub(crate) use self::from_config::{admission, start_engine};
use self::ledger::{Found, Ledger};
use self::loading::Wish;
pub use self::local_model::{LocalModel, OneTokenError};
pub use self::report::{CanaryReport, ModelReport, ModelsReport};
use crate::engine::EngineHandle;
use crate::models::residency::{MODELS_MAX, NoRoom, Stays};
use crate::process_memory::resident_bytes;

/// A model is being loaded at most once and unloaded at most once at a time.
const WISHES_MAX: usize = 2 * MODELS_MAX;

type Open = dyn Fn() -> Result<LocalModel, String> + Send + Sync;

/// How the registry goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Most bytes of all models that are loaded.
    pub bytes_max: u64,
    /// How long a model is unused before it is tried; none for never.
    pub canary_every: Option<Duration>,
    /// For how long nobody has asked for anything before a model is loaded that nobody has asked for.
    pub idle_before_loading: Duration,
}

/// The model that is always there.
#[derive(Debug)]
pub struct PrimaryModel {
    /// Its name.
    pub name: String,
    /// What its files say of its size.
    pub bytes: u64,
    /// The model, which may still be loading.
    pub local: LocalModel,
}

/// A model that can be loaded, as often as it takes.
#[derive(Clone)]
pub struct ModelSource {
    /// Its name in the store.
    pub name: String,
    /// The name under which its answers go.
    pub id: String,
    /// Where it writes.
    pub levels: Vec<OptimizationLevel>,
    /// What its files say of its size.
    pub bytes: u64,
    /// Does it stay once it is there?
    pub is_pinned: bool,
    /// Reads its text side, and begins to load its graph. An error is one line for the log.
    pub open: Arc<Open>,
}

/// Why something could not be done with a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none of that name.
    #[error("no model goes by that name")]
    Unknown,
    /// It is the primary model.
    #[error("the primary model is always loaded")]
    Primary,
    /// It cannot be unloaded now.
    #[error(transparent)]
    Stays(#[from] Stays),
    /// It cannot be loaded now.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// It can be loaded as soon as it is gone.
    #[error("it is just being unloaded")]
    Leaving,
    /// It can be loaded as soon as the primary model is.
    #[error("the primary model is still being loaded")]
    TooEarly,
}

/// Who writes at a level now.
#[derive(Debug)]
pub enum Seat {
    /// The primary model, as it should.
    Primary,
    /// The level's own model.
    Own(ModelLease),
    /// The level's own model is not there, or not now: the primary stands in.
    Away,
}

/// All models of the process. Clones share them.
#[derive(Clone, Debug)]
pub struct ModelRegistry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    served: ServedModels,
    primary: Option<(String, LocalModel)>,
    /// All but the primary, by name.
    sources: BTreeMap<String, ModelSource>,
    settings: RegistrySettings,
    ledger: Mutex<Ledger>,
    wishes: mpsc::Sender<Wish>,
}

/// A model in use: it stays as long as this is held.
#[derive(Debug)]
pub struct ModelLease {
    registry: Arc<Inner>,
    name: String,
    local: LocalModel,
    /// Is it for nobody who asked? Then the model has not been used.
    is_trial: bool,
}

impl ModelRegistry {
    /// The registry of `primary` and of those that can be loaded beside it. Needs a tokio runtime where there is any model.
    #[must_use]
    pub fn start(settings: RegistrySettings, primary: Option<PrimaryModel>, sources: Vec<ModelSource>) -> Self {
        let (wishes, wished) = mpsc::channel(WISHES_MAX);
        let primary_id = primary.as_ref().map_or("", |primary| primary.local.model.id());
        let served = ServedModels::new(primary_id, |level| {
            let own = sources.iter().find(|source| source.levels.contains(&level));
            own.map(|source| source.id.clone())
        });
        let mut ledger = Ledger::new(settings.bytes_max);
        if let Some(PrimaryModel { name, bytes, local }) = &primary {
            ledger.add_primary(name, *bytes, local);
        }
        sources.iter().for_each(|source| ledger.add(source));
        let inner = Arc::new(Inner {
            served,
            primary: primary.map(|primary| (primary.name, primary.local)),
            sources: sources.into_iter().map(|source| (source.name.clone(), source)).collect(),
            settings,
            ledger: Mutex::new(ledger),
            wishes,
        });
        if inner.primary.is_some() || !inner.sources.is_empty() {
            tokio::spawn(loading::watch_primary(Arc::downgrade(&inner), resident_bytes()));
            tokio::spawn(loading::work(Arc::downgrade(&inner), wished));
        }
        Self(inner)
    }

    /// No model at all.
    #[must_use]
    pub fn empty() -> Self {
        let settings = RegistrySettings { bytes_max: 0, canary_every: None, idle_before_loading: Duration::ZERO };
        Self::start(settings, None, Vec::new())
    }

    /// Which model writes at which level.
    #[must_use]
    pub fn served(&self) -> &ServedModels {
        &self.0.served
    }

    /// The primary model, unless there is none in this process.
    #[must_use]
    pub fn primary(&self) -> Option<&LocalModel> {
        self.0.primary.as_ref().map(|(_, local)| local)
    }

    /// Who writes at `level` now. A level's model that is not there begins to be loaded; for what nobody waits for only
    /// where nobody has to go for it.
    #[must_use]
    pub fn seat(&self, level: OptimizationLevel, is_behind: bool) -> Seat {
        let Some(source) = self.0.own_at(level) else { return Seat::Primary };
        if !self.0.primary_has_arrived() {
            return Seat::Away;
        }
        let found = self.0.ledger().want(&source.name, is_behind, Instant::now());
        match found {
            Found::There(local) => {
                let lease = ModelLease::new(&self.0, &source.name, local, false);
                if lease.local.is_ready() { Seat::Own(lease) } else { Seat::Away }
            }
            Found::ToBeLoaded(unload) => {
                self.0.begin(&source.name, unload);
                Seat::Away
            }
            Found::Away => Seat::Away,
        }
    }

    /// Notes that the primary model is in use, once it is loaded. It stays with or without.
    #[must_use]
    pub fn use_primary(&self) -> Option<ModelLease> {
        let (name, local) = self.0.primary.as_ref()?;
        let found = self.0.ledger().want(name, false, Instant::now());
        matches!(found, Found::There(_)).then(|| ModelLease::new(&self.0, name, local.clone(), false))
    }

    /// The model that would write at `level` now, without using it.
    #[must_use]
    pub fn writing_at(&self, level: OptimizationLevel) -> Option<LocalModel> {
        let own = self.0.own_at(level).and_then(|source| self.0.ledger().loaded(&source.name));
        own.filter(LocalModel::is_ready).or_else(|| self.primary().cloned())
    }

    /// Has none of them anything to do for anybody who waits?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.loaded().iter().all(|(_, local)| local.admission.is_idle())
    }

    /// All that are loaded, by name, and before them the primary one, which may still be loading.
    #[must_use]
    pub fn loaded(&self) -> Vec<(String, LocalModel)> {
        let others = self.0.ledger().all_loaded();
        let primary = self.0.primary.iter().cloned();
        primary.chain(others.into_iter().filter(|(name, _)| self.0.sources.contains_key(name))).collect()
    }

    /// The engines of all that are loaded, the primary model's first.
    pub fn engines(&self) -> impl Iterator<Item = EngineHandle> + use<> {
        self.loaded().into_iter().map(|(_, local)| local.engine)
    }

    /// The name of the model with this name or id.
    #[must_use]
    pub fn name_of(&self, name_or_id: &str) -> Option<&str> {
        let primary = self.0.primary.iter().map(|(name, local)| (name.as_str(), local.model.id()));
        let others = self.0.sources.values().map(|source| (source.name.as_str(), source.id.as_str()));
        let mut all = primary.chain(others);
        all.find(|(name, id)| [name, id].contains(&&name_or_id)).map(|(name, _)| name)
    }

    /// Begins to load a model, at once and whatever failed before; one that is there or on its way is left as it is.
    ///
    /// # Errors
    /// When it is not known, or there is no room.
    pub fn load(&self, name: &str) -> Result<(), Refusal> {
        if self.0.is_primary(name) {
            return Ok(());
        }
        if !self.0.primary_has_arrived() {
            return Err(Refusal::TooEarly);
        }
        let unload = self.0.ledger().load(name)?;
        if let Some(unload) = unload {
            self.0.begin(name, unload);
        }
        Ok(())
    }

    /// Begins to unload a model. It is not brought back before somebody asks for it.
    ///
    /// # Errors
    /// When it is not known, in use or pinned, or not there.
    pub fn unload(&self, name: &str) -> Result<(), Refusal> {
        if self.0.is_primary(name) {
            return Err(Refusal::Primary);
        }
        self.0.ledger().unload(name)?;
        self.0.send(Wish::Unload(name.to_owned()));
        Ok(())
    }

    /// Keeps a model loaded once it is, or no longer.
    ///
    /// # Errors
    /// When it is not known, or the primary one is to be let go.
    pub fn pin(&self, name: &str, is_pinned: bool) -> Result<(), Refusal> {
        if self.0.is_primary(name) {
            return if is_pinned { Ok(()) } else { Err(Refusal::Primary) };
        }
        if self.0.ledger().pin(name, is_pinned) { Ok(()) } else { Err(Refusal::Unknown) }
    }

    /// What there is to say of all of them.
    #[must_use]
    pub fn report(&self) -> ModelsReport {
        report::of(&self.0, Instant::now())
    }
}

impl Inner {
    fn own_at(&self, level: OptimizationLevel) -> Option<&ModelSource> {
        self.sources.values().find(|source| source.levels.contains(&level))
    }

    fn is_primary(&self, name: &str) -> bool {
        self.primary.as_ref().is_some_and(|(primary, _)| primary == name)
    }

    /// Others wait for it: it is what everybody needs first.
    fn primary_has_arrived(&self) -> bool {
        self.primary.as_ref().is_none_or(|(name, _)| self.ledger().has_arrived(name))
    }

    /// Has a model brought that the ledger says is on its way.
    fn begin(&self, name: &str, unload: Vec<String>) {
        tracing::info!(model = name, unload = unload.join(", "), "a model is to be loaded");
        self.send(Wish::Load { name: name.to_owned(), unload });
    }

    fn send(&self, wish: Wish) {
        // There is room for all that there can be, and somebody who listens as long as the process has a runtime.
        let _ = self.wishes.try_send(wish);
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Every change under the lock is complete in itself, so a poisoned ledger is still a good one.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModelLease {
    fn new(registry: &Arc<Inner>, name: &str, local: LocalModel, is_trial: bool) -> Self {
        Self { registry: Arc::clone(registry), name: name.to_owned(), local, is_trial }
    }

    /// The model.
    #[must_use]
    pub const fn local(&self) -> &LocalModel {
        &self.local
    }
}

impl Drop for ModelLease {
    fn drop(&mut self) {
        let used_at = (!self.is_trial).then(Instant::now);
        self.registry.ledger().give_back(&self.name, used_at);
    }
}

impl fmt::Debug for ModelSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ModelSource").field("name", &self.name).field("levels", &self.levels).finish()
    }
}
