//! Which keys are asked for often, in little memory that never grows: a sketch that estimates how often any key was
//! seen lately, and a table of those seen most.

mod top;

pub use top::{TopEntry, TopTable};

use crate::cache_key::CacheKey;

const ROWS: usize = 4;
/// Four counters of 4 bits for each row and place; a power of two, so that a hash becomes a place by its lowest bits.
const PLACES: usize = 4_096;
/// The most that a counter of 4 bits can say.
const COUNT_MAX: u8 = 15;
/// After so many records all counts are halved, so that what was popular once is forgotten (10 × the places, as in
/// TinyLFU).
const RECORDS_BEFORE_AGEING: u32 = 10 * 4_096;

/// A count-min sketch with ageing (Cormode and Muthukrishnan 2005; ageing and 4-bit counters as in TinyLFU, Einziger,
/// Friedman and Manes 2017). 8 KiB.
///
/// An estimate is never less than how often the key was recorded since the last ageing, up to 15. It needs no hash of
/// its own: a [`CacheKey`] is one, and each row takes other 64 bits of it.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// For each place its four counters, one of each row.
    counters: Vec<u16>,
    records: u32,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { counters: vec![0; PLACES], records: 0 }
    }
}

impl Sketch {
    /// Counts one look-up of `key` and says how often it was seen lately, this time included.
    pub fn record(&mut self, key: &CacheKey) -> u8 {
        self.records += 1;
        if self.records >= RECORDS_BEFORE_AGEING {
            self.age();
        }
        let places = places(key);
        let least = self.least(&places);
        if least == COUNT_MAX {
            return COUNT_MAX;
        }
        // Only the counters that hold the least are raised: the others have been raised by other keys already.
        for (row, place) in places.into_iter().enumerate() {
            if self.count(row, place) == least {
                self.counters[place] += 1 << (4 * row);
            }
        }
        least + 1
    }

    /// How often `key` was seen lately: at least as often as it was, at most 15.
    #[must_use]
    pub fn estimate(&self, key: &CacheKey) -> u8 {
        self.least(&places(key))
    }

    fn least(&self, places: &[usize; ROWS]) -> u8 {
        let counts = places.iter().enumerate().map(|(row, place)| self.count(row, *place));
        counts.min().unwrap_or(0)
    }

    fn count(&self, row: usize, place: usize) -> u8 {
        ((self.counters[place] >> (4 * row)) & 0xf).to_le_bytes()[0]
    }

    /// Halves every count. The bit that would fall into the neighbour's counter is cut off.
    fn age(&mut self) {
        for counters in &mut self.counters {
            *counters = (*counters >> 1) & 0x7777;
        }
        self.records /= 2;
    }
}

/// Where the key's counters are, by row.
fn places(key: &CacheKey) -> [usize; ROWS] {
    let mut places = [0; ROWS];
    for (place, bits) in places.iter_mut().zip(key.0.chunks_exact(8)) {
        *place = usize::from(u16::from_le_bytes([bits[0], bits[1]])) % PLACES;
    }
    places
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn key(name: u32) -> CacheKey {
        CacheKey(Sha256::digest(name.to_be_bytes()).into())
    }

    #[test]
    fn a_key_never_seen_has_no_count_in_an_empty_sketch() {
        assert_eq!(Sketch::default().estimate(&key(1)), 0);
    }

    #[test]
    fn what_was_popular_once_is_forgotten() {
        let mut sketch = Sketch::default();
        for _ in 0..100 {
            sketch.record(&key(0));
        }
        assert_eq!(sketch.estimate(&key(0)), COUNT_MAX);
        // Enough of others for four ageings: 15, 7, 3, 1, 0.
        for name in 0..3 * RECORDS_BEFORE_AGEING {
            sketch.record(&key(1 + name % 100));
        }
        assert_eq!(sketch.estimate(&key(0)), 0);
    }

    #[test]
    fn among_a_thousand_keys_hardly_any_is_taken_for_more_than_it_is() {
        let mut sketch = Sketch::default();
        let over = (0..1_000).filter(|name| sketch.record(&key(*name)) > 1).count();
        assert!(over <= 5, "{over}");
    }

    proptest! {
        #[test]
        fn before_ageing_no_key_is_taken_for_less_than_it_is(names in prop::collection::vec(0u32..3_000, 1..5_000)) {
            let mut sketch = Sketch::default();
            let mut exact = BTreeMap::<u32, u32>::new();
            for name in names {
                let count = exact.entry(name).or_default();
                *count += 1;
                let seen = sketch.record(&key(name));
                prop_assert!(u32::from(seen) >= (*count).min(15), "{name}: {seen} for {count}");
            }
            for (name, count) in exact {
                let estimate = sketch.estimate(&key(name));
                prop_assert!(u32::from(estimate) >= count.min(15), "{name}: {estimate} for {count}");
            }
        }
    }
}
