//! What is opened after a device has failed, and when. Pure: no device, no thread, no clock.

use std::time::Duration;

/// How patient the supervision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurvivalLimits {
    /// A call of the device that takes longer makes the engine say that it is not ready.
    pub call_stalled: Duration,
    /// A call that takes longer is not waited for any more: its thread is abandoned.
    pub call_max: Duration,
    /// Opening a backend may take so long.
    pub open_max: Duration,
    /// Most times that a backend is opened again before the next one of the chain takes its place.
    pub reopenings_max: u32,
    /// Most threads that are abandoned; with more the engine gives up.
    pub abandoned_max: u32,
    /// While another one of the chain serves, the first is tried again this often.
    pub return_after: Duration,
}

/// A backend that has run for so long is well: what was before does not count any more.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// The second time that a backend is opened again it is waited for so long, and twice as long each time after that. The
/// first time it is not: a lost device mostly comes back at once.
const BACKOFF: Duration = Duration::from_millis(500);
/// And never longer.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// When nothing of the chain has worked, all of it is tried again this often.
const REST: Duration = Duration::from_secs(60);

impl Default for SurvivalLimits {
    fn default() -> Self {
        Self {
            call_stalled: Duration::from_secs(4),
            call_max: Duration::from_secs(15),
            open_max: Duration::from_secs(15 * 60),
            reopenings_max: 3,
            abandoned_max: 4,
            return_after: Duration::from_secs(5 * 60),
        }
    }
}

/// How a backend ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// How long it had been open; none when it could not be opened.
    pub(super) ran_for: Option<Duration>,
    /// Is its thread left behind?
    pub(super) is_abandoned: bool,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This one of the chain is opened, after a pause.
    Open(usize, Duration),
    /// Nothing works for the time being. The chain is tried from its first after a pause, and until then nobody waits.
    Rest(Duration),
    /// Nothing more.
    GiveUp,
}

/// Which one of the chain is in use and how it has fared.
#[derive(Debug)]
pub(super) struct Recovery {
    limits: SurvivalLimits,
    sources: usize,
    at: usize,
    /// How often the present one has been opened again since it was last well.
    reopenings: u32,
    abandoned: u32,
    /// Has anything ever been opened?
    has_worked: bool,
}

impl Recovery {
    pub(super) const fn new(limits: SurvivalLimits, sources: usize) -> Self {
        Self { limits, sources, at: 0, reopenings: 0, abandoned: 0, has_worked: false }
    }

    /// Which one is in use.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// One more is left behind. False when that is one too many.
    pub(super) const fn may_abandon(&mut self) -> bool {
        self.abandoned += 1;
        self.abandoned <= self.limits.abandoned_max
    }

    /// The first works again and is in use from now on.
    pub(super) const fn returned(&mut self) {
        (self.at, self.reopenings) = (0, 0);
    }

    pub(super) fn after(&mut self, failure: Failure) -> Next {
        if failure.is_abandoned && !self.may_abandon() {
            return Next::GiveUp;
        }
        self.has_worked |= failure.ran_for.is_some();
        if failure.ran_for.is_some_and(|ran_for| ran_for >= WELL_AFTER) {
            self.reopenings = 0;
        }
        // What has never worked here is not tried twice: a missing library is still missing.
        if self.has_worked && self.reopenings < self.limits.reopenings_max {
            self.reopenings += 1;
            return Next::Open(self.at, backoff(self.reopenings));
        }
        self.reopenings = 0;
        if self.at + 1 < self.sources {
            self.at += 1;
            return Next::Open(self.at, Duration::ZERO);
        }
        self.at = 0;
        if self.has_worked { Next::Rest(REST) } else { Next::GiveUp }
    }
}

fn backoff(reopenings: u32) -> Duration {
    match reopenings {
        0 | 1 => Duration::ZERO,
        more => BACKOFF.saturating_mul(1 << (more - 2).min(16)).min(BACKOFF_MAX),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOT_OPENED: Failure = Failure { ran_for: None, is_abandoned: false };
    const LOST: Failure = Failure { ran_for: Some(Duration::from_secs(1)), is_abandoned: false };

    fn recovery(sources: usize) -> Recovery {
        Recovery::new(SurvivalLimits { reopenings_max: 2, abandoned_max: 1, ..SurvivalLimits::default() }, sources)
    }

    #[test]
    fn what_was_lost_is_opened_again_at_once_then_later_and_then_the_next_takes_its_place() {
        let mut recovery = recovery(2);
        assert_eq!(recovery.after(LOST), Next::Open(0, Duration::ZERO));
        assert_eq!(recovery.after(NOT_OPENED), Next::Open(0, BACKOFF));
        assert_eq!(recovery.after(NOT_OPENED), Next::Open(1, Duration::ZERO));
        assert_eq!(recovery.after(LOST), Next::Open(1, Duration::ZERO));
        assert_eq!(recovery.after(LOST), Next::Open(1, BACKOFF));
        assert_eq!(recovery.after(LOST), Next::Rest(REST));
        assert_eq!(recovery.at(), 0, "from the first again");
    }

    #[test]
    fn what_never_worked_is_not_waited_for() {
        let mut recovery = recovery(2);
        assert_eq!(recovery.after(NOT_OPENED), Next::Open(1, Duration::ZERO));
        assert_eq!(recovery.after(NOT_OPENED), Next::GiveUp);
    }

    #[test]
    fn who_was_well_for_a_while_begins_anew() {
        let mut recovery = recovery(1);
        let well = Failure { ran_for: Some(WELL_AFTER), ..LOST };
        for _ in 0..10 {
            assert_eq!(recovery.after(well), Next::Open(0, Duration::ZERO));
        }
    }

    proptest! {
        #[test]
        fn pauses_and_threads_left_behind_are_bounded_and_only_what_is_there_is_opened(
            failures in prop::collection::vec((prop::option::of(0u64..200), any::<bool>()), 1..100), sources in 1usize..4,
        ) {
            let mut recovery = recovery(sources);
            let mut left_behind = 0;
            for (ran_for_s, is_abandoned) in failures {
                let failure = Failure { ran_for: ran_for_s.map(Duration::from_secs), is_abandoned };
                left_behind += u32::from(is_abandoned);
                match recovery.after(failure) {
                    Next::Open(source, pause) => prop_assert!(source < sources && pause <= BACKOFF_MAX),
                    Next::Rest(pause) => prop_assert_eq!(pause, REST),
                    Next::GiveUp => break,
                }
                prop_assert!(left_behind <= 1);
            }
        }
    }
}
