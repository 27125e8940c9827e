//! What the engine has done and is doing, in atomics: the loop writes them between steps, anybody reads them at any time.

mod histogram;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lede_shared::plan::Priority;

pub use self::histogram::{Distribution, Histogram};
use crate::backend::DeviceBytes;

/// Priorities there are.
const PRIORITIES: usize = 4;
/// Seconds whose entries are remembered, the present one included.
const SECONDS_REMEMBERED: usize = 12;

/// What the engine has done since it started. Counts only ever grow; gauges are set after each step.
#[derive(Debug)]
pub struct EngineCounters {
    /// What times are counted from.
    began_at: Instant,
    /// Sequences that were taken in.
    pub taken_in: AtomicU64,
    /// Sequences that came to their end.
    pub finished: AtomicU64,
    /// Running sequences that were dropped because their client left or their deadline passed.
    pub dropped: AtomicU64,
    /// The same of sequences that waited.
    pub dropped_waiting: AtomicU64,
    /// Sequences that were cancelled by an operator.
    pub cancelled: AtomicU64,
    /// Sequences that failed.
    pub failed: AtomicU64,
    /// Sequences that were begun anew after the device had failed them.
    pub retried: AtomicU64,
    /// Running sequences that had to make room for a more urgent one.
    pub preempted: AtomicU64,
    /// Rows that were left out of a step, once for each step, so that a far more urgent one is not slowed down.
    pub held_back: AtomicU64,
    /// Rows that were given up for want of memory and had to be read anew.
    pub rows_given_up: AtomicU64,
    /// Prompt entries read.
    pub prefilled_tokens: AtomicU64,
    /// Entries fed back in decode steps.
    pub decoded_tokens: AtomicU64,
    /// Entries written.
    pub written_tokens: AtomicU64,
    /// Steps of the device.
    pub decode_steps: AtomicU64,
    /// Entries that the device computed, padding included.
    pub computed_entries: AtomicU64,
    /// Those of them that no step asked for.
    pub padding_entries: AtomicU64,
    /// Rows that began with the beginning of another.
    pub prefix_hits: AtomicU64,
    /// Positions that did not have to be read because of it.
    pub prefix_positions: AtomicU64,
    /// Entries to which there was no alternative.
    pub forced_tokens: AtomicU64,
    /// Entries that were guessed and read with a step.
    pub guessed_tokens: AtomicU64,
    /// Those of them that were then chosen.
    pub guessed_tokens_right: AtomicU64,
    /// Time spent on working out what may be written, in nanoseconds.
    pub constraint_ns: AtomicU64,
    /// Entries chosen under a constraint.
    pub constraint_steps: AtomicU64,
    /// Gauge: sequences that wait and have no memory on the device.
    pub waiting: AtomicU64,
    /// Gauge: sequences that run.
    pub running: AtomicU64,
    /// Gauge: sequences that wait with what they have read still on the device.
    pub resting: AtomicU64,
    /// Gauge: blocks of attention memory in use, kept beginnings included.
    pub kv_blocks_used: AtomicU64,
    /// Gauge: all blocks of attention memory.
    pub kv_blocks_total: AtomicU64,
    /// Gauge: positions of kept beginnings.
    pub kept_positions: AtomicU64,
    /// Gauges: what the backend holds on its device, as [`DeviceBytes`] has it.
    device_bytes: [AtomicU64; 3],
    /// From submission to the first entry, in microseconds.
    pub first_token_us: Histogram,
    /// Between a sequence's entries, in microseconds; several in one step are as far apart as they are many.
    pub inter_token_us: Histogram,
    /// From submission to a place on the device, in microseconds, by priority.
    pub queue_wait_us: [Histogram; PRIORITIES],
    /// Rows of a step.
    pub batch_rows: Histogram,
    /// Duration of a step, in microseconds.
    pub step_us: Histogram,
    /// When the present step began, in milliseconds since `began_at` and 1; 0 between steps.
    step_began: AtomicU64,
    /// Entries written by second: the second in the upper half, the count in the lower.
    by_second: [AtomicU64; SECONDS_REMEMBERED],
}

impl Default for EngineCounters {
    fn default() -> Self {
        Self {
            began_at: Instant::now(),
            taken_in: AtomicU64::default(),
            finished: AtomicU64::default(),
            dropped: AtomicU64::default(),
            dropped_waiting: AtomicU64::default(),
            cancelled: AtomicU64::default(),
            failed: AtomicU64::default(),
            retried: AtomicU64::default(),
            preempted: AtomicU64::default(),
            held_back: AtomicU64::default(),
            rows_given_up: AtomicU64::default(),
            prefilled_tokens: AtomicU64::default(),
            decoded_tokens: AtomicU64::default(),
            written_tokens: AtomicU64::default(),
            decode_steps: AtomicU64::default(),
            computed_entries: AtomicU64::default(),
            padding_entries: AtomicU64::default(),
            prefix_hits: AtomicU64::default(),
            prefix_positions: AtomicU64::default(),
            forced_tokens: AtomicU64::default(),
            guessed_tokens: AtomicU64::default(),
            guessed_tokens_right: AtomicU64::default(),
            constraint_ns: AtomicU64::default(),
            constraint_steps: AtomicU64::default(),
            waiting: AtomicU64::default(),
            running: AtomicU64::default(),
            resting: AtomicU64::default(),
            kv_blocks_used: AtomicU64::default(),
            kv_blocks_total: AtomicU64::default(),
            kept_positions: AtomicU64::default(),
            device_bytes: Default::default(),
            first_token_us: Histogram::default(),
            inter_token_us: Histogram::default(),
            queue_wait_us: Default::default(),
            batch_rows: Histogram::default(),
            step_us: Histogram::default(),
            step_began: AtomicU64::default(),
            by_second: Default::default(),
        }
    }
}

/// What the engine has done and is doing, at one moment. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct EngineStats {
    /// Sequences that were taken in.
    pub sequences_taken_in: u64,
    /// Sequences that came to their end.
    pub sequences_finished: u64,
    /// Sequences that were dropped because their client left or their deadline passed, waiting and running.
    pub sequences_dropped: u64,
    /// Sequences that were cancelled by an operator.
    pub sequences_cancelled: u64,
    /// Sequences that failed.
    pub sequences_failed: u64,
    /// Sequences that were begun anew after the device had failed them.
    pub sequences_retried: u64,
    /// Sequences that wait, without memory on the device.
    pub waiting: u64,
    /// Sequences that run.
    pub running: u64,
    /// Preempted sequences that wait with what they have read still on the device.
    pub resting: u64,
    /// Running sequences that had to make room for a more urgent one.
    pub preemptions: u64,
    /// Rows that were left out of a step, once for each step, so that a far more urgent one is not slowed down.
    pub rows_held_back: u64,
    /// Rows that were given up for want of memory and had to be read anew.
    pub rows_given_up: u64,
    /// Prompt entries read.
    pub prefilled_tokens: u64,
    /// Entries read after they were chosen.
    pub decoded_tokens: u64,
    /// Entries written.
    pub written_tokens: u64,
    /// Entries written per second, over the last ten whole seconds.
    pub tokens_per_second: f64,
    /// Steps of the device.
    pub steps: u64,
    /// Entries that the device computed, padding included. What was guessed wrong was asked for, so it is no padding.
    pub computed_entries: u64,
    /// Those of them that no step asked for: the device works on more at once than there were.
    pub padding_entries: u64,
    /// What share of all computed entries those are, 0 to 1.
    pub padding_waste: f64,
    /// Rows that began with the beginning of another.
    pub prefix_hits: u64,
    /// Positions that did not have to be read because of it.
    pub prefix_positions_saved: u64,
    /// Positions that are kept for it now.
    pub prefix_positions_kept: u64,
    /// Entries to which there was no alternative.
    pub forced_tokens: u64,
    /// Entries that were guessed and read with a step.
    pub guessed_tokens: u64,
    /// Those of them that were then chosen.
    pub guessed_tokens_right: u64,
    /// Blocks of attention memory in use.
    pub kv_blocks_used: u64,
    /// All blocks of attention memory.
    pub kv_blocks_total: u64,
    /// What the backend holds on its device.
    pub device: DeviceBytes,
    /// From submission to the first entry.
    pub first_token_ms: Distribution,
    /// Between a sequence's entries.
    pub inter_token_ms: Distribution,
    /// Wait for a place on the device, by priority: low, normal, high, critical.
    pub queue_wait_ms: [Distribution; PRIORITIES],
    /// Duration of a step.
    pub step_ms: Distribution,
    /// Rows of a step.
    pub batch_rows: Distribution,
    /// How long the present step has been going on, when there is one.
    pub step_running_ms: Option<u64>,
}

impl EngineCounters {
    /// Counts the time since `begun_at` as spent on what may be written.
    pub(super) fn note_constraint(&self, begun_at: Instant) {
        let spent_ns = u64::try_from(begun_at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.constraint_ns.fetch_add(spent_ns, Ordering::Relaxed);
    }

    /// A step was asked to read `asked` entries, and the device computed so many for it.
    pub(super) fn note_computed(&self, asked: usize, computed: u64) {
        self.computed_entries.fetch_add(computed, Ordering::Relaxed);
        self.padding_entries.fetch_add(computed.saturating_sub(asked as u64), Ordering::Relaxed);
    }

    pub(super) fn note_device_bytes(&self, held: DeviceBytes) {
        let bytes = [held.weights_bytes, held.attention_bytes, held.scratch_bytes];
        self.device_bytes.iter().zip(bytes).for_each(|(gauge, bytes)| gauge.store(bytes, Ordering::Relaxed));
    }

    /// What the backend in use held on its device after its latest step, or the one that was in use last.
    #[must_use]
    pub fn device_bytes(&self) -> DeviceBytes {
        let [weights_bytes, attention_bytes, scratch_bytes] =
            self.device_bytes.each_ref().map(|gauge| gauge.load(Ordering::Relaxed));
        DeviceBytes { weights_bytes, attention_bytes, scratch_bytes }
    }

    pub(super) fn note_step_begins(&self, now: Instant) {
        self.step_began.store(self.millis(now) + 1, Ordering::Release);
    }

    pub(super) fn note_step_ends(&self) {
        self.step_began.store(0, Ordering::Release);
    }

    pub(super) fn note_queue_wait(&self, priority: Priority, waited: Duration) {
        self.queue_wait_us[priority as usize].note(micros(waited));
    }

    pub(super) fn note_written(&self, tokens: usize, now: Instant) {
        self.written_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        let second = self.millis(now) / 1_000;
        let slot = &self.by_second[second as usize % SECONDS_REMEMBERED];
        let known = slot.load(Ordering::Relaxed);
        // The loop's thread is the only one that writes.
        let before = if known >> 32 == second { known & u64::from(u32::MAX) } else { 0 };
        slot.store(second << 32 | (before + tokens as u64), Ordering::Relaxed);
    }

    /// How long the present step has been going on, for whoever watches over the loop. `None` between steps.
    #[must_use]
    pub fn step_running(&self, now: Instant) -> Option<Duration> {
        let began_ms = self.step_began.load(Ordering::Acquire).checked_sub(1)?;
        Some(Duration::from_millis(self.millis(now).saturating_sub(began_ms)))
    }

    fn tokens_per_second(&self, now: Instant) -> f64 {
        const WHOLE: u64 = 10;
        let present = self.millis(now) / 1_000;
        let seconds = self.by_second.iter().map(|slot| slot.load(Ordering::Relaxed));
        let recent = seconds.filter(|slot| (1..=WHOLE).contains(&(present.saturating_sub(slot >> 32))));
        let written: u64 = recent.map(|slot| slot & u64::from(u32::MAX)).sum();
        written as f64 / present.clamp(1, WHOLE) as f64
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began_at).as_millis() as u64
    }

    /// Everything at this moment.
    #[must_use]
    pub fn stats(&self, now: Instant) -> EngineStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EngineStats {
            sequences_taken_in: read(&self.taken_in),
            sequences_finished: read(&self.finished),
            sequences_dropped: read(&self.dropped) + read(&self.dropped_waiting),
            sequences_cancelled: read(&self.cancelled),
            sequences_failed: read(&self.failed),
            sequences_retried: read(&self.retried),
            waiting: read(&self.waiting),
            running: read(&self.running),
            resting: read(&self.resting),
            preemptions: read(&self.preempted),
            rows_held_back: read(&self.held_back),
            rows_given_up: read(&self.rows_given_up),
            prefilled_tokens: read(&self.prefilled_tokens),
            decoded_tokens: read(&self.decoded_tokens),
            written_tokens: read(&self.written_tokens),
            tokens_per_second: self.tokens_per_second(now),
            steps: read(&self.decode_steps),
            computed_entries: read(&self.computed_entries),
            padding_entries: read(&self.padding_entries),
            padding_waste: share(read(&self.padding_entries), read(&self.computed_entries)),
            prefix_hits: read(&self.prefix_hits),
            prefix_positions_saved: read(&self.prefix_positions),
            prefix_positions_kept: read(&self.kept_positions),
            forced_tokens: read(&self.forced_tokens),
            guessed_tokens: read(&self.guessed_tokens),
            guessed_tokens_right: read(&self.guessed_tokens_right),
            kv_blocks_used: read(&self.kv_blocks_used),
            kv_blocks_total: read(&self.kv_blocks_total),
            device: self.device_bytes(),
            first_token_ms: self.first_token_us.in_thousands(),
            inter_token_ms: self.inter_token_us.in_thousands(),
            queue_wait_ms: std::array::from_fn(|priority| self.queue_wait_us[priority].in_thousands()),
            step_ms: self.step_us.in_thousands(),
            batch_rows: self.batch_rows.distribution(),
            step_running_ms: self.step_running(now).map(|running| running.as_millis() as u64),
        }
    }
}

/// A part of a whole, 0 to 1; 0 of nothing.
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Adds to a counter.
pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// Sets a gauge.
pub(super) fn set(gauge: &AtomicU64, value: usize) {
    gauge.store(value as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_whole_seconds() {
        let counters = EngineCounters::default();
        let at = |ms: u64| counters.began_at + Duration::from_millis(ms);
        assert_eq!(counters.tokens_per_second(at(0)), 0.0);
        for second in 0..30 {
            counters.note_written(20, at(second * 1_000));
            counters.note_written(30, at(second * 1_000 + 900));
        }
        assert_eq!(counters.tokens_per_second(at(29_950)), 50.0);
        assert_eq!(counters.tokens_per_second(at(35_500)), 25.0);
        assert_eq!(counters.tokens_per_second(at(90_000)), 0.0);
    }

    #[test]
    fn what_no_step_asked_for_is_padding_and_a_share_of_all_that_was_computed() {
        let counters = EngineCounters::default();
        assert_eq!(counters.stats(counters.began_at).padding_waste, 0.0);
        counters.note_computed(5, 8);
        counters.note_computed(12, 12);
        let stats = counters.stats(counters.began_at);
        assert_eq!((stats.computed_entries, stats.padding_entries, stats.padding_waste), (20, 3, 0.15));
    }

    #[test]
    fn a_watcher_sees_how_long_a_step_goes_on() {
        let counters = EngineCounters::default();
        let at = |ms: u64| counters.began_at + Duration::from_millis(ms);
        assert_eq!(counters.step_running(at(5)), None);
        counters.note_step_begins(at(0));
        assert_eq!(counters.step_running(at(1_500)), Some(Duration::from_millis(1_500)));
        counters.note_step_ends();
        assert_eq!(counters.step_running(at(2_000)), None);
    }
}
