//! The engine: many sequences on one device, joining and leaving between steps.
//!
//! It knows prompts, constraints and deadlines; it knows nothing of HTTP, caches or styles.

pub mod constraint;
pub mod door;
pub mod draft;
mod engine_loop;
pub mod prefix_index;
pub mod sampler;
pub mod scheduler;
pub mod sequence;
pub mod speculation;
pub mod stats;
pub mod vocabulary;

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use self::door::EngineDoor;
use self::engine_loop::{EngineLoop, LoopEnd};
use self::sequence::{FinishedSequence, SequenceError, SequenceRequest};
use self::speculation::SpeculationMode;
pub use self::stats::{EngineCounters, EngineStats};
use crate::backend::{Backend, BackendShape};

/// The engine's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Most sequences that wait for a row.
    pub waiting_sequences_max: usize,
    /// Most sequences that run; at most the backend's rows.
    pub sequences_max: usize,
    /// Entries that a step reads, as long as there are prompts to be read: what running rows need first, then prompts.
    pub step_tokens_max: usize,
    /// Positions of prompts that are kept after their sequences; with 0 nothing is shared.
    pub prefix_positions_max: usize,
    /// Are entries guessed?
    pub speculation: SpeculationMode,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            waiting_sequences_max: 256,
            sequences_max: 8,
            step_tokens_max: 256,
            prefix_positions_max: 8_192,
            speculation: SpeculationMode::Auto,
        }
    }
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
    door: EngineDoor,
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
        let (door, inbox) = door::door(limits.waiting_sequences_max);
        let (status_sender, status) = watch::channel(EngineStatus::Loading);
        let counters = Arc::new(EngineCounters::default());
        let handle = Self { door, status, counters: Arc::clone(&counters) };
        std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
            // Told also when the thread unwinds, so that nobody takes a dead engine for a ready one.
            let stopped = StopNotice(status_sender);
            match load() {
                Ok(backend) => {
                    stopped.0.send_replace(EngineStatus::Ready(backend.shape()));
                    if let LoopEnd::Lost(error, left) = EngineLoop::new(backend, inbox, limits, counters).run() {
                        tracing::error!(%error, "the device is lost");
                        stopped.0.send_replace(EngineStatus::Failed(error.to_string()));
                        left.refuse_all();
                    }
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
        let (door, _) = door::door(1);
        let (_, status) = watch::channel(EngineStatus::Failed(reason));
        Self { door, status, counters: Arc::default() }
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

    /// The way to ask for the sequences inside, and to end them.
    #[must_use]
    pub const fn door(&self) -> &EngineDoor {
        &self.door
    }

    /// Hands a sequence in.
    ///
    /// # Errors
    /// When the engine is not ready or its queue is full.
    pub fn submit(&self, request: SequenceRequest) -> Result<PendingSequence, SubmitError> {
        if !matches!(*self.status.borrow(), EngineStatus::Ready(_)) {
            return Err(SubmitError::NotReady);
        }
        self.door.submit(request)
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
