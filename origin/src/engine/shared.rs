//! What all handles of an engine share with who supervises it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;

use super::door::{EngineDoor, EngineInbox, door};
use super::{EngineCounters, EngineStatus};
use crate::backend::BackendDescription;

/// The way to the loop that is in use.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) door: EngineDoor,
    /// Closed when nothing will be heard any more of those who went in.
    pub(super) end: watch::Receiver<()>,
}

/// What stands behind a door: those who wait there, and a hold on them. They are told when it is dropped.
#[derive(Debug)]
pub(super) struct Hold(#[expect(dead_code, reason = "dropping it is what it is for")] watch::Sender<()>);

/// A way, and what stands behind it.
pub(super) fn way(waiting_sequences_max: usize) -> (Way, EngineInbox, Hold) {
    let (door, inbox) = door(waiting_sequences_max);
    let (sender, end) = watch::channel(());
    (Way { door, end }, inbox, Hold(sender))
}

/// How the engine has fared.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct EngineCondition {
    /// The backend in use, or the one that was in use last; none before the first is open.
    pub backend: Option<String>,
    /// What that runs on and how.
    pub description: Option<BackendDescription>,
    /// All that may be used, the preferred one first.
    pub backends: Vec<String>,
    /// How often a backend was opened after the first time.
    pub restarts: u64,
    /// How often one failed, could not be opened or hung.
    pub failures: u64,
    /// Threads that hang in a driver and were left behind.
    pub threads_abandoned: u64,
    /// Why it failed the last time.
    pub last_failure: Option<String>,
}

/// Shared by all handles.
#[derive(Debug)]
pub(super) struct Shared {
    way: RwLock<Way>,
    pub(super) status: watch::Sender<EngineStatus>,
    pub(super) counters: Arc<EngineCounters>,
    condition: Mutex<EngineCondition>,
}

impl Shared {
    pub(super) fn new(way: Way, status: EngineStatus, backends: Vec<String>) -> Arc<Self> {
        let condition = EngineCondition { backends, ..EngineCondition::default() };
        Arc::new(Self {
            way: RwLock::new(way),
            status: watch::Sender::new(status),
            counters: Arc::default(),
            condition: Mutex::new(condition),
        })
    }

    pub(super) fn way(&self) -> Way {
        self.way.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on those who come are led this way.
    pub(super) fn lead_through(&self, way: Way) {
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = way;
    }

    pub(super) fn condition(&self) -> EngineCondition {
        self.lock().clone()
    }

    pub(super) fn note_opened(&self, name: &str, description: Option<BackendDescription>) {
        let mut condition = self.lock();
        condition.restarts += u64::from(condition.backend.is_some());
        (condition.backend, condition.description) = (Some(name.to_owned()), description);
    }

    pub(super) fn note_failure(&self, reason: &str, is_abandoned: bool) {
        let mut condition = self.lock();
        condition.failures += 1;
        condition.threads_abandoned += u64::from(is_abandoned);
        condition.last_failure = Some(reason.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, EngineCondition> {
        // Every change under the lock is complete in itself, so a poisoned condition is still a good one.
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
