//! Who may wait for the device. A request enters with all its sequences or not at all.
//!
//! Work that nobody waits for enters behind all others: it takes nobody's place and counts for nobody's wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Departures from which the drain rate is computed.
const DEPARTURES_MAX: usize = 64;
/// Departures older than this say nothing about now.
const DEPARTURES_AGE_MAX: Duration = Duration::from_secs(30);
/// What a refused caller is told while nothing has left yet.
const RETRY_AFTER_UNKNOWN_S: u32 = 5;
/// The longest wait that a refused caller is told.
const RETRY_AFTER_MAX_S: u32 = 60;

/// The door to the engine.
#[derive(Clone, Debug)]
pub struct Admission {
    sequences_max: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    sequences: usize,
    /// The oldest first.
    departures: VecDeque<Departure>,
    /// How long somebody was inside, until the last time that nobody was.
    busy: Duration,
    /// Since when somebody is.
    busy_since: Option<Instant>,
}

/// Sequences that left at once.
#[derive(Clone, Copy, Debug)]
struct Departure {
    at: Instant,
    sequences: usize,
    /// How long somebody had been inside, in all, when those before them left.
    began: Duration,
    /// The same when these left.
    busy: Duration,
}

/// Everything is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all places are taken; one is expected in {retry_after_s} s")]
pub struct Refused {
    /// When a place is expected, from the rate at which sequences now leave.
    pub retry_after_s: u32,
}

/// A request's places; dropping it gives them back.
#[derive(Debug)]
pub struct Permit {
    state: Arc<Mutex<State>>,
    sequences: usize,
}

impl Admission {
    /// A door for at most `sequences_max` sequences, waiting and running together.
    #[must_use]
    pub fn new(sequences_max: usize) -> Self {
        Self { sequences_max, state: Arc::default() }
    }

    /// Places for `sequences` sequences.
    ///
    /// # Errors
    /// When there are not that many left.
    pub fn enter(&self, sequences: usize) -> Result<Permit, Refused> {
        let mut state = lock(&self.state);
        let present = state.sequences + sequences;
        if present > self.sequences_max {
            let lacking = present - self.sequences_max;
            return Err(Refused { retry_after_s: state.retry_after_s(lacking, Instant::now()) });
        }
        if state.sequences == 0 {
            state.busy_since = Some(Instant::now());
        }
        state.sequences = present;
        drop(state);
        Ok(Permit { state: Arc::clone(&self.state), sequences })
    }

    /// Leave for work that nobody waits for. Whoever brings such work sees to it that there is little at once.
    #[must_use]
    pub fn enter_behind(&self) -> Permit {
        Permit { state: Arc::clone(&self.state), sequences: 0 }
    }

    /// Is nobody inside who is waited for?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sequences() == 0
    }

    /// How long `sequences` more would take to be through, at the rate at which sequences left lately while the device was
    /// at work. Where too few have left to tell a rate, at least as long as the device has been at work without. `None`
    /// when nobody has been inside lately, so that nothing can be said.
    #[must_use]
    pub fn expected_wait(&self, sequences: usize) -> Option<Duration> {
        let now = Instant::now();
        let state = lock(&self.state);
        state.expected_wait(state.sequences + sequences, now)
    }

    /// Sequences that are inside.
    #[must_use]
    pub fn sequences(&self) -> usize {
        lock(&self.state).sequences
    }
}

impl State {
    /// Seconds until `lacking` places are free at the rate of the latest departures, rounded up.
    fn retry_after_s(&self, lacking: usize, now: Instant) -> u32 {
        let mut departures = self.recent(now).peekable();
        let Some(oldest) = departures.peek().map(|departure| departure.at) else { return RETRY_AFTER_UNKNOWN_S };
        let left: usize = departures.map(|departure| departure.sequences).sum();
        let rate_per_s = left as f64 / now.duration_since(oldest).as_secs_f64().max(0.001);
        let wait_s = (lacking as f64 / rate_per_s).ceil();
        (wait_s as u32).clamp(1, RETRY_AFTER_MAX_S)
    }

    /// How long `sequences` take to leave. The rate counts only the time in which there was anybody who could leave.
    fn expected_wait(&self, sequences: usize, now: Instant) -> Option<Duration> {
        let mut departures = self.recent(now);
        let oldest = departures.next();
        // The oldest began the time that is counted: it may have been inside for long before, with many others.
        let left: usize = departures.map(|departure| departure.sequences).sum();
        if let Some(oldest) = oldest.filter(|_| left > 0) {
            let busy = self.busy_until(now).saturating_sub(oldest.busy);
            return Some(busy.mul_f64(sequences as f64 / left as f64));
        }
        // No two have left, so no rate is known. What has not happened for a while is to be expected no sooner than after
        // about as long again.
        let since =
            oldest.map_or_else(|| self.departures.back().map(|last| last.busy), |oldest| Some(oldest.began));
        let busy = self.busy_until(now).saturating_sub(since.unwrap_or_default());
        (!busy.is_zero()).then_some(busy)
    }

    fn recent(&self, now: Instant) -> impl Iterator<Item = &Departure> {
        self.departures.iter().filter(move |departure| now.duration_since(departure.at) <= DEPARTURES_AGE_MAX)
    }

    fn busy_until(&self, now: Instant) -> Duration {
        self.busy + self.busy_since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    fn leave(&mut self, sequences: usize, now: Instant) {
        let busy = self.busy_until(now);
        self.sequences -= sequences;
        if self.sequences == 0 {
            (self.busy, self.busy_since) = (busy, None);
        }
        let began = self.departures.back().map_or(Duration::ZERO, |last| last.busy);
        if self.departures.len() == DEPARTURES_MAX {
            self.departures.pop_front();
        }
        self.departures.push_back(Departure { at: now, sequences, began, busy });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.sequences > 0 {
            lock(&self.state).leave(self.sequences, Instant::now());
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Every change under the lock is complete in itself, so a poisoned state is still a good one.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_refuses_and_a_departure_makes_room() {
        let admission = Admission::new(3);
        let two = admission.enter(2).unwrap();
        let _one = admission.enter(1).unwrap();
        assert_eq!(admission.enter(1).unwrap_err().retry_after_s, RETRY_AFTER_UNKNOWN_S);
        drop(two);
        assert!(admission.enter(3).is_err());
        assert!(admission.enter(2).is_ok());
    }

    #[test]
    fn the_wait_follows_the_rate_at_which_sequences_leave() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        // Two a second for ten seconds.
        let departure = |second: u64| {
            let (began, busy) = (Duration::from_secs(second.saturating_sub(1)), Duration::from_secs(second));
            Departure { at: at(second), sequences: 2, began, busy }
        };
        let state = State { departures: (0..10).map(departure).collect(), ..State::default() };
        assert_eq!(state.retry_after_s(8, at(10)), 4);
        assert_eq!(state.retry_after_s(1, at(10)), 1);
        assert_eq!(state.retry_after_s(100_000, at(10)), RETRY_AFTER_MAX_S);
        assert_eq!(state.retry_after_s(1, at(100)), RETRY_AFTER_UNKNOWN_S);
    }

    #[test]
    fn an_expected_wait_counts_only_the_time_in_which_the_device_had_work() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut state = State::default();
        assert_eq!(state.expected_wait(1, at(0)), None, "nothing is known yet");
        // One at a time, each for a second, and nine seconds of nothing between them.
        for turn in [0, 10, 20] {
            (state.sequences, state.busy_since) = (1, Some(at(turn)));
            state.leave(1, at(turn + 1));
        }
        assert_eq!(state.expected_wait(4, at(22)), Some(Duration::from_secs(4)));
        assert_eq!(state.expected_wait(1, at(100)), None, "that is too long ago");
    }

    #[test]
    fn while_nobody_has_left_a_wait_is_at_least_as_long_as_the_device_has_been_at_work() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let mut state = State { sequences: 6, busy_since: Some(start), ..State::default() };
        assert_eq!(state.expected_wait(7, at(3)), seconds(3));
        assert_eq!(state.expected_wait(7, at(100)), seconds(100), "however long that is");
        state.leave(1, at(100));
        assert_eq!(state.expected_wait(7, at(101)), seconds(101), "one alone tells no rate");
        state.leave(1, at(104));
        assert_eq!(state.expected_wait(7, at(104)), seconds(28), "two do");
        assert_eq!(state.expected_wait(7, at(200)), seconds(96), "and neither is known any more");
        state.leave(4, at(200));
        assert_eq!(state.expected_wait(1, at(300)), None, "nobody is inside");
    }

    #[test]
    fn what_nobody_waits_for_takes_nobody_s_place() {
        let admission = Admission::new(1);
        let behind = admission.enter_behind();
        assert!(admission.is_idle());
        let _one = admission.enter(1).unwrap();
        drop(behind);
        assert!(!admission.is_idle());
    }
}
