//! The lists of words that the look-up goes by. What a list does not know is compared as it is typed, so a gap in one costs
//! a hit and never a wrong answer.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// Adjectives that praise or paint and say the same in any order. None narrows the next one down, as `dark` does `red`.
const ADJECTIVES: [&str; 24] = [
    "cozy",
    "quiet",
    "beautiful",
    "sunny",
    "lovely",
    "peaceful",
    "happy",
    "relaxed",
    "small",
    "charming",
    "magical",
    "unforgettable",
    "delicious",
    "homemade",
    "fresh",
    "tasty",
    "calm",
    "foggy",
    "funny",
    "friendly",
    "gorgeous",
    "warm",
    "amazing",
    "creamy",
];

static ENGLISH: LazyLock<HashSet<&str>> = LazyLock::new(|| listed(include_str!("words/english.txt")).collect());
static OPENERS: LazyLock<HashSet<&str>> = LazyLock::new(|| listed(include_str!("words/openers.txt")).collect());
static SPELLINGS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let lines = include_str!("words/spellings.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).collect()
});

/// Is it one of some six thousand everyday English words, in lower case?
pub(super) fn is_english(word: &str) -> bool {
    ENGLISH.contains(word)
}

/// Does this word, in lower case, mean the same when a sentence begins with it?
pub(super) fn is_opener(word: &str) -> bool {
    OPENERS.contains(word)
}

/// The one spelling of a word in lower case.
pub(super) fn spelled(word: &str) -> &str {
    SPELLINGS.get(word).copied().unwrap_or(word)
}

/// May it change places with another of its kind?
pub(super) fn is_free_adjective(word: &str) -> bool {
    ADJECTIVES.contains(&word)
}

fn listed(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_lower_case_and_a_spelling_leads_to_one_that_leads_no_further() {
        let words = ENGLISH.iter().chain(OPENERS.iter()).chain(SPELLINGS.keys()).chain(SPELLINGS.values());
        for word in words {
            assert_eq!(*word, word.to_lowercase());
        }
        for (word, spelling) in SPELLINGS.iter() {
            assert_eq!(spelled(spelling), *spelling, "{word}");
        }
    }

    #[test]
    fn adjectives_stand_in_their_one_spelling() {
        for adjective in ADJECTIVES {
            assert_eq!(spelled(adjective), adjective);
        }
    }

    #[test]
    fn a_word_that_is_a_name_with_a_capital_is_no_opener() {
        for name in ["apple", "may", "us", "turkey", "rose", "polish", "will", "mark", "target", "friends"] {
            assert!(!is_opener(name), "{name}");
        }
    }
}
