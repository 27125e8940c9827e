//! How long steps take, learnt from the steps themselves, and what follows from it: how much of prompts a step may read, and
//! whether those who matter less slow down those who matter more. Pure: no clock.
//!
//! On a processor every row and every entry costs; on a GPU eight rows take the time of one. Nothing here knows which it is.

use std::time::Duration;

use super::scheduler::{CHUNK_TOKENS_MIN, StepRoom};

/// Steps with about as many rows are of one size: powers of two, the last for all that are larger.
pub(super) const STEP_SIZES: usize = 8;
/// Steps of a size before its time is believed.
const KNOWN_AFTER_STEPS: u32 = 4;
/// How much the latest step counts in an average.
const LATEST_WEIGHT: f64 = 1.0 / 16.0;
/// Who matters more may be slowed down by this much for the sake of those who matter less.
const SLOWER_MAX: f64 = 1.15;
/// Where steps are slow, one that reads prompts may take so many times as long as one that reads none.
const PROMPT_STEP_TIMES: f64 = 2.0;
/// A chunk grows by a quarter at once.
const CHUNK_GROWS_BY: usize = 4;
/// And shrinks by no more than this: what was long once may have been held up by something else.
const CHUNK_SHRINKS_TO: f64 = 0.5;
/// Below this share of the time that it may take, a chunk grows.
const CHUNK_GROWS_BELOW: f64 = 0.75;

/// Prompts that matter least take so much less of a step, as a divisor: whoever comes meanwhile waits for its end.
const LOW_TAKE_LESS: u32 = 4;

/// What is known of how long steps take.
#[derive(Debug)]
pub struct StepTimes {
    /// Of steps that read no prompts, by rows.
    decoding: [Average; STEP_SIZES],
    usual: Chunk,
    low: Chunk,
}

/// What a step reads of prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromptsRead {
    /// Entries.
    pub tokens: usize,
    /// Were there none but of low priority?
    pub are_low: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Average {
    steps: u32,
    seconds: f64,
}

/// How much of prompts a step may read, fitted to how long it may take.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    may_take: Duration,
    tokens: usize,
    tokens_max: usize,
}

impl Average {
    fn note(&mut self, seconds: f64) {
        self.steps = self.steps.saturating_add(1);
        let weight = (1.0 / f64::from(self.steps)).max(LATEST_WEIGHT);
        self.seconds += weight * (seconds - self.seconds);
    }

    fn known(&self) -> Option<f64> {
        (self.steps >= KNOWN_AFTER_STEPS).then_some(self.seconds)
    }
}

impl Chunk {
    /// A step read `tokens` of prompts and took `seconds`; without prompts it would have taken `decoding`.
    fn note(&mut self, tokens: usize, seconds: f64, decoding: f64) {
        let may_take = self.may_take.as_secs_f64().max(PROMPT_STEP_TIMES * decoding);
        if seconds > may_take {
            let long = if tokens > self.tokens / 2 { tokens.min(self.tokens) } else { self.tokens };
            let fitted = (long as f64 * (may_take / seconds).max(CHUNK_SHRINKS_TO)) as usize;
            self.tokens = fitted.max(CHUNK_TOKENS_MIN);
        } else if tokens >= self.tokens && seconds < CHUNK_GROWS_BELOW * may_take {
            self.tokens = (self.tokens + self.tokens / CHUNK_GROWS_BY).min(self.tokens_max);
        }
    }
}

impl StepTimes {
    /// Nothing measured yet. A step reads at most `step_tokens_max` entries of prompts, and fewer when it would take longer
    /// than `prompt_step` otherwise.
    #[must_use]
    pub fn new(step_tokens_max: usize, prompt_step: Duration) -> Self {
        let tokens_max = step_tokens_max.max(CHUNK_TOKENS_MIN);
        let chunk = |may_take| Chunk { may_take, tokens: tokens_max, tokens_max };
        let (usual, low) = (chunk(prompt_step), chunk(prompt_step / LOW_TAKE_LESS));
        Self { decoding: Default::default(), usual, low }
    }

    /// What the next step may read, of `tokens_max` entries of everything.
    #[must_use]
    pub const fn room(&self, tokens_max: usize) -> StepRoom {
        StepRoom { tokens_max, chunk_tokens: self.usual.tokens, low_chunk_tokens: self.low.tokens }
    }

    /// Notes a step in which `rows` rows went on writing and `prompts` were read.
    pub fn note(&mut self, rows: usize, prompts: PromptsRead, took: Duration) {
        let (average, seconds) = (&mut self.decoding[size_of_step(rows)], took.as_secs_f64());
        if prompts.tokens == 0 {
            return average.note(seconds);
        }
        // Where nobody writes beside it, what matters is somebody who might.
        let decoding = average.known().unwrap_or_default();
        let chunk = if prompts.are_low { &mut self.low } else { &mut self.usual };
        chunk.note(prompts.tokens, seconds, decoding);
    }

    /// Does a step of `all` rows keep `some` of them waiting noticeably longer than one of theirs alone would? As long as that
    /// is not known it is assumed, which is how it becomes known.
    #[must_use]
    pub fn is_slowed_down(&self, some: usize, all: usize) -> bool {
        let time = |rows: usize| self.decoding[size_of_step(rows)].known();
        match (time(some), time(all)) {
            (Some(some), Some(all)) => all > some * SLOWER_MAX,
            _ => true,
        }
    }
}

/// Which of the [`STEP_SIZES`] a step of `rows` rows is of.
pub(super) fn size_of_step(rows: usize) -> usize {
    (rows.max(1).ilog2() as usize).min(STEP_SIZES - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A device on which a step takes `step_us`, each row `row_us` more and each entry of a prompt `entry_us`.
    struct Device {
        step_us: u64,
        row_us: u64,
        entry_us: u64,
    }

    impl Device {
        fn takes(&self, rows: usize, prompt_tokens: usize) -> Duration {
            let us = self.step_us + self.row_us * rows as u64 + self.entry_us * prompt_tokens as u64;
            Duration::from_micros(us)
        }

        fn decode(&self, times: &mut StepTimes, rows: usize, steps: usize) {
            (0..steps).for_each(|_| times.note(rows, NO_PROMPTS, self.takes(rows, 0)));
        }

        fn read_prompts(&self, times: &mut StepTimes, rows: usize, steps: usize) {
            for _ in 0..steps {
                let tokens = chunk(times);
                times.note(rows, PromptsRead { tokens, are_low: false }, self.takes(rows, tokens));
            }
        }
    }

    const fn chunk(times: &StepTimes) -> usize {
        times.room(0).chunk_tokens
    }

    const NO_PROMPTS: PromptsRead = PromptsRead { tokens: 0, are_low: false };
    const PROMPT_STEP: Duration = Duration::from_millis(30);
    const PROCESSOR: Device = Device { step_us: 3_000, row_us: 1_200, entry_us: 1_000 };
    const GPU: Device = Device { step_us: 8_000, row_us: 20, entry_us: 10 };

    #[test]
    fn on_a_processor_other_rows_slow_down_and_on_a_gpu_they_do_not() {
        for (device, is_slowed_down) in [(PROCESSOR, true), (GPU, false)] {
            let mut times = StepTimes::new(256, PROMPT_STEP);
            device.decode(&mut times, 8, 20);
            device.decode(&mut times, 1, 20);
            assert_eq!(times.is_slowed_down(1, 8), is_slowed_down);
        }
    }

    #[test]
    fn what_is_not_known_is_found_out_by_leaving_them_out() {
        let mut times = StepTimes::new(256, PROMPT_STEP);
        GPU.decode(&mut times, 8, 20);
        assert!(times.is_slowed_down(1, 8));
        GPU.decode(&mut times, 1, KNOWN_AFTER_STEPS as usize);
        assert!(!times.is_slowed_down(1, 8));
    }

    #[test]
    fn on_a_gpu_prompts_are_read_in_the_largest_chunks_and_on_a_processor_in_short_ones() {
        let mut times = StepTimes::new(256, PROMPT_STEP);
        GPU.read_prompts(&mut times, 8, 40);
        assert_eq!(chunk(&times), 256);
        let mut times = StepTimes::new(256, PROMPT_STEP);
        PROCESSOR.decode(&mut times, 2, 10);
        PROCESSOR.read_prompts(&mut times, 2, 40);
        assert!((16..=25).contains(&chunk(&times)), "{}", chunk(&times));
    }

    #[test]
    fn prompts_of_low_priority_are_read_in_shorter_chunks_so_that_nobody_waits_for_them() {
        let mut times = StepTimes::new(256, 4 * PROMPT_STEP);
        for _ in 0..40 {
            let StepRoom { chunk_tokens, low_chunk_tokens, .. } = times.room(256);
            for (tokens, are_low) in [(chunk_tokens, false), (low_chunk_tokens, true)] {
                times.note(0, PromptsRead { tokens, are_low }, PROCESSOR.takes(0, tokens));
            }
        }
        let StepRoom { chunk_tokens, low_chunk_tokens, .. } = times.room(256);
        assert!((80..=117).contains(&chunk_tokens), "{chunk_tokens}");
        assert!((18..=27).contains(&low_chunk_tokens), "{low_chunk_tokens}");
    }

    #[test]
    fn where_a_step_is_slow_anyway_a_chunk_may_take_as_long_again() {
        let slow = Device { step_us: 80_000, row_us: 0, entry_us: 1_000 };
        let mut times = StepTimes::new(256, PROMPT_STEP);
        slow.decode(&mut times, 4, 10);
        slow.read_prompts(&mut times, 4, 40);
        assert!((50..=80).contains(&chunk(&times)), "{}", chunk(&times));
    }

    #[test]
    fn one_step_that_something_else_held_up_does_not_undo_what_is_known() {
        let mut times = StepTimes::new(256, PROMPT_STEP);
        GPU.read_prompts(&mut times, 0, 40);
        times.note(0, PromptsRead { tokens: 3, are_low: false }, Duration::from_secs(1));
        assert_eq!(chunk(&times), 128);
        GPU.read_prompts(&mut times, 0, 4);
        assert_eq!(chunk(&times), 256);
    }

    proptest! {
        #[test]
        fn a_chunk_stays_within_its_limits_whatever_steps_take(
            steps in prop::collection::vec((0usize..300, 0usize..2_000, any::<bool>(), 0u64..10_000_000), 1..200),
            step_tokens_max in 1usize..1_000,
        ) {
            let mut times = StepTimes::new(step_tokens_max, PROMPT_STEP);
            for (rows, tokens, are_low, took_us) in steps {
                times.note(rows, PromptsRead { tokens, are_low }, Duration::from_micros(took_us));
                let room = times.room(step_tokens_max);
                for chunk in [room.chunk_tokens, room.low_chunk_tokens] {
                    prop_assert!((CHUNK_TOKENS_MIN..=step_tokens_max.max(CHUNK_TOKENS_MIN)).contains(&chunk), "{chunk}");
                }
            }
        }
    }
}
