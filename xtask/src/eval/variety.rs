//! How much of what was written is written again.

use std::collections::{BTreeMap, BTreeSet};

use super::words::words;

/// Distinct pairs of neighbouring words ÷ all such pairs, over the captions together. `None` without any pair.
pub(super) fn distinct_2<'text>(captions: impl IntoIterator<Item = &'text str>) -> Option<f64> {
    let mut distinct = BTreeSet::new();
    let mut all = 0_u32;
    for caption in captions {
        for pair in words(caption).windows(2) {
            distinct.insert(pair.join(" "));
            all += 1;
        }
    }
    (all > 0).then(|| distinct.len() as f64 / f64::from(all))
}

/// The first run of four words that stands in the caption twice.
pub(super) fn repeated_phrase(caption: &str) -> Option<String> {
    let mut seen = BTreeSet::new();
    words(caption).windows(4).map(|run| run.join(" ")).find(|run| !seen.insert(run.clone()))
}

/// Captions that several descriptions got, with the lines of these descriptions.
pub(super) fn shared_captions<'text>(
    captions: impl IntoIterator<Item = (u64, &'text str)>,
) -> BTreeMap<&'text str, BTreeSet<u64>> {
    let mut lines: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for (line, caption) in captions {
        lines.entry(caption).or_default().insert(line);
    }
    lines.retain(|_, lines| lines.len() > 1);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_over_all_captions_but_not_across_them() {
        assert_eq!(distinct_2(["a b c", "A b d"]), Some(0.75));
        assert_eq!(distinct_2(["a b", "a b"]), Some(0.5));
        assert_eq!(distinct_2(["one", ""]), None);
    }

    #[test]
    fn four_words_that_come_again_are_found() {
        assert_eq!(repeated_phrase("On the red sofa, on the red sofa").as_deref(), Some("on the red sofa"));
        assert_eq!(repeated_phrase("on the sofa, on the sofa"), None);
    }

    #[test]
    fn a_caption_is_shared_only_between_different_descriptions() {
        let shared = shared_captions([(1, "Hello."), (1, "Hello."), (2, "Yes."), (3, "Yes.")]);
        assert_eq!(shared.into_iter().collect::<Vec<_>>(), [("Yes.", BTreeSet::from([2, 3]))]);
    }
}
