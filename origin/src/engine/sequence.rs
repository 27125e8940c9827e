//! One answer being written: its limits, its reply channel, what it has written so far.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lede_shared::plan::Priority;
use tokio::sync::oneshot;

use super::EngineCounters;
use super::constraint::{Constraint, ConstraintError, WrittenCaption};
use super::draft::{DraftListener, Telling};
use super::sampler::{Sampled, Sampler, Sampling, StreamSeed};
use crate::backend::{Row, Selected, Selection};

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
    /// Who goes first when there is not enough room for all.
    pub priority: Priority,
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
    /// Once it runs.
    pub(super) row: Option<Row>,
    constraint: Constraint,
    /// A bit for each entry that would leave a caption that lacks something; empty when there is none.
    held_back: Vec<u32>,
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
            row: None,
            constraint: request.constraint,
            held_back: Vec::new(),
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

    /// The entries that the device has not read yet.
    pub(super) fn unread_ids(&self) -> &[u32] {
        self.completion_ids.last().map_or(&self.prompt_ids, std::slice::from_ref)
    }

    /// Works out what may come next. Touches no device, so a step may run meanwhile.
    pub(super) fn work_out(&mut self, counters: &EngineCounters) {
        let begun_at = Instant::now();
        let worked_out = self.constraint.work_out();
        self.note(worked_out);
        let held_back = self.constraint.held_back();
        self.held_back.clear();
        if !held_back.is_empty() {
            self.held_back.resize(self.constraint.permitted().as_slice().len(), 0);
            held_back.iter().for_each(|id| self.held_back[*id as usize / 32] |= 1 << (id % 32));
        }
        counters.note_constraint(begun_at);
    }

    /// What the device is asked about the logits of the step's `item`th work: what may come next and, behind it, what
    /// would leave a caption that lacks something, when there is such.
    pub(super) fn selections(&self, item: usize) -> impl Iterator<Item = Selection<'_>> {
        let selection = move |permitted, count_max| Selection { item, offset: 0, permitted, count_max };
        let permitted = selection(self.constraint.permitted().as_slice(), self.sampler.candidates_max());
        let held_back = (!self.held_back.is_empty()).then(|| selection(&self.held_back, 1));
        std::iter::once(permitted).chain(held_back)
    }

    /// Chooses the next entry from what was selected, in the order of [`Self::selections`]; a sequence for which there is
    /// none is finished, with a failure. True when what may come next has changed instead: then it has to be selected anew.
    pub(super) fn choose(&mut self, selected: &[Selected], counters: &EngineCounters) -> bool {
        let [permitted, held_back @ ..] = selected else { return false };
        let likeliest =
            |selected: &Selected| selected.likeliest.first().map_or(f32::NEG_INFINITY, |first| first.0);
        if held_back.first().is_some_and(|leaves| likeliest(leaves) > likeliest(permitted)) {
            match self.constraint.refuse_leave() {
                Ok(true) => {
                    self.work_out(counters);
                    return self.failure.is_none();
                }
                Ok(false) => {}
                Err(error) => self.note(Err(error)),
            }
        }
        if self.failure.is_some() {
            return false;
        }
        match self.sampler.choose(permitted) {
            Some(sampled) => self.take(sampled, counters),
            None => self.failure = Some(SequenceError::NothingToChoose),
        }
        self.tell();
        false
    }

    fn take(&mut self, sampled: Sampled, counters: &EngineCounters) {
        self.log_probability_sum += f64::from(sampled.log_probability);
        self.completion_ids.push(sampled.id);
        let begun_at = Instant::now();
        let accepted = self.constraint.accept(sampled.id);
        self.note(accepted);
        counters.note_constraint(begun_at);
        counters.constraint_steps.fetch_add(1, Ordering::Relaxed);
    }

    fn note(&mut self, outcome: Result<(), ConstraintError>) {
        if let Err(error) = outcome {
            tracing::error!(%error, "the constraint failed");
            self.failure = Some(SequenceError::ConstraintFailed);
        }
    }

    /// Tells who listens how far the caption has come.
    fn tell(&mut self) {
        if let Some(telling) = &mut self.telling {
            telling.tell(&self.constraint.caption_so_far());
            self.telling.take_if(|_| self.constraint.has_left_caption());
        }
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
