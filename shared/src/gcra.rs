//! The generic cell rate algorithm (ITU-T I.371), which ATM used for its traffic contracts: a leaky bucket kept as one
//! point in time.
//!
//! A cell may pass every *emission interval*; the *theoretical arrival time* (TAT) says when the bucket will be empty.
//! A whole burst may pass at once, so the TAT never lies further ahead of now than the burst's emission intervals: the
//! *tolerance*. Whoever is refused learns how long to wait. There is no clock here: `now` is an argument.

use crate::plan::Plan;

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_MINUTE: u64 = 60_000_000_000;
/// Tolerances end here (146 years), so that no sum of points in time wraps.
const TOLERANCE_NS_MAX: u64 = 1 << 62;

/// Nanoseconds since the Unix epoch: fine enough for emission intervals of millions of cells a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// The beginning of a millisecond.
    #[must_use]
    pub const fn from_ms(unix_ms: u64) -> Self {
        Self(unix_ms.saturating_mul(NS_PER_MS))
    }

    /// The point `duration_ns` later; stops at the end of time instead of wrapping.
    #[must_use]
    pub const fn plus(self, duration_ns: u64) -> Self {
        Self(self.0.saturating_add(duration_ns))
    }

    /// The point `duration_ns` earlier; stops at the epoch.
    #[must_use]
    pub const fn minus(self, duration_ns: u64) -> Self {
        Self(self.0.saturating_sub(duration_ns))
    }

    /// Nanoseconds from `earlier` to `self`, 0 when `earlier` lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How many cells may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    emission_interval_ns: u64,
    burst_cells: u64,
}

/// Why cells may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// They may after a wait, if nobody else passes meanwhile.
    #[error("not before {wait_ms} ms have passed")]
    NotUntil {
        /// Rounded up.
        wait_ms: u64,
    },
    /// They are more than a burst.
    #[error("more cells than the quota ever holds")]
    NeverFits,
}

impl Quota {
    /// The quota of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self::new(plan.cells_per_minute, plan.burst_cells)
    }

    /// Without cells per minute it holds nothing, since nothing would ever come back.
    #[must_use]
    pub fn new(cells_per_minute: u32, burst_cells: u32) -> Self {
        if cells_per_minute == 0 {
            return Self { emission_interval_ns: NS_PER_MINUTE, burst_cells: 0 };
        }
        // Rounded up, so that the rate is never above the plan's.
        let emission_interval_ns = NS_PER_MINUTE.div_ceil(u64::from(cells_per_minute));
        let burst_cells = u64::from(burst_cells).min(TOLERANCE_NS_MAX / emission_interval_ns);
        Self { emission_interval_ns, burst_cells }
    }

    /// Between two cells at the full rate.
    #[must_use]
    pub const fn emission_interval_ns(&self) -> u64 {
        self.emission_interval_ns
    }

    /// Most cells at once.
    #[must_use]
    pub const fn burst_cells(&self) -> u64 {
        self.burst_cells
    }

    /// The time in which `cells` come back at the full rate.
    #[must_use]
    pub const fn refill_ns(&self, cells: u64) -> u64 {
        self.emission_interval_ns.saturating_mul(cells)
    }

    /// The same in milliseconds, rounded up.
    #[must_use]
    pub const fn refill_ms(&self, cells: u64) -> u64 {
        self.refill_ns(cells).div_ceil(NS_PER_MS)
    }

    /// How many cells may pass now.
    #[must_use]
    pub fn available(&self, now: UnixNanos, tat: UnixNanos) -> u64 {
        let room_ns = self.refill_ns(self.burst_cells).saturating_sub(tat.since(now));
        room_ns / self.emission_interval_ns
    }

    /// May `cells` pass at once? Returns the TAT after them.
    ///
    /// # Errors
    /// When they have to wait, or would wait for ever.
    pub fn decide(&self, now: UnixNanos, tat: UnixNanos, cells: u64) -> Result<UnixNanos, Refusal> {
        if cells > self.burst_cells {
            return Err(Refusal::NeverFits);
        }
        let after = tat.max(now).plus(self.refill_ns(cells));
        let beyond_ns = after.since(now.plus(self.refill_ns(self.burst_cells)));
        if beyond_ns == 0 { Ok(after) } else { Err(Refusal::NotUntil { wait_ms: beyond_ns.div_ceil(NS_PER_MS) }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn quota(cells_per_minute: u32, burst_cells: u32) -> Quota {
        Quota::new(cells_per_minute, burst_cells)
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_cell_each_emission_interval() {
        let quota = quota(60, 3);
        let now = UnixNanos(1_000 * SECOND_NS);
        let tat = quota.decide(now, UnixNanos(0), 3).unwrap();
        assert_eq!(quota.available(now, tat), 0);
        assert_eq!(quota.decide(now, tat, 1), Err(Refusal::NotUntil { wait_ms: 1_000 }));
        assert_eq!(quota.decide(now, tat, 2), Err(Refusal::NotUntil { wait_ms: 2_000 }));
        let later = now.plus(SECOND_NS);
        assert_eq!(quota.available(later, tat), 1);
        assert!(quota.decide(later, tat, 1).is_ok());
        assert!(quota.decide(later, tat, 2).is_err());
    }

    #[test]
    fn more_than_a_burst_never_fits() {
        assert_eq!(quota(60, 3).decide(UnixNanos(0), UnixNanos(0), 4), Err(Refusal::NeverFits));
        assert_eq!(
            quota(0, 3).decide(UnixNanos(0), UnixNanos(0), 1),
            Err(Refusal::NeverFits),
            "nothing comes back"
        );
    }

    #[test]
    fn the_largest_and_the_smallest_plan_do_not_wrap() {
        let now = UnixNanos::from_ms(4_102_444_800_000);
        for quota in [quota(1, u32::MAX), quota(u32::MAX, u32::MAX), quota(u32::MAX, 1)] {
            let tat = quota.decide(now, UnixNanos(0), quota.burst_cells()).unwrap();
            assert!(quota.decide(now, tat, 1).is_err(), "{quota:?}");
            assert!(quota.emission_interval_ns() >= 1);
        }
    }

    proptest! {
        #[test]
        fn in_no_window_do_more_cells_pass_than_the_burst_and_what_came_back_meanwhile(
            cells_per_minute in 1u32..100_000, burst_cells in 1u32..200,
            asks in prop::collection::vec((0u64..3_000, 0u64..50), 1..80),
        ) {
            let quota = quota(cells_per_minute, burst_cells);
            let (mut now_ms, mut tat, mut passed) = (0, UnixNanos(0), Vec::new());
            for (gap_ms, cells) in asks {
                now_ms += gap_ms;
                if let Ok(after) = quota.decide(UnixNanos::from_ms(now_ms), tat, cells) {
                    tat = after;
                    passed.push((now_ms, cells));
                }
            }
            for (first, (from_ms, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (at_ms, cells) in &passed[first..] {
                    sum += cells;
                    let back = (at_ms - from_ms) * u64::from(cells_per_minute) / 60_000;
                    prop_assert!(sum <= u64::from(burst_cells) + back);
                }
            }
        }

        #[test]
        fn whoever_waits_as_told_passes_and_not_a_millisecond_earlier(
            cells_per_minute in 1u32..100_000, burst_cells in 1u32..200, used in 0u64..200, cells in 1u64..200,
        ) {
            let quota = quota(cells_per_minute, burst_cells);
            let now = UnixNanos::from_ms(1_800_000_000_000);
            let tat = quota.decide(now, UnixNanos(0), used.min(quota.burst_cells())).unwrap();
            if let Err(Refusal::NotUntil { wait_ms }) = quota.decide(now, tat, cells) {
                let at = |ms: u64| now.plus(ms * NS_PER_MS);
                prop_assert!(quota.decide(at(wait_ms), tat, cells).is_ok());
                prop_assert!(quota.decide(at(wait_ms - 1), tat, cells).is_err());
            }
        }
    }
}
