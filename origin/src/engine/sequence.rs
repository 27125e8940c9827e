//! One answer being written: its limits, its reply channel, what it has written so far.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::EngineCounters;
use super::constraint::{Constraint, ConstraintError, WrittenCaption};
use super::draft::{DraftListener, Telling};
use super::sampler::{Sampler, Sampling, StreamSeed};

/// What to write and within which limits.
#[derive(Clone, Debug)]
pub struct SequenceRequest {
    /// The prompt. Shared by the variants and candidates of one request.
    pub prompt_ids: Arc<[u32]>,
    /// What may be written.
    pub constraint: Constraint,
    /// How to choose.
    pub sampling: Sampling,
    /// Where the random stream starts.
    pub stream_seed: StreamSeed,
    /// Most entries to write, the end marker included.
    pub completion_tokens_max: usize,
    /// When nobody waits any more.
    pub deadline: Instant,
    /// Who wants to hear the caption while it is written.
    pub listener: Option<DraftListener>,
}

/// A sequence that came to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedSequence {
    /// What it wrote.
    pub written: WrittenCaption,
    /// The ids behind it.
    pub completion_ids: Vec<u32>,
    /// Mean log-probability of an entry, before temperature.
    pub log_probability_mean: f32,
    /// When the device began with the prompt and when the last entry was chosen.
    pub ran: (Instant, Instant),
    /// How long it waited for the device.
    pub waited: Duration,
}

/// Why a sequence came to no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// The deadline passed first.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The device failed.
    #[error("the device failed")]
    BackendFailed,
    /// Nothing that was allowed had a finite logit.
    #[error("no entry could be chosen")]
    NothingToChoose,
    /// What may be written could not be worked out.
    #[error("the constraint failed")]
    ConstraintFailed,
}

/// Where the outcome goes. A closed channel means that nobody wants it.
pub(super) type Reply = oneshot::Sender<Result<FinishedSequence, SequenceError>>;

/// A sequence inside the engine.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) prompt_ids: Arc<[u32]>,
    constraint: Constraint,
    sampler: Sampler,
    completion_ids: Vec<u32>,
    completion_tokens_max: usize,
    log_probability_sum: f64,
    /// Set when there was nothing to choose.
    failure: Option<SequenceError>,
    deadline: Instant,
    submitted_at: Instant,
    started_at: Instant,
    /// Until the caption is complete.
    telling: Option<Telling>,
    reply: Reply,
}

impl Sequence {
    pub(super) fn new(request: SequenceRequest, submitted_at: Instant, reply: Reply) -> Self {
        Self {
            prompt_ids: request.prompt_ids,
            constraint: request.constraint,
            sampler: Sampler::new(request.sampling, request.stream_seed),
            completion_ids: Vec::new(),
            completion_tokens_max: request.completion_tokens_max,
            log_probability_sum: 0.0,
            failure: None,
            deadline: request.deadline,
            submitted_at,
            started_at: submitted_at,
            telling: request.listener.map(Telling::to),
            reply,
        }
    }

    /// Nobody wants the outcome, or nobody would get it in time.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.reply.is_closed() || now >= self.deadline
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.started_at = now;
    }

    pub(super) fn is_finished(&self) -> bool {
        let is_full = self.completion_ids.len() >= self.completion_tokens_max;
        is_full || self.constraint.has_ended() || self.failure.is_some()
    }

    /// The entry that the device reads next.
    pub(super) fn last_id(&self) -> Option<u32> {
        self.completion_ids.last().copied()
    }

    /// Chooses the next entry; a sequence for which there is none is finished, with a failure.
    pub(super) fn choose(&mut self, logits: &[f32], counters: &EngineCounters) {
        self.failure = match self.try_choose(logits, counters) {
            Ok(true) => None,
            Ok(false) => Some(SequenceError::NothingToChoose),
            Err(error) => {
                tracing::error!(%error, "the constraint failed");
                Some(SequenceError::ConstraintFailed)
            }
        };
        self.tell();
    }

    /// Tells who listens how far the caption has come.
    fn tell(&mut self) {
        if let Some(telling) = &mut self.telling {
            telling.tell(&self.constraint.caption_so_far());
            self.telling.take_if(|_| self.constraint.has_left_caption());
        }
    }

    fn try_choose(&mut self, logits: &[f32], counters: &EngineCounters) -> Result<bool, ConstraintError> {
        let begun_at = Instant::now();
        self.constraint.work_out()?;
        let held_back = self.constraint.held_back();
        if !held_back.is_empty() {
            let would_leave = likeliest(logits, held_back.iter().copied());
            if would_leave > likeliest(logits, self.constraint.permitted().iter())
                && self.constraint.refuse_leave()?
            {
                self.constraint.work_out()?;
            }
        }
        let worked_out_in = begun_at.elapsed();
        let Some(sampled) = self.sampler.sample(logits, self.constraint.permitted()) else { return Ok(false) };
        let sampled_at = Instant::now();
        self.log_probability_sum += f64::from(sampled.log_probability);
        self.completion_ids.push(sampled.id);
        self.constraint.accept(sampled.id)?;
        let spent = worked_out_in + sampled_at.elapsed();
        counters.constraint_ns.fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        counters.constraint_steps.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Tells the outcome. That nobody listens any more is no fault.
    pub(super) fn finish(self, now: Instant) {
        if let Some(error) = self.failure {
            return self.fail(error);
        }
        let finished = FinishedSequence {
            log_probability_mean: (self.log_probability_sum / self.completion_ids.len().max(1) as f64) as f32,
            written: self.constraint.into_written(),
            completion_ids: self.completion_ids,
            ran: (self.started_at, now),
            waited: self.started_at.duration_since(self.submitted_at),
        };
        let _ = self.reply.send(Ok(finished));
    }

    pub(super) fn fail(self, error: SequenceError) {
        let _ = self.reply.send(Err(error));
    }
}

/// The largest logit among `ids`.
fn likeliest(logits: &[f32], ids: impl Iterator<Item = u32>) -> f32 {
    ids.filter_map(|id| logits.get(id as usize).copied()).fold(f32::NEG_INFINITY, f32::max)
}
