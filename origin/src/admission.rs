//! Who may wait for the device. A request enters with all its sequences or not at all.

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
    /// When sequences left, and how many at once; the oldest first.
    departures: VecDeque<(Instant, usize)>,
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
        state.sequences = present;
        drop(state);
        Ok(Permit { state: Arc::clone(&self.state), sequences })
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
        let recent = |(at, _): &&(Instant, usize)| now.duration_since(*at) <= DEPARTURES_AGE_MAX;
        let mut departures = self.departures.iter().filter(recent).peekable();
        let Some((oldest, _)) = departures.peek().copied().copied() else { return RETRY_AFTER_UNKNOWN_S };
        let left: usize = departures.map(|(_, sequences)| sequences).sum();
        let rate_per_s = left as f64 / now.duration_since(oldest).as_secs_f64().max(0.001);
        let wait_s = (lacking as f64 / rate_per_s).ceil();
        (wait_s as u32).clamp(1, RETRY_AFTER_MAX_S)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.sequences -= self.sequences;
        if state.departures.len() == DEPARTURES_MAX {
            state.departures.pop_front();
        }
        state.departures.push_back((Instant::now(), self.sequences));
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
        let departures = (0..10).map(|second| (at(second), 2)).collect();
        let state = State { sequences: 0, departures };
        assert_eq!(state.retry_after_s(8, at(10)), 4);
        assert_eq!(state.retry_after_s(1, at(10)), 1);
        assert_eq!(state.retry_after_s(100_000, at(10)), RETRY_AFTER_MAX_S);
        assert_eq!(state.retry_after_s(1, at(100)), RETRY_AFTER_UNKNOWN_S);
    }
}
