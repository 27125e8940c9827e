//! Facts of a description: what a caption must copy letter for letter, and what it must not make up.

use std::collections::BTreeSet;

use anyhow::Result;
use regex::Regex;

use super::words::{without_possessive, words};

const MONTHS: &str = "january|february|march|april|may|june|july|august|september|october|november|december";
const WEEKDAYS: &str = "monday|tuesday|wednesday|thursday|friday|saturday|sunday";
/// Without `march` and `may`, which are words of their own.
const PLAIN_MONTHS: &str = "january|february|april|june|july|august|september|october|november|december";
/// What may follow a number, after a blank or not.
const UNITS: &str = "am|pm|cet|usd|eur|ksh|kr|zł|euros?|dollars?|kg|g|km|cm|m|ml|l";
const CURRENCY: &str = "[$€£¥₩₹]";
const PRONOUNS: [&str; 5] = ["i", "i'm", "i'd", "i'll", "i've"];

/// What kind of fact it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FactKind {
    /// A number with its unit or currency, a percentage, a time, a date, a month or weekday, a code.
    Number,
    /// Capitalised words that do not begin a sentence.
    Name,
}

/// One fact as the description writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) kind: FactKind,
    pub(super) text: String,
}

/// Finds facts; holds the compiled patterns.
pub(super) struct FactReader {
    numbers: Regex,
    names: Regex,
    digits: Regex,
    calendar: Regex,
}

impl FactReader {
    /// # Errors
    /// When a pattern does not compile.
    pub(super) fn new() -> Result<Self> {
        let day = r"\d{1,2}(?:st|nd|rd|th)?";
        let date = format!(
            r"(?i:\b{day}(?:-{day})?\s(?:{MONTHS})\b(?:\s\d{{4}}\b)?|\b(?:{MONTHS})\s{day}\b(?:,?\s\d{{4}}\b)?)"
        );
        let amount = format!(
            r"(?:{CURRENCY}\s?|\b\p{{L}}*)\d+(?:[.,:/–-]\d+)*(?:\s?(?:%|{CURRENCY})|(?i:\s?(?:{UNITS})\b(?:\scet\b)?)|\p{{L}}+)?"
        );
        let calendar = format!(r"(?i:\b(?:{WEEKDAYS}|{PLAIN_MONTHS})s?\b)");
        Ok(Self {
            numbers: Regex::new(&format!("{date}|{amount}|{calendar}"))?,
            names: Regex::new(r"\p{Lu}[\p{L}\p{M}'’]*(?:(?: | & |-)\p{Lu}[\p{L}\p{M}'’]*)*")?,
            digits: Regex::new(r"\d+")?,
            calendar: Regex::new(&format!("^(?:{WEEKDAYS}|{PLAIN_MONTHS})s?$"))?,
        })
    }

    /// The facts of a description in order, each once.
    pub(super) fn facts(&self, description: &str) -> Vec<Fact> {
        let mut rest = description.to_owned();
        let mut facts = Vec::new();
        for found in self.numbers.find_iter(description) {
            facts.push(Fact { kind: FactKind::Number, text: found.as_str().to_owned() });
            // Digits stand for what is taken: no name reaches across, and no sentence begins behind it.
            rest.replace_range(found.range(), &"0".repeat(found.len()));
        }
        for found in self.names.find_iter(&rest) {
            if rest[..found.start()].ends_with(char::is_alphanumeric) {
                continue;
            }
            let text = match (begins_sentence(&rest[..found.start()]), found.as_str().split_once(' ')) {
                (false, _) => found.as_str(),
                (true, Some((_, behind))) => behind.trim_start_matches("& "),
                (true, None) => continue,
            };
            let text = without_possessive(text).trim_end_matches(['\'', '’']);
            if !PRONOUNS.contains(&words(text).join(" ").as_str()) {
                facts.push(Fact { kind: FactKind::Name, text: text.to_owned() });
            }
        }
        let mut seen = BTreeSet::new();
        facts.retain(|fact| seen.insert(fact.text.clone()));
        facts
    }

    /// What the caption says that the description does not: digit runs, capitalised words inside a sentence, months
    /// and weekdays.
    pub(super) fn invented(&self, caption: &str, description: &str) -> Vec<String> {
        let numbers: BTreeSet<&str> = self.digits.find_iter(description).map(|found| found.as_str()).collect();
        let known: BTreeSet<String> =
            words(description).iter().map(|word| without_possessive(word).to_owned()).collect();
        let is_known = |word: &str| {
            words(word).iter().all(|part| {
                PRONOUNS.contains(&part.as_str()) || known.contains(without_possessive(part)) || part.is_empty()
            })
        };
        let digits = self.digits.find_iter(caption).map(|found| found.as_str());
        let mut invented: Vec<String> = digits.filter(|run| !numbers.contains(run)).map(str::to_owned).collect();
        for (place, word) in capitalised(caption) {
            // A single letter names nothing: “Exhibit A”.
            if word.chars().count() > 1 && !begins_clause(&caption[..place]) && !is_known(word) {
                invented.push(word.to_owned());
            }
        }
        let dates = words(caption).into_iter().filter(|word| self.calendar.is_match(without_possessive(word)));
        for word in dates.filter(|word| !is_known(word) && !is_known(&other_number(word))) {
            if !invented.iter().any(|present| present.to_lowercase() == word) {
                invented.push(word);
            }
        }
        invented
    }
}

/// `monday` ↔ `mondays`
fn other_number(weekday: &str) -> String {
    weekday.strip_suffix('s').map_or_else(|| format!("{weekday}s"), str::to_owned)
}

/// Does the caption have the fact, letter for letter and not as part of something longer? Capitals may differ in
/// months, weekdays and units, but not in names and codes.
pub(super) fn is_kept(fact: &Fact, caption: &str) -> bool {
    let is_code = fact.text.starts_with(|character: char| character.is_uppercase())
        && fact.text.contains(|character: char| character.is_ascii_digit())
        && !fact.text.contains(' ');
    if fact.kind == FactKind::Name || is_code {
        return stands_in(&fact.text, caption);
    }
    stands_in(&fact.text.to_lowercase(), &caption.to_lowercase())
}

fn stands_in(fact: &str, caption: &str) -> bool {
    caption.match_indices(fact).any(|(place, _)| {
        let (before, behind) = (&caption[..place], &caption[place + fact.len()..]);
        let mut following = behind.chars();
        let next = following.next();
        let goes_on = next.is_some_and(char::is_alphanumeric)
            || (next.is_some_and(|mark| matches!(mark, '.' | ',' | ':'))
                && fact.ends_with(|last: char| last.is_ascii_digit())
                && following.next().is_some_and(|digit| digit.is_ascii_digit()));
        !goes_on && !before.ends_with(char::is_alphanumeric)
    })
}

/// Capitalised words with where they begin, in bytes.
fn capitalised(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '\'' | '’');
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(is_part)?;
        let length = text[start..].find(|character| !is_part(character)).unwrap_or(text.len() - start);
        from = start + length;
        Some((start, &text[start..from]))
    })
    .map(|(start, word)| (start + word.len() - word.trim_start_matches(['\'', '’']).len(), word))
    .map(|(start, word)| (start, word.trim_matches(['\'', '’'])))
    .filter(|(_, word)| word.starts_with(char::is_uppercase))
}

/// Of a description: only after its begin, a full stop or the like. People write names after colons.
fn begins_sentence(before: &str) -> bool {
    let before = before.trim_end_matches(|mark: char| mark.is_whitespace() || matches!(mark, '"' | '“' | '('));
    before.chars().next_back().is_none_or(|mark| matches!(mark, '.' | '!' | '?' | '…'))
}

/// Of a caption: wherever a capital is usual, also after a colon, an opening quote or an emoji.
fn begins_clause(before: &str) -> bool {
    let closed = |mark: char| mark.is_whitespace() || matches!(mark, ')' | '"' | '”' | '\'' | '’');
    let open = before.trim_end().trim_end_matches(closed);
    if open.ends_with(['.', '!', '?', '…', ':']) {
        return true;
    }
    let last = before.trim_end().chars().next_back();
    !last.is_some_and(|mark| mark.is_alphanumeric() || ",;&-–—'’)%/+$€£¥₩₹".contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(description: &str, kind: FactKind) -> Vec<String> {
        let facts = FactReader::new().unwrap().facts(description);
        facts.into_iter().filter(|fact| fact.kind == kind).map(|fact| fact.text).collect()
    }

    #[test]
    fn numbers_come_with_their_units_dates_and_letters() {
        for (description, expected) in [
            ("20% off until sunday", vec!["20%", "sunday"]),
            ("dresses from 49 € or £6, $59.99, 80 zł, R50", vec!["49 €", "£6", "$59.99", "80 zł", "R50"]),
            ("on 12 April, doors 19:00", vec!["12 April", "19:00"]),
            ("closes june 1, $180 a week", vec!["june 1", "$180"]),
            ("every tuesday 6:30 pm at 14 Maple Street", vec!["tuesday", "6:30 pm", "14"]),
            (
                "5-8 December, code SPRING15, stand C21, a 125cc, 17:00 cet",
                vec!["5-8 December", "SPRING15", "C21", "125cc", "17:00 cet"],
            ),
            ("14 June 2027, 0.8 l, 3,000 KSh", vec!["14 June 2027", "0.8 l", "3,000 KSh"]),
            ("may i march in november?", vec!["november"]),
        ] {
            assert_eq!(found(description, FactKind::Number), expected, "{description}");
        }
    }

    #[test]
    fn names_are_capitalised_words_inside_a_sentence() {
        for (description, expected) in [
            ("Grand opening of Bella's Bakery on 12 April", vec!["Bella's Bakery"]),
            ("Welcome Priya Raman. She is from Pune", vec!["Priya Raman", "Pune"]),
            ("long distance: Manila to Madrid, and I am done", vec!["Manila", "Madrid"]),
            ("ten years of Hartmann & Söhne", vec!["Hartmann & Söhne"]),
            ("unicorn cake for Mila's 5th birthday", vec!["Mila"]),
            ("Tadao Ando's church", vec!["Ando"]),
            ("Black Friday at KSh 3", vec!["KSh"]),
        ] {
            assert_eq!(found(description, FactKind::Name), expected, "{description}");
        }
    }

    #[test]
    fn a_fact_is_kept_only_letter_for_letter() {
        let fact = |kind, text: &str| Fact { kind, text: text.to_owned() };
        assert!(is_kept(&fact(FactKind::Number, "12 april"), "See you on 12 April."));
        assert!(!is_kept(&fact(FactKind::Number, "$59"), "Now $59.99"));
        assert!(is_kept(&fact(FactKind::Number, "$59"), "Now $59."));
        assert!(!is_kept(&fact(FactKind::Number, "5"), "All 15 of them"));
        assert!(!is_kept(&fact(FactKind::Number, "SPRING15"), "Code Spring15"));
        assert!(is_kept(&fact(FactKind::Name, "Mila"), "Mila's cake"));
        assert!(!is_kept(&fact(FactKind::Name, "Mila"), "mila, Milan"));
    }

    #[test]
    fn what_the_description_lacks_is_invented() {
        let reader = FactReader::new().unwrap();
        let description = "sunrise over mount batur with Ana, day 3, mondays";
        for honest in [
            "Sunrise over Mount Batur. (At last.) Look",
            "Look: Day 3, exhibit A, with Ana's dog, and I'm happy.",
            "🌅 Monday. Mondays.",
        ] {
            assert_eq!(reader.invented(honest, description), [""; 0], "{honest}");
        }
        assert_eq!(
            reader.invented("Sunrise in Paris, day 33, on Friday.", description),
            ["33", "Paris", "Friday"]
        );
        assert_eq!(reader.invented("Best of june.", description), ["june"]);
    }
}
