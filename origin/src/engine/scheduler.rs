//! Who waits, who runs, and who reads how much in the next step. Pure bookkeeping: no device, no clock, no channel.
//!
//! Iteration-level scheduling is Orca's (OSDI 2022), prompts read in chunks beside decode entries are Sarathi-Serve's
//! (OSDI 2024). Decision 0031 tells what was chosen and why.

mod shares;
#[cfg(test)]
mod tests;
mod urgency;

use std::cmp::Reverse;
use std::time::Instant;

use lede_shared::plan::Priority;

pub use self::shares::{CHUNK_TOKENS_MIN, StepRoom, Unread, outranked, shares};
pub use self::urgency::{AGEING_INTERVAL, OVERDUE_AFTER, SequenceId, Standing};

/// Who is to run next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who waits until now.
    pub id: SequenceId,
    /// Whose place it takes, when none is free.
    pub instead_of: Option<SequenceId>,
}

/// Sequences that wait and sequences that run.
#[derive(Debug)]
pub struct Scheduler {
    waiting: Vec<Standing>,
    running: Vec<Standing>,
    waiting_max: usize,
    running_max: usize,
}

impl Scheduler {
    /// Nobody there yet.
    #[must_use]
    pub const fn new(waiting_max: usize, running_max: usize) -> Self {
        Self { waiting: Vec::new(), running: Vec::new(), waiting_max, running_max }
    }

    /// Those who wait, those who rest among them, in no order.
    #[must_use]
    pub fn waiting(&self) -> &[Standing] {
        &self.waiting
    }

    /// Those who run, in no order.
    #[must_use]
    pub fn running(&self) -> &[Standing] {
        &self.running
    }

    /// May one more wait? Who rests took the place in the queue of the one that took its place on the device.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.waiting_max
    }

    /// Is there no place for one more to run?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.running.len() >= self.running_max
    }

    /// Puts a sequence into the queue. The caller has asked [`Self::has_room`], unless it ran before.
    pub fn enqueue(&mut self, standing: Standing) {
        self.waiting.push(standing);
    }

    /// Who is to run next, when a place is free or can be taken. It changes nothing: there must also be memory.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Turn> {
        let urgency = |standing: &&Standing| standing.urgency(standing.waited_until(now));
        if !self.is_full() {
            let first = self.waiting.iter().max_by_key(urgency)?;
            return Some(Turn { id: first.id, instead_of: None });
        }
        let takes = |standing: &&Standing| self.preemptible(standing.priority).is_some();
        let first = self.waiting.iter().filter(takes).max_by_key(urgency)?;
        Some(Turn { id: first.id, instead_of: self.preemptible(first.priority) })
    }

    /// Who has waited longest of the overdue, when a place is free and theirs is.
    #[must_use]
    pub fn overdue(&self, now: Instant) -> Option<Turn> {
        let is_taken = self.running_max < 2 || self.running.iter().any(|standing| standing.is_overdue);
        let waited = |standing: &&Standing| (standing.waited_until(now), Reverse(standing.id));
        let longest = self.waiting.iter().max_by_key(waited)?;
        let is_overdue = longest.waited_until(now) >= OVERDUE_AFTER;
        let goes = is_overdue && !is_taken && !self.is_full();
        goes.then_some(Turn { id: longest.id, instead_of: None })
    }

    /// Who of those that run would have to make room for somebody of `priority`.
    #[must_use]
    pub fn preemptible(&self, priority: Priority) -> Option<SequenceId> {
        let yielding = self.running.iter().filter(|standing| standing.yields_to(priority));
        yielding
            .min_by_key(|standing| (standing.priority, standing.urgency(standing.waited)))
            .map(|first| first.id)
    }

    /// Who of several that run is the first to make room when there is not enough for all.
    #[must_use]
    pub fn least_urgent(&self) -> Option<SequenceId> {
        let urgency = |standing: &&Standing| (standing.is_overdue, standing.urgency(standing.waited));
        self.running.iter().min_by_key(urgency).filter(|_| self.running.len() > 1).map(|last| last.id)
    }

    /// The one that waits and can go on without its memory best, of those that `rests` names.
    #[must_use]
    pub fn resting(&self, now: Instant, rests: impl Fn(SequenceId) -> bool) -> Option<SequenceId> {
        let resting = self.waiting.iter().filter(|standing| rests(standing.id));
        resting.min_by_key(|standing| standing.urgency(standing.waited_until(now))).map(|last| last.id)
    }

    /// Notes that one who waited now runs.
    pub fn start(&mut self, id: SequenceId, now: Instant) {
        let Some(index) = self.waiting.iter().position(|standing| standing.id == id) else { return };
        let is_overdue = self.overdue(now).is_some_and(|turn| turn.id == id);
        let standing = self.waiting.swap_remove(index);
        self.running.push(Standing { waited: standing.waited_until(now), since: now, is_overdue, ..standing });
    }

    /// Notes that one who ran now waits. It is as old as it was.
    pub fn rest(&mut self, id: SequenceId, now: Instant) {
        let Some(index) = self.running.iter().position(|standing| standing.id == id) else { return };
        self.waiting.push(Standing { since: now, is_overdue: false, ..self.running.swap_remove(index) });
    }

    /// Forgets somebody.
    pub fn leave(&mut self, id: SequenceId) {
        self.waiting.retain(|standing| standing.id != id);
        self.running.retain(|standing| standing.id != id);
    }
}
