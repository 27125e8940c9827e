//! One answer being written: its limits, its reply channel, what it has written so far.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lede_shared::plan::Priority;
use tokio::sync::oneshot;

use super::constraint::{Constraint, ConstraintError, WrittenCaption};
use super::draft::{DraftListener, Telling};
use super::sampler::{Sampled, Sampler, Sampling, StreamSeed};
use super::scheduler::{SequenceId, Standing, Unread};
use super::stats::{EngineCounters, count, micros};
use crate::backend::{LogitsWanted, Row, RowWork, Selected, Selection};

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
    /// An operator ended it.
    #[error("it was cancelled")]
    Cancelled,
    /// The device failed.
    #[error("the device failed")]
    BackendFailed,
    /// The device is gone, for the second time or with nothing in its place.
    #[error("the device is gone")]
    BackendLost,
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
///
/// All that it knows of itself are its ids; what a device holds of them can be read anew at any time.
#[derive(Debug)]
pub struct Sequence {
    pub(super) id: SequenceId,
    pub(super) priority: Priority,
    pub(super) prompt_ids: Arc<[u32]>,
    pub(super) submitted_at: Instant,
    deadline: Instant,
    /// Prompt and completion.
    ids: Vec<u32>,
    /// On the device, once it runs.
    row: Option<Row>,
    /// How many of `ids` the row holds.
    held: usize,
    /// How many there were when the row was opened: until they are read, it reads as a prompt does.
    known_at_open: usize,
    /// What the present step has the device read, guesses behind, and how much the row held before.
    step: (Vec<u32>, usize),
    constraint: Constraint,
    /// Is what may come next worked out?
    is_worked_out: bool,
    /// Are entries to which there is no alternative taken without being chosen?
    jumps: bool,
    /// A bit for each entry that would leave a caption that lacks something; empty when there is none.
    held_back: Vec<u32>,
    sampler: Sampler,
    completion_tokens_max: usize,
    log_probability_sum: f64,
    /// Set when there was nothing to choose.
    failure: Option<SequenceError>,
    /// Has a device failed it already?
    pub(super) was_retried: bool,
    started_at: Option<Instant>,
    /// How much was written when the time was last looked at, and when that was.
    noted: (usize, Instant),
    /// Until the caption is complete.
    telling: Option<Telling>,
    reply: Reply,
}

impl Sequence {
    pub(super) fn new(request: SequenceRequest, submitted_at: Instant, reply: Reply) -> Self {
        Self {
            id: SequenceId::default(),
            priority: request.priority,
            ids: request.prompt_ids.to_vec(),
            prompt_ids: request.prompt_ids,
            submitted_at,
            deadline: request.deadline,
            row: None,
            held: 0,
            known_at_open: 0,
            step: (Vec::new(), 0),
            constraint: request.constraint,
            is_worked_out: false,
            jumps: true,
            held_back: Vec::new(),
            sampler: Sampler::new(request.sampling, request.stream_seed),
            completion_tokens_max: request.completion_tokens_max,
            log_probability_sum: 0.0,
            failure: None,
            was_retried: false,
            started_at: None,
            noted: (0, submitted_at),
            telling: request.listener.map(Telling::to),
            reply,
        }
    }

    /// Takes its place among the others of an engine whose rows hold `context_tokens_max`.
    pub(super) fn enter(&mut self, id: SequenceId, context_tokens_max: usize, jumps: bool) {
        (self.id, self.jumps) = (id, jumps);
        // The last entry is written and never read.
        let room = (context_tokens_max + 1).saturating_sub(self.prompt_ids.len());
        self.completion_tokens_max = self.completion_tokens_max.min(room);
        if self.prompt_ids.is_empty() || room < 2 {
            self.failure = Some(SequenceError::BackendFailed);
        }
    }

    pub(super) const fn standing(&self) -> Standing {
        Standing::new(self.id, self.priority, self.deadline, self.submitted_at)
    }

    /// Does nobody wait for it any more?
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.reply.is_closed() || now >= self.deadline
    }

    pub(super) fn is_finished(&self) -> bool {
        self.written() >= self.completion_tokens_max || self.constraint.has_ended() || self.failure.is_some()
    }

    /// Entries written.
    pub(super) fn written(&self) -> usize {
        self.ids.len() - self.prompt_ids.len()
    }

    /// Notes that it runs; the first time that counts as its wait.
    pub(super) fn start(&mut self, now: Instant, counters: &EngineCounters) {
        if self.started_at.is_none() {
            self.started_at = Some(now);
            counters.note_queue_wait(self.priority, now.saturating_duration_since(self.submitted_at));
        }
    }

    pub(super) const fn row(&self) -> Option<Row> {
        self.row
    }

    /// Positions that its row holds.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// Positions that its row holds at its end, at most.
    pub(super) fn positions_max(&self) -> usize {
        (self.prompt_ids.len() + self.completion_tokens_max).saturating_sub(1)
    }

    /// Prompt and completion, as far as they are known.
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// It has a row, which holds the first `held` of its ids.
    pub(super) fn open(&mut self, row: Row, held: usize) {
        (self.row, self.held, self.known_at_open) = (Some(row), held, self.ids.len());
    }

    /// It has no row any more.
    pub(super) fn lose_row(&mut self) -> Option<Row> {
        self.step.0.clear();
        self.held = 0;
        self.row.take()
    }

    /// What there is to read.
    pub(super) fn unread(&self) -> Unread {
        let ids = if self.row.is_some() { self.ids.len() - self.held } else { 0 };
        Unread { ids, is_prompt: self.held < self.known_at_open }
    }

    /// Has its row read the prompt?
    pub(super) fn holds_prompt(&self) -> bool {
        self.row.is_some() && self.held >= self.prompt_ids.len()
    }

    /// Entries that may be written after the next one.
    pub(super) fn guessable(&self) -> usize {
        self.completion_tokens_max.saturating_sub(self.written() + 1)
    }

    /// Has the next step read `count` of its ids and, behind them, what `guess` says comes then.
    pub(super) fn prepare_step(&mut self, count: usize, guess: &[u32]) {
        let (step_ids, from) = &mut self.step;
        *from = self.held;
        step_ids.clear();
        step_ids.extend_from_slice(&self.ids[self.held..self.held + count]);
        step_ids.extend_from_slice(guess);
    }

    /// The prepared step as the device is told of it.
    pub(super) fn work(&self) -> Option<RowWork<'_>> {
        let (ids, from) = &self.step;
        let logits = match (from + ids.len()).cmp(&self.ids.len()) {
            std::cmp::Ordering::Less => LogitsWanted::None,
            std::cmp::Ordering::Equal => LogitsWanted::Last,
            std::cmp::Ordering::Greater => LogitsWanted::All,
        };
        Some(RowWork { row: self.row?, ids, logits })
    }

    /// The device is reading the prepared step.
    pub(super) fn note_reading(&mut self) {
        let (ids, from) = &self.step;
        self.held = (from + ids.len()).min(self.ids.len());
    }

    /// Does the present step have the logits that choose what comes next?
    pub(super) fn has_choice(&self) -> bool {
        self.held == self.ids.len() && !self.step.0.is_empty() && !self.is_finished()
    }

    /// The step is over. What the row holds beyond what was chosen has to be cut off: then it tells where.
    pub(super) fn end_step(&mut self) -> Option<(Row, usize)> {
        let (ids, from) = &mut self.step;
        let holds_more = *from + ids.len() > self.held;
        ids.clear();
        Some((self.row.filter(|_| holds_more)?, self.held))
    }

    /// Takes what stands at the beginning of every answer.
    pub(super) fn take_fixed(&mut self, counters: &EngineCounters) {
        while let Some(id) = self.constraint.fixed().filter(|_| self.jumps && !self.is_finished()) {
            let sampled = self.sampler.choose_only(id);
            self.take(sampled, counters);
            count(&counters.forced_tokens, 1);
        }
    }

    /// Works out what may come next; what has no alternative is taken. Touches no device, so a step may run meanwhile.
    pub(super) fn work_out(&mut self, counters: &EngineCounters) {
        let begun_at = Instant::now();
        while !self.is_finished() {
            let mut only = self.constraint.fixed();
            if only.is_none() || !self.jumps {
                self.permit();
                only = self.only_permitted();
            }
            let Some(id) = only.filter(|_| self.jumps && self.failure.is_none()) else { break };
            let sampled = self.sampler.choose_only(id);
            self.take(sampled, counters);
            count(&counters.forced_tokens, 1);
        }
        counters.note_constraint(begun_at);
    }

    /// Works out the set of what may come next, unless it is known.
    fn permit(&mut self) {
        if self.is_worked_out {
            return;
        }
        let worked_out = self.constraint.work_out();
        self.note(worked_out);
        self.is_worked_out = true;
        let held_back = self.constraint.held_back();
        self.held_back.clear();
        if !held_back.is_empty() {
            self.held_back.resize(self.constraint.permitted().as_slice().len(), 0);
            held_back.iter().for_each(|id| self.held_back[*id as usize / 32] |= 1 << (id % 32));
        }
    }

    /// The one entry that may come next, when there is but one.
    fn only_permitted(&self) -> Option<u32> {
        let words = self.constraint.permitted().as_slice();
        let (index, word) = words.iter().enumerate().find(|(_, word)| **word != 0)?;
        let is_alone = word.is_power_of_two() && words[index + 1..].iter().all(|word| *word == 0);
        (is_alone && self.held_back.is_empty()).then(|| index as u32 * 32 + word.trailing_zeros())
    }

    /// What the device is asked about the logits of the step's `item`th work: what may come next and, behind it, what
    /// would leave a caption that lacks something, when there is such.
    pub(super) fn selections(&self, item: usize) -> impl Iterator<Item = Selection<'_>> {
        let offset = self.ids.len() - 1 - self.step.1;
        let selection = move |permitted, count_max| Selection { item, offset, permitted, count_max };
        let permitted = selection(self.constraint.permitted().as_slice(), self.sampler.candidates_max());
        let held_back = (!self.held_back.is_empty()).then(|| selection(&self.held_back, 1));
        std::iter::once(permitted).chain(held_back)
    }

    /// Chooses the next entry from what was selected, in the order of [`Self::selections`]; a sequence for which there is
    /// none is finished, with a failure. When what may come next has changed instead, nothing is chosen: as long as
    /// [`Self::has_choice`], it has to be selected anew.
    pub(super) fn choose(&mut self, selected: &[Selected], counters: &EngineCounters) {
        let [permitted, held_back @ ..] = selected else { return };
        let likeliest =
            |selected: &Selected| selected.likeliest.first().map_or(f32::NEG_INFINITY, |first| first.0);
        if held_back.first().is_some_and(|leaves| likeliest(leaves) > likeliest(permitted)) {
            match self.constraint.refuse_leave() {
                Ok(true) => self.is_worked_out = false,
                Ok(false) => {}
                Err(error) => self.note(Err(error)),
            }
        }
        if self.is_worked_out && self.failure.is_none() {
            match self.sampler.choose(permitted) {
                Some(sampled) => self.take(sampled, counters),
                None => self.failure = Some(SequenceError::NothingToChoose),
            }
        }
        // Where the row holds more, a guess was right, and the next entry can be chosen in the same step.
        if self.held == self.ids.len() {
            self.work_out(counters);
        }
    }

    /// Writes an entry. Where it is what was guessed, the row holds it already.
    fn take(&mut self, sampled: Sampled, counters: &EngineCounters) {
        self.log_probability_sum += f64::from(sampled.log_probability);
        let (step_ids, from) = &self.step;
        let guessed = self.ids.len().checked_sub(*from).and_then(|index| step_ids.get(index));
        if self.held == self.ids.len() && guessed == Some(&sampled.id) {
            self.held += 1;
            count(&counters.guessed_tokens_right, 1);
        }
        self.ids.push(sampled.id);
        let accepted = self.constraint.accept(sampled.id);
        self.note(accepted);
        self.is_worked_out = false;
        counters.constraint_steps.fetch_add(1, Ordering::Relaxed);
    }

    fn note(&mut self, outcome: Result<(), ConstraintError>) {
        if let Err(error) = outcome {
            tracing::error!(%error, "the constraint failed");
            self.failure = Some(SequenceError::ConstraintFailed);
        }
    }

    /// Tells who listens how far the caption has come, and notes how long it took. Returns how many entries are new.
    pub(super) fn emit(&mut self, now: Instant, counters: &EngineCounters) -> usize {
        let (before, at) = self.noted;
        let written = self.written();
        if written == before {
            return 0;
        }
        self.noted = (written, now);
        let took_us = micros(now.saturating_duration_since(at));
        if before == 0 {
            counters.first_token_us.note(took_us);
        } else {
            let new = (written - before) as u64;
            counters.inter_token_us.note_many(took_us / new, new);
        }
        if let Some(telling) = &mut self.telling {
            telling.tell(&self.constraint.caption_so_far());
            self.telling.take_if(|_| self.constraint.has_left_caption());
        }
        written - before
    }

    /// Is it at an end that is no caption?
    pub(super) const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Tells the outcome. That nobody listens any more is no fault.
    pub(super) fn finish(self, now: Instant) {
        if let Some(error) = self.failure {
            return self.fail(error);
        }
        let started_at = self.started_at.unwrap_or(now);
        let completion_ids = self.ids[self.prompt_ids.len()..].to_vec();
        let finished = FinishedSequence {
            log_probability_mean: (self.log_probability_sum / completion_ids.len().max(1) as f64) as f32,
            written: self.constraint.into_written(),
            completion_ids,
            ran: (started_at, now),
            waited: started_at.saturating_duration_since(self.submitted_at),
        };
        let _ = self.reply.send(Ok(finished));
    }

    pub(super) fn fail(self, error: SequenceError) {
        let _ = self.reply.send(Err(error));
    }
}
