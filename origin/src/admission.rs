//! Who may wait for the device. A request enters with all its sequences or not at all, and who could not be served in time
//! is told so at the door.
//!
//! Four priorities: places are reserved for those who are more urgent (trunk reservation, as telephone exchanges do it),
//! and a wait counts only work that is at least as urgent. Work that nobody waits for enters behind all others: it takes
//! nobody's place and counts for nobody's wait.

mod drain;
mod stats;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lede_shared::plan::Priority;

use self::drain::Drain;
use self::stats::Counts;
pub use self::stats::{AdmissionStats, ByEndpoint, ByPriority, Refusals};

/// What a refused caller is told while it is not known how fast places become free.
const RETRY_AFTER_UNKNOWN_S: u32 = 5;
/// The longest wait that a refused caller is told.
const RETRY_AFTER_MAX_S: u32 = 60;
/// Of the places, in sixteenths, how many may be taken before one of a priority enters no more: low, normal, high,
/// critical. The rest are for those who are more urgent.
const PLACES_SIXTEENTHS: [usize; PRIORITIES] = [8, 14, 15, 16];
/// Priorities there are, the least urgent first.
const PRIORITIES: usize = 4;
/// Endpoints there are.
const ENDPOINTS: usize = 3;

/// How a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Endpoint {
    /// Alone, for one answer.
    #[default]
    Generate,
    /// Among others in a batch.
    Batch,
    /// Alone, to be told as it is written.
    Stream,
}

/// How many may be inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Sequences, waiting and running together.
    pub sequences_max: usize,
    /// Sequences of the largest request: so many may enter an empty house, whatever their priority.
    pub request_sequences_max: usize,
    /// Sequences that run at once.
    pub rows: usize,
    /// Requests of each endpoint.
    pub requests_max: ByEndpoint<usize>,
}

/// Who wants to enter.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    /// With how many sequences.
    pub sequences: usize,
    /// How urgent it is.
    pub priority: Priority,
    /// How it came.
    pub endpoint: Endpoint,
    /// When nobody waits for it any more.
    pub deadline: Instant,
}

/// The door to the engine.
#[derive(Clone, Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    drain: Drain,
    /// Sequences inside, by priority.
    sequences: [usize; PRIORITIES],
    /// Requests inside, by endpoint.
    requests: [usize; ENDPOINTS],
    counts: Counts,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All places are taken that there are for this priority.
    Full,
    /// As many as may have come by this endpoint.
    EndpointFull,
    /// Who is inside already takes longer than there is time.
    TooLate,
}

/// Not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no place ({reason:?}); one is expected in {retry_after_s} s")]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// When a place is expected that would do, from the rate at which sequences now leave.
    pub retry_after_s: u32,
}

/// A request's places; dropping it gives them back.
#[derive(Debug)]
pub struct Permit {
    state: Arc<Mutex<State>>,
    entrance: Option<Entrance>,
}

impl Admission {
    /// A door with these limits.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Self {
        let state = State {
            drain: Drain::new(limits.rows),
            sequences: [0; PRIORITIES],
            requests: [0; ENDPOINTS],
            counts: Counts::default(),
        };
        Self { limits, state: Arc::new(Mutex::new(state)) }
    }

    /// Places for a request.
    ///
    /// # Errors
    /// When there are none for it, or none in time.
    pub fn enter(&self, entrance: Entrance) -> Result<Permit, Refused> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let entered = state.check(&self.limits, &entrance, now);
        state.counts.note(&entrance, entered.err().map(|refused| refused.reason));
        entered?;
        state.drain.enter(entrance.sequences, now);
        state.sequences[entrance.priority as usize] += entrance.sequences;
        state.requests[entrance.endpoint as usize] += 1;
        drop(state);
        Ok(Permit { state: Arc::clone(&self.state), entrance: Some(entrance) })
    }

    /// Leave for work that nobody waits for. Whoever brings such work sees to it that there is little at once.
    #[must_use]
    pub fn enter_behind(&self) -> Permit {
        Permit { state: Arc::clone(&self.state), entrance: None }
    }

    /// Is nobody inside who is waited for?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sequences() == 0
    }

    /// How long `sequences` more of this priority would take to be through, behind all that are at least as urgent, at the
    /// rate at which sequences left lately while the device was at work. Where too few have left to tell a rate, at least
    /// as long as the device has been at work without. `None` when nobody has been inside lately, so that nothing can be
    /// said.
    #[must_use]
    pub fn expected_wait(&self, sequences: usize, priority: Priority) -> Option<Duration> {
        let state = lock(&self.state);
        state.drain.expected_wait(state.ahead_of(priority) + sequences, Instant::now())
    }

    /// Sequences that are inside.
    #[must_use]
    pub fn sequences(&self) -> usize {
        lock(&self.state).sequences.iter().sum()
    }

    /// Who is inside, who was let in and who was not.
    #[must_use]
    pub fn stats(&self) -> AdmissionStats {
        let state = lock(&self.state);
        let rate_per_s = state.drain.rate_per_s(Instant::now());
        AdmissionStats::of(state.sequences, state.requests, &state.counts, rate_per_s)
    }
}

impl AdmissionLimits {
    /// How many places may be taken, by whomever, when one of this priority has entered.
    fn places(&self, priority: Priority) -> usize {
        let share = self.sequences_max * PLACES_SIXTEENTHS[priority as usize] / 16;
        share.max(self.request_sequences_max).min(self.sequences_max)
    }
}

impl State {
    fn check(&self, limits: &AdmissionLimits, entrance: &Entrance, now: Instant) -> Result<(), Refused> {
        let Entrance { sequences, priority, endpoint, deadline } = *entrance;
        if self.requests[endpoint as usize] >= limits.requests_max.of(endpoint) {
            return Err(Refused { reason: Reason::EndpointFull, retry_after_s: self.retry_after_s(1, now) });
        }
        let present: usize = self.sequences.iter().sum::<usize>() + sequences;
        let places = limits.places(priority);
        if present > places {
            return Err(Refused {
                reason: Reason::Full,
                retry_after_s: self.retry_after_s(present - places, now),
            });
        }
        let ahead = self.ahead_of(priority);
        if ahead == 0 {
            // Nobody is in the way, so what is known may be of harder times: there is no better way to learn.
            return Ok(());
        }
        let left = deadline.saturating_duration_since(now);
        let wait = self.drain.expected_wait(ahead + sequences, now).unwrap_or_default();
        if wait > left {
            return Err(Refused { reason: Reason::TooLate, retry_after_s: in_seconds(wait - left) });
        }
        Ok(())
    }

    /// Sequences that are at least as urgent.
    fn ahead_of(&self, priority: Priority) -> usize {
        self.sequences[priority as usize..].iter().sum()
    }

    /// Seconds until `lacking` places are free at the present rate, rounded up.
    fn retry_after_s(&self, lacking: usize, now: Instant) -> u32 {
        let Some(rate_per_s) = self.drain.rate_per_s(now) else { return RETRY_AFTER_UNKNOWN_S };
        in_seconds(Duration::try_from_secs_f64(lacking as f64 / rate_per_s).unwrap_or(Duration::MAX))
    }

    fn leave(&mut self, entrance: &Entrance, now: Instant) {
        if now < entrance.deadline {
            self.drain.leave(entrance.sequences, now);
        } else {
            self.drain.leave_unserved(entrance.sequences, now);
        }
        self.sequences[entrance.priority as usize] -= entrance.sequences;
        self.requests[entrance.endpoint as usize] -= 1;
    }
}

/// As a refused caller is told.
fn in_seconds(wait: Duration) -> u32 {
    let whole_s = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    u32::try_from(whole_s).unwrap_or(RETRY_AFTER_MAX_S).clamp(1, RETRY_AFTER_MAX_S)
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(entrance) = &self.entrance {
            lock(&self.state).leave(entrance, Instant::now());
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Every change under the lock is complete in itself, so a poisoned state is still a good one.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
