//! One step of the device: who reads what, what is chosen after it, and what becomes of its failures.

use std::time::Instant;

use super::EngineLoop;
use lede_shared::plan::Priority;

use crate::backend::{BackendError, FailureKind, RowWork, Selected, Selection};
use crate::engine::scheduler::{SequenceId, Standing, Unread, outranked, shares};
use crate::engine::sequence::Sequence;
use crate::engine::speculation::{GUESSED_TOKENS_MAX, guess};
use crate::engine::stats::{count, micros};
use crate::engine::step_times::PromptsRead;

/// Who reads in a step.
#[derive(Debug, Default)]
pub(super) struct Step {
    readers: Vec<SequenceId>,
    /// How many of them go on writing.
    writers: usize,
    prompts: PromptsRead,
    /// Entries that were chosen before.
    decoded_tokens: usize,
    guessed_tokens: usize,
}

impl EngineLoop {
    /// Each running row's chosen entries, with guesses behind them when that pays, and as much of prompts as there is room
    /// for.
    pub(super) fn plan_step(&mut self, now: Instant) -> Step {
        let shares = self.shares(now);
        let Self { sequences, speculation, rows, .. } = self;
        // Where several entries of a row cost others their time, what is known already is read one by one, too.
        let takes_several = rows.backend.takes_guesses() || shares.len() == 1;
        let guesses = rows.backend.takes_guesses() && speculation.guesses(shares.len());
        let mut step = Step { prompts: PromptsRead { tokens: 0, are_low: true }, ..Step::default() };
        for (id, ids) in shares {
            let Some(sequence) = sequences.get_mut(&id) else { continue };
            let is_prompt = sequence.unread().is_prompt;
            let ids = if is_prompt || takes_several { ids } else { 1 };
            let guessed_max = if guesses && !is_prompt { sequence.guessable().min(GUESSED_TOKENS_MAX) } else { 0 };
            let guess = guess(sequence.ids(), guessed_max).to_vec();
            sequence.prepare_step(ids, &guess);
            if is_prompt {
                step.prompts.tokens += ids;
                step.prompts.are_low &= sequence.priority == Priority::Low;
            } else {
                step.decoded_tokens += ids;
                step.writers += 1;
            }
            step.guessed_tokens += guess.len();
            step.readers.push(id);
        }
        step
    }

    /// Who reads how much. Those far below the most urgent wait until it is done, where they would slow it down.
    fn shares(&self, now: Instant) -> Vec<(SequenceId, usize)> {
        let room = self.times.room(self.limits.step_tokens_max);
        let unread = |id| {
            let sequence: Option<&Sequence> = self.sequences.get(&id);
            sequence.map_or(Unread { ids: 0, is_prompt: false }, Sequence::unread)
        };
        let running = self.scheduler.running();
        let outranked = outranked(running, now);
        if !outranked.is_empty() && self.times.is_slowed_down(running.len() - outranked.len(), running.len()) {
            let is_left = |standing: &&Standing| !outranked.contains(&standing.id);
            let left: Vec<Standing> = running.iter().filter(is_left).copied().collect();
            let shares = shares(&left, room, unread);
            if !shares.is_empty() {
                count(&self.counters.held_back, outranked.len());
                return shares;
            }
        }
        shares(running, room, unread)
    }

    /// Has the device take the step; tells what was written and notes what it took.
    ///
    /// # Errors
    /// When the device is lost.
    pub(super) fn run_step(&mut self, step: Step, now: Instant) -> Result<(), BackendError> {
        if step.readers.is_empty() {
            return Ok(());
        }
        let begun_at = Instant::now();
        self.counters.note_step_begins(begun_at);
        let outcome = self.read(&step.readers, now);
        self.counters.note_step_ends();
        let ended_at = Instant::now();
        let written = self.emit(&step.readers, ended_at);
        let took = ended_at.duration_since(begun_at);
        if step.prompts.tokens == 0 {
            self.speculation.note_step(step.readers.len(), step.guessed_tokens > 0, written, took);
        }
        if outcome.is_ok() {
            self.times.note(step.writers, step.prompts, took);
        }
        let counters = &self.counters;
        count(&counters.decode_steps, 1);
        count(&counters.prefilled_tokens, step.prompts.tokens);
        count(&counters.decoded_tokens, step.decoded_tokens);
        count(&counters.guessed_tokens, step.guessed_tokens);
        counters.note_written(written, ended_at);
        counters.batch_rows.note(step.readers.len() as u64);
        counters.step_us.note(micros(took));
        outcome
    }

    /// The device reads what was prepared for `readers`, and they choose. A failure costs those who have to do with it.
    fn read(&mut self, readers: &[SequenceId], now: Instant) -> Result<(), BackendError> {
        match self.submit(readers) {
            Ok(()) => {}
            // One of them cannot be served: each for itself, and it is known which.
            Err(error) if error.kind() == FailureKind::Refused && readers.len() > 1 => {
                return readers.iter().try_for_each(|id| self.read(&[*id], now));
            }
            Err(error) => return self.not_read(readers, error, now),
        }
        self.note_reading(readers);
        let outcome = self.choose(readers);
        self.end_step(readers);
        // What rows hold is undefined now, whatever the kind.
        outcome.or_else(|error| self.not_chosen(readers, error, now))
    }

    fn submit(&mut self, readers: &[SequenceId]) -> Result<(), BackendError> {
        let work: Vec<RowWork<'_>> =
            readers.iter().filter_map(|id| self.sequences.get(id).and_then(Sequence::work)).collect();
        let asked = work.iter().map(|item| item.ids.len()).sum();
        let backend = &mut self.rows.backend;
        let computed_before = backend.entries_computed();
        backend.submit(&work)?;
        self.counters.note_computed(asked, backend.entries_computed() - computed_before);
        Ok(())
    }

    /// While the device reads, those who will choose work out what they may.
    fn note_reading(&mut self, readers: &[SequenceId]) {
        for id in readers {
            let Some(sequence) = self.sequences.get_mut(id) else { continue };
            let held_before = sequence.held();
            sequence.note_reading();
            if sequence.has_choice() {
                sequence.work_out(&self.counters);
            }
            self.rows.note_read(sequence, held_before);
        }
    }

    /// Lets each choose; who has to choose anew, or had guessed right, does so again.
    fn choose(&mut self, readers: &[SequenceId]) -> Result<(), BackendError> {
        let Self { sequences, rows, counters, .. } = self;
        let mut choosing: Vec<usize> = (0..readers.len()).collect();
        let mut selected: Vec<Selected> = Vec::new();
        loop {
            choosing.retain(|item| sequences.get(&readers[*item]).is_some_and(Sequence::has_choice));
            if choosing.is_empty() {
                return Ok(());
            }
            let asked = |item: &usize| sequences.get(&readers[*item]).map(|sequence| (*item, sequence));
            let asking: Vec<(usize, &Sequence)> = choosing.iter().filter_map(asked).collect();
            let selections: Vec<Selection<'_>> =
                asking.iter().flat_map(|(item, sequence)| sequence.selections(*item)).collect();
            let counts: Vec<usize> =
                asking.iter().map(|(item, sequence)| sequence.selections(*item).count()).collect();
            rows.backend.select(&selections, &mut selected)?;
            let mut rest = selected.as_slice();
            for (item, count) in choosing.iter().zip(counts) {
                let (own, others) = rest.split_at(count.min(rest.len()));
                rest = others;
                if let Some(sequence) = sequences.get_mut(&readers[*item]) {
                    sequence.choose(own, counters);
                }
            }
        }
    }

    /// Cuts off what was guessed wrong.
    fn end_step(&mut self, readers: &[SequenceId]) {
        for id in readers {
            if let Some((row, held)) = self.sequences.get_mut(id).and_then(Sequence::end_step) {
                self.rows.backend.truncate(row, held);
            }
        }
    }

    fn emit(&mut self, readers: &[SequenceId], now: Instant) -> usize {
        let Self { sequences, counters, .. } = self;
        let mut emitted = 0;
        for id in readers {
            emitted += sequences.get_mut(id).map_or(0, |sequence| sequence.emit(now, counters));
        }
        emitted
    }

    /// The device did not begin the step.
    fn not_read(&mut self, readers: &[SequenceId], error: BackendError, now: Instant) -> Result<(), BackendError> {
        log_failure("submit", &error);
        match (error.kind(), readers) {
            (FailureKind::Lost, _) => return Err(error),
            (FailureKind::OutOfMemory, [.., last]) => self.not_enough_memory(*last, now),
            (FailureKind::Refused, _) => readers.iter().for_each(|id| self.fail(*id)),
            _ => readers.iter().for_each(|id| self.retry_or_fail(*id, now)),
        }
        Ok(())
    }

    /// The step failed after it had begun.
    fn not_chosen(
        &mut self,
        readers: &[SequenceId],
        error: BackendError,
        now: Instant,
    ) -> Result<(), BackendError> {
        log_failure("select", &error);
        if error.kind() == FailureKind::Lost {
            return Err(error);
        }
        for id in readers {
            match self.sequences.get_mut(id) {
                // Who came to its end in this step needs the device no more, and nobody else what its row holds.
                Some(sequence) if sequence.is_finished() => self.rows.close(sequence),
                _ => self.retry_or_fail(*id, now),
            }
        }
        Ok(())
    }

    /// Makes room in the order in which it is missed least: what is kept, who rests, the last of those who read. Who read
    /// alone and still had no room never will.
    fn not_enough_memory(&mut self, last: SequenceId, now: Instant) {
        if self.rows.give_up_kept() || self.give_up_resting(None, now) {
            return;
        }
        if self.scheduler.running().len() == 1 {
            return self.fail(last);
        }
        self.preempt(last, now);
        self.give_up_row(last);
    }
}

fn log_failure(step: &'static str, error: &BackendError) {
    tracing::error!(step, %error, "the device failed");
}
