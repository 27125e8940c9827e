//! How urgent a sequence is.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use lede_shared::plan::Priority;

/// For each of these that it has waited a sequence rises by one priority, up to high: nobody goes before critical.
pub const AGEING_INTERVAL: Duration = Duration::from_secs(5);
/// Who has waited this long is overdue: one of several places is for the overdue, one at a time, and is not taken from
/// them. So nothing starves, not even behind an endless stream of critical sequences.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(20);
/// By how many priorities somebody has to be above another to go at the other's expense.
const DISTANCE: u8 = 2;
/// Names a sequence as long as the engine lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// A sequence as the scheduler sees it. Whoever has the lower id came first.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Whose.
    pub id: SequenceId,
    /// As it was asked for.
    pub priority: Priority,
    /// The earlier one of two of a priority goes first.
    pub deadline: Instant,
    /// Since when it waits; of one who runs, since when it runs.
    pub since: Instant,
    /// How long it has waited before that.
    pub waited: Duration,
    /// Has it the place of the overdue?
    pub(super) is_overdue: bool,
}

impl Standing {
    /// Somebody who comes at `now`.
    #[must_use]
    pub const fn new(id: SequenceId, priority: Priority, deadline: Instant, now: Instant) -> Self {
        Self { id, priority, deadline, since: now, waited: Duration::ZERO, is_overdue: false }
    }

    /// How long it has waited by `now`, when it waits.
    pub(super) fn waited_until(&self, now: Instant) -> Duration {
        self.waited + now.saturating_duration_since(self.since)
    }

    /// Does one who runs give way to somebody of `priority`? By what was asked for, not by age.
    pub(super) const fn yields_to(&self, priority: Priority) -> bool {
        !self.is_overdue && priority as u8 >= self.priority as u8 + DISTANCE
    }

    /// The most urgent is the greatest: by priority with age, then by deadline, then by arrival.
    pub(super) fn urgency(&self, waited: Duration) -> (u8, Reverse<Instant>, Reverse<SequenceId>) {
        let rises = (waited.as_secs() / AGEING_INTERVAL.as_secs()).min(u64::from(Priority::High as u8)) as u8;
        let aged = (self.priority as u8 + rises).min(Priority::High as u8).max(self.priority as u8);
        (aged, Reverse(self.deadline), Reverse(self.id))
    }
}
