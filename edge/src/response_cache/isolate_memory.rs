//! The isolate tier: the memory of this isolate, bounded by bytes. What it holds is served without waiting for anything.
//!
//! SIEVE decides what goes (Zhang, Yang, Yue, Vigfusson and Rashmi, NSDI 2024): entries stand in the order in which they
//! came, a hand goes from the oldest towards the newest, spares once what was asked for since it last came by, and takes
//! the first that was not. A hit only sets a flag, and what is asked for once leaves early.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;

use super::entry::Entry;

/// Of the isolate's 128 MiB; some seven thousand captions.
const BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// What an entry takes besides its bytes: key, place, order and their containers, roughly.
const OVERHEAD_BYTES: usize = 256;

/// The tier.
pub(super) struct IsolateMemory {
    slots: HashMap<CacheKey, Slot>,
    /// The keys in the order in which they came.
    order: BTreeMap<u64, CacheKey>,
    arrivals: u64,
    /// Where the hand goes on.
    hand: u64,
    bytes: usize,
    bytes_max: usize,
}

struct Slot {
    entry: Entry,
    arrival: u64,
    visited: Cell<bool>,
    in_workers_kv: Cell<bool>,
}

/// What the tier holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) entry: Entry,
    /// Workers KV is known to hold the same or a newer one.
    pub(super) in_workers_kv: bool,
}

impl Default for IsolateMemory {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl IsolateMemory {
    fn new(bytes_max: usize) -> Self {
        let (slots, order) = (HashMap::new(), BTreeMap::new());
        Self { slots, order, arrivals: 0, hand: 0, bytes: 0, bytes_max }
    }

    /// What is held under `key`. What is good for nothing any more is dropped.
    pub(super) fn get(&mut self, key: &CacheKey, now: UnixMillis) -> Option<Held> {
        let slot = self.slots.get(key)?;
        if slot.entry.freshness().useful_for_ms(now) == 0 {
            self.remove(key);
            return None;
        }
        slot.visited.set(true);
        Some(Held { entry: slot.entry.clone(), in_workers_kv: slot.in_workers_kv.get() })
    }

    /// Holds `entry` under `key`, unless it holds a newer one. One larger than the whole tier is not held.
    pub(super) fn put(&mut self, key: CacheKey, entry: Entry, in_workers_kv: bool) {
        let size = size_of(&entry);
        let is_outdated = self
            .slots
            .get(&key)
            .is_some_and(|held| held.entry.freshness().created_ms > entry.freshness().created_ms);
        if size > self.bytes_max || is_outdated {
            return;
        }
        self.remove(&key);
        while self.bytes + size > self.bytes_max && self.evict() {}
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.bytes += size;
        self.order.insert(arrival, key);
        let slot = Slot { entry, arrival, visited: Cell::new(false), in_workers_kv: Cell::new(in_workers_kv) };
        self.slots.insert(key, slot);
    }

    /// Workers KV holds what is held here under `key`, if it is of the time `created`.
    pub(super) fn mark_in_workers_kv(&self, key: &CacheKey, created: UnixMillis) {
        if let Some(slot) = self.slots.get(key)
            && slot.entry.freshness().created_ms <= created
        {
            slot.in_workers_kv.set(true);
        }
    }

    fn remove(&mut self, key: &CacheKey) {
        if let Some(slot) = self.slots.remove(key) {
            self.order.remove(&slot.arrival);
            self.bytes -= size_of(&slot.entry);
        }
    }

    /// Makes room for something; says whether there was anything to take away. Ends after two rounds at the latest: in
    /// the first every flag is cleared.
    fn evict(&mut self) -> bool {
        loop {
            let next = self.order.range(self.hand..).next().or_else(|| self.order.first_key_value());
            let Some((arrival, key)) = next.map(|(arrival, key)| (*arrival, *key)) else { return false };
            self.hand = arrival + 1;
            let is_spared = self.slots.get(&key).is_some_and(|slot| slot.visited.replace(false));
            if !is_spared {
                self.remove(&key);
                return true;
            }
        }
    }
}

impl fmt::Debug for IsolateMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "IsolateMemory({} entries, {} bytes)", self.slots.len(), self.bytes)
    }
}

fn size_of(entry: &Entry) -> usize {
    entry.bytes().len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use lede_shared::freshness::FreshnessRecord;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::fixtures::caption_response;

    const NOW: UnixMillis = UnixMillis(1_000);

    fn key(name: u8) -> CacheKey {
        CacheKey([name; 32])
    }

    fn entry(name: u8, created_ms: u64) -> Entry {
        let freshness = FreshnessRecord {
            created_ms: UnixMillis(created_ms),
            fresh_for_ms: 500,
            stale_while_revalidate_ms: 100,
            stale_if_error_ms: 200,
        };
        Entry::new(&key(name), freshness, &caption_response("Hello")).unwrap()
    }

    /// Room for four entries.
    fn small() -> IsolateMemory {
        IsolateMemory::new(4 * size_of(&entry(0, 1_000)))
    }

    #[test]
    fn what_is_asked_for_stays_and_what_was_asked_for_once_goes() {
        let mut memory = small();
        (1..=4).for_each(|name| memory.put(key(name), entry(name, 1_000), false));
        assert!(memory.get(&key(1), NOW).is_some() && memory.get(&key(3), NOW).is_some());
        (5..=6).for_each(|name| memory.put(key(name), entry(name, 1_000), false));
        let held: Vec<u8> = (1..=6).filter(|name| memory.slots.contains_key(&key(*name))).collect();
        assert_eq!(held, [1, 3, 5, 6]);
    }

    #[test]
    fn an_entry_good_for_nothing_is_dropped_when_it_is_asked_for() {
        let mut memory = small();
        memory.put(key(1), entry(1, 1_000), false);
        assert!(memory.get(&key(1), UnixMillis(1_699)).is_some(), "stale, but good if there is an error");
        assert_eq!(memory.get(&key(1), UnixMillis(1_700)), None);
        assert_eq!((memory.bytes, memory.order.len()), (0, 0));
    }

    #[test]
    fn an_older_entry_does_not_take_the_place_of_a_newer_one() {
        let mut memory = small();
        memory.put(key(1), entry(1, 1_000), false);
        memory.put(key(1), entry(1, 900), true);
        let held = memory.get(&key(1), NOW).unwrap();
        assert_eq!((held.entry, held.in_workers_kv), (entry(1, 1_000), false));
        memory.mark_in_workers_kv(&key(1), UnixMillis(999));
        assert!(!memory.get(&key(1), NOW).unwrap().in_workers_kv, "Workers KV holds an older one");
        memory.mark_in_workers_kv(&key(1), UnixMillis(1_000));
        assert!(memory.get(&key(1), NOW).unwrap().in_workers_kv);
    }

    #[test]
    fn an_entry_larger_than_the_tier_is_not_held() {
        let mut memory = IsolateMemory::new(100);
        memory.put(key(1), entry(1, 1_000), false);
        assert_eq!(memory.get(&key(1), NOW), None);
    }

    proptest! {
        #[test]
        fn whatever_happens_the_bytes_are_those_of_the_entries_and_within_the_limit(
            steps in prop::collection::vec((0u8..12, any::<bool>(), 700u64..1_000), 0..300),
        ) {
            let mut memory = small();
            for (name, is_put, created_ms) in steps {
                if is_put {
                    memory.put(key(name), entry(name, created_ms), false);
                } else {
                    memory.get(&key(name), UnixMillis(1_500));
                }
                let bytes: usize = memory.slots.values().map(|slot| size_of(&slot.entry)).sum();
                prop_assert_eq!(memory.bytes, bytes);
                prop_assert!(bytes <= memory.bytes_max);
                prop_assert_eq!(memory.order.len(), memory.slots.len());
            }
        }
    }
}
