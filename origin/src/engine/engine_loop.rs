//! The one thread that owns the device: admit → schedule → run → sample → emit → retire, step by step.
//!
//! Continuous batching: sequences join at the next step and leave when they are done (Orca, OSDI 2022). `places` has who
//! gets a place and memory, `step` what one step does and what becomes of its failures.

mod places;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use self::places::Rows;
use super::EngineLimits;
use super::door::{Arrival, Cancel, EngineInbox, Question, SequenceListing, SequenceState};
use super::scheduler::{Scheduler, SequenceId};
use super::sequence::{Sequence, SequenceError};
use super::speculation::Speculation;
use super::stats::{EngineCounters, count, set};
use super::step_times::StepTimes;
use crate::backend::{Backend, BackendError};

/// Owns the device until every door is gone or the device is.
pub(super) struct EngineLoop {
    rows: Rows,
    inbox: EngineInbox,
    scheduler: Scheduler,
    /// All that wait and run: those that the scheduler knows.
    sequences: BTreeMap<SequenceId, Sequence>,
    speculation: Speculation,
    times: StepTimes,
    limits: EngineLimits,
    counters: Arc<EngineCounters>,
}

/// Why a loop ended.
#[derive(Debug)]
pub(super) enum LoopEnd {
    /// Every door is gone, and nothing was left to do.
    Finished,
    /// The device is gone. The inbox has all sequences that are not finished: with a new backend a new loop goes on with
    /// them.
    Lost(BackendError, EngineInbox),
}

impl EngineLoop {
    pub(super) fn new(
        backend: Box<dyn Backend>,
        mut inbox: EngineInbox,
        limits: EngineLimits,
        counters: Arc<EngineCounters>,
    ) -> Self {
        let running_max = limits.sequences_max.min(backend.shape().rows_max);
        let unfinished = std::mem::take(&mut inbox.unfinished);
        let mut engine = Self {
            rows: Rows::new(backend, limits.prefix_positions_max),
            inbox,
            scheduler: Scheduler::new(limits.waiting_sequences_max, running_max),
            sequences: BTreeMap::new(),
            speculation: Speculation::new(limits.speculation),
            times: StepTimes::new(limits.step_tokens_max, limits.prompt_step),
            limits,
            counters,
        };
        unfinished.into_iter().for_each(|sequence| engine.take_in(sequence.id, sequence));
        engine.note_gauges();
        engine
    }

    /// Runs until all doors are gone and nothing is left to do, or the device is lost.
    pub(super) fn run(mut self) -> LoopEnd {
        while self.receive() {
            if let Err(error) = self.turn(Instant::now()) {
                return LoopEnd::Lost(error, self.into_unfinished());
            }
        }
        LoopEnd::Finished
    }

    /// One step of the device, and what goes before and after it.
    ///
    /// # Errors
    /// When the device is lost.
    fn turn(&mut self, now: Instant) -> Result<(), BackendError> {
        self.drop_what_is_over(now);
        self.schedule(now)?;
        let step = self.plan_step(now);
        let outcome = self.run_step(step, now);
        self.retire(now);
        self.note_gauges();
        outcome
    }

    /// Takes in what has arrived; waits when there is nothing to do. False at the very end.
    fn receive(&mut self) -> bool {
        if self.sequences.is_empty() {
            match self.inbox.arrivals.blocking_recv() {
                Some(arrival) => self.admit(arrival),
                None => return false,
            }
        }
        self.receive_more();
        true
    }

    /// Takes in what has arrived meanwhile.
    fn receive_more(&mut self) {
        while self.scheduler.has_room() {
            let Ok(arrival) = self.inbox.arrivals.try_recv() else { break };
            self.admit(arrival);
        }
        while let Ok(question) = self.inbox.questions.try_recv() {
            self.answer(question);
        }
    }

    fn admit(&mut self, arrival: Arrival) {
        if let Arrival::Sequence(sequence) = arrival {
            let id = SequenceId(self.counters.taken_in.fetch_add(1, Ordering::Relaxed));
            self.take_in(id, *sequence);
        }
    }

    fn take_in(&mut self, id: SequenceId, mut sequence: Sequence) {
        sequence.enter(id, self.rows.shape().context_tokens_max, self.speculation.jumps());
        if sequence.is_finished() {
            count(&self.counters.failed, 1);
            return sequence.fail(SequenceError::BackendFailed);
        }
        self.scheduler.enqueue(sequence.standing());
        self.sequences.insert(id, sequence);
    }

    fn answer(&mut self, question: Question) {
        let now = Instant::now();
        // Whoever asked may have left meanwhile.
        match question {
            Question::List(reply) => {
                let _ = reply.send(self.sequences.values().map(|sequence| self.listing(sequence, now)).collect());
            }
            Question::Cancel(cancel, reply) => {
                let _ = reply.send(self.cancel(&cancel));
            }
            Question::GiveUpKept(reply) => {
                while self.rows.give_up_kept() {}
                self.note_gauges();
                let _ = reply.send(());
            }
        }
    }

    fn listing(&self, sequence: &Sequence, now: Instant) -> SequenceListing {
        let runs = self.scheduler.running().iter().any(|standing| standing.id == sequence.id);
        let state = match (runs, sequence.row()) {
            (false, None) => SequenceState::Waiting,
            (false, Some(_)) => SequenceState::Resting,
            (true, _) if sequence.holds_prompt() => SequenceState::Decoding,
            (true, _) => SequenceState::Prefilling,
        };
        SequenceListing {
            id: sequence.id,
            priority: sequence.priority,
            state,
            age: now.saturating_duration_since(sequence.submitted_at),
            prompt_tokens: sequence.prompt_ids.len(),
            completion_tokens: sequence.written(),
        }
    }

    fn cancel(&mut self, cancel: &Cancel) -> usize {
        let named = self.sequences.values().filter(|sequence| cancel.names(sequence.id, sequence.priority));
        let named: Vec<SequenceId> = named.map(|sequence| sequence.id).collect();
        count(&self.counters.cancelled, named.len());
        named.iter().for_each(|id| self.end(*id, SequenceError::Cancelled));
        named.len()
    }

    /// Frees those whose client left and those whose deadline has passed.
    fn drop_what_is_over(&mut self, now: Instant) {
        let is_over = |id: &SequenceId| self.sequences.get(id).is_none_or(|sequence| sequence.is_over(now));
        let over = |standings: &[super::scheduler::Standing]| -> Vec<SequenceId> {
            standings.iter().map(|standing| standing.id).filter(is_over).collect()
        };
        let (waiting, running) = (over(self.scheduler.waiting()), over(self.scheduler.running()));
        if waiting.is_empty() && running.is_empty() {
            return;
        }
        tracing::info!(waiting = waiting.len(), running = running.len(), "sequences dropped");
        count(&self.counters.dropped_waiting, waiting.len());
        count(&self.counters.dropped, running.len());
        waiting.iter().chain(&running).for_each(|id| self.end(*id, SequenceError::DeadlineExceeded));
    }

    /// Sends the finished ones home.
    fn retire(&mut self, now: Instant) {
        let ids = |standings: &[super::scheduler::Standing]| -> Vec<SequenceId> {
            standings.iter().map(|standing| standing.id).collect()
        };
        let mut finished = ids(self.scheduler.running());
        finished.retain(|id| self.sequences.get(id).is_some_and(Sequence::is_finished));
        for id in finished {
            let Some(mut sequence) = self.remove(id) else { continue };
            self.rows.retire(&mut sequence);
            let counters = &self.counters;
            // Before it is told, so that whoever is told finds it counted.
            count(if sequence.has_failed() { &counters.failed } else { &counters.finished }, 1);
            sequence.finish(now);
        }
    }

    /// Ends one that is not finished.
    fn end(&mut self, id: SequenceId, error: SequenceError) {
        if let Some(mut sequence) = self.remove(id) {
            self.rows.close(&mut sequence);
            sequence.fail(error);
        }
    }

    fn remove(&mut self, id: SequenceId) -> Option<Sequence> {
        self.scheduler.leave(id);
        self.sequences.remove(&id)
    }

    fn note_gauges(&self) {
        let waiting = self.scheduler.waiting();
        let holds_row = |id: &SequenceId| self.sequences.get(id).is_some_and(|sequence| sequence.row().is_some());
        let resting = waiting.iter().filter(|standing| holds_row(&standing.id)).count();
        set(&self.counters.resting, resting);
        set(&self.counters.waiting, waiting.len() - resting);
        set(&self.counters.running, self.scheduler.running().len());
        self.rows.note_gauges(&self.counters);
    }

    /// What is left when the device is gone. Who was on it has been retried by that: the next failure is its last.
    fn into_unfinished(mut self) -> EngineInbox {
        let now = Instant::now();
        let running: Vec<SequenceId> = self.scheduler.running().iter().map(|standing| standing.id).collect();
        running.into_iter().for_each(|id| self.retry_or(id, SequenceError::BackendLost, now));
        for (_, mut sequence) in self.sequences {
            sequence.lose_row();
            self.inbox.unfinished.push(sequence);
        }
        self.inbox
    }
}
