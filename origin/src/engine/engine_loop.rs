//! The one thread that owns the device: admit → run → sample → retire, step by step.
//!
//! Continuous batching: sequences join at the next step and leave when they are done (Orca, OSDI 2022).

use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;

use super::EngineCounters;
use super::scheduler::Scheduler;
use super::sequence::{Sequence, SequenceError};
use crate::backend::{Backend, BackendError};

/// Prompts read between two decode steps, so that newcomers do not stall those who run.
const PREFILLS_PER_STEP_MAX: usize = 2;

/// Owns the device until every handle is gone.
pub(super) struct EngineLoop<'a> {
    pub(super) backend: Box<dyn Backend>,
    pub(super) inbox: mpsc::Receiver<Sequence>,
    pub(super) scheduler: Scheduler<Sequence>,
    pub(super) counters: &'a EngineCounters,
}

impl EngineLoop<'_> {
    /// Runs until all senders of the inbox are gone and nothing is left to do.
    pub(super) fn run(mut self) {
        while self.receive() {
            self.drop_what_is_over();
            self.start_waiting();
            self.decode();
            self.retire();
        }
    }

    /// Takes in what has arrived; waits when there is nothing to do. False at the very end.
    fn receive(&mut self) -> bool {
        if self.scheduler.is_idle() {
            match self.inbox.blocking_recv() {
                Some(sequence) => self.scheduler.enqueue(sequence),
                None => return false,
            }
        }
        while self.scheduler.has_room() {
            let Ok(sequence) = self.inbox.try_recv() else { break };
            self.scheduler.enqueue(sequence);
        }
        true
    }

    /// Frees those whose client left and those whose deadline has passed.
    fn drop_what_is_over(&mut self) {
        let now = Instant::now();
        let waiting = self.scheduler.take_waiting(|sequence| sequence.is_over(now));
        let running = self.scheduler.take_running(|sequence| sequence.is_over(now));
        if !waiting.is_empty() || !running.is_empty() {
            tracing::info!(waiting = waiting.len(), running = running.len(), "sequences dropped");
        }
        for sequence in waiting {
            sequence.fail(SequenceError::DeadlineExceeded);
        }
        for (row, sequence) in running {
            self.backend.release(row);
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            sequence.fail(SequenceError::DeadlineExceeded);
        }
    }

    fn start_waiting(&mut self) {
        for _ in 0..PREFILLS_PER_STEP_MAX {
            let Some(mut sequence) = self.scheduler.next_to_start() else { return };
            sequence.start(Instant::now());
            self.counters.prefilled_tokens.fetch_add(sequence.prompt_ids.len() as u64, Ordering::Relaxed);
            match self.backend.prefill(&sequence.prompt_ids) {
                Ok(logits) => {
                    sequence.choose(logits, self.counters);
                    self.scheduler.started(sequence);
                }
                Err(error) => {
                    log_failure("prefill", &error);
                    sequence.fail(SequenceError::BackendFailed);
                }
            }
        }
    }

    /// One entry more for every running sequence that is not yet done.
    fn decode(&mut self) {
        self.retire();
        let input_ids: Vec<u32> = self.scheduler.running_mut().iter().filter_map(Sequence::last_id).collect();
        if input_ids.is_empty() {
            return;
        }
        self.counters.decoded_tokens.fetch_add(input_ids.len() as u64, Ordering::Relaxed);
        self.counters.decode_steps.fetch_add(1, Ordering::Relaxed);
        let width = self.backend.shape().vocabulary_entries;
        let logits = match self.backend.decode(&input_ids) {
            Ok(logits) => logits,
            Err(error) => return self.fail_all(&error),
        };
        let rows = self.scheduler.running_mut().iter_mut().zip(logits.chunks_exact(width));
        for (sequence, row) in rows {
            sequence.choose(row, self.counters);
        }
    }

    fn fail_all(&mut self, error: &BackendError) {
        log_failure("decode", error);
        for (row, sequence) in self.scheduler.take_running(|_| true) {
            self.backend.release(row);
            sequence.fail(SequenceError::BackendFailed);
        }
    }

    /// Sends the finished ones home.
    fn retire(&mut self) {
        let now = Instant::now();
        for (row, sequence) in self.scheduler.take_running(Sequence::is_finished) {
            self.backend.release(row);
            self.counters.finished.fetch_add(1, Ordering::Relaxed);
            sequence.finish(now);
        }
    }
}

fn log_failure(step: &'static str, error: &BackendError) {
    tracing::error!(step, %error, "the device failed");
}
