//! Keys that this isolate is busy with, so that no two of its requests do the same work at once.

use std::collections::BTreeMap;

use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;

/// At most `KEYS_MAX` keys and when the work for each began. Work that lasts `MS_MAX` is taken to be lost: its request may
/// have been cancelled.
#[derive(Debug, Default)]
pub(super) struct UnderWay<const KEYS_MAX: usize, const MS_MAX: u64>(BTreeMap<CacheKey, UnixMillis>);

impl<const KEYS_MAX: usize, const MS_MAX: u64> UnderWay<KEYS_MAX, MS_MAX> {
    /// May work for `key` begin now? Takes its place when it may.
    pub(super) fn begin(&mut self, key: &CacheKey, now: UnixMillis) -> bool {
        self.0.retain(|_, begun| now.since(*begun) < MS_MAX);
        let may = self.0.len() < KEYS_MAX && !self.0.contains_key(key);
        if may {
            self.0.insert(*key, now);
        }
        may
    }

    /// The work for `key` has ended.
    pub(super) fn end(&mut self, key: &CacheKey) {
        self.0.remove(key);
    }

    pub(super) fn is_under_way(&self, key: &CacheKey, now: UnixMillis) -> bool {
        self.0.get(key).is_some_and(|begun| now.since(*begun) < MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response_cache::{REVALIDATIONS_MAX, Revalidations};

    fn key(name: u16) -> CacheKey {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&name.to_be_bytes());
        CacheKey(key)
    }

    #[test]
    fn a_key_is_renewed_once_at_a_time_and_again_when_that_has_ended_or_takes_too_long() {
        let mut revalidations = Revalidations::default();
        assert!(revalidations.begin(&key(1), UnixMillis(0)));
        assert!(!revalidations.begin(&key(1), UnixMillis(29_999)));
        assert!(revalidations.begin(&key(1), UnixMillis(30_000)));
        revalidations.end(&key(1));
        assert!(revalidations.begin(&key(1), UnixMillis(30_001)));
    }

    #[test]
    fn no_more_are_renewed_at_once_than_there_are_places() {
        let mut revalidations = Revalidations::default();
        let begun = (0..1_000).filter(|name| revalidations.begin(&key(*name), UnixMillis(0))).count();
        assert_eq!(begun, REVALIDATIONS_MAX);
    }
}
