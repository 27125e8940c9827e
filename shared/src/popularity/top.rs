//! The keys seen most, with something to each: Space-Saving (Metwally, Agrawal and El Abbadi 2005).

use std::collections::{BTreeSet, HashMap};

use crate::cache_key::CacheKey;

/// How often a key was seen, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopEntry<V> {
    /// At least as often as it was seen since it came in; more by at most the count of the key that it drove out.
    pub count: u64,
    /// What belongs to the key.
    pub value: V,
}

/// The keys seen most, at most a fixed number of them. A key that makes more than one in so many of all records is
/// certain to be in it.
#[derive(Clone, Debug)]
pub struct TopTable<V> {
    entries: HashMap<CacheKey, TopEntry<V>>,
    /// The same keys by their counts, the least first.
    by_count: BTreeSet<(u64, CacheKey)>,
    entries_max: usize,
    records: u64,
}

/// All counts are halved after so many records for each place, so that what was popular once is forgotten.
const RECORDS_BEFORE_AGEING_EACH: u64 = 100;

impl<V> TopTable<V> {
    /// A table of at most `entries_max` keys; none at all counts as one.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        let entries_max = entries_max.max(1);
        Self { entries: HashMap::new(), by_count: BTreeSet::new(), entries_max, records: 0 }
    }

    /// Counts one look-up of `key`. `value` is called when the key comes in.
    pub fn record(&mut self, key: CacheKey, value: impl FnOnce() -> V) {
        self.record_times(key, 1, value);
    }

    /// Counts `times` look-ups of `key` at once.
    pub fn record_times(&mut self, key: CacheKey, times: u64, value: impl FnOnce() -> V) {
        self.records += times;
        if let Some(entry) = self.entries.get_mut(&key) {
            self.by_count.remove(&(entry.count, key));
            entry.count += times;
            self.by_count.insert((entry.count, key));
        } else {
            let least = if self.entries.len() < self.entries_max { None } else { self.by_count.pop_first() };
            if let Some((_, driven_out)) = least {
                self.entries.remove(&driven_out);
            }
            let count = least.map_or(0, |(count, _)| count) + times;
            self.entries.insert(key, TopEntry { count, value: value() });
            self.by_count.insert((count, key));
        }
        if self.records >= RECORDS_BEFORE_AGEING_EACH * self.entries_max as u64 {
            self.age();
        }
    }

    /// What belongs to `key`, if it is in the table.
    #[must_use]
    pub fn value(&self, key: &CacheKey) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The same, to be changed.
    pub fn value_mut(&mut self, key: &CacheKey) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// The keys, those seen most first.
    pub fn most_first(&self) -> impl Iterator<Item = (&CacheKey, &TopEntry<V>)> {
        self.by_count.iter().rev().filter_map(|(_, key)| self.entries.get_key_value(key))
    }

    fn age(&mut self) {
        self.records = 0;
        self.by_count.clear();
        for (key, entry) in &mut self.entries {
            entry.count /= 2;
            self.by_count.insert((entry.count, *key));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key(name: u8) -> CacheKey {
        CacheKey([name; 32])
    }

    #[test]
    fn those_seen_most_come_first() {
        let mut table = TopTable::new(3);
        for name in [1, 2, 2, 3, 3, 3] {
            table.record(key(name), || name);
        }
        let names: Vec<u8> = table.most_first().map(|(_, entry)| entry.value).collect();
        assert_eq!(names, [3, 2, 1]);
    }

    #[test]
    fn what_was_popular_once_makes_room() {
        let mut table = TopTable::new(2);
        for _ in 0..150 {
            table.record(key(1), || ());
        }
        for _ in 0..400 {
            table.record(key(2), || ());
            table.record(key(3), || ());
            table.record(key(4), || ());
        }
        assert!(table.most_first().all(|(known, _)| *known != key(1)));
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bound_and_holds_whoever_is_seen_more_often_than_its_share(
            names in prop::collection::vec(prop_oneof![2 => 0u8..4, 1 => 0u8..200], 1..700),
        ) {
            const PLACES: usize = 8;
            let mut table = TopTable::new(PLACES);
            let mut exact = BTreeMap::<u8, u64>::new();
            for name in &names {
                table.record(key(*name), || *name);
                *exact.entry(*name).or_default() += 1;
            }
            let held: BTreeMap<u8, u64> = table.most_first().map(|(_, entry)| (entry.value, entry.count)).collect();
            prop_assert!(held.len() <= PLACES);
            for (name, count) in exact {
                if count > (names.len() / PLACES) as u64 {
                    let held = held.get(&name);
                    prop_assert!(held.is_some_and(|held| *held >= count), "{name}: {held:?} for {count}");
                }
            }
        }
    }
}
