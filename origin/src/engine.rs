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
mod shared;
pub mod speculation;
pub mod stats;
pub mod step_times;
mod supervisor;
pub mod vocabulary;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};

use self::door::EngineDoor;
use self::sequence::{FinishedSequence, SequenceError, SequenceRequest};
pub use self::shared::EngineCondition;
use self::shared::Shared;
use self::speculation::SpeculationMode;
pub use self::stats::{EngineCounters, EngineStats};
use self::supervisor::Supervisor;
pub use self::supervisor::{BackendSource, SurvivalLimits};
use crate::backend::{Backend, BackendShape};

/// The engine's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Most sequences that wait for a row.
    pub waiting_sequences_max: usize,
    /// Most sequences that run; at most the backend's rows.
    pub sequences_max: usize,
    /// Entries that a step reads at most, as long as there are prompts to be read: what running rows need first, then
    /// prompts, fewer where that would take long.
    pub step_tokens_max: usize,
    /// How long a step that reads prompts may take, so that those who write do not wait for it; a quarter of that when they
    /// are of low priority. Where steps are slow anyway, twice as long as one without prompts.
    pub prompt_step: Duration,
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
            prompt_step: Duration::from_millis(120),
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
    /// The device has not come back from a call for too long. It may yet.
    Stalled,
    /// The device has failed, and a backend is being opened in its place. Who waits goes on waiting.
    Rebuilding,
    /// Nothing could be opened, for now or for good; the reason is for the log.
    Failed(String),
}

impl EngineStatus {
    /// In one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready(_) => "ready",
            Self::Stalled => "stalled",
            Self::Rebuilding => "rebuilding",
            Self::Failed(_) => "failed",
        }
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
pub struct EngineHandle(Arc<Shared>, EngineEnd);

/// When nothing is left of an engine: neither its thread nor what it had on its device. A thread that hangs and was left
/// behind is not waited for.
#[derive(Clone, Debug)]
pub struct EngineEnd(watch::Receiver<()>);

impl EngineEnd {
    /// Waits for it. It comes only after the last handle is gone, or the engine has failed for good.
    pub async fn reached(mut self) {
        // Nothing is ever told; the other side is dropped.
        while self.0.changed().await.is_ok() {}
    }
}

/// The outcome of a sequence as its backend tells it. Dropping it frees the sequence at the next step.
pub type PendingSequence = oneshot::Receiver<Result<FinishedSequence, SequenceError>>;

/// The outcome of a sequence, once there is one or it is known that there will be none: to be awaited. Dropping it frees the
/// sequence at the next step.
#[derive(Debug)]
pub struct AwaitedSequence {
    outcome: PendingSequence,
    end: watch::Receiver<()>,
}

/// The sequence is lost with the thread that had it. It may be submitted anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine was lost with the sequence in its hands")]
pub struct EngineGone;

impl AwaitedSequence {
    async fn told(self) -> Result<Result<FinishedSequence, SequenceError>, EngineGone> {
        let Self { outcome, mut end } = self;
        let _ = tokio::select! {
            biased;
            outcome = outcome => match outcome {
                Ok(outcome) => return Ok(outcome),
                // Its thread has unwound. Who supervises it will say so in a moment, and until then nobody should try again.
                Err(_) => end.changed().await.err(),
            },
            closed = end.changed() => closed.err(),
        };
        Err(EngineGone)
    }
}

impl IntoFuture for AwaitedSequence {
    type Output = Result<Result<FinishedSequence, SequenceError>, EngineGone>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.told())
    }
}

impl EngineHandle {
    /// Starts an engine on one backend that can be opened only once, through `load`: what fails later stays failed.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start<E: std::fmt::Display>(
        limits: EngineLimits,
        load: impl FnOnce() -> Result<Box<dyn Backend>, E> + Send + 'static,
    ) -> std::io::Result<Self> {
        let load = Mutex::new(Some(load));
        let source = BackendSource::new("only", move || {
            let load = load.lock().unwrap_or_else(PoisonError::into_inner).take();
            load.ok_or("it can be opened only once")?().map_err(|error| error.to_string())
        });
        let survival = SurvivalLimits { reopenings_max: 0, ..SurvivalLimits::default() };
        Self::supervised((limits, survival), vec![source])
    }

    /// Starts an engine on the first of `sources` that can be opened. When its device fails it is opened again, and when
    /// that does not help the next one takes its place until the first works again.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn supervised(
        limits: (EngineLimits, SurvivalLimits),
        sources: Vec<BackendSource>,
    ) -> std::io::Result<Self> {
        let (way, inbox, hold) = shared::way(limits.0.waiting_sequences_max);
        let names = sources.iter().map(|source| source.name().to_owned()).collect();
        let shared = Shared::new(way, EngineStatus::Loading, names);
        let supervisor = Supervisor::new(&shared, sources, limits);
        let (alive, end) = watch::channel(());
        let work = move || {
            supervisor.run(inbox, hold);
            drop(alive);
        };
        std::thread::Builder::new().name("engine-supervisor".to_owned()).spawn(work)?;
        Ok(Self(shared, EngineEnd(end)))
    }

    /// A handle where there is no engine, and why.
    #[must_use]
    pub fn failed(reason: String) -> Self {
        let (way, _, _) = shared::way(1);
        let (_, end) = watch::channel(());
        Self(Shared::new(way, EngineStatus::Failed(reason), Vec::new()), EngineEnd(end))
    }

    /// When nothing is left of it. Holding that keeps nothing alive.
    #[must_use]
    pub fn end(&self) -> EngineEnd {
        self.1.clone()
    }

    /// The present state.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        self.0.status.borrow().clone()
    }

    /// Waits until the model is loaded or has failed to.
    pub async fn loaded(&self) -> EngineStatus {
        self.status_once(|status| *status != EngineStatus::Loading).await
    }

    /// Waits until sequences can be submitted again, and tells whether they can: not so when the engine has failed.
    pub async fn is_rebuilt(&self) -> bool {
        let is_decided =
            |status: &EngineStatus| matches!(status, EngineStatus::Ready(_) | EngineStatus::Failed(_));
        matches!(self.status_once(is_decided).await, EngineStatus::Ready(_))
    }

    async fn status_once(&self, is_awaited: impl FnMut(&EngineStatus) -> bool) -> EngineStatus {
        let mut status = self.0.status.subscribe();
        let awaited = status.wait_for(is_awaited).await.map(|status| status.clone());
        // The sender lives as long as this handle.
        awaited.unwrap_or_else(|_| EngineStatus::Failed("it has ended".to_owned()))
    }

    /// What has been done since the start.
    #[must_use]
    pub fn counters(&self) -> &EngineCounters {
        &self.0.counters
    }

    /// How it has fared.
    #[must_use]
    pub fn condition(&self) -> EngineCondition {
        self.0.condition()
    }

    /// The way to ask for the sequences inside, and to end them. It is that of the backend in use now.
    #[must_use]
    pub fn door(&self) -> EngineDoor {
        self.0.way().door
    }

    /// Hands a sequence in.
    ///
    /// # Errors
    /// When the engine is not ready or its queue is full.
    pub fn submit(&self, request: SequenceRequest) -> Result<AwaitedSequence, SubmitError> {
        if !matches!(*self.0.status.borrow(), EngineStatus::Ready(_)) {
            return Err(SubmitError::NotReady);
        }
        let way = self.0.way();
        Ok(AwaitedSequence { outcome: way.door.submit(request)?, end: way.end })
    }
}
