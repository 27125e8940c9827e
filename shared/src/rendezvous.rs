//! Which origin answers for a key: weighted rendezvous hashing (highest random weight), so that each origin's caches
//! hold their own part and losing one origin moves its keys alone.
//!
//! Thaler and Ravishankar, “Using name-based mappings to increase hit rates” (1998), weighted by the logarithm method
//! of Schindelhauer and Schomaker, “Weighted distributed hash tables” (2005): each origin draws a number `u` between 0
//! and 1 from its name and the key, and the least `-ln(u) / weight` goes first. The logarithm is computed in integers:
//! a Worker and a native process agree to the last bit, which their floating-point libraries do not promise.

use std::cmp::Ordering;

use sha2::{Digest, Sha256};

/// Changes whenever the order does.
const ORDER_FORM: &[u8] = b"lede-rendezvous/1";
/// Binary digits of the logarithm after the point.
const FRACTION_BITS: u32 = 48;

/// One of those among whom keys are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// What tells it from the others; a change of name moves its keys.
    pub name: &'a str,
    /// Its share: twice the weight, twice the keys. A weight of 0 goes last.
    pub weight: u32,
}

/// The positions of `candidates` in the order in which they should be asked for `key`.
#[must_use]
pub fn order(key: &[u8], candidates: &[Candidate<'_>]) -> Vec<usize> {
    let mut drawn: Vec<Drawn> = Vec::with_capacity(candidates.len());
    drawn.extend(candidates.iter().enumerate().map(|(position, candidate)| Drawn {
        position,
        distance: minus_log2(draw(key, candidate.name)),
        weight: candidate.weight,
    }));
    drawn.sort_unstable_by(Drawn::compare);
    drawn.into_iter().map(|drawn| drawn.position).collect()
}

struct Drawn {
    position: usize,
    /// `-log2(u)`; never 0.
    distance: u64,
    weight: u32,
}

impl Drawn {
    /// Compares `distance / weight` without dividing.
    fn compare(&self, other: &Self) -> Ordering {
        let (ours, theirs) = (self.scaled_by(other.weight), other.scaled_by(self.weight));
        // Both are 0 for two that weigh nothing.
        ours.cmp(&theirs).then(self.distance.cmp(&other.distance)).then(self.position.cmp(&other.position))
    }

    fn scaled_by(&self, weight: u32) -> u128 {
        u128::from(self.distance) * u128::from(weight)
    }
}

/// A number between 0 and 2⁶⁴ that depends on nothing but name and key.
fn draw(key: &[u8], name: &str) -> u64 {
    let name_bytes = u64::try_from(name.len()).unwrap_or(u64::MAX);
    let hash = Sha256::new().chain_update(ORDER_FORM).chain_update(name_bytes.to_be_bytes());
    let hash = hash.chain_update(name).chain_update(key).finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// `-log2(drawn / 2⁶⁴)` with [`FRACTION_BITS`] binary digits after the point, at least 1 in the last of them.
///
/// Digit by digit: the square of a number has twice its logarithm, and where it passes 2 the digit is 1.
fn minus_log2(drawn: u64) -> u64 {
    let drawn = drawn.max(1);
    let whole = u64::from(drawn.ilog2());
    // Between 1 and 2, with 63 digits after the point.
    let mut mantissa = drawn << drawn.leading_zeros();
    let mut fraction = 0;
    for _ in 0..FRACTION_BITS {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let passes_two = square >> 64;
        fraction = fraction << 1 | u64::from(passes_two == 1);
        mantissa = u64::try_from(square >> passes_two).unwrap_or(u64::MAX);
    }
    let log2 = whole << FRACTION_BITS | fraction;
    (u64::from(u64::BITS) << FRACTION_BITS) - log2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: u64) -> [u8; 32] {
        Sha256::digest(number.to_be_bytes()).into()
    }

    fn candidates<'a>(names: &'a [String], weights: &[u32]) -> Vec<Candidate<'a>> {
        names.iter().zip(weights).map(|(name, weight)| Candidate { name, weight: *weight }).collect()
    }

    #[test]
    fn golden_orders_stay_as_they_are() {
        // Worked out apart from this code, with a logarithm of forty decimal digits.
        let candidates = [
            Candidate { name: "https://a.example", weight: 1 },
            Candidate { name: "https://b.example", weight: 2 },
            Candidate { name: "https://c.example:8140", weight: 5 },
        ];
        let golden: [(u64, [usize; 3]); 6] =
            [(0, [1, 2, 0]), (1, [2, 0, 1]), (2, [0, 2, 1]), (3, [2, 0, 1]), (4, [1, 2, 0]), (5, [1, 2, 0])];
        for (number, expected) in golden {
            assert_eq!(order(&key(number), &candidates), expected, "key {number}");
        }
        assert_eq!(draw(&key(0), "https://a.example"), 0x90ef_e2a9_4544_f4fc);
    }

    #[test]
    fn the_logarithm_is_the_logarithm() {
        assert_eq!(minus_log2(1), 64 << FRACTION_BITS);
        assert_eq!(minus_log2(0), minus_log2(1), "0 cannot be drawn from an open interval");
        assert_eq!(minus_log2(1 << 63), 1 << FRACTION_BITS);
        assert_eq!(minus_log2(u64::MAX), 1);
        #[expect(clippy::cast_precision_loss, reason = "the comparison has a tolerance")]
        for drawn in [3u64, 1_000, 0x1234_5678_9abc_def0, u64::MAX / 3 * 2] {
            let expected = 64.0 - (drawn as f64).log2();
            let computed = minus_log2(drawn) as f64 / (1u64 << FRACTION_BITS) as f64;
            assert!((expected - computed).abs() < 1e-9, "{drawn}: {expected} {computed}");
        }
    }

    #[test]
    fn a_weight_of_nothing_goes_last() {
        let names = ["a", "b", "c"].map(str::to_owned);
        for number in 0..100 {
            let order = order(&key(number), &candidates(&names, &[0, 1, 0]));
            assert_eq!(order[0], 1);
        }
    }

    #[test]
    fn shares_follow_weights() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        let weights = [1, 2, 3, 10];
        let mut shares = [0u32; 4];
        let keys = 20_000;
        for number in 0..keys {
            shares[order(&key(number), &candidates(&names, &weights))[0]] += 1;
        }
        for (share, weight) in shares.iter().zip(weights) {
            let probability = f64::from(weight) / 16.0;
            let expected = 20_000.0 * probability;
            let deviation = (expected * (1.0 - probability)).sqrt();
            assert!((f64::from(*share) - expected).abs() < 4.0 * deviation, "{shares:?}");
        }
    }

    proptest! {
        #[test]
        fn an_order_has_everybody_once_whatever_the_place_in_the_list(
            number: u64, weights in prop::collection::vec(0u32..=1_000, 0..9), rotation in 0usize..9,
        ) {
            let names: Vec<String> = (0..weights.len()).map(|index| format!("origin-{index}")).collect();
            let straight = candidates(&names, &weights);
            let mut turned = straight.clone();
            turned.rotate_left(rotation.checked_rem(weights.len()).unwrap_or(0));
            let named = |candidates: &[Candidate<'_>]| -> Vec<String> {
                order(&key(number), candidates).into_iter().map(|at| candidates[at].name.to_owned()).collect()
            };
            let mut everybody = named(&straight);
            prop_assert_eq!(&everybody, &named(&turned));
            everybody.sort_unstable();
            prop_assert_eq!(everybody, names);
        }

        #[test]
        fn who_leaves_takes_no_key_of_the_others_with_them(
            number: u64, weights in prop::collection::vec(1u32..=1_000, 2..9), gone in 0usize..9,
        ) {
            let names: Vec<String> = (0..weights.len()).map(|index| format!("origin-{index}")).collect();
            let all = candidates(&names, &weights);
            let gone = gone % all.len();
            let mut expected = order(&key(number), &all);
            expected.retain(|position| *position != gone);
            let mut left = all.clone();
            left.remove(gone);
            let place = |position: usize| position + usize::from(position >= gone);
            let found: Vec<usize> = order(&key(number), &left).into_iter().map(place).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn more_weight_never_sends_a_key_away(number: u64, weights in prop::collection::vec(1u32..=100, 2..6)) {
            let names: Vec<String> = (0..weights.len()).map(|index| format!("origin-{index}")).collect();
            let first = order(&key(number), &candidates(&names, &weights))[0];
            let mut heavier = weights.clone();
            heavier[first] += 1;
            prop_assert_eq!(order(&key(number), &candidates(&names, &heavier))[0], first);
        }
    }
}
