//! One backend in use, on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::watched::{Pulse, Watched};
use super::{BackendSource, SurvivalLimits};
use crate::backend::{BackendDescription, BackendShape};
use crate::engine::EngineLimits;
use crate::engine::door::EngineInbox;
use crate::engine::engine_loop::{EngineLoop, LoopEnd};
use crate::engine::shared::{Hold, Way};
use crate::engine::stats::EngineCounters;

/// An incarnation tells that it is open and how it ended, and nothing else.
const REPORTS_MAX: usize = 2;

/// What a backend's thread tells. It says no more when it unwinds.
pub(super) enum Report {
    Opened(BackendShape, BackendDescription),
    NotOpened(String, EngineInbox),
    Ended(LoopEnd),
}

/// One backend in use.
pub(super) struct Incarnation {
    pub(super) name: String,
    /// Its place in the chain.
    pub(super) source: usize,
    /// Since when it is open, or is being opened.
    pub(super) since: Instant,
    /// Once it is open.
    pub(super) shape: Option<BackendShape>,
    /// What it runs on and how, once it is open.
    pub(super) description: Option<BackendDescription>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) reports: Receiver<Report>,
    /// The way to it, as long as it is on trial.
    pub(super) way: Option<Way>,
    /// On those who wait for it.
    pub(super) hold: Hold,
}

impl Incarnation {
    /// Starts the thread. Where there is none to be had, it is as if it had ended at once.
    pub(super) fn begin(
        (source, backend): (usize, BackendSource),
        (inbox, hold): (EngineInbox, Hold),
        (limits, counters): (EngineLimits, Arc<EngineCounters>),
    ) -> Self {
        let (sender, reports) = sync_channel(REPORTS_MAX);
        let pulse = Pulse::new();
        let (name, seen) = (backend.name.clone(), Arc::clone(&pulse));
        let work = move || run(&backend, inbox, (limits, counters), (&sender, seen));
        if let Err(error) = std::thread::Builder::new().name("engine".to_owned()).spawn(work) {
            tracing::error!(%error, "a thread for the engine cannot be had");
        }
        Self {
            name,
            source,
            since: Instant::now(),
            shape: None,
            description: None,
            pulse,
            reports,
            way: None,
            hold,
        }
    }

    /// It is open from now on.
    pub(super) fn opened(&mut self, shape: BackendShape, description: BackendDescription) {
        (self.shape, self.since, self.description) = (Some(shape), Instant::now(), Some(description));
    }

    /// How long it has been at the same thing, and how long it may be.
    pub(super) fn at_work(&self, limits: &SurvivalLimits) -> (Duration, Duration) {
        let now = Instant::now();
        match self.shape {
            Some(_) => (self.pulse.call_running(now), limits.call_max),
            None => (now.duration_since(self.since), limits.open_max),
        }
    }
}

/// The whole life of the thread. Who should hear of it may have stopped listening.
fn run(
    backend: &BackendSource,
    inbox: EngineInbox,
    (limits, counters): (EngineLimits, Arc<EngineCounters>),
    (reports, pulse): (&SyncSender<Report>, Arc<Pulse>),
) {
    let report = match (backend.open)() {
        Err(reason) => Report::NotOpened(reason, inbox),
        Ok(opened) => {
            let _ = reports.send(Report::Opened(opened.shape(), opened.description()));
            let watched = Box::new(Watched::new(opened, pulse));
            Report::Ended(EngineLoop::new(watched, inbox, limits, counters).run())
        }
    };
    let _ = reports.send(report);
}
