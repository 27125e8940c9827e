//! How often keys were seen lately, counted as moka counts it: what a ghost needs to admit as the tier that it stands for
//! does.

const ROWS: u32 = 4;
const COUNT_MAX: u64 = 15;
/// moka's own least size.
const ENTRIES_MIN: usize = 128;

/// A count-min sketch of 4-bit counters whose counts are halved after ten records for each entry of the capacity
/// (TinyLFU; Einziger, Friedman and Manes 2017).
#[derive(Debug)]
pub(super) struct Frequencies {
    /// Sixteen counters each.
    words: Vec<u64>,
    records: usize,
    records_max: usize,
}

impl Frequencies {
    /// For a tier of about `entries` entries.
    pub(super) fn new(entries: usize) -> Self {
        let entries = entries.max(ENTRIES_MIN);
        Self { words: vec![0; entries.next_power_of_two()], records: 0, records_max: 10 * entries }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    pub(super) fn estimate(&self, hash: u64) -> u64 {
        let counts = (0..ROWS).map(|row| {
            let (word, shift) = self.place(hash, row);
            (self.words[word] >> shift) & COUNT_MAX
        });
        counts.min().unwrap_or(0)
    }

    pub(super) fn record(&mut self, hash: u64) {
        let mut was_counted = false;
        for row in 0..ROWS {
            let (word, shift) = self.place(hash, row);
            if (self.words[word] >> shift) & COUNT_MAX < COUNT_MAX {
                self.words[word] += 1 << shift;
                was_counted = true;
            }
        }
        self.records += usize::from(was_counted);
        if self.records >= self.records_max {
            self.age();
        }
    }

    fn age(&mut self) {
        for word in &mut self.words {
            *word = (*word >> 1) & 0x7777_7777_7777_7777;
        }
        self.records /= 2;
    }

    /// Which word, and how far its counter lies from the lowest bit. Two bits of the hash choose a group of four counters,
    /// as in moka; each row has one of the group.
    fn place(&self, hash: u64, row: u32) -> (usize, u32) {
        let spread = hash.rotate_left(16 * row).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let word = usize::try_from(spread).unwrap_or(0) & (self.words.len() - 1);
        let group = u32::from((hash & 3) as u8);
        (word, 4 * (4 * group + row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neighbours in number are none here: keys are hashes.
    fn hash(number: u64) -> u64 {
        number.wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29).wrapping_mul(0xca5a_8263_9512_1157)
    }

    #[test]
    fn a_key_is_never_taken_for_less_than_it_was_seen_and_hardly_ever_for_more() {
        let mut frequencies = Frequencies::new(1_024);
        for number in 0..500 {
            for _ in 0..=number % 5 {
                frequencies.record(hash(number));
            }
        }
        let over = (0..500).map(|number| (frequencies.estimate(hash(number)), number % 5 + 1));
        let over: Vec<u64> = over.map(|(estimate, seen)| estimate.checked_sub(seen).unwrap()).collect();
        assert!(over.iter().filter(|over| **over > 0).count() < 25, "{over:?}");
    }

    #[test]
    fn counts_are_halved_after_ten_records_for_each_entry() {
        let mut frequencies = Frequencies::new(128);
        (0..12).for_each(|_| frequencies.record(hash(0)));
        assert_eq!(frequencies.estimate(hash(0)), 12);
        (1..=10 * 128 - 12).for_each(|number| frequencies.record(hash(number)));
        assert!((6..=7).contains(&frequencies.estimate(hash(0))), "{}", frequencies.estimate(hash(0)));
    }
}
