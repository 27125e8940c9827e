//! What a description says, without how it is typed: a row of canonical terms. Two descriptions with equal rows would be
//! given the same caption.
//!
//! 1. An opening that only asks for a caption is left out.
//! 2. If the language is not English, or the text does not look it, or it quotes somebody, only its last mark and the
//!    form of its apostrophes are put aside.
//! 3. A word that begins a sentence is written small if its capital tells nothing.
//! 4. Words get one spelling, contractions are written out.
//! 5. Articles that tell nothing go. Adjectives that may stand in any order are put in one.
//! 6. Pauses are one kind of mark, except among numbers; at the end of the text they go.
//!
//! Everything else is compared as it is typed, letter by letter and in its order.

use std::borrow::Cow;

use lede_shared::api::LanguageTag;

use super::guards::Guards;
use super::terms::{Term, is_dash, terms};
use super::{articles, contractions, opening, words};

/// Between the terms of a row. No description has one: control characters are taken out of it.
const SEPARATOR: char = '\u{1f}';
/// Of the words of an English text at least one in so many is an everyday one, names aside.
const ENGLISH_ONE_IN: usize = 2;

/// The signature of one description in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptionSignature {
    row: String,
    pub(super) guards: Guards,
}

impl DescriptionSignature {
    /// Of a normalised description.
    #[must_use]
    pub fn of(description: &str, language: &LanguageTag) -> Self {
        if !is_english_tag(language) {
            return Self::strict(description);
        }
        let text = opening::without_opening(description);
        let found = terms(text);
        if !looks_english(&found) || text.contains(['"', '“', '”', '„', '«', '»', '`']) {
            return Self::strict(description);
        }
        let mut row = String::with_capacity(text.len() + 8);
        row.push('e');
        for item in canonical(&found) {
            row.push(SEPARATOR);
            row.push_str(item.text());
        }
        Self { row, guards: Guards::of(text) }
    }

    /// The least that any language bears.
    fn strict(description: &str) -> Self {
        let without_mark = description.trim_end_matches(['.', '!', ' ']);
        // After a number a full stop makes another number of it in many languages.
        let is_kept = without_mark.is_empty() || without_mark.ends_with(char::is_numeric);
        let text = if is_kept { description } else { without_mark };
        Self { row: format!("s{SEPARATOR}{}", text.replace('’', "'")), guards: Guards::of(text) }
    }

    /// Are the numbers, names, negations and pictures the same?
    #[must_use]
    pub fn has_equal_guards(&self, other: &Self) -> bool {
        self.guards == other.guards
    }

    /// What stands for the description in a key.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.row.as_bytes()
    }
}

/// A term in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// In lower case and its one spelling, or with the capital that tells something.
    Word(Cow<'a, str>),
    /// A reader pauses; the mark as typed.
    Pause(&'a str),
    /// As typed.
    Other(&'a str),
}

impl Item<'_> {
    /// As it stands in the row.
    fn text(&self) -> &str {
        match self {
            Item::Word(text) => text,
            Item::Pause(_) => ",",
            Item::Other(text) => text,
        }
    }

    /// The word, if it is one.
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Item::Word(text) => Some(text),
            Item::Pause(_) | Item::Other(_) => None,
        }
    }
}

fn is_english_tag(language: &LanguageTag) -> bool {
    language.as_str().split('-').next().is_some_and(|primary| primary.eq_ignore_ascii_case("en"))
}

/// The request may say English, or nothing, and be in another language.
fn looks_english(terms: &[Term<'_>]) -> bool {
    let of_small_letters = terms.iter().filter_map(|term| match term {
        Term::Word { text, opens } if *opens || text.starts_with(char::is_lowercase) => Some(text.to_lowercase()),
        _ => None,
    });
    let (mut all, mut known) = (0, 0);
    for word in of_small_letters {
        all += 1;
        let first = word.split(['\'', '’', '-']).next().unwrap_or_default();
        known += usize::from(words::is_english(&word) || words::is_english(first));
    }
    known * ENGLISH_ONE_IN >= all && all > 0
}

fn canonical<'a>(terms: &[Term<'a>]) -> Vec<Item<'a>> {
    let mut items = Vec::with_capacity(terms.len() + 2);
    for (at, term) in terms.iter().enumerate() {
        match *term {
            Term::Word { text, opens } => add_word(&mut items, (text, opens), &terms[at + 1..]),
            Term::Other("&") => items.push(Item::Word(Cow::Borrowed("and"))),
            Term::Other(text) => items.push(Item::Other(text)),
            Term::Pause(mark) if is_part_of_number(terms, at) => items.push(Item::Other(mark)),
            Term::Pause(mark) => add_pause(&mut items, mark),
        }
    }
    while matches!(items.last(), Some(Item::Pause(_))) {
        items.pop();
    }
    order_adjectives(&mut items);
    articles::without_idle_ones(items)
}

fn add_word<'a>(items: &mut Vec<Item<'a>>, (text, opens): (&'a str, bool), after: &[Term<'a>]) {
    let folded = fold(text, opens);
    if let Some((first, second)) = contractions::expanded(&folded, after.iter().map(Term::text)) {
        items.push(Item::Word(Cow::Borrowed(first)));
        items.push(Item::Word(Cow::Borrowed(second)));
        return;
    }
    let spelled = words::spelled(&folded);
    let word = if spelled == folded { folded } else { Cow::Owned(spelled.to_owned()) };
    items.push(Item::Word(word));
}

/// Small letters and straight apostrophes, if the capital tells nothing.
fn fold(text: &str, opens: bool) -> Cow<'_, str> {
    let straight = if text.contains('’') { Cow::Owned(text.replace('’', "'")) } else { Cow::Borrowed(text) };
    let is_i = straight == "I" || straight.starts_with("I'");
    let is_capitalised =
        straight.starts_with(char::is_uppercase) && !straight.chars().skip(1).any(char::is_uppercase);
    if !(is_i || opens && is_capitalised) {
        return straight;
    }
    let small = straight.to_lowercase();
    if is_i || words::is_opener(&small) || contractions::is_known(&small) { Cow::Owned(small) } else { straight }
}

/// Marks among numbers are part of what is said: `10 - 20`, `at - 5 degrees`, `10, 20`.
fn is_part_of_number(terms: &[Term<'_>], at: usize) -> bool {
    let has_digit = |at: Option<usize>| at.and_then(|at| terms.get(at)).is_some_and(Term::has_digit);
    let (before, after) = (has_digit(at.checked_sub(1)), has_digit(Some(at + 1)));
    (before && after) || (is_dash(terms[at].text()) && (before || after))
}

/// One pause is enough, and none is needed at the beginning.
fn add_pause<'a>(items: &mut Vec<Item<'a>>, mark: &'a str) {
    if !matches!(items.last(), None | Some(Item::Pause(_))) {
        items.push(Item::Pause(mark));
    }
}

/// `cosy, quiet café` and `quiet cosy café`: each run of such adjectives in the order of the alphabet, without commas.
fn order_adjectives(items: &mut Vec<Item<'_>>) {
    let is_free = |item: Option<&Item<'_>>| item.and_then(Item::word).is_some_and(words::is_free_adjective);
    let mut start = 0;
    while start < items.len() {
        let mut end = start;
        while is_free(items.get(end)) {
            end += 1;
            if items.get(end) == Some(&Item::Pause(",")) && is_free(items.get(end + 1)) {
                items.remove(end);
            }
        }
        items[start..end].sort_by(|one, other| one.text().cmp(other.text()));
        start = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(description: &str, language: &str) -> DescriptionSignature {
        DescriptionSignature::of(description, &LanguageTag::parse(language).unwrap())
    }

    #[test]
    fn the_same_typed_otherwise_is_the_same() {
        for (one, other) in [
            ("Sunset over the lake", "sunset over the lake."),
            ("a photo of coffee and cake", "Coffee & cake!"),
            ("it's our favourite café", "It’s our favorite cafe"),
            ("a cosy, quiet morning", "A quiet cosy morning"),
            ("the dog, the cat and me", "Dog - the cat and me"),
            ("we can't wait", "We cannot wait!!"),
        ] {
            assert_eq!(of(one, "en"), of(other, "en-GB"), "{one}");
        }
    }

    #[test]
    fn what_says_something_else_is_another() {
        for (one, other) in [
            ("we are open", "we are closed"),
            ("dog bites man", "man bites dog"),
            ("tea with Rose", "tea with rose"),
            ("let's eat, grandma", "let's eat grandma"),
            ("open today", "open today?"),
            ("at - 5 degrees", "at, 5 degrees"),
            ("it says \"the end\"", "it says \"end\""),
            ("she's left home", "she is left home"),
            ("a red rose", "a red r\u{43e}se"),
        ] {
            assert_ne!(of(one, "en"), of(other, "en"), "{one}");
        }
    }

    #[test]
    fn in_other_languages_only_the_last_mark_goes() {
        assert_eq!(of("voy a casa.", "es"), of("voy a casa", "es"));
        for (one, other) in [("voy a casa", "voy casa"), ("Der Weise", "der Weise"), ("am 3.", "am 3")] {
            assert_ne!(of(one, "de"), of(other, "de"), "{one}");
        }
    }

    proptest! {
        #[test]
        fn another_word_is_another_signature(
            words in prop::collection::vec("[a-z]{3,9}", 3..12), at in any::<prop::sample::Index>(), other in "[a-z]{3,9}",
        ) {
            let at = at.index(words.len());
            let mut changed = words.clone();
            changed[at] = other;
            prop_assume!(words::spelled(&changed[at]) != words::spelled(&words[at]));
            prop_assume!(!words.iter().chain(&changed).any(|word| word == "the" || words::is_free_adjective(words::spelled(word))));
            prop_assert_ne!(of(&words.join(" "), "en"), of(&changed.join(" "), "en"));
        }

        #[test]
        fn any_text_has_a_signature(text in "\\PC{0,60}|[A-Za-z ,.'?!0-9-]{0,60}") {
            prop_assert_eq!(of(&text, "en"), of(&text, "en"));
        }
    }
}
