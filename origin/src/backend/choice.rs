//! Picking the likeliest entries of a row of logits, and how the processor does it, which every other device must agree with.

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::BackendError;

/// Which entries to look at.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// Which work of the step.
    pub item: usize,
    /// After which of its ids.
    pub offset: usize,
    /// A bit for each entry of the vocabulary, the lowest id in the lowest bit of the first word: may it be chosen?
    pub permitted: &'a [u32],
    /// Most entries to pick.
    pub count_max: usize,
}

/// What was picked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selected {
    /// Logit and id, the likeliest first and the lower id first among equals; none where nothing permitted has a finite
    /// logit.
    pub likeliest: Vec<(f32, u32)>,
    /// Logarithm of the sum of the exponentials of all permitted logits.
    pub log_sum_exp: f32,
}

/// Fewer entries than this are picked from sooner than other threads are woken.
const SHARED_OUT_FROM_ENTRIES: usize = 1 << 17;
/// Entries that are looked at together: as many as a word of the mask has bits.
const BLOCK: usize = 32;
/// Values that a processor's vector instructions work on together, or a multiple of it.
const LANES: usize = 8;

/// Picks for each selection from its logits, which `logits_of` gives by item and offset.
///
/// # Errors
/// The first of `logits_of`.
pub(super) fn select_each<'a>(
    selections: &[Selection<'_>],
    selected: &mut Vec<Selected>,
    logits_of: impl Fn(usize, usize) -> Result<&'a [f32], BackendError>,
) -> Result<(), BackendError> {
    let logits_of = |selection: &Selection<'_>| logits_of(selection.item, selection.offset);
    let logits: Vec<&[f32]> = selections.iter().map(logits_of).collect::<Result<_, _>>()?;
    selected.resize_with(selections.len(), Selected::default);
    let pick = |((selection, logits), selected): ((&Selection<'_>, &&[f32]), &mut Selected)| {
        select_on_host(logits, selection.permitted, selection.count_max, selected);
    };
    if logits.iter().map(|logits| logits.len()).sum::<usize>() < SHARED_OUT_FROM_ENTRIES {
        selections.iter().zip(&logits).zip(selected).for_each(pick);
    } else {
        // The device's threads have nothing to do while the host picks.
        selections.par_iter().zip(&logits).zip(selected).for_each(pick);
    }
    Ok(())
}

/// Picks on the processor.
///
/// A vocabulary has tens of thousands of entries and a step many rows, so every entry is touched once, in blocks: its share of
/// the sum, and the largest of each block. The kth largest of those is a bound that k entries reach; only blocks that reach it
/// are searched.
pub fn select_on_host(logits: &[f32], permitted: &[u32], count_max: usize, selected: &mut Selected) {
    let blocks: Vec<Block> =
        permitted.iter().zip(logits.chunks(BLOCK)).map(|(bits, logits)| Block::of(logits, *bits)).collect();
    selected.log_sum_exp = log_sum_exp(&blocks);
    let bound = reached_by(&blocks, count_max);
    let likeliest = &mut selected.likeliest;
    likeliest.clear();
    for (index, _) in blocks.iter().enumerate().filter(|(_, block)| block.max >= bound) {
        let start = index * BLOCK;
        let end = logits.len().min(start + BLOCK);
        let values = block_of(&logits[start..end], permitted[index]);
        let reaching =
            values.iter().zip(start..).filter(|(logit, _)| **logit >= bound && **logit > f32::NEG_INFINITY);
        likeliest.extend(reaching.map(|(logit, id)| (*logit, id as u32)));
    }
    let likelier_first = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if likeliest.len() > count_max && count_max > 0 {
        likeliest.select_nth_unstable_by(count_max - 1, likelier_first);
    }
    likeliest.truncate(count_max);
    likeliest.sort_unstable_by(likelier_first);
}

/// What there is to know of a block.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Minus infinity when nothing in it may be chosen.
    max: f32,
    /// Of the exponentials of what lies below the largest, so between 1 and 32.
    sum: f32,
}

impl Block {
    fn of(logits: &[f32], bits: u32) -> Self {
        if bits == 0 {
            return Self { max: f32::NEG_INFINITY, sum: 0.0 };
        }
        let values = block_of(logits, bits);
        let max = fold(&values, f32::NEG_INFINITY, larger);
        if max == f32::NEG_INFINITY {
            return Self { max, sum: 0.0 };
        }
        Self { max, sum: fold(&values.map(|value| exp(value - max)), 0.0, |a, b| a + b) }
    }
}

/// The logits of a block; minus infinity where one is not permitted, not finite or not there.
fn block_of(logits: &[f32], bits: u32) -> [f32; BLOCK] {
    let mut values = [f32::NEG_INFINITY; BLOCK];
    for (lane, (value, logit)) in values.iter_mut().zip(logits).enumerate() {
        // No comparison with what is no number is true.
        let is_meant = bits & (1 << lane) != 0 && *logit < f32::INFINITY;
        *value = if is_meant { *logit } else { f32::NEG_INFINITY };
    }
    values
}

/// All values of a block in one, several lanes at a time.
fn fold(values: &[f32; BLOCK], first: f32, with: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [first; LANES];
    for chunk in values.chunks_exact(LANES) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = with(*lane, *value);
        }
    }
    lanes.into_iter().fold(first, with)
}

const fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

fn log_sum_exp(blocks: &[Block]) -> f32 {
    let max = blocks.iter().fold(f32::NEG_INFINITY, |max, block| larger(max, block.max));
    if max == f32::NEG_INFINITY {
        return max;
    }
    let total: f64 = blocks.iter().map(|block| f64::from(block.sum) * f64::from(exp(block.max - max))).sum();
    max + total.ln() as f32
}

/// A bound that at least `count` entries reach, or all of them when there are fewer.
fn reached_by(blocks: &[Block], count: usize) -> f32 {
    if count == 0 || count >= blocks.len() {
        return f32::NEG_INFINITY;
    }
    let mut largest: Vec<f32> = blocks.iter().map(|block| block.max).collect();
    *largest.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a)).1
}

/// e to the power of `x`, which is at most 0, within 2e-7 of it: of zero when it is below −87. In simple steps, so that a
/// compiler can do several at once; the polynomial is that of Cephes' `expf` (Moshier).
fn exp(x: f32) -> f32 {
    const LEAST: f32 = -87.0;
    // Adding it leaves the nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const FACTORS: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let x = larger(x, LEAST);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    let curve = FACTORS.iter().fold(0.0, |sum, factor| sum * rest + factor);
    let power_of_two = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    (curve * rest * rest + rest + 1.0) * power_of_two
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is meant: every logit looked at.
    fn select_slowly(logits: &[f32], permitted: &[u32], count_max: usize) -> Selected {
        let is_permitted = |id: usize| permitted.get(id / 32).is_some_and(|word| word >> (id % 32) & 1 == 1);
        let meant = (0..logits.len()).filter(|id| is_permitted(*id) && logits[*id].is_finite());
        let mut likeliest: Vec<(f32, u32)> = meant.map(|id| (logits[id], id as u32)).collect();
        let total: f64 = likeliest.iter().map(|(logit, _)| f64::from(*logit).exp()).sum();
        likeliest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        likeliest.truncate(count_max);
        Selected { likeliest, log_sum_exp: total.ln() as f32 }
    }

    fn selected(logits: &[f32], permitted: &[u32], count_max: usize) -> Selected {
        let mut selected = Selected::default();
        select_on_host(logits, permitted, count_max, &mut selected);
        selected
    }

    #[test]
    fn only_permitted_finite_logits_are_picked_the_likeliest_first_and_the_lower_id_among_equals() {
        let logits = [9.0, 1.0, f32::NAN, 2.0, 2.0, f32::NEG_INFINITY];
        let picked = selected(&logits, &[0b111_1110], 3);
        assert_eq!(picked.likeliest, [(2.0, 3), (2.0, 4), (1.0, 1)]);
        let expected = (2.0f32.exp() * 2.0 + 1.0f32.exp()).ln();
        assert!((picked.log_sum_exp - expected).abs() < 1e-6);
        assert_eq!(
            selected(&logits, &[0b10_0100], 3),
            Selected { likeliest: vec![], log_sum_exp: f32::NEG_INFINITY }
        );
    }

    #[test]
    fn the_exponential_is_within_2e_7_of_the_real_one() {
        for step in 0..=870_000 {
            let x = step as f32 * -1e-4;
            let (is, should_be) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((is / should_be - 1.0).abs() < 2e-7, "{x}: {is}, not {should_be}");
        }
        assert!((0.0..1e-37).contains(&exp(f32::NEG_INFINITY)));
    }

    proptest! {
        #[test]
        fn what_is_picked_is_what_looking_at_every_logit_picks(
            logits in prop::collection::vec(
                prop_oneof![20 => -30.0f32..30.0, 3 => Just(1.5), 1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(f32::NEG_INFINITY)],
                1..3_000,
            ),
            seed in any::<u64>(), share in 0u32..4, count in 1usize..300,
        ) {
            let mut state = seed;
            let mut word = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 32) as u32
            };
            let words = logits.len().div_ceil(32);
            let permitted: Vec<u32> = (0..words)
                .map(|_| match share {
                    0 => u32::MAX,
                    1 => word(),
                    2 => word() & word() & word() & word() & word(),
                    _ => 0,
                })
                .collect();
            let (is, meant) = (selected(&logits, &permitted, count), select_slowly(&logits, &permitted, count));
            prop_assert_eq!(&is.likeliest, &meant.likeliest);
            let is_near = (is.log_sum_exp - meant.log_sum_exp).abs() <= 4e-6 || is.log_sum_exp == meant.log_sum_exp;
            prop_assert!(is_near, "{} instead of {}", is.log_sum_exp, meant.log_sum_exp);
        }

        #[test]
        fn the_count_only_cuts_the_list(
            logits in prop::collection::vec(-9.0f32..9.0, 1..80), mask in any::<[u32; 3]>(), count in 1usize..90,
        ) {
            let (all, some) = (selected(&logits, &mask, 96), selected(&logits, &mask, count));
            prop_assert_eq!(&all.likeliest[..all.likeliest.len().min(count)], some.likeliest.as_slice());
            prop_assert_eq!(all.log_sum_exp, some.log_sum_exp);
        }
    }
}
