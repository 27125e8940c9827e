//! Asking again, but not so often that it makes things worse.

/// A retry, in the hundredths in which a budget is kept.
const RETRY: u32 = 100;

/// A budget that lets retries be a share of the first tries, so that a failing service is not asked a multiple of
/// what it was asked while it worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    share_percent: u32,
    saved_max: u32,
    saved: u32,
}

impl RetryBudget {
    /// A budget of `share_percent` retries in a hundred first tries. At most `reserve` retries are saved up, and it
    /// starts with all of them: a service that is asked rarely would otherwise never be asked again.
    #[must_use]
    pub const fn new(share_percent: u32, reserve: u32) -> Self {
        let saved_max = if share_percent == 0 { 0 } else { reserve.saturating_mul(RETRY) };
        Self { share_percent, saved_max, saved: saved_max }
    }

    /// A first try is made.
    pub fn first_try(&mut self) {
        self.saved = self.saved.saturating_add(self.share_percent).min(self.saved_max);
    }

    /// Takes one retry out of the budget, if there is one.
    #[must_use]
    pub const fn take(&mut self) -> bool {
        let has_one = self.saved >= RETRY;
        if has_one {
            self.saved -= RETRY;
        }
        has_one
    }
}

/// How long to wait before retry number `retry` (counted from 0): anything up to `base_ms` doubled for each retry
/// before it, `cap_ms` at most. The whole span is open (“full jitter”), so that those who failed together do not
/// come back together.
#[must_use]
pub fn backoff_ms(base_ms: u64, cap_ms: u64, retry: u32, entropy: u64) -> u64 {
    let doubled = base_ms.saturating_mul(1u64.checked_shl(retry).unwrap_or(u64::MAX));
    let span = u128::from(doubled.min(cap_ms)) + 1;
    let scaled = (u128::from(entropy) * span) >> u64::BITS;
    u64::try_from(scaled).unwrap_or(cap_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_budget_of_ten_percent_gives_one_retry_in_ten_once_the_reserve_is_spent() {
        let mut budget = RetryBudget::new(10, 2);
        assert!(budget.take() && budget.take() && !budget.take());
        (0..9).for_each(|_| budget.first_try());
        assert!(!budget.take());
        budget.first_try();
        assert!(budget.take() && !budget.take());
    }

    #[test]
    fn a_share_of_nothing_retries_nothing() {
        let mut budget = RetryBudget::new(0, 10);
        budget.first_try();
        assert!(!budget.take());
    }

    #[test]
    fn the_span_doubles_up_to_the_cap_and_is_used_from_end_to_end() {
        let longest = |retry| backoff_ms(100, 1_000, retry, u64::MAX);
        assert_eq!([0, 1, 2, 3, 4, 63, 64, 1_000].map(longest), [100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000]);
        assert_eq!(backoff_ms(100, 1_000, 3, 0), 0);
        assert_eq!(backoff_ms(100, 1_000, 3, u64::MAX / 2), 400);
    }

    proptest! {
        #[test]
        fn retries_never_exceed_the_reserve_and_the_share(
            share_percent in 0u32..=100, reserve in 0u32..20, tries in prop::collection::vec(0u32..4, 0..300),
        ) {
            let mut budget = RetryBudget::new(share_percent, reserve);
            let mut retries = 0u64;
            for (index, wanted) in tries.iter().enumerate() {
                budget.first_try();
                retries += (0..*wanted).filter(|_| budget.take()).count() as u64;
                let earned = (index as u64 + 1) * u64::from(share_percent) / u64::from(RETRY);
                prop_assert!(retries <= u64::from(reserve) + earned);
            }
        }

        #[test]
        fn a_wait_stays_within_its_span(base in any::<u64>(), cap in any::<u64>(), retry: u32, entropy: u64) {
            let wait = backoff_ms(base, cap, retry, entropy);
            prop_assert!(wait <= cap);
            prop_assert!(wait <= base || retry > 0);
        }
    }
}
