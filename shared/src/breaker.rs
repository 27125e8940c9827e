//! Leaving a failing service alone: when to stop asking it, how often to ask again, how long to wait before.
//!
//! `now_ms` is milliseconds on any clock that never runs backwards; where it starts does not matter.

mod retry;

pub use retry::{RetryBudget, backoff_ms};

/// When a breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; 0 counts as 1.
    pub failures_to_open: u32,
    /// How long it stays open before one call may try.
    pub open_for_ms: u64,
}

/// A circuit breaker. Closed: calls pass. Open: none does. Half open: one does, and its outcome decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// Raised with every change of state, so that a call from before it decides nothing after it.
    epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until_ms: u64 },
    HalfOpen { is_probed: bool },
}

/// The leave to make one call. Tell its outcome with [`Breaker::succeeded`], [`Breaker::failed`] or, when nothing was
/// learnt, [`Breaker::abandoned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a half open breaker waits for the outcome of the call that it let through"]
pub struct Pass {
    epoch: u64,
}

/// The service is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the breaker is open for another {wait_ms} ms")]
pub struct Open {
    /// Until a call may try; 0 when one is trying now.
    pub wait_ms: u64,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub const fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed { failures: 0 }, epoch: 0 }
    }

    /// May a call be made?
    ///
    /// # Errors
    /// While the breaker is open, and while another call is trying whether it may close.
    pub fn pass(&mut self, now_ms: u64) -> Result<Pass, Open> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until_ms } if now_ms < until_ms => return Err(Open { wait_ms: until_ms - now_ms }),
            State::Open { .. } => self.change(State::HalfOpen { is_probed: true }),
            State::HalfOpen { is_probed: true } => return Err(Open { wait_ms: 0 }),
            State::HalfOpen { is_probed: false } => self.state = State::HalfOpen { is_probed: true },
        }
        Ok(Pass { epoch: self.epoch })
    }

    /// Does every call pass?
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// How long from `now_ms` no call passes; 0 when one may, or is trying already.
    #[must_use]
    pub const fn open_for_ms(&self, now_ms: u64) -> u64 {
        match self.state {
            State::Open { until_ms } => until_ms.saturating_sub(now_ms),
            _ => 0,
        }
    }

    /// The service answered.
    pub fn succeeded(&mut self, pass: Pass) {
        if pass.epoch != self.epoch {
            return;
        }
        match self.state {
            State::Closed { .. } => self.state = State::Closed { failures: 0 },
            State::HalfOpen { .. } => self.change(State::Closed { failures: 0 }),
            State::Open { .. } => {}
        }
    }

    /// The service failed. Says whether that has opened the breaker.
    pub fn failed(&mut self, pass: Pass, now_ms: u64) -> bool {
        if pass.epoch != self.epoch {
            return false;
        }
        let failures = match self.state {
            State::Closed { failures } => failures.saturating_add(1),
            State::HalfOpen { .. } => u32::MAX,
            State::Open { .. } => return false,
        };
        let opens = failures >= self.settings.failures_to_open;
        if opens {
            self.change(State::Open { until_ms: now_ms.saturating_add(self.settings.open_for_ms) });
        } else {
            self.state = State::Closed { failures };
        }
        opens
    }

    /// The call ended without saying anything about the service: its caller left, or had too little time.
    pub fn abandoned(&mut self, pass: Pass) {
        if pass.epoch == self.epoch && matches!(self.state, State::HalfOpen { .. }) {
            self.state = State::HalfOpen { is_probed: false };
        }
    }

    const fn change(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: BreakerSettings = BreakerSettings { failures_to_open: 3, open_for_ms: 100 };

    fn fail(breaker: &mut Breaker, times: u32, now_ms: u64) {
        for _ in 0..times {
            let pass = breaker.pass(now_ms).unwrap();
            breaker.failed(pass, now_ms);
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::new(SETTINGS);
        fail(&mut breaker, 2, 0);
        let pass = breaker.pass(0).unwrap();
        breaker.succeeded(pass);
        fail(&mut breaker, 2, 0);
        let pass = breaker.pass(5).unwrap();
        assert!(breaker.failed(pass, 5), "the third in a row");
        assert_eq!(breaker.pass(6), Err(Open { wait_ms: 99 }));
        assert_eq!(breaker.open_for_ms(6), 99);
    }

    #[test]
    fn after_its_time_one_call_tries_and_decides_for_all() {
        let mut breaker = Breaker::new(SETTINGS);
        fail(&mut breaker, 3, 0);
        let probe = breaker.pass(100).unwrap();
        assert_eq!(breaker.pass(100), Err(Open { wait_ms: 0 }), "one at a time");
        assert!(breaker.failed(probe, 110), "a failed try opens it again at once");
        assert_eq!(breaker.pass(209), Err(Open { wait_ms: 1 }));
        let probe = breaker.pass(210).unwrap();
        breaker.succeeded(probe);
        assert!(breaker.pass(210).is_ok() && breaker.pass(210).is_ok());
    }

    #[test]
    fn a_try_that_learnt_nothing_leaves_its_place_to_the_next() {
        let mut breaker = Breaker::new(SETTINGS);
        fail(&mut breaker, 3, 0);
        let probe = breaker.pass(100).unwrap();
        breaker.abandoned(probe);
        assert!(breaker.pass(100).is_ok());
        assert!(breaker.pass(100).is_err());
    }

    #[test]
    fn a_call_from_before_a_change_decides_nothing_after_it() {
        let mut breaker = Breaker::new(SETTINGS);
        let (early, other) = (breaker.pass(0).unwrap(), breaker.pass(0).unwrap());
        fail(&mut breaker, 3, 0);
        breaker.succeeded(early);
        assert!(breaker.pass(50).is_err(), "a late success does not close an open breaker");
        let probe = breaker.pass(100).unwrap();
        assert!(!breaker.failed(other, 100), "a late failure is not the try's");
        breaker.succeeded(probe);
        assert!(breaker.pass(100).is_ok());
    }

    /// What may happen to a breaker.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Call,
        Succeed(usize),
        Fail(usize),
        Abandon(usize),
        Wait(u64),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => Just(Event::Call),
            1 => (0usize..8).prop_map(Event::Succeed),
            3 => (0usize..8).prop_map(Event::Fail),
            1 => (0usize..8).prop_map(Event::Abandon),
            2 => (0u64..80).prop_map(Event::Wait),
        ]
    }

    proptest! {
        #[test]
        fn it_lets_nothing_through_for_its_time_after_opening_and_never_stays_shut(
            events in prop::collection::vec(any_event(), 0..120), failures_to_open in 0u32..5,
        ) {
            let mut breaker = Breaker::new(BreakerSettings { failures_to_open, ..SETTINGS });
            let (mut now_ms, mut opened_ms, mut running) = (0, None, Vec::<Pass>::new());
            for event in events {
                let nth = |index: usize, running: &[Pass]| (!running.is_empty()).then(|| index % running.len());
                match event {
                    Event::Wait(ms) => now_ms += ms,
                    Event::Call => match breaker.pass(now_ms) {
                        Ok(pass) => {
                            let is_shut = opened_ms.is_some_and(|at| now_ms < at + SETTINGS.open_for_ms);
                            prop_assert!(!is_shut, "a call at {now_ms} passed, it opened at {opened_ms:?}");
                            running.push(pass);
                        }
                        Err(open) => prop_assert!(open.wait_ms <= SETTINGS.open_for_ms),
                    },
                    Event::Succeed(index) => if let Some(nth) = nth(index, &running) {
                        breaker.succeeded(running.swap_remove(nth));
                    },
                    Event::Fail(index) => if let Some(nth) = nth(index, &running)
                        && breaker.failed(running.swap_remove(nth), now_ms)
                    {
                        opened_ms = Some(now_ms);
                    },
                    Event::Abandon(index) => if let Some(nth) = nth(index, &running) {
                        breaker.abandoned(running.swap_remove(nth));
                    },
                }
            }
            // Whatever happened: once all calls have ended and its time is over, a call passes and can close it.
            running.into_iter().for_each(|pass| breaker.abandoned(pass));
            now_ms += SETTINGS.open_for_ms;
            let probe = breaker.pass(now_ms);
            prop_assert!(probe.is_ok());
            breaker.succeeded(probe.unwrap());
            prop_assert!(breaker.pass(now_ms).is_ok() && breaker.pass(now_ms).is_ok());
        }
    }
}
