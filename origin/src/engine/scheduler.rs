//! Who waits and who runs. Pure bookkeeping: no device, no clock, no channel.

use std::collections::VecDeque;

/// Sequences that wait and sequences that run. Both stand in the order in which they came.
#[derive(Debug)]
pub struct Scheduler<S> {
    waiting: VecDeque<S>,
    running: Vec<S>,
    waiting_max: usize,
    running_max: usize,
}

impl<S> Scheduler<S> {
    /// Nobody there yet.
    #[must_use]
    pub const fn new(waiting_max: usize, running_max: usize) -> Self {
        Self { waiting: VecDeque::new(), running: Vec::new(), waiting_max, running_max }
    }

    /// Neither waiting nor running.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// May one more wait?
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.waiting_max
    }

    /// Puts a sequence at the end of the queue. The caller has asked [`Self::has_room`].
    pub fn enqueue(&mut self, sequence: S) {
        self.waiting.push_back(sequence);
    }

    /// The next to start, when a row is free.
    pub fn next_to_start(&mut self) -> Option<S> {
        if self.running.len() < self.running_max { self.waiting.pop_front() } else { None }
    }

    /// Notes that a sequence now runs.
    pub fn started(&mut self, sequence: S) {
        self.running.push(sequence);
    }

    /// Sequences that run.
    pub fn running_mut(&mut self) -> &mut [S] {
        &mut self.running
    }

    /// Takes out of the queue those that `leaves` names.
    pub fn take_waiting(&mut self, mut leaves: impl FnMut(&S) -> bool) -> Vec<S> {
        if !self.waiting.iter().any(&mut leaves) {
            return Vec::new();
        }
        let (gone, kept): (Vec<S>, Vec<S>) = self.waiting.drain(..).partition(leaves);
        self.waiting.extend(kept);
        gone
    }

    /// Takes out of those that run the ones that `leaves` names.
    pub fn take_running(&mut self, leaves: impl Fn(&S) -> bool) -> Vec<S> {
        self.running.extract_if(.., |sequence| leaves(sequence)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_first_starts_first_and_only_while_a_row_is_free() {
        let mut scheduler = Scheduler::new(4, 2);
        (1..=3).for_each(|name| scheduler.enqueue(name));
        for expected in [Some(1), Some(2), None] {
            let next = scheduler.next_to_start();
            assert_eq!(next, expected);
            next.into_iter().for_each(|name| scheduler.started(name));
        }
        assert_eq!(scheduler.take_running(|name| *name == 1), [1]);
        assert_eq!(scheduler.next_to_start(), Some(3));
    }

    #[test]
    fn one_who_left_the_queue_never_starts() {
        let mut scheduler = Scheduler::new(4, 2);
        (1..=3).for_each(|name| scheduler.enqueue(name));
        assert_eq!(scheduler.take_waiting(|name| *name == 1), [1]);
        assert_eq!(scheduler.next_to_start(), Some(2));
    }
}
