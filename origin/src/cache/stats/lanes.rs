//! Counters that many threads count on without meeting: each thread has a lane of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use thread_local::ThreadLocal;

use super::AGES;
use crate::cache::entry::Tier;

/// What a lane counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counter {
    HotHits,
    WarmHits,
    MemoryMisses,
    ColdHits,
    ColdMisses,
    Puts,
    BodyBytes,
    EncodedBytes,
}

const COUNTERS: usize = Counter::EncodedBytes as usize + 1;

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes(ThreadLocal<Lane>);

/// One thread's. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    counts: [AtomicU64; COUNTERS],
    ages: [[AtomicU64; AGES]; 3],
}

impl Lanes {
    /// Adds to this thread's count and returns what it was. Lanes outlive their threads, so nothing is lost.
    pub(super) fn add(&self, counter: Counter, by: u64) -> u64 {
        let count = &self.0.get_or_default().counts[counter as usize];
        // Nobody else writes here, so nothing comes between.
        let before = count.load(Ordering::Relaxed);
        count.store(before.wrapping_add(by), Ordering::Relaxed);
        before
    }

    /// Counts a hit of this age.
    pub(super) fn note_age(&self, tier: Tier, group: usize) {
        let count = &self.0.get_or_default().ages[tier as usize][group];
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Over all threads.
    pub(super) fn sum(&self, counter: Counter) -> u64 {
        self.0.iter().map(|lane| lane.counts[counter as usize].load(Ordering::Relaxed)).sum()
    }

    /// Ages of hits of a tier, over all threads.
    pub(super) fn ages(&self, tier: Tier) -> [u64; AGES] {
        let mut ages = [0; AGES];
        for lane in &self.0 {
            for (sum, count) in ages.iter_mut().zip(&lane.ages[tier as usize]) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        ages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_threads_and_after_their_end() {
        let lanes = Lanes::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10_000).for_each(|_| _ = lanes.add(Counter::HotHits, 1)));
            }
        });
        assert_eq!((lanes.sum(Counter::HotHits), lanes.sum(Counter::WarmHits)), (80_000, 0));
    }
}
