//! `The sunset` is a sunset; `a few friends` are not few friends. Articles go only where nothing hangs on them: at the very
//! beginning, and before a place. Elsewhere something may: `it was a cold` and `it was cold`, `by the sea` and `by sea`,
//! `walking the dog` and `walking dog`.

use super::signature::Item;
use super::words::is_english;

/// Places that one may be in, at or near with or without an article.
const IN: [&str; 14] = [
    "in", "on", "at", "near", "behind", "under", "over", "from", "across", "around", "along", "outside", "inside",
    "through",
];
const PLACES: [&str; 56] = [
    "garden",
    "park",
    "beach",
    "lake",
    "kitchen",
    "mountain",
    "mountains",
    "river",
    "forest",
    "balcony",
    "terrace",
    "window",
    "sofa",
    "couch",
    "bedroom",
    "bathroom",
    "backyard",
    "yard",
    "porch",
    "harbor",
    "village",
    "countryside",
    "desert",
    "island",
    "valley",
    "meadow",
    "field",
    "fields",
    "woods",
    "shore",
    "coast",
    "airport",
    "stadium",
    "museum",
    "gallery",
    "library",
    "hotel",
    "restaurant",
    "cafe",
    "bakery",
    "supermarket",
    "playground",
    "gym",
    "rooftop",
    "roof",
    "snow",
    "rain",
    "sunshine",
    "fridge",
    "oven",
    "grass",
    "sand",
    "ocean",
    "city",
    "attic",
    "garage",
];
/// Before these it counts at the beginning, too: `a few`, `the most`, `the three of us`, `A minor`, `a kind of`, `a cold`.
const COUNTS_BEFORE: [&str; 57] = [
    "kind", "sort", "cold", "light", "fast", "sweet", "hit", "chill", "second", "minute", "good", "great",
    "present", "mean", "cut", "few", "fewer", "little", "most", "more", "less", "least", "many", "much", "one",
    "ones", "only", "number", "bit", "lot", "couple", "dozen", "hundred", "thousand", "million", "two", "three",
    "four", "five", "six", "seven", "eight", "nine", "ten", "other", "others", "minor", "major", "level",
    "levels", "flat", "sharp", "side", "list", "team", "while", "part",
];

/// The row without its idle articles.
pub(super) fn without_idle_ones(items: Vec<Item<'_>>) -> Vec<Item<'_>> {
    let idle: Vec<bool> = (0..items.len()).map(|at| is_idle(&items, at)).collect();
    let mut idle = idle.into_iter();
    items.into_iter().filter(|_| !idle.next().unwrap_or_default()).collect()
}

fn is_idle(items: &[Item<'_>], at: usize) -> bool {
    let is_article = matches!(items[at].word(), Some("a" | "an" | "the"));
    let (before, after) = (at.checked_sub(1).map(|before| &items[before]), items.get(at + 1));
    is_article && (before.is_none() && after.is_some_and(is_plain) || is_in_a_place(before, after))
}

/// `in the garden` and what is written in haste, `in garden`.
fn is_in_a_place(before: Option<&Item<'_>>, after: Option<&Item<'_>>) -> bool {
    let is_one =
        |item: Option<&Item<'_>>, of: &[&str]| item.and_then(Item::word).is_some_and(|word| of.contains(&word));
    is_one(before, &IN) && is_one(after, &PLACES)
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
        assert_eq!(left("the dog , a cat and the mouse"), "dog , a cat and the mouse");
        assert_eq!(left("this is a dog in the garden"), "this is a dog in garden");
    }

    #[test]
    fn articles_that_count_stay() {
        for text in [
            "a few friends",
            "the one",
            "the Who",
            "a kind of magic",
            "pot on the fire",
            "it was a cold",
            "the",
            "the 5",
        ] {
            assert_eq!(left(text), text);
        }
    }
}
