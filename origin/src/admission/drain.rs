//! How fast sequences leave, and how long those who come will therefore wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Departures from which the rate is computed.
const DEPARTURES_MAX: usize = 64;
/// Departures older than this say nothing about now.
const DEPARTURES_AGE_MAX: Duration = Duration::from_secs(30);

/// Who is inside, and who left when.
#[derive(Debug)]
pub(super) struct Drain {
    /// Sequences that run at once.
    rows: usize,
    inside: usize,
    /// As of the last time that somebody came or went.
    clocks: Clocks,
    settled_at: Option<Instant>,
    /// The oldest first.
    departures: VecDeque<Departure>,
}

/// Time in which there was something to do.
#[derive(Clone, Copy, Debug, Default)]
struct Clocks {
    /// In which anybody was inside.
    busy: Duration,
    /// The same, as time of a full device: with half of the rows taken it runs at half the speed. A device that serves few
    /// is not a slow one.
    work: Duration,
}

/// Sequences that left at once.
#[derive(Clone, Copy, Debug)]
struct Departure {
    at: Instant,
    /// Of these, those that were served.
    sequences: usize,
    /// How long somebody had been inside, in all, when those before them left.
    began: Duration,
    /// When these left.
    clocks: Clocks,
}

/// What the latest departures say.
#[derive(Clone, Copy, Debug)]
struct Rate {
    sequences: f64,
    within: Clocks,
}

impl Drain {
    pub(super) const fn new(rows: usize) -> Self {
        let clocks = Clocks { busy: Duration::ZERO, work: Duration::ZERO };
        Self { rows, inside: 0, clocks, settled_at: None, departures: VecDeque::new() }
    }

    pub(super) fn enter(&mut self, sequences: usize, now: Instant) {
        self.settle(now);
        self.inside += sequences;
    }

    pub(super) fn leave(&mut self, sequences: usize, now: Instant) {
        self.depart(sequences, sequences, now);
    }

    /// They leave because their time has passed. That makes room, and says nothing of how many can be served.
    pub(super) fn leave_unserved(&mut self, sequences: usize, now: Instant) {
        self.depart(sequences, 0, now);
    }

    fn depart(&mut self, leaving: usize, sequences: usize, now: Instant) {
        self.settle(now);
        self.inside -= leaving;
        let began = self.departures.back().map_or(Duration::ZERO, |last| last.clocks.busy);
        if self.departures.len() == DEPARTURES_MAX {
            self.departures.pop_front();
        }
        self.departures.push_back(Departure { at: now, sequences, began, clocks: self.clocks });
    }

    /// How long `sequences`, all that are ahead included, take to leave.
    pub(super) fn expected_wait(&self, sequences: usize, now: Instant) -> Option<Duration> {
        if let Some(rate) = self.rate(now) {
            // The first to leave takes as long as it takes, however empty the device is.
            let first = rate.within.busy.div_f64(rate.sequences);
            return Some(rate.within.work.mul_f64(sequences as f64 / rate.sequences).max(first));
        }
        // No two have left, so no rate is known. What has not happened for a while is to be expected no sooner than after
        // about as long again.
        let only = self.recent(now).next().map(|only| only.began);
        let since = only.or_else(|| self.departures.back().map(|last| last.clocks.busy));
        let busy = self.clocks_at(now).busy.saturating_sub(since.unwrap_or_default());
        (!busy.is_zero()).then_some(busy)
    }

    /// Sequences a second that leave a device that is full; none when too few have left lately.
    pub(super) fn rate_per_s(&self, now: Instant) -> Option<f64> {
        let rate = self.rate(now)?;
        Some(rate.sequences / rate.within.work.as_secs_f64().max(0.001))
    }

    fn rate(&self, now: Instant) -> Option<Rate> {
        let mut departures = self.recent(now);
        // The oldest began the time that is counted: it may have been inside for long before, with many others.
        let oldest = departures.next()?;
        let left: usize = departures.map(|departure| departure.sequences).sum();
        let clocks = self.clocks_at(now);
        let within = Clocks {
            busy: clocks.busy.saturating_sub(oldest.clocks.busy),
            work: clocks.work.saturating_sub(oldest.clocks.work),
        };
        (left > 0).then_some(Rate { sequences: left as f64, within })
    }

    fn recent(&self, now: Instant) -> impl Iterator<Item = &Departure> {
        self.departures.iter().filter(move |departure| now.duration_since(departure.at) <= DEPARTURES_AGE_MAX)
    }

    fn settle(&mut self, now: Instant) {
        self.clocks = self.clocks_at(now);
        self.settled_at = Some(now);
    }

    fn clocks_at(&self, now: Instant) -> Clocks {
        let since = self.settled_at.filter(|_| self.inside > 0);
        let passed = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let share = self.inside.min(self.rows) as f64 / self.rows.max(1) as f64;
        Clocks { busy: self.clocks.busy + passed, work: self.clocks.work + passed.mul_f64(share) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn the_rate_is_that_of_the_latest_departures() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut drain = Drain::new(4);
        drain.enter(30, at(0));
        (1..=10).for_each(|second| drain.leave(2, at(second)));
        assert_eq!(drain.rate_per_s(at(10)), Some(2.0));
        assert_eq!(drain.expected_wait(10, at(10)), seconds(5));
        assert_eq!(drain.rate_per_s(at(100)), None);
    }

    #[test]
    fn an_expected_wait_counts_only_the_time_in_which_the_device_had_work() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut drain = Drain::new(1);
        assert_eq!(drain.expected_wait(1, at(0)), None, "nothing is known yet");
        // One at a time, each for a second, and nine seconds of nothing between them.
        for turn in [0, 10, 20] {
            drain.enter(1, at(turn));
            drain.leave(1, at(turn + 1));
        }
        assert_eq!(drain.expected_wait(4, at(22)), seconds(4));
        assert_eq!(drain.expected_wait(1, at(100)), None, "that is too long ago");
    }

    #[test]
    fn a_device_that_has_served_one_at_a_time_is_not_taken_for_a_slow_one() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut drain = Drain::new(8);
        for turn in 0..10 {
            drain.enter(1, at(turn));
            drain.leave(1, at(turn + 1));
        }
        assert_eq!(drain.expected_wait(1, at(10)), seconds(1), "one takes as long as it takes");
        assert_eq!(drain.expected_wait(48, at(10)), seconds(6), "and eight at once no longer");
    }

    #[test]
    fn while_nobody_has_left_a_wait_is_at_least_as_long_as_the_device_has_been_at_work() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut drain = Drain::new(1);
        drain.enter(6, start);
        assert_eq!(drain.expected_wait(7, at(3)), seconds(3));
        assert_eq!(drain.expected_wait(7, at(100)), seconds(100), "however long that is");
        drain.leave(1, at(100));
        assert_eq!(drain.expected_wait(7, at(101)), seconds(101), "one alone tells no rate");
        drain.leave(1, at(104));
        assert_eq!(drain.expected_wait(7, at(104)), seconds(28), "two do");
        assert_eq!(drain.expected_wait(7, at(200)), seconds(96), "and neither is known any more");
        drain.leave(4, at(200));
        assert_eq!(drain.expected_wait(1, at(300)), None, "nobody is inside");
    }

    #[test]
    fn those_whose_time_has_passed_do_not_count_as_served() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut drain = Drain::new(1);
        drain.enter(30, start);
        for second in 1..=10 {
            drain.leave(1, at(second));
            drain.leave_unserved(1, at(second));
        }
        assert_eq!(drain.expected_wait(10, at(10)), seconds(10), "one a second, not two");
        drain.leave_unserved(10, at(50));
        assert_eq!(drain.rate_per_s(at(50)), None, "nobody was served for long");
    }

    proptest! {
        #[test]
        fn more_work_never_waits_for_less_time(
            comings in prop::collection::vec((0u64..5_000, 1usize..9), 1..40), rows in 1usize..9, more in 0usize..50,
        ) {
            let mut now = Instant::now();
            let (mut drain, mut inside) = (Drain::new(rows), 0);
            for (pause_ms, sequences) in comings {
                now += Duration::from_millis(pause_ms);
                if inside >= sequences && pause_ms % 2 == 0 {
                    drain.leave(sequences, now);
                    inside -= sequences;
                } else {
                    drain.enter(sequences, now);
                    inside += sequences;
                }
                let wait = |sequences| drain.expected_wait(sequences, now);
                prop_assert!(wait(inside + 1 + more) >= wait(inside + 1));
            }
        }
    }
}
