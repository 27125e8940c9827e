//! Who sees to it that there is an engine: opens a backend, runs the loop on it, watches, and opens another when it fails.
//!
//! One thread supervises. Each backend has a thread of its own, which owns the device and nothing else. A thread that hangs
//! in a driver cannot be ended: it is left behind with what it holds, and those who wait for it are told.

mod incarnation;
mod recovery;
mod watched;

use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use self::incarnation::{Incarnation, Report};
pub use self::recovery::SurvivalLimits;
use self::recovery::{Failure, Next, Recovery};
use super::door::EngineInbox;
use super::engine_loop::LoopEnd;
use super::shared::{Hold, Shared, way};
use super::{EngineLimits, EngineStatus};
use crate::backend::{Backend, BackendShape};

/// It is looked so often whether all is well.
const WATCH_EVERY: Duration = Duration::from_millis(100);

type Open = dyn Fn() -> Result<Box<dyn Backend>, String> + Send + Sync;

/// A backend that can be opened, as often as it takes.
#[derive(Clone)]
pub struct BackendSource {
    name: String,
    open: Arc<Open>,
}

impl BackendSource {
    /// What it is called in the log, and what opens it. An error is one line for the log.
    pub fn new(
        name: impl Into<String>,
        open: impl Fn() -> Result<Box<dyn Backend>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), open: Arc::new(open) }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Opens, watches, opens again.
pub(super) struct Supervisor {
    /// Gone when the last handle is.
    shared: Weak<Shared>,
    sources: Vec<BackendSource>,
    engine_limits: EngineLimits,
    limits: SurvivalLimits,
    recovery: Recovery,
    /// What runs beside the present one: the first of the chain on trial, or one that finishes what it has.
    beside: Option<Incarnation>,
    /// When the first of the chain is tried, while another serves; never again where that could cost another thread.
    try_first_at: Option<Instant>,
}

/// Those who wait behind a door, and the hold on them.
type Waiting = (EngineInbox, Hold);

/// How an incarnation ended.
enum Ending {
    /// Nobody has a handle any more.
    Finished,
    /// The device is lost or could not be opened. Who waits is in the inbox.
    Left(String, EngineInbox),
    /// The thread is gone or left behind, and what it had with it.
    Gone { reason: String, is_abandoned: bool },
}

impl Supervisor {
    pub(super) fn new(
        shared: &Arc<Shared>,
        sources: Vec<BackendSource>,
        (engine_limits, limits): (EngineLimits, SurvivalLimits),
    ) -> Self {
        let recovery = Recovery::new(limits, sources.len());
        let try_first_at = Some(Instant::now() + limits.return_after);
        let shared = Arc::downgrade(shared);
        Self { shared, sources, engine_limits, limits, recovery, beside: None, try_first_at }
    }

    /// Until the last handle is gone, or nothing can be opened any more.
    pub(super) fn run(mut self, inbox: EngineInbox, hold: Hold) {
        let mut next = Some((0, (inbox, hold)));
        while let Some((source, waiting)) = next {
            let Some(present) = self.begin(source, waiting) else { return };
            let (present, ending) = self.watch(present);
            let Incarnation { shape, since, hold, .. } = present;
            let ran_for = shape.map(|_| since.elapsed());
            next = match ending {
                Ending::Finished => return,
                Ending::Left(reason, inbox) => {
                    self.recover(Failure { ran_for, is_abandoned: false }, reason, Some((inbox, hold)))
                }
                Ending::Gone { reason, is_abandoned } => {
                    // Who waited for it is told now, and tries again when there is another.
                    self.tell_rebuilding();
                    drop(hold);
                    self.recover(Failure { ran_for, is_abandoned }, reason, None)
                }
            };
        }
    }

    /// What comes after a failure: which one is opened, and for whom. None at the very end.
    fn recover(&mut self, failure: Failure, reason: String, left: Option<Waiting>) -> Option<(usize, Waiting)> {
        let next = self.recovery.after(failure);
        tracing::error!(reason, ?next, "the engine failed");
        self.shared.upgrade()?.note_failure(&reason, failure.is_abandoned);
        let (source, pause, left) = match next {
            Next::Open(source, pause) => {
                self.tell_rebuilding();
                (source, pause, left)
            }
            // Nobody waits for so long, and others may be able to serve.
            Next::Rest(_) | Next::GiveUp => {
                self.tell(EngineStatus::Failed(reason));
                left.into_iter().for_each(|(inbox, _)| inbox.refuse_all());
                let Next::Rest(pause) = next else { return None };
                (0, pause, None)
            }
        };
        if !self.pause(pause) {
            return None;
        }
        self.try_first_at = self.try_first_at.map(|_| Instant::now() + self.limits.return_after);
        // Who waited goes on waiting; where nobody could be kept there is a new door.
        Some((source, left.or_else(|| self.new_door())?))
    }

    fn new_door(&self) -> Option<Waiting> {
        let (way, inbox, hold) = way(self.engine_limits.waiting_sequences_max);
        self.shared.upgrade()?.lead_through(way);
        Some((inbox, hold))
    }

    /// Starts the thread of a backend. None when nobody has a handle any more.
    fn begin(&self, source: usize, waiting: Waiting) -> Option<Incarnation> {
        let counters = Arc::clone(&self.shared.upgrade()?.counters);
        let backend = self.sources.get(source)?.clone();
        Some(Incarnation::begin((source, backend), waiting, (self.engine_limits, counters)))
    }

    /// Looks after the present one until it ends. It may be another one in the end: the first of the chain, come back.
    fn watch(&mut self, mut present: Incarnation) -> (Incarnation, Ending) {
        loop {
            let ending = match present.reports.recv_timeout(WATCH_EVERY) {
                Ok(Report::Opened(shape, description)) => {
                    present.opened(shape, description);
                    self.tell_opened(&present, shape);
                    None
                }
                Ok(Report::NotOpened(reason, inbox)) => Some(Ending::Left(reason, inbox)),
                Ok(Report::Ended(LoopEnd::Finished)) => Some(Ending::Finished),
                Ok(Report::Ended(LoopEnd::Lost(error, inbox))) => Some(Ending::Left(error.to_string(), inbox)),
                Err(RecvTimeoutError::Disconnected) => {
                    let reason = "its thread has panicked".to_owned();
                    Some(Ending::Gone { reason, is_abandoned: false })
                }
                Err(RecvTimeoutError::Timeout) => self.look_at(&present),
            };
            if let Some(ending) = ending {
                return (present, ending);
            }
            self.look_beside(&mut present);
        }
    }

    /// Is it still at the same call of the device?
    fn look_at(&self, present: &Incarnation) -> Option<Ending> {
        let (running, at_most) = present.at_work(&self.limits);
        if running >= at_most {
            let reason = format!("the device has not come back from a call for {} ms", running.as_millis());
            return Some(Ending::Gone { reason, is_abandoned: true });
        }
        if let Some(shape) = present.shape {
            let is_stalled = running >= self.limits.call_stalled;
            self.tell(if is_stalled { EngineStatus::Stalled } else { EngineStatus::Ready(shape) });
        }
        None
    }

    /// Looks after what runs beside the present one, and puts the first of the chain in its place once that works again.
    fn look_beside(&mut self, present: &mut Incarnation) {
        let Some(mut beside) = self.beside.take() else { return self.try_first(present) };
        match beside.reports.try_recv() {
            Ok(Report::Opened(shape, description)) => {
                beside.opened(shape, description);
                std::mem::swap(&mut beside, present);
                self.recovery.returned();
                if let Some((shared, way)) = self.shared.upgrade().zip(present.way.take()) {
                    // The last door of the one before goes with this, so it finishes what it has and ends.
                    shared.lead_through(way);
                }
                self.tell_opened(present, shape);
                self.beside = Some(beside);
            }
            Err(TryRecvError::Empty) => {
                let (running, at_most) = beside.at_work(&self.limits);
                if running < at_most {
                    self.beside = Some(beside);
                } else {
                    self.end_beside(true);
                }
            }
            Ok(Report::NotOpened(..) | Report::Ended(_)) | Err(TryRecvError::Disconnected) => {
                self.end_beside(false)
            }
        }
    }

    /// Opens the first of the chain beside the one that serves in its place, when it is time.
    fn try_first(&mut self, present: &Incarnation) {
        let is_time = self.try_first_at.is_some_and(|at| Instant::now() >= at);
        if self.recovery.at() == 0 || present.shape.is_none() || !is_time {
            return;
        }
        let (way, inbox, hold) = way(self.engine_limits.waiting_sequences_max);
        self.beside = self.begin(0, (inbox, hold));
        if let Some(trial) = &mut self.beside {
            trial.way = Some(way);
        }
    }

    fn end_beside(&mut self, is_abandoned: bool) {
        self.try_first_at = Some(Instant::now() + self.limits.return_after);
        if !is_abandoned {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            shared.note_failure("a backend beside the one in use hangs", true);
        }
        if !self.recovery.may_abandon() {
            // Each trial might leave another thread behind.
            self.try_first_at = None;
        }
    }

    fn tell_opened(&self, present: &Incarnation, shape: BackendShape) {
        let (backend, place_in_chain) = (&present.name, present.source);
        let runs_on = present.description.as_ref().map(ToString::to_string);
        tracing::info!(backend, runs_on, place_in_chain, rows = shape.rows_max, "the engine is ready");
        if let Some(shared) = self.shared.upgrade() {
            shared.note_opened(backend, present.description.clone());
        }
        self.tell(EngineStatus::Ready(shape));
    }

    /// Until one has been opened for the first time it is still being loaded, whichever one of the chain it is.
    fn tell_rebuilding(&self) {
        let Some(shared) = self.shared.upgrade() else { return };
        if *shared.status.borrow() != EngineStatus::Loading {
            self.tell(EngineStatus::Rebuilding);
        }
    }

    fn tell(&self, status: EngineStatus) {
        let Some(shared) = self.shared.upgrade() else { return };
        shared.status.send_if_modified(|told| {
            let is_new = *told != status;
            *told = status;
            is_new
        });
    }

    /// False when nobody has a handle any more.
    fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while self.shared.strong_count() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(WATCH_EVERY));
        }
        false
    }
}
