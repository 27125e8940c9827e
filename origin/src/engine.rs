//! The engine: many sequences on one device, joining and leaving between steps.
//!
//! It knows prompts, constraints and deadlines; it knows nothing of HTTP, caches or styles.

pub mod constraint;
pub mod draft;
mod engine_loop;
pub mod sampler;
pub mod scheduler;
pub mod sequence;
pub mod vocabulary;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};

use self::engine_loop::EngineLoop;
use self::scheduler::Scheduler;
use self::sequence::{FinishedSequence, Sequence, SequenceError, SequenceRequest};
use crate::backend::{Backend, BackendShape};

/// The engine's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Most sequences that wait for a row.
    pub waiting_sequences_max: usize,
    /// Most sequences that run; at most the backend's rows.
    pub sequences_max: usize,
}

/// What state the engine is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineStatus {
    /// The model is being loaded.
    Loading,
    /// Sequences can be submitted.
    Ready(BackendShape),
    /// The model could not be loaded; the reason is for the log.
    Failed(String),
    /// The engine's thread has ended.
    Stopped,
}

/// What the engine has done since it started.
#[derive(Debug, Default)]
pub struct EngineCounters {
    /// Sequences that came to their end.
    pub finished: AtomicU64,
    /// Running sequences that were dropped because their client left or their deadline passed.
    pub dropped: AtomicU64,
    /// Prompt entries read.
    pub prefilled_tokens: AtomicU64,
    /// Entries fed back in decode steps.
    pub decoded_tokens: AtomicU64,
    /// Decode steps.
    pub decode_steps: AtomicU64,
    /// Time spent on working out what may be written, in nanoseconds.
    pub constraint_ns: AtomicU64,
    /// Entries chosen under a constraint.
    pub constraint_steps: AtomicU64,
}

impl EngineCounters {
    /// Counts the time since `begun_at` as spent on what may be written.
    fn note_constraint(&self, begun_at: Instant) {
        let spent_ns = u64::try_from(begun_at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.constraint_ns.fetch_add(spent_ns, Ordering::Relaxed);
    }
}

/// Why a sequence was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Loading, failed or stopped.
    #[error("the engine is not ready")]
    NotReady,
    /// The waiting queue is full.
    #[error("the waiting queue is full")]
    Full,
}

/// The way to the engine. When the last handle is gone the engine finishes what runs and ends.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    outbox: mpsc::Sender<Sequence>,
    status: watch::Receiver<EngineStatus>,
    counters: Arc<EngineCounters>,
}

/// The outcome of a sequence, once there is one. Dropping it frees the sequence at the next step.
pub type PendingSequence = oneshot::Receiver<Result<FinishedSequence, SequenceError>>;

impl EngineHandle {
    /// Starts the engine's thread, which first loads the backend through `load`.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start<E: std::fmt::Display>(
        limits: EngineLimits,
        load: impl FnOnce() -> Result<Box<dyn Backend>, E> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (outbox, inbox) = mpsc::channel(limits.waiting_sequences_max);
        let (status_sender, status) = watch::channel(EngineStatus::Loading);
        let counters = Arc::new(EngineCounters::default());
        let handle = Self { outbox, status, counters: Arc::clone(&counters) };
        let scheduler = Scheduler::new(limits.waiting_sequences_max, limits.sequences_max);
        std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
            // Told also when the thread unwinds, so that nobody takes a dead engine for a ready one.
            let stopped = StopNotice(status_sender);
            match load() {
                Ok(backend) => {
                    stopped.0.send_replace(EngineStatus::Ready(backend.shape()));
                    EngineLoop { backend, inbox, scheduler, counters: &counters }.run();
                }
                Err(error) => {
                    stopped.0.send_replace(EngineStatus::Failed(error.to_string()));
                }
            }
        })?;
        Ok(handle)
    }

    /// A handle where there is no engine, and why.
    #[must_use]
    pub fn failed(reason: String) -> Self {
        let (outbox, _) = mpsc::channel(1);
        let (_, status) = watch::channel(EngineStatus::Failed(reason));
        Self { outbox, status, counters: Arc::default() }
    }

    /// The present state.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        self.status.borrow().clone()
    }

    /// Waits until the model is loaded or has failed to.
    pub async fn loaded(&self) -> EngineStatus {
        let mut status = self.status.clone();
        let loaded = status.wait_for(|status| *status != EngineStatus::Loading).await;
        loaded.map_or(EngineStatus::Stopped, |status| status.clone())
    }

    /// What has been done since the start.
    #[must_use]
    pub fn counters(&self) -> &EngineCounters {
        &self.counters
    }

    /// Hands a sequence in.
    ///
    /// # Errors
    /// When the engine is not ready or its queue is full.
    pub fn submit(&self, request: SequenceRequest) -> Result<PendingSequence, SubmitError> {
        if !matches!(*self.status.borrow(), EngineStatus::Ready(_)) {
            return Err(SubmitError::NotReady);
        }
        let (reply, pending) = oneshot::channel();
        let sequence = Sequence::new(request, Instant::now(), reply);
        self.outbox.try_send(sequence).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Full,
            mpsc::error::TrySendError::Closed(_) => SubmitError::NotReady,
        })?;
        Ok(pending)
    }
}

struct StopNotice(watch::Sender<EngineStatus>);

impl Drop for StopNotice {
    fn drop(&mut self) {
        self.0.send_if_modified(|status| {
            let modified = !matches!(status, EngineStatus::Failed(_));
            if modified {
                *status = EngineStatus::Stopped;
            }
            modified
        });
    }
}
