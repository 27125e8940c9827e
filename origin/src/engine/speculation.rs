//! Guessing what comes next, so that one step can write several entries, and measuring whether that pays.
//!
//! What a caption has said it says again: a guess is what followed the latest entries when they stood there before, in the
//! prompt or in what was written (prompt look-up decoding, Saxena 2023,
//! <https://github.com/apoorvumang/prompt-lookup-decoding>). Guesses never change a result: each entry is chosen as it would
//! be without them, and only those that were chosen are kept.

use std::time::Duration;

use super::step_times::{STEP_SIZES, size_of_step};

/// Entries that are guessed at once.
pub const GUESSED_TOKENS_MAX: usize = 4;
/// How many latest entries have to have stood there before; the longer ones are tried first.
const PATTERN_TOKENS: [usize; 2] = [3, 2];
/// Steps of each kind before they are compared.
const TRIED_STEPS: u32 = 16;
/// After so many steps of the better kind the other is tried again.
const RETRIED_AFTER_STEPS: u32 = 512;
/// How much the latest step counts in an average.
const LATEST_WEIGHT: f64 = 1.0 / 32.0;
/// Guessing has to be better by this to be worth its trouble.
const GAIN_MIN: f64 = 1.02;

/// Are entries guessed?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeculationMode {
    /// As long as more is written in the same time.
    #[default]
    Auto,
    /// Whenever the device can take it. For tests and measurements.
    Always,
    /// Never; entries to which there is no alternative are read one by one, too.
    Off,
}

/// How fast steps of one kind write.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    steps: u32,
    tokens: f64,
    seconds: f64,
}

/// Steps of one size.
#[derive(Clone, Copy, Debug, Default)]
struct Compared {
    plain: Pace,
    guessing: Pace,
    /// Steps since the kind that is not the better one was last tried.
    steps_since: u32,
}

/// Decides from step to step whether to guess.
#[derive(Debug)]
pub struct Speculation {
    mode: SpeculationMode,
    sizes: [Compared; STEP_SIZES],
}

impl Pace {
    fn note(&mut self, tokens: usize, took: Duration) {
        let weight = if self.steps == 0 { 1.0 } else { LATEST_WEIGHT };
        self.steps = self.steps.saturating_add(1);
        self.tokens += weight * (tokens as f64 - self.tokens);
        self.seconds += weight * (took.as_secs_f64() - self.seconds);
    }

    fn tokens_per_second(&self) -> f64 {
        self.tokens / self.seconds.max(1e-9)
    }
}

impl Compared {
    fn guesses(&self) -> bool {
        if self.plain.steps < TRIED_STEPS || self.guessing.steps < TRIED_STEPS {
            return self.plain.steps >= TRIED_STEPS;
        }
        let pays = self.guessing.tokens_per_second() > self.plain.tokens_per_second() * GAIN_MIN;
        pays != (self.steps_since >= RETRIED_AFTER_STEPS)
    }
}

impl Speculation {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(mode: SpeculationMode) -> Self {
        Self { mode, sizes: <[Compared; STEP_SIZES]>::default() }
    }

    /// Are entries to which there is no alternative taken without being chosen?
    #[must_use]
    pub fn jumps(&self) -> bool {
        self.mode != SpeculationMode::Off
    }

    /// Is the next step of `rows` rows to guess?
    #[must_use]
    pub fn guesses(&self, rows: usize) -> bool {
        match self.mode {
            SpeculationMode::Auto => self.sizes[size_of_step(rows)].guesses(),
            SpeculationMode::Always => true,
            SpeculationMode::Off => false,
        }
    }

    /// Notes that a step in which `rows` rows decoded wrote `tokens` entries, with or without guesses in it.
    pub fn note_step(&mut self, rows: usize, had_guesses: bool, tokens: usize, took: Duration) {
        let compared = &mut self.sizes[size_of_step(rows)];
        let was_retried = compared.steps_since >= RETRIED_AFTER_STEPS + TRIED_STEPS;
        compared.steps_since = if was_retried { 0 } else { compared.steps_since.saturating_add(1) };
        if had_guesses { &mut compared.guessing } else { &mut compared.plain }.note(tokens, took);
    }
}

/// What came after the latest entries of `ids` when they last stood there before; at most `count_max`, often nothing.
#[must_use]
pub fn guess(ids: &[u32], count_max: usize) -> &[u32] {
    PATTERN_TOKENS.iter().find_map(|length| after_pattern(ids, *length)).map_or(&[], |guess| {
        let count = guess.len().min(count_max);
        &guess[..count]
    })
}

fn after_pattern(ids: &[u32], length: usize) -> Option<&[u32]> {
    let earlier = ids.len().checked_sub(length)?;
    let pattern = &ids[earlier..];
    let found = (0..earlier).rev().find(|start| ids[*start..*start + length] == *pattern)?;
    Some(&ids[found + length..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_what_followed_the_latest_entries_the_last_time() {
        let ids = [7, 1, 2, 3, 4, 9, 1, 2, 3, 5, 6, 8, 8, 1, 2, 3];
        assert_eq!(guess(&ids, 3), [5, 6, 8]);
        assert_eq!(guess(&ids[..9], 9), [4, 9, 1, 2, 3]);
        assert!(guess(&[1, 2, 3, 4], 4).is_empty() && guess(&[], 4).is_empty());
    }

    #[test]
    fn two_entries_are_enough_where_three_never_stood() {
        assert_eq!(guess(&[5, 1, 2, 6, 9, 1, 2], 1), [6]);
    }

    #[test]
    fn the_last_entry_of_all_may_be_guessed_from_a_row_of_the_same() {
        assert_eq!(guess(&[4, 4, 4], 4), [4]);
    }

    /// Runs `steps` steps of one row; a step takes 10 ms, one with guesses `guessing_ms` and writes two entries.
    fn share_guessing(speculation: &mut Speculation, steps: u32, guessing_ms: u64) -> f64 {
        let mut guessing = 0;
        for _ in 0..steps {
            let guesses = speculation.guesses(1);
            let (tokens, took_ms) = if guesses { (2, guessing_ms) } else { (1, 10) };
            speculation.note_step(1, guesses, tokens, Duration::from_millis(took_ms));
            guessing += u32::from(guesses);
        }
        f64::from(guessing) / f64::from(steps)
    }

    #[test]
    fn what_pays_is_done_and_what_does_not_is_tried_now_and_then() {
        let mut speculation = Speculation::new(SpeculationMode::Auto);
        assert!(share_guessing(&mut speculation, 5_000, 12) > 0.9);
        let mut speculation = Speculation::new(SpeculationMode::Auto);
        let share = share_guessing(&mut speculation, 5_000, 30);
        assert!((0.01..0.1).contains(&share), "{share}");
        // The device has become better at it, which is found out.
        assert!(share_guessing(&mut speculation, 5_000, 12) > 0.8);
    }

    #[test]
    fn steps_of_other_sizes_decide_for_themselves() {
        let mut speculation = Speculation::new(SpeculationMode::Auto);
        share_guessing(&mut speculation, 100, 12);
        assert!(speculation.guesses(1) && !speculation.guesses(8));
    }
}
