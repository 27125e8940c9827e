//! Picking the likeliest entries of a row of logits, and the slow way of doing it, which every device must agree with.

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

/// Picks for each selection from its logits, which `logits_of` gives by item and offset.
///
/// # Errors
/// The first of `logits_of`.
pub(super) fn select_each<'a>(
    selections: &[Selection<'_>],
    selected: &mut Vec<Selected>,
    logits_of: impl Fn(usize, usize) -> Result<&'a [f32], BackendError>,
) -> Result<(), BackendError> {
    selected.resize_with(selections.len(), Selected::default);
    for (selection, selected) in selections.iter().zip(selected) {
        let logits = logits_of(selection.item, selection.offset)?;
        select_on_host(logits, selection.permitted, selection.count_max, selected);
    }
    Ok(())
}

/// Picks by looking at every logit.
pub fn select_on_host(logits: &[f32], permitted: &[u32], count_max: usize, selected: &mut Selected) {
    let likeliest = &mut selected.likeliest;
    likeliest.clear();
    for (word, bits) in permitted.iter().enumerate() {
        let mut bits = *bits;
        while bits != 0 {
            let id = word * 32 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if let Some(logit) = logits.get(id).copied().filter(|logit| logit.is_finite()) {
                likeliest.push((logit, id as u32));
            }
        }
    }
    selected.log_sum_exp = log_sum_exp(likeliest);
    let likelier_first = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if likeliest.len() > count_max && count_max > 0 {
        likeliest.select_nth_unstable_by(count_max - 1, likelier_first);
    }
    likeliest.truncate(count_max);
    likeliest.sort_unstable_by(likelier_first);
}

fn log_sum_exp(candidates: &[(f32, u32)]) -> f32 {
    let max = candidates.iter().fold(f32::NEG_INFINITY, |max, (logit, _)| max.max(*logit));
    if max == f32::NEG_INFINITY {
        return max;
    }
    let total: f64 = candidates.iter().map(|(logit, _)| f64::from(logit - max).exp()).sum();
    max + total.ln() as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    proptest! {
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
