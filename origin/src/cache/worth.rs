//! Which entries survive when room has to be made: by the device time that each of their bytes saves.
//!
//! The library of the warm tier knows how often and how lately entries were asked for, and how much room they take. What an
//! answer costs to make again it does not know, but it asks of each entry that is about to go whether it is pinned.
//! An entry that is worth twice the half of what others are worth is pinned for this time with an even chance, one of
//! three times in two of three cases, and so on: it survives so many rounds as it is worth more. That is Greedy-Dual by
//! chance instead of by a number in each entry (docs/decisions/0027-eviction-by-worth.md).

use std::sync::atomic::{AtomicU64, Ordering};

/// Worth is counted in 1/16384 ms for each byte; the largest, times the chances, has 62 bits.
const SCALE: u64 = 16_384;
/// By what part a new entry moves the mean.
const MEAN_OF: u64 = 64;
/// Chances are parts of this. Nothing survives for certain: there has to be something that makes room.
const CHANCES: u64 = 1 << 16;
const CHANCES_MAX: u64 = CHANCES - CHANCES / 16;

/// Judges what is about to go.
#[derive(Debug)]
pub struct Worth {
    /// Of the entries that were judged lately.
    mean: AtomicU64,
    /// Not for secrets: whoever could guess it would know which of two entries went first.
    chance: AtomicU64,
}

impl Default for Worth {
    fn default() -> Self {
        Self { mean: AtomicU64::new(0), chance: AtomicU64::new(0x9e37_79b9_7f4a_7c15) }
    }
}

impl Worth {
    /// Does an entry that saves `device_ms` and takes `bytes` survive this time?
    ///
    /// Threads may overwrite each other's mean and chance; both stay what they are for.
    pub fn survives(&self, device_ms: u32, bytes: usize) -> bool {
        let worth = u64::from(device_ms) * SCALE / (bytes as u64).max(1);
        let mean = self.mean.load(Ordering::Relaxed);
        let mean = if mean == 0 { worth } else { mean - mean / MEAN_OF + worth / MEAN_OF };
        self.mean.store(mean, Ordering::Relaxed);
        let goes_of_chances = (CHANCES * (mean / 2)).checked_div(worth).unwrap_or(CHANCES).min(CHANCES);
        self.drawn() < (CHANCES - goes_of_chances).min(CHANCES_MAX)
    }

    /// Evenly below [`CHANCES`] (xorshift64; Marsaglia 2003).
    fn drawn(&self) -> u64 {
        let mut bits = self.chance.load(Ordering::Relaxed);
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        self.chance.store(bits, Ordering::Relaxed);
        (bits >> 32) % CHANCES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a thousand such entries survive among others that save 100 ms with 100 bytes each.
    fn survivors(device_ms: u32, bytes: usize) -> usize {
        let worth = Worth::default();
        (0..1_000)
            .filter(|_| {
                (0..200).for_each(|_| _ = worth.survives(100, 100));
                worth.survives(device_ms, bytes)
            })
            .count()
    }

    #[test]
    fn what_saves_more_device_time_for_its_bytes_survives_more_often() {
        for (device_ms, bytes, expected) in
            [(50, 100, 0), (100, 100, 500), (200, 100, 750), (800, 100, 937), (800, 800, 500)]
        {
            let survivors = survivors(device_ms, bytes);
            assert!(survivors.abs_diff(expected) < 60, "{device_ms} ms, {bytes} bytes: {survivors}");
        }
    }

    #[test]
    fn whatever_is_judged_something_goes() {
        let worth = Worth::default();
        for (device_ms, bytes) in [(u32::MAX, 1), (0, 0), (0, usize::MAX), (u32::MAX, 0)] {
            assert!((0..1_000).any(|_| !worth.survives(device_ms, bytes)), "{device_ms} {bytes}");
        }
    }
}
