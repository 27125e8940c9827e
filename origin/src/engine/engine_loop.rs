//! The one thread that owns the device: admit → run → sample → retire, step by step.
//!
//! Continuous batching: sequences join at the next step and leave when they are done (Orca, OSDI 2022).

use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;

use super::EngineCounters;
use super::scheduler::Scheduler;
use super::sequence::{Sequence, SequenceError};
use crate::backend::{Backend, BackendError, LogitsWanted, RowWork, Selection};

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
            self.step();
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
        for sequence in running {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            self.free(&sequence);
            sequence.fail(SequenceError::DeadlineExceeded);
        }
    }

    fn start_waiting(&mut self) {
        for _ in 0..PREFILLS_PER_STEP_MAX {
            let Some(mut sequence) = self.scheduler.next_to_start() else { return };
            sequence.start(Instant::now());
            match self.backend.open(None) {
                Ok(row) => {
                    sequence.row = Some(row);
                    self.scheduler.started(sequence);
                }
                Err(error) => {
                    log_failure("open", &error);
                    sequence.fail(SequenceError::BackendFailed);
                }
            }
        }
    }

    /// One entry more for every running sequence that is not yet done.
    fn step(&mut self) {
        let Self { backend, scheduler, counters, .. } = self;
        let running = scheduler.running_mut();
        let work: Vec<RowWork<'_>> = running.iter().filter_map(work_of).collect();
        if work.is_empty() {
            return;
        }
        let read = work.iter().map(|item| item.ids.len()).sum::<usize>() as u64;
        counters.decoded_tokens.fetch_add(read, Ordering::Relaxed);
        counters.decode_steps.fetch_add(1, Ordering::Relaxed);
        let outcome = backend.submit(&work).and_then(|()| {
            running.iter_mut().for_each(|sequence| sequence.work_out(counters));
            choose(backend.as_mut(), running, counters)
        });
        if let Err(error) = outcome {
            self.fail_all(&error);
        }
    }

    fn fail_all(&mut self, error: &BackendError) {
        log_failure("step", error);
        for sequence in self.scheduler.take_running(|_| true) {
            self.free(&sequence);
            sequence.fail(SequenceError::BackendFailed);
        }
    }

    /// Sends the finished ones home.
    fn retire(&mut self) {
        let now = Instant::now();
        for sequence in self.scheduler.take_running(Sequence::is_finished) {
            self.free(&sequence);
            self.counters.finished.fetch_add(1, Ordering::Relaxed);
            sequence.finish(now);
        }
    }

    fn free(&mut self, sequence: &Sequence) {
        if let Some(row) = sequence.row {
            self.backend.close(row);
        }
    }
}

fn work_of(sequence: &Sequence) -> Option<RowWork<'_>> {
    Some(RowWork { row: sequence.row?, ids: sequence.unread_ids(), logits: LogitsWanted::Last })
}

/// Lets every sequence choose; who has to choose anew does so until it has.
fn choose(
    backend: &mut dyn Backend,
    running: &mut [Sequence],
    counters: &EngineCounters,
) -> Result<(), BackendError> {
    let mut choosing: Vec<usize> = (0..running.len()).collect();
    let mut selected = Vec::new();
    while !choosing.is_empty() {
        let selections: Vec<Selection<'_>> =
            choosing.iter().flat_map(|item| running[*item].selections(*item)).collect();
        let counts: Vec<usize> = choosing.iter().map(|item| running[*item].selections(*item).count()).collect();
        backend.select(&selections, &mut selected)?;
        let mut rest = selected.as_slice();
        let mut next = Vec::new();
        for (item, count) in choosing.into_iter().zip(counts) {
            let (own, others) = rest.split_at(count);
            rest = others;
            if running[item].choose(own, counters) {
                next.push(item);
            }
        }
        choosing = next;
    }
    Ok(())
}

fn log_failure(step: &'static str, error: &BackendError) {
    tracing::error!(step, %error, "the device failed");
}
