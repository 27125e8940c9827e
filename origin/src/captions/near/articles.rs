//! `The sunset` is a sunset; `a few friends` are not few friends. Articles go only where nothing hangs on them.

use super::signature::Item;
use super::words::is_english;

/// Where an article may be idle: behind these, behind a pause and at the beginning. Behind most others it is not: `by the
/// sea` and `by sea`, `on the fire` and `on fire`, `walking the dog` and `walking dog`.
const IDLE_AFTER: [&str; 5] = ["and", "or", "is", "was", "are"];
/// Before these it counts: `a few`, `the most`, `the one`, `the three of us`, `A minor`.
const COUNTS_BEFORE: [&str; 42] = [
    "few", "fewer", "little", "most", "more", "less", "least", "many", "much", "one", "ones", "only", "number", "bit",
    "lot", "couple", "dozen", "hundred", "thousand", "million", "two", "three", "four", "five", "six", "seven",
    "eight", "nine", "ten", "other", "others", "minor", "major", "level", "levels", "flat", "sharp", "side", "list",
    "team", "while", "part",
];

/// The row without its idle articles.
pub(super) fn without_idle_ones(items: Vec<Item<'_>>) -> Vec<Item<'_>> {
    let idle: Vec<bool> = (0..items.len()).map(|at| is_idle(&items, at)).collect();
    let mut idle = idle.into_iter();
    items.into_iter().filter(|_| !idle.next().unwrap_or_default()).collect()
}

fn is_idle(items: &[Item<'_>], at: usize) -> bool {
    let is_article = matches!(items[at].word(), Some("a" | "an" | "the"));
    is_article && may_be_idle_after(at.checked_sub(1).map(|before| &items[before])) && items.get(at + 1).is_some_and(is_plain)
}

fn may_be_idle_after(before: Option<&Item<'_>>) -> bool {
    match before {
        None | Some(Item::Pause(_)) => true,
        Some(Item::Word(word)) => IDLE_AFTER.contains(&word.as_ref()),
        Some(Item::Other(_)) => false,
    }
}

/// An everyday word: neither a name (`The Office`) nor one before which the article counts.
fn is_plain(item: &Item<'_>) -> bool {
    item.word().is_some_and(|word| is_english(word) && !COUNTS_BEFORE.contains(&word))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn left(text: &str) -> String {
        let items = text.split(' ').map(|word| match word {
            "," => Item::Pause(","),
            _ => Item::Word(Cow::Borrowed(word)),
        });
        let left = without_idle_ones(items.collect());
        left.iter().map(|item| item.word().unwrap_or(",")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn idle_articles_go() {
        assert_eq!(left("the dog , a cat and the mouse"), "dog , cat and mouse");
        assert_eq!(left("this is a dog"), "this is dog");
    }

    #[test]
    fn articles_that_count_stay() {
        for text in ["a few friends", "the one", "the Who", "pot on the fire", "walking the dog", "half a day", "the", "the 5"] {
            assert_eq!(left(text), text);
        }
    }
}
