//! How often this isolate may write to Workers KV: so many times a minute, and no key twice within a second, which the
//! platform would refuse.

use std::collections::VecDeque;

use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;

/// The platform's limit is one write per key and second.
const SAME_KEY_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60_000;
/// Keys remembered, more than are written within [`SAME_KEY_MS`]: a minute's writes at once are the most.
pub(super) const WRITES_PER_MINUTE_MAX: u64 = 600;

/// A bucket of writes that fills evenly and holds a minute's worth.
#[derive(Debug, Default)]
pub(super) struct WriteBudget {
    /// What is missing in the bucket, in writes × [`MINUTE_MS`], so that no fraction is lost.
    spent: u64,
    /// `None` before the first write.
    counted_until: Option<UnixMillis>,
    /// The keys written last, the newest at the end.
    written: VecDeque<(CacheKey, UnixMillis)>,
}

impl WriteBudget {
    /// May `key` be written at `now`, `per_minute` being the limit? Counts it when it may.
    pub(super) fn take(&mut self, key: &CacheKey, now: UnixMillis, per_minute: u64) -> bool {
        let per_minute = per_minute.min(WRITES_PER_MINUTE_MAX);
        let passed_ms = self.counted_until.map_or(0, |before| now.since(before));
        // A clock that stepped back must not give the same minute twice.
        self.counted_until = Some(self.counted_until.map_or(now, |before| before.max(now)));
        self.spent = self.spent.saturating_sub(passed_ms.saturating_mul(per_minute));
        self.written.retain(|(_, at)| now.since(*at) < SAME_KEY_MS);
        let is_affordable = self.spent + MINUTE_MS <= per_minute * MINUTE_MS;
        if !is_affordable || self.written.iter().any(|(written, _)| written == key) {
            return false;
        }
        self.spent += MINUTE_MS;
        self.written.push_back((*key, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: u8) -> CacheKey {
        CacheKey([name; 32])
    }

    #[test]
    fn a_minute_s_worth_may_be_written_at_once_and_then_one_at_a_time() {
        let mut budget = WriteBudget::default();
        assert_eq!((0..10).filter(|name| budget.take(&key(*name), UnixMillis(5), 6)).count(), 6);
        assert!(!budget.take(&key(20), UnixMillis(10_004), 6));
        assert!(budget.take(&key(20), UnixMillis(10_005), 6));
        assert!(!budget.take(&key(21), UnixMillis(10_005), 6));
    }

    #[test]
    fn no_key_is_written_twice_within_a_second() {
        let mut budget = WriteBudget::default();
        assert!(budget.take(&key(1), UnixMillis(0), 60));
        assert!(!budget.take(&key(1), UnixMillis(999), 60));
        assert!(budget.take(&key(2), UnixMillis(999), 60));
        assert!(budget.take(&key(1), UnixMillis(1_000), 60));
    }

    proptest! {
        #[test]
        fn the_budget_is_never_exceeded_in_any_span_of_time(
            steps in prop::collection::vec((0u8..6, 0u64..3_000), 1..400), per_minute in 1u64..90,
        ) {
            let mut budget = WriteBudget::default();
            let mut now = UnixMillis(0);
            let mut written: Vec<(u8, UnixMillis)> = Vec::new();
            for (name, passed_ms) in steps {
                now = now.plus(passed_ms);
                if budget.take(&key(name), now, per_minute) {
                    let twice = written.iter().any(|(other, at)| *other == name && now.since(*at) < SAME_KEY_MS);
                    prop_assert!(!twice, "{name} at {now:?}");
                    written.push((name, now));
                }
            }
            for (begin, (_, from)) in written.iter().enumerate() {
                for (end, (_, until)) in written.iter().enumerate().skip(begin) {
                    let most = per_minute + until.since(*from) * per_minute / MINUTE_MS;
                    prop_assert!((end - begin) as u64 <= most);
                }
            }
        }
    }
}
