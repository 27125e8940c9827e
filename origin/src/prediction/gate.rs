//! Whether guessing pays: open while enough of what was made is used, closed for a while when not, then tried again with a
//! small budget.

use std::collections::VecDeque;

use lede_shared::clock::UnixMillis;
use serde::Serialize;

/// Outcomes by which it is judged.
const WINDOW: usize = 64;
/// With fewer outcomes nothing is concluded.
const OUTCOMES_MIN: usize = 20;
/// Guesses whose outcome is not known yet: more are not made before it is. So a source that has turned bad costs no more
/// than this before it is noticed.
const PENDING_MAX: u32 = 64;
/// Guesses of a trial.
const TRIAL_GUESSES: u32 = 8;
/// How long it stays closed first; twice as long after each trial that failed.
const CLOSED_MS: u64 = 3_600_000;
const CLOSED_MS_MAX: u64 = 24 * 3_600_000;

/// What may be made of one source's predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// They are worth making.
    Open,
    /// Too few were used; none is made.
    Closed,
    /// A few are made, to see whether they are worth it again.
    Trial,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Closed { until: UnixMillis },
    Trial { left: u32, used: u32, judged: u32 },
}

/// The gate of one source.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    used_share_min: f64,
    state: State,
    /// The latest last.
    outcomes: VecDeque<bool>,
    pending: u32,
    closed_ms: u64,
    /// Raised with each trial: what was made before it says nothing about it.
    round: u32,
}

impl Gate {
    pub(super) const fn new(used_share_min: f64) -> Self {
        let outcomes = VecDeque::new();
        Self { used_share_min, state: State::Open, outcomes, pending: 0, closed_ms: CLOSED_MS, round: 0 }
    }

    pub(super) const fn state(&self) -> GateState {
        match self.state {
            State::Open => GateState::Open,
            State::Closed { .. } => GateState::Closed,
            State::Trial { .. } => GateState::Trial,
        }
    }

    /// May one more be made? Begins a trial when it is time for one.
    pub(super) fn may_make(&mut self, now: UnixMillis) -> bool {
        match self.state {
            State::Open => self.pending < PENDING_MAX,
            State::Closed { until } if now < until => false,
            State::Closed { .. } => {
                self.round += 1;
                self.state = State::Trial { left: TRIAL_GUESSES, used: 0, judged: 0 };
                true
            }
            State::Trial { left, .. } => left > 0,
        }
    }

    /// One is made. Returns what to name with its outcome.
    pub(super) const fn made(&mut self) -> u32 {
        self.pending += 1;
        if let State::Trial { left, .. } = &mut self.state {
            *left = left.saturating_sub(1);
        }
        self.round
    }

    /// The outcome of one of `round`.
    pub(super) fn judged(&mut self, round: u32, was_used: bool, now: UnixMillis) {
        self.pending = self.pending.saturating_sub(1);
        if self.outcomes.len() == WINDOW {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back(was_used);
        match self.state {
            State::Open if self.outcomes.len() >= OUTCOMES_MIN && !self.pays() => self.close(now),
            State::Trial { left, used, judged } if round == self.round => {
                let (used, judged) = (used + u32::from(was_used), judged + 1);
                self.state = State::Trial { left, used, judged };
                if judged == TRIAL_GUESSES {
                    self.end_trial(f64::from(used) / f64::from(judged), now);
                }
            }
            _ => {}
        }
    }

    /// One that counted as unused was used after all, late but in time. May open a gate that was closed too soon.
    pub(super) fn used_late(&mut self) {
        if let Some(outcome) = self.outcomes.iter_mut().find(|was_used| !**was_used) {
            *outcome = true;
        }
        if matches!(self.state, State::Closed { .. }) && self.pays() {
            self.state = State::Open;
        }
    }

    fn pays(&self) -> bool {
        let used = self.outcomes.iter().filter(|was_used| **was_used).count();
        used as f64 >= self.used_share_min * self.outcomes.len() as f64
    }

    fn end_trial(&mut self, used_share: f64, now: UnixMillis) {
        if used_share >= self.used_share_min {
            self.outcomes.clear();
            self.closed_ms = CLOSED_MS;
            self.state = State::Open;
        } else {
            self.closed_ms = (self.closed_ms * 2).min(CLOSED_MS_MAX);
            self.close(now);
        }
    }

    fn close(&mut self, now: UnixMillis) {
        self.state = State::Closed { until: now.plus(self.closed_ms) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHARE: f64 = 0.3;
    const T0: UnixMillis = UnixMillis(0);

    fn judge(gate: &mut Gate, outcomes: impl IntoIterator<Item = bool>, now: UnixMillis) {
        for was_used in outcomes {
            let round = gate.made();
            gate.judged(round, was_used, now);
        }
    }

    #[test]
    fn it_closes_when_too_little_is_used_and_not_before_there_is_enough_to_judge_by() {
        let mut gate = Gate::new(SHARE);
        judge(&mut gate, [false; OUTCOMES_MIN - 1], T0);
        assert!(gate.may_make(T0));
        judge(&mut gate, [false], T0);
        assert!(!gate.may_make(T0));
        assert_eq!(gate.state(), GateState::Closed);
    }

    #[test]
    fn a_trial_is_small_and_decides_whether_it_opens_again() {
        let mut gate = Gate::new(SHARE);
        judge(&mut gate, [false; OUTCOMES_MIN], T0);
        for (later_ms, outcome, expected) in
            [(CLOSED_MS, false, GateState::Closed), (3 * CLOSED_MS, true, GateState::Open)]
        {
            let later = UnixMillis(later_ms);
            let mut rounds = Vec::new();
            while gate.may_make(later) {
                rounds.push(gate.made());
            }
            assert_eq!(rounds.len(), TRIAL_GUESSES as usize);
            rounds.into_iter().for_each(|round| gate.judged(round, outcome, later));
            assert_eq!(gate.state(), expected);
        }
    }

    #[test]
    fn what_is_used_late_opens_a_gate_that_was_closed_too_soon() {
        let mut gate = Gate::new(SHARE);
        judge(&mut gate, [false; OUTCOMES_MIN], T0);
        (0..6).for_each(|_| gate.used_late());
        assert_eq!(gate.state(), GateState::Open);
    }

    proptest! {
        #[test]
        fn guesses_that_are_never_used_cost_a_bounded_number_and_ever_fewer(days in 1u64..40) {
            let mut gate = Gate::new(SHARE);
            let mut made = 0;
            for minute in 0..days * 24 * 60 {
                let now = UnixMillis(minute * 60_000);
                if gate.may_make(now) {
                    let round = gate.made();
                    made += 1;
                    gate.judged(round, false, now);
                }
            }
            // 1 + 2 + 4 + 8 + 16 hours, then one trial a day.
            prop_assert!(made <= OUTCOMES_MIN as u64 + u64::from(TRIAL_GUESSES) * (5 + days), "{made}");
        }

        #[test]
        fn a_gate_whose_guesses_are_used_often_enough_stays_open(
            outcomes in prop::collection::vec(any::<bool>(), OUTCOMES_MIN..300),
        ) {
            let mut gate = Gate::new(SHARE);
            // Every other one at least.
            let outcomes: Vec<bool> = outcomes.into_iter().flat_map(|outcome| [true, outcome]).collect();
            judge(&mut gate, outcomes, T0);
            prop_assert_eq!(gate.state(), GateState::Open);
        }
    }
}
