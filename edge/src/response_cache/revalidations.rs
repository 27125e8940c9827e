//! Which stale keys are being renewed behind an answer, so that each is renewed once at a time in this isolate.

use std::collections::BTreeMap;

use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;

/// Renewals at once; a stale entry that finds no place is renewed for a later caller.
const REVALIDATIONS_MAX: usize = 256;
/// Work behind an answer lasts no longer than this. A renewal that failed keeps its place as long, so that a failing
/// origin is not asked anew with every caller.
const REVALIDATION_MS_MAX: u64 = 30_000;

/// The keys and when their renewal began.
#[derive(Debug, Default)]
pub(super) struct Revalidations(BTreeMap<CacheKey, UnixMillis>);

impl Revalidations {
    /// May `key` be renewed now? Takes its place when it may.
    pub(super) fn begin(&mut self, key: &CacheKey, now: UnixMillis) -> bool {
        self.0.retain(|_, begun| now.since(*begun) < REVALIDATION_MS_MAX);
        let may = self.0.len() < REVALIDATIONS_MAX && !self.0.contains_key(key);
        if may {
            self.0.insert(*key, now);
        }
        may
    }

    /// `key` has been renewed.
    pub(super) fn end(&mut self, key: &CacheKey) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
