//! What is in the hot tier, what leaves it and why.

use std::sync::atomic::{AtomicU64, Ordering};

use moka::notification::RemovalCause;

use super::report::{AgeBucket, Evictions, age_buckets};
use super::{AGES, age_group};
use crate::cache::entry::Entry;
use crate::clock;

/// Counted since the process began.
#[derive(Debug, Default)]
pub(in crate::cache) struct Departures {
    for_room: AtomicU64,
    expired: AtomicU64,
    removed: AtomicU64,
    replaced: AtomicU64,
    /// Of the bodies that are held.
    bytes: AtomicU64,
    ages: [AtomicU64; AGES],
}

impl Departures {
    /// An entry came.
    pub(in crate::cache) fn came(&self, entry: &Entry) {
        self.bytes.fetch_add(entry.body.len() as u64, Ordering::Relaxed);
    }

    /// An entry left, or was not admitted.
    pub(in crate::cache) fn left(&self, entry: &Entry, cause: RemovalCause) {
        self.bytes.fetch_sub(entry.body.len() as u64, Ordering::Relaxed);
        let count = match cause {
            RemovalCause::Size => &self.for_room,
            RemovalCause::Expired => &self.expired,
            RemovalCause::Explicit => &self.removed,
            RemovalCause::Replaced => &self.replaced,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if matches!(cause, RemovalCause::Size | RemovalCause::Expired) {
            self.ages[age_group(entry, clock::now())].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Bytes of the bodies that are held.
    pub(in crate::cache) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn evictions(&self) -> Evictions {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Evictions {
            for_room: read(&self.for_room),
            expired: read(&self.expired),
            removed: read(&self.removed),
            replaced: read(&self.replaced),
        }
    }

    pub(super) fn ages(&self) -> Vec<AgeBucket> {
        age_buckets(&std::array::from_fn(|group| self.ages[group].load(Ordering::Relaxed)))
    }
}
