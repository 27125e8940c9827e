//! What must be equal before an earlier answer stands in for another description's, whatever the signature says.
//!
//! A caption copies the numbers and the names of its description, so these are read with the same eyes as where captions
//! are checked for them. The guards are worked out apart from the signature: a mistake in the one is caught by the other.

use std::hash::{DefaultHasher, Hash, Hasher};

use lede_shared::api::text::is_emoji;

use super::contractions;
use super::terms::{Term, terms};
use crate::captions::content::Content;
use crate::captions::facts;

/// Words that turn a statement round, wholly or almost.
const NEGATIONS: [&str; 24] = [
    "no", "not", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor", "without", "hardly", "barely",
    "scarcely", "rarely", "seldom", "cannot", "ain't", "shan't", "needn't", "except", "lacks", "lack", "unless",
    "but",
];

/// Fingerprints of what a description states. Compared in this process only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guards {
    numbers: u64,
    names: u64,
    negations: u64,
    pictures: u64,
}

impl Guards {
    /// Of a description without its opening.
    pub(super) fn of(text: &str) -> Self {
        Self { numbers: numbers(text), names: names(text), negations: negations(text), pictures: pictures(text) }
    }
}

/// Every number as typed, with what belongs to it, in order.
fn numbers(text: &str) -> u64 {
    fingerprint(facts::facts(text).into_iter().chain(facts::numbers(text)))
}

/// Every name, in order, as typed: where a sentence does not begin, a capital makes one.
fn names(text: &str) -> u64 {
    let content = Content::of(text);
    fingerprint(content.names())
}

/// Every word that negates, in order, contractions written out.
fn negations(text: &str) -> u64 {
    let terms = terms(text);
    let words: Vec<&str> = terms.iter().map(Term::text).collect();
    let negating = words.iter().enumerate().filter_map(|(at, word)| {
        let word = word.replace('’', "'").to_lowercase();
        let (first, second) = contractions::expanded(&word, words[at + 1..].iter().copied()).unwrap_or_default();
        let negates = |word: &str| NEGATIONS.contains(&word);
        if negates(first) || negates(second) {
            return Some("not".to_owned());
        }
        let is_prefixed =
            ["non-", "un-", "anti-"].iter().any(|prefix| word.starts_with(prefix)) || word.ends_with("-free");
        (negates(&word) || is_prefixed).then_some(word)
    });
    // `cannot` and `can not` say the same.
    fingerprint(negating.map(|word| if word == "cannot" { "not".to_owned() } else { word }))
}

/// Every picture, in order.
fn pictures(text: &str) -> u64 {
    fingerprint(text.chars().filter(|character| is_emoji(*character)))
}

fn fingerprint<T: Hash>(values: impl IntoIterator<Item = T>) -> u64 {
    let mut hasher = DefaultHasher::new();
    values.into_iter().for_each(|value| value.hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_numbers_are_noticed() {
        for (one, other) in [
            ("30% off", "40% off"),
            ("5 May", "5 March"),
            ("at 7 pm", "at 7 am"),
            ("$5", "€5"),
            ("1,299", "1299"),
            ("2 dogs", "dogs"),
        ] {
            assert_ne!(numbers(one), numbers(other), "{one}");
        }
        assert_eq!(numbers("lamps, 30% off!"), numbers("lamps 30% off"));
    }

    #[test]
    fn other_names_are_noticed() {
        for (one, other) in [("tea with Anna", "tea with Anne"), ("in May", "in may"), ("see Paris", "see Rome")] {
            assert_ne!(names(one), names(other), "{one}");
        }
        assert_eq!(names("Tea with Anna"), names("tea with Anna"));
    }

    #[test]
    fn negations_of_any_form_are_noticed_and_only_their_spelling_is_not() {
        let plain = "we are open today";
        for negated in [
            "we are not open today",
            "we aren't open today",
            "we are never open today",
            "we are hardly open today",
            "nobody is open today",
            "we aren’t open today",
            "we are un-open today",
        ] {
            assert_ne!(negations(plain), negations(negated), "{negated}");
        }
        assert_eq!(negations("we aren't"), negations("we are not"));
        assert_eq!(negations("I can’t"), negations("I cannot"));
        assert_ne!(negations("not now"), negations("never now"));
    }

    #[test]
    fn other_pictures_are_noticed() {
        assert_ne!(pictures("hi 👋"), pictures("hi 👋🏽"));
        assert_ne!(pictures("hi"), pictures("hi 👋"));
    }
}
