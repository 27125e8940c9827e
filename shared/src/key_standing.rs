//! How long it may be relied on what the origin said of a key.
//!
//! Every copy of a key's record carries when the origin said it, and every tier judges the copy by that, however many
//! tiers it has passed: so a revoked key stops everywhere within [`KeyLifetimes::FRESH_S_MAX`].

use crate::clock::UnixMillis;

/// The origin looks for changes of its store this often, so what it says may be that old already.
pub const ORIGIN_NOTICES_WITHIN_MS: u64 = 1_000;
/// A key that the origin did not know is refused for this long without asking again.
const REFUSED_MS: u64 = 10_000;
/// With the origin away, what it said last holds for this long.
const OUTAGE_MS: u64 = 24 * 3_600_000;
/// Two clocks of one platform are no further apart; a copy from further ahead was not written by us.
const AHEAD_MS_MAX: u64 = 5_000;

/// How long a record is fresh in one deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLifetimes {
    fresh_ms: u64,
}

/// What may be done with a record that the origin gave some time ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Rely on it.
    Fresh,
    /// Rely on it, and ask the origin behind the answer, so that the next caller need not wait.
    Ageing,
    /// Ask the origin first, and rely on it only if the origin cannot be asked.
    Stale,
    /// Too old for anything.
    Expired,
}

impl KeyLifetimes {
    /// The longest that a record may be fresh, in seconds: a revoked key has stopped by then.
    pub const FRESH_S_MAX: u64 = 60;

    /// Records are fresh for `fresh_s` seconds, [`KeyLifetimes::FRESH_S_MAX`] at most.
    #[must_use]
    pub const fn fresh_for(fresh_s: u64) -> Self {
        let fresh_s = if fresh_s < Self::FRESH_S_MAX { fresh_s } else { Self::FRESH_S_MAX };
        Self { fresh_ms: (fresh_s * 1_000).saturating_sub(ORIGIN_NOTICES_WITHIN_MS) }
    }

    /// What a record of `checked_at` is good for.
    #[must_use]
    pub const fn standing(self, checked_at: UnixMillis, now: UnixMillis) -> Standing {
        if checked_at.since(now) > AHEAD_MS_MAX {
            return Standing::Expired;
        }
        let age_ms = now.since(checked_at);
        if age_ms < self.fresh_ms / 4 * 3 {
            Standing::Fresh
        } else if age_ms < self.fresh_ms {
            Standing::Ageing
        } else if age_ms < OUTAGE_MS {
            Standing::Stale
        } else {
            Standing::Expired
        }
    }

    /// Is a key still refused that the origin did not know at `checked_at`?
    #[must_use]
    pub const fn still_refused(checked_at: UnixMillis, now: UnixMillis) -> bool {
        checked_at.since(now) <= AHEAD_MS_MAX && now.since(checked_at) < REFUSED_MS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHECKED: UnixMillis = UnixMillis(1_800_000_000_000);

    fn standing_after(fresh_s: u64, age_ms: u64) -> Standing {
        KeyLifetimes::fresh_for(fresh_s).standing(CHECKED, CHECKED.plus(age_ms))
    }

    #[test]
    fn a_record_is_fresh_then_renewed_behind_then_only_for_outages_then_nothing() {
        assert_eq!(standing_after(60, 0), Standing::Fresh);
        assert_eq!(standing_after(60, 44_249), Standing::Fresh);
        assert_eq!(standing_after(60, 44_250), Standing::Ageing);
        assert_eq!(standing_after(60, 58_999), Standing::Ageing);
        assert_eq!(standing_after(60, 59_000), Standing::Stale);
        assert_eq!(standing_after(60, OUTAGE_MS - 1), Standing::Stale);
        assert_eq!(standing_after(60, OUTAGE_MS), Standing::Expired);
    }

    #[test]
    fn a_key_that_was_not_known_is_asked_about_again_after_ten_seconds() {
        assert!(KeyLifetimes::still_refused(CHECKED, CHECKED.plus(9_999)));
        assert!(!KeyLifetimes::still_refused(CHECKED, CHECKED.plus(10_000)));
    }

    proptest! {
        #[test]
        fn nothing_is_relied_on_without_asking_beyond_a_minute_whatever_was_configured(
            fresh_s: u64, checked_at: u64, now: u64,
        ) {
            let (checked_at, now) = (UnixMillis(checked_at), UnixMillis(now));
            let standing = KeyLifetimes::fresh_for(fresh_s).standing(checked_at, now);
            if matches!(standing, Standing::Fresh | Standing::Ageing) {
                prop_assert!(now.since(checked_at) + ORIGIN_NOTICES_WITHIN_MS <= 60_000);
                prop_assert!(checked_at.since(now) <= AHEAD_MS_MAX);
            }
            if standing != Standing::Expired {
                prop_assert!(now.since(checked_at) < OUTAGE_MS);
            }
        }

        #[test]
        fn a_record_only_ever_gets_worse(fresh_s in 0..100_u64, age_ms in 0..2 * OUTAGE_MS, later_ms in 0..OUTAGE_MS) {
            let rank = |standing| match standing {
                Standing::Fresh => 0,
                Standing::Ageing => 1,
                Standing::Stale => 2,
                Standing::Expired => 3,
            };
            prop_assert!(rank(standing_after(fresh_s, age_ms)) <= rank(standing_after(fresh_s, age_ms + later_ms)));
        }
    }
}
