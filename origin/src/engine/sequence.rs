//! One answer being written: its limits, its reply channel, what it has written so far.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::grammar::{CaptionGrammar, WrittenCaption};
use super::sampler::{Sampler, Sampling, StreamSeed};

/// What to write and within which limits.
#[derive(Clone, Debug)]
pub struct SequenceRequest {
    /// The prompt. Shared by the variants and candidates of one request.
    pub prompt_ids: Arc<[u32]>,
    /// What may be written.
    pub grammar: CaptionGrammar,
    /// How to choose.
    pub sampling: Sampling,
    /// Where the random stream starts.
    pub stream_seed: StreamSeed,
    /// Most entries to write, the end marker included.
    pub completion_tokens_max: usize,
    /// When nobody waits any more.
    pub deadline: Instant,
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
}

/// Where the outcome goes. A closed channel means that nobody wants it.
pub(super) type Reply = oneshot::Sender<Result<FinishedSequence, SequenceError>>;

/// A sequence inside the engine.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) prompt_ids: Arc<[u32]>,
    grammar: CaptionGrammar,
    sampler: Sampler,
    completion_ids: Vec<u32>,
    completion_tokens_max: usize,
    log_probability_sum: f64,
    /// Set when there was nothing to choose.
    failure: Option<SequenceError>,
    deadline: Instant,
    submitted_at: Instant,
    started_at: Instant,
    reply: Reply,
}

impl Sequence {
    pub(super) fn new(request: SequenceRequest, submitted_at: Instant, reply: Reply) -> Self {
        Self {
            prompt_ids: request.prompt_ids,
            grammar: request.grammar,
            sampler: Sampler::new(request.sampling, request.stream_seed),
            completion_ids: Vec::new(),
            completion_tokens_max: request.completion_tokens_max,
            log_probability_sum: 0.0,
            failure: None,
            deadline: request.deadline,
            submitted_at,
            started_at: submitted_at,
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
        is_full || self.grammar.has_ended() || self.failure.is_some()
    }

    /// The entry that the device reads next.
    pub(super) fn last_id(&self) -> Option<u32> {
        self.completion_ids.last().copied()
    }

    /// Chooses the next entry; a sequence for which there is none is finished, with a failure.
    pub(super) fn choose(&mut self, logits: &[f32]) {
        let allowed = self.grammar.allowed();
        let vocabulary = self.grammar.vocabulary();
        match self.sampler.sample(logits, |id| allowed.permits(vocabulary, id)) {
            Some(sampled) => {
                self.log_probability_sum += f64::from(sampled.log_probability);
                self.completion_ids.push(sampled.id);
                self.grammar.accept(sampled.id);
            }
            None => self.failure = Some(SequenceError::NothingToChoose),
        }
    }

    /// Tells the outcome. That nobody listens any more is no fault.
    pub(super) fn finish(self, now: Instant) {
        if let Some(error) = self.failure {
            return self.fail(error);
        }
        let finished = FinishedSequence {
            log_probability_mean: (self.log_probability_sum / self.completion_ids.len().max(1) as f64) as f32,
            written: self.grammar.into_written(),
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
