//! Who gets a place on the device, and the memory for it.
//!
//! Nobody knows how long an answer becomes, and the most that it may be is the whole context: to reserve that for each would
//! leave most memory empty. So one starts when there is some headroom for it and for all who run, and when that was not
//! enough, what is kept gives way, then who rests, then the least urgent of those who run, who reads anew later.

use std::time::Instant;

use super::EngineLoop;
use crate::backend::{Backend, BackendError, BackendShape, FailureKind, Prefix, Row};
use crate::engine::prefix_index::{Beginning, PrefixIndex};
use crate::engine::scheduler::{SequenceId, Turn};
use crate::engine::sequence::{Sequence, SequenceError};
use crate::engine::speculation::GUESSED_TOKENS_MAX;
use crate::engine::stats::{EngineCounters, count, set};

/// Entries beyond those that it knows for which one who starts finds memory, and so do all who run.
const HEADROOM_TOKENS: usize = 64;

/// The device and what is known of what its rows hold.
pub(super) struct Rows {
    pub(super) backend: Box<dyn Backend>,
    shape: BackendShape,
    prefixes: PrefixIndex,
    blocks_total: usize,
}

impl Rows {
    pub(super) fn new(backend: Box<dyn Backend>, prefix_positions_max: usize) -> Self {
        let shape = backend.shape();
        let blocks_total = backend.positions_free() / backend.block_tokens().max(1);
        Self { backend, shape, prefixes: PrefixIndex::new(prefix_positions_max), blocks_total }
    }

    pub(super) const fn shape(&self) -> BackendShape {
        self.shape
    }

    /// Positions that a sequence needs beyond those that it has to hold what it knows and `headroom` more, in whole blocks.
    fn growth(&self, sequence: &Sequence, headroom: usize) -> usize {
        let block = self.backend.block_tokens().max(1);
        let blocks = |positions: usize| positions.div_ceil(block);
        let has = if sequence.row().is_some() { blocks(sequence.held()) } else { 0 };
        let wanted = (sequence.ids().len() + headroom).min(sequence.positions_max());
        blocks(wanted).saturating_sub(has) * block
    }

    /// Closes the row of a sequence that has one.
    pub(super) fn close(&mut self, sequence: &mut Sequence) {
        if let Some(row) = sequence.lose_row() {
            self.prefixes.forget(row, &sequence.prompt_ids);
            self.backend.close(row);
        }
    }

    /// The sequence has ended. Where its prompt is worth it, its row is kept.
    pub(super) fn retire(&mut self, sequence: &mut Sequence) {
        if !sequence.holds_prompt() {
            return self.close(sequence);
        }
        let Some(row) = sequence.lose_row() else { return };
        let closed = self.prefixes.keep(row, &sequence.prompt_ids);
        if !closed.contains(&row) {
            self.backend.truncate(row, sequence.prompt_ids.len());
        }
        closed.into_iter().for_each(|row| self.backend.close(row));
    }

    /// Notes what a running sequence's row has come to hold.
    pub(super) fn note_read(&mut self, sequence: &Sequence, held_before: usize) {
        let prompt_len = sequence.prompt_ids.len();
        if let Some(row) = sequence.row()
            && (held_before..sequence.held()).contains(&(prompt_len - 1))
        {
            self.prefixes.note_read(row, &sequence.prompt_ids);
        }
    }

    /// Gives up a row that was kept. False when there is none.
    pub(super) fn give_up_kept(&mut self) -> bool {
        let kept = self.prefixes.give_up();
        kept.into_iter().for_each(|row| self.backend.close(row));
        kept.is_some()
    }

    /// One who is preempted reads no further for now: nobody should wait for its prompt.
    fn note_rests(&mut self, sequence: &Sequence) {
        if let Some(row) = sequence.row().filter(|_| !sequence.holds_prompt()) {
            self.prefixes.forget(row, &sequence.prompt_ids);
        }
    }

    /// Gives a sequence a row, which begins with what others have read; none yet when another is just reading its prompt
    /// and `may_follow`.
    fn open(
        &mut self,
        sequence: &mut Sequence,
        may_follow: impl Fn(Row) -> bool,
        counters: &EngineCounters,
    ) -> Result<(), BackendError> {
        let prefix = match self.prefixes.find(&sequence.prompt_ids) {
            Beginning::Coming(row) if may_follow(row) => return Ok(()),
            Beginning::Read(prefix) => Some(prefix),
            Beginning::Coming(_) | Beginning::Unknown => None,
        };
        let row = self.backend.open(prefix)?;
        let held = prefix.map_or(0, |prefix: Prefix| prefix.positions);
        sequence.open(row, held);
        self.prefixes.note_coming(row, &sequence.prompt_ids);
        count(&counters.prefix_hits, usize::from(prefix.is_some()));
        count(&counters.prefix_positions, held);
        Ok(())
    }

    pub(super) fn note_gauges(&self, counters: &EngineCounters) {
        let free = self.backend.positions_free() / self.backend.block_tokens().max(1);
        set(&counters.kv_blocks_total, self.blocks_total);
        set(&counters.kv_blocks_used, self.blocks_total.saturating_sub(free));
        set(&counters.kept_positions, self.prefixes.kept_positions());
        counters.note_device_bytes(self.backend.device_bytes());
    }
}

impl EngineLoop {
    /// Lets run who can, the most urgent first, and sees that all who run have rows.
    pub(super) fn schedule(&mut self, now: Instant) -> Result<(), BackendError> {
        while self.start(self.scheduler.overdue(now), now) || self.start(self.scheduler.next(now), now) {}
        let running: Vec<SequenceId> = self.scheduler.running().iter().map(|standing| standing.id).collect();
        for id in running {
            self.open_row(id, now)?;
        }
        self.make_room_for_step(now);
        Ok(())
    }

    /// Frees memory until all who run can take their step. The most urgent of them always goes on.
    fn make_room_for_step(&mut self, now: Instant) {
        while self.rows.backend.positions_free() < self.needed(None, GUESSED_TOKENS_MAX) {
            if !self.rows.give_up_kept() && !self.give_up_resting(None, now) {
                let Some(id) = self.scheduler.least_urgent() else { return };
                self.preempt(id, now);
                self.give_up_row(id);
            }
        }
    }

    /// Lets one run who waits, when there is memory for it.
    fn start(&mut self, turn: Option<Turn>, now: Instant) -> bool {
        let Some(turn) = turn else { return false };
        if !self.make_room(turn, now) {
            if self.scheduler.running().is_empty() {
                // Nothing is left that could make room.
                self.fail(turn.id);
                return true;
            }
            return false;
        }
        if let Some(id) = turn.instead_of.filter(|_| self.scheduler.is_full()) {
            self.preempt(id, now);
        }
        self.scheduler.start(turn.id, now);
        if let Some(sequence) = self.sequences.get_mut(&turn.id) {
            sequence.start(now, &self.counters);
            sequence.take_fixed(&self.counters);
        }
        true
    }

    /// Frees memory until one who waits can run beside all who go on running.
    fn make_room(&mut self, turn: Turn, now: Instant) -> bool {
        let Some(priority) = self.sequences.get(&turn.id).map(|sequence| sequence.priority) else { return false };
        while self.rows.backend.positions_free() < self.needed(Some(turn), HEADROOM_TOKENS) {
            if !self.rows.give_up_kept() && !self.give_up_resting(Some(turn.id), now) {
                let Some(id) = self.scheduler.preemptible(priority) else { return false };
                self.preempt(id, now);
                self.give_up_row(id);
            }
        }
        true
    }

    /// What has to be free for all who run after a turn to have `headroom` entries more.
    fn needed(&self, turn: Option<Turn>, headroom: usize) -> usize {
        let (comes, goes) = (turn.map(|turn| turn.id), turn.and_then(|turn| turn.instead_of));
        let running = self.scheduler.running().iter().map(|standing| standing.id);
        let going_on = running.filter(|id| Some(*id) != goes).chain(comes);
        going_on.filter_map(|id| Some(self.rows.growth(self.sequences.get(&id)?, headroom))).sum()
    }

    /// Gives up the row of one who rests. False when nobody but `spared` does.
    pub(super) fn give_up_resting(&mut self, spared: Option<SequenceId>, now: Instant) -> bool {
        let holds_row =
            |id| Some(id) != spared && self.sequences.get(&id).is_some_and(|sequence| sequence.row().is_some());
        let resting = self.scheduler.resting(now, holds_row);
        resting.into_iter().for_each(|id| self.give_up_row(id));
        resting.is_some()
    }

    /// Takes the place of one who runs. What it has read stays on the device.
    pub(super) fn preempt(&mut self, id: SequenceId, now: Instant) {
        self.scheduler.rest(id, now);
        count(&self.counters.preempted, 1);
        if let Some(sequence) = self.sequences.get(&id) {
            self.rows.note_rests(sequence);
        }
    }

    /// Takes the memory of one who rests: it will read anew what it knows.
    pub(super) fn give_up_row(&mut self, id: SequenceId) {
        if let Some(sequence) = self.sequences.get_mut(&id) {
            self.rows.close(sequence);
            count(&self.counters.rows_given_up, 1);
        }
    }

    fn open_row(&mut self, id: SequenceId, now: Instant) -> Result<(), BackendError> {
        let is_lacking = |sequence: &Sequence| sequence.row().is_none() && !sequence.is_finished();
        if !self.sequences.get(&id).is_some_and(is_lacking) {
            return Ok(());
        }
        let Some(mut sequence) = self.sequences.remove(&id) else { return Ok(()) };
        let (others, priority) = (&self.sequences, sequence.priority);
        // Who is more urgent waits for nobody who is less so.
        let may_follow = |row| {
            let reader = others.values().find(|other| other.row() == Some(row));
            reader.is_some_and(|reader| reader.priority >= priority)
        };
        let outcome = self.rows.open(&mut sequence, may_follow, &self.counters);
        self.sequences.insert(id, sequence);
        outcome.or_else(|error| self.not_opened(id, error, now))
    }

    /// A row could not be opened. Others are untouched by that.
    fn not_opened(&mut self, id: SequenceId, error: BackendError, now: Instant) -> Result<(), BackendError> {
        tracing::error!(%error, "no row");
        match error.kind() {
            FailureKind::Lost => return Err(error),
            FailureKind::OutOfMemory if self.rows.give_up_kept() || self.scheduler.running().len() > 1 => {
                self.scheduler.rest(id, now);
            }
            FailureKind::Failed => self.retry_or_fail(id, now),
            FailureKind::OutOfMemory | FailureKind::Refused => self.fail(id),
        }
        Ok(())
    }

    /// Ends one that the device could not serve.
    pub(super) fn fail(&mut self, id: SequenceId) {
        self.fail_with(id, SequenceError::BackendFailed);
    }

    fn fail_with(&mut self, id: SequenceId, error: SequenceError) {
        count(&self.counters.failed, 1);
        self.end(id, error);
    }

    /// Puts one back into the queue that the device has failed, the first time.
    pub(super) fn retry_or_fail(&mut self, id: SequenceId, now: Instant) {
        self.retry_or(id, SequenceError::BackendFailed, now);
    }

    /// The same; the second time it ends with `error`.
    pub(super) fn retry_or(&mut self, id: SequenceId, error: SequenceError, now: Instant) {
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        if std::mem::replace(&mut sequence.was_retried, true) {
            return self.fail_with(id, error);
        }
        self.rows.close(sequence);
        count(&self.counters.retried, 1);
        self.scheduler.rest(id, now);
    }
}
