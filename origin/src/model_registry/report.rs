//! What there is to say of the models.

use std::time::{Duration, Instant};

use lede_shared::api::OptimizationLevel;
use serde::Serialize;
use utoipa::ToSchema;

use super::Inner;
use super::ledger::{Entry, Trial};
use crate::models::residency::{Place, Standing};

/// All models of the process, and the room that they have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelsReport {
    /// Most bytes of all that are loaded (`LEDE_MODELS_BYTES_MAX`).
    pub bytes_max: u64,
    /// Bytes of those that are loaded, being loaded or being unloaded.
    pub bytes: u64,
    /// By how much that is too much: pinned models may take more than was thought.
    pub bytes_over: u64,
    /// The primary model first.
    pub models: Vec<ModelReport>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelReport {
    /// Its name in the store; the primary's may be its folder's.
    pub name: String,
    /// The name under which its answers go.
    pub id: String,
    /// Where it should write.
    pub levels: Vec<OptimizationLevel>,
    /// Is it the one that is always loaded, and stands in for the others?
    pub primary: bool,
    /// `absent`, `loading`, `loaded` or `unloading`.
    pub state: &'static str,
    /// What it takes, or would.
    pub bytes: u64,
    /// Has that been measured? Else it is what its files say.
    pub bytes_measured: bool,
    /// Does it stay once it is loaded?
    pub pinned: bool,
    /// Answers that it is writing.
    pub users: usize,
    /// Milliseconds since it was used; none when it never was.
    pub last_used_ms: Option<u64>,
    /// How often it was loaded.
    pub loads: u64,
    /// How often it was unloaded.
    pub unloads: u64,
    /// How often it could not be loaded.
    pub failures: u64,
    /// Why it could not be loaded the last time.
    pub last_failure: Option<String>,
    /// Milliseconds until it may be tried again after a failure.
    pub retry_in_ms: Option<u64>,
    /// Its last trial while it was idle.
    pub last_canary: Option<CanaryReport>,
    /// How many trials failed.
    pub canaries_failed: u64,
}

/// One entry, written while nobody used a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CanaryReport {
    /// Was it written?
    pub ok: bool,
    /// Why not.
    pub failure: Option<String>,
    /// Milliseconds since then.
    pub ago_ms: u64,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

pub(super) fn of(registry: &Inner, now: Instant) -> ModelsReport {
    let levels_of = |is_its: &dyn Fn(OptimizationLevel) -> bool| {
        OptimizationLevel::ALL.iter().copied().filter(|level| is_its(*level)).collect()
    };
    let mut named = Vec::new();
    if let Some((name, local)) = &registry.primary {
        let levels = levels_of(&|level| registry.own_at(level).is_none());
        named.push((name.clone(), local.model.id().to_owned(), levels, true));
    }
    let others = registry.sources.values();
    named.extend(others.map(|source| {
        let levels = levels_of(&|level| source.levels.contains(&level));
        (source.name.clone(), source.id.clone(), levels, false)
    }));
    let ledger = registry.ledger();
    let models = named.into_iter().filter_map(|(name, id, levels, primary)| {
        let (standing, entry) = (ledger.standing(&name)?, ledger.entry(&name)?);
        let report = ModelReport::of((standing, entry), now);
        Some(ModelReport { name, id, levels, primary, ..report })
    });
    let models = models.collect();
    let residency = ledger.residency();
    ModelsReport {
        bytes_max: residency.bytes_max(),
        bytes: residency.bytes(),
        bytes_over: residency.bytes_over(),
        models,
    }
}

impl ModelReport {
    fn of((standing, entry): (Standing, &Entry), now: Instant) -> Self {
        Self {
            name: String::new(),
            id: String::new(),
            levels: Vec::new(),
            primary: false,
            state: state(standing.place),
            bytes: standing.bytes,
            bytes_measured: standing.is_measured,
            pinned: standing.is_pinned,
            users: standing.users(),
            last_used_ms: entry.used_at.map(|at| milliseconds(now.saturating_duration_since(at))),
            loads: entry.loads,
            unloads: entry.unloads,
            failures: entry.failures,
            last_failure: entry.last_failure.clone(),
            retry_in_ms: entry.retry_at.map(|at| milliseconds(at.saturating_duration_since(now))),
            last_canary: entry.trial.as_ref().map(|trial| CanaryReport::of(trial, now)),
            canaries_failed: entry.trials_failed,
        }
    }
}

impl CanaryReport {
    fn of(trial: &Trial, now: Instant) -> Self {
        Self {
            ok: trial.failure.is_none(),
            failure: trial.failure.clone(),
            ago_ms: milliseconds(now.saturating_duration_since(trial.at)),
            took_ms: milliseconds(trial.took),
        }
    }
}

const fn state(place: Place) -> &'static str {
    match place {
        Place::Absent => "absent",
        Place::Arriving => "loading",
        Place::Resident { .. } => "loaded",
        Place::Leaving => "unloading",
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
