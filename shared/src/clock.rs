//! A point in time as both sides write it. There is deliberately no `now()`: the caller owns the clock.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

/// Milliseconds of a day; Unix time has no leap seconds.
pub const DAY_MS: u64 = 86_400_000;

impl UnixMillis {
    /// Until the next day (UTC) begins.
    #[must_use]
    pub const fn day_ends_in_ms(self) -> u64 {
        DAY_MS - self.0 % DAY_MS
    }

    /// The point `duration_ms` later; stops at the end of time instead of wrapping.
    #[must_use]
    pub const fn plus(self, duration_ms: u64) -> Self {
        Self(self.0.saturating_add(duration_ms))
    }

    /// Milliseconds from `earlier` to `self`, 0 when `earlier` lies in the future (a clock stepped back).
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
