//! Which keys were asked for on an earlier day: a doorkeeper, so that what is asked for once does not drive what comes back
//! out of the calendar. Bloom filters of a fixed size, one for today and two that take turns with the weeks.

use lede_shared::cache_key::CacheKey;

/// A hundred thousand keys a week leave it wrong about one stranger in sixty. 128 KiB.
const BITS: usize = 1 << 20;
const DAYS_OF_WEEK: u32 = 7;

#[derive(Clone, Debug)]
struct Filter(Box<[u64]>);

impl Default for Filter {
    fn default() -> Self {
        Self(vec![0; BITS / 64].into())
    }
}

impl Filter {
    fn insert(&mut self, key: &CacheKey) {
        for bit in bits(key) {
            self.0[bit / 64] |= 1 << (bit % 64);
        }
    }

    fn has(&self, key: &CacheKey) -> bool {
        bits(key).iter().all(|bit| self.0[bit / 64] >> (bit % 64) & 1 == 1)
    }

    fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }
}

/// A key is a hash already.
fn bits(key: &CacheKey) -> [usize; 3] {
    let bit = |at: usize| {
        let bytes = [key.0[at], key.0[at + 1], key.0[at + 2], key.0[at + 3]];
        u32::from_le_bytes(bytes) as usize % BITS
    };
    [bit(0), bit(4), bit(8)]
}

/// Who came on an earlier day of this week or of the last.
#[derive(Clone, Debug, Default)]
pub(super) struct Acquaintances {
    day: u32,
    today: Filter,
    this_week: Filter,
    last_week: Filter,
}

impl Acquaintances {
    /// The key is asked for on `day`. Was it on an earlier one? Now and then a stranger is taken for an acquaintance, never
    /// the reverse.
    pub(super) fn meet(&mut self, key: &CacheKey, day: u32) -> bool {
        self.turn_to(day);
        self.today.insert(key);
        self.this_week.has(key) || self.last_week.has(key)
    }

    fn turn_to(&mut self, day: u32) {
        if day <= self.day {
            return;
        }
        self.this_week.add_all(&self.today);
        self.today.clear();
        match day / DAYS_OF_WEEK - self.day / DAYS_OF_WEEK {
            0 => {}
            1 => {
                std::mem::swap(&mut self.last_week, &mut self.this_week);
                self.this_week.clear();
            }
            _ => {
                self.last_week.clear();
                self.this_week.clear();
            }
        }
        self.day = day;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_known_from_the_day_after_until_the_end_of_the_next_week() {
        let (mut acquaintances, key) = (Acquaintances::default(), CacheKey([7; 32]));
        assert!(!acquaintances.meet(&key, 702));
        assert!(!acquaintances.meet(&key, 702), "the same day says nothing");
        let known = |day: u32| acquaintances.clone().meet(&key, day);
        assert_eq!([703, 706, 707, 713, 714, 2_000].map(known), [true, true, true, true, false, false]);
    }
}
