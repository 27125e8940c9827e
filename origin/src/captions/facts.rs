//! What a caption must copy and may not invent: the numbers of a description, with what belongs to them.

use std::ops::Range;

/// Most numbers of one request that may be written.
const NUMBERS_MAX: usize = 64;
/// A longer run of digits and signs is no number that anybody reads.
const NUMBER_CHARS_MAX: usize = 40;
/// Marks inside of a number: `1,299.50`, `7:30`, `3/5`, `9-5`.
const JOINTS: [char; 7] = ['.', ',', ':', '/', '\'', '-', '–'];
/// Words that belong to the number before them. Longer ones (`minutes`) may be put in other words.
const UNITS: [&str; 39] = [
    "chf", "kr", "kč", "lei", "ft", "zł", "am", "pm", "a.m", "p.m", "m", "g", "l", "h", "k", "min", "mins", "hrs",
    "km", "kg", "ml", "cm", "mm", "mph", "kmh", "lb", "lbs", "oz", "usd", "eur", "gbp", "dollars", "dollar",
    "euros", "euro", "pounds", "pound", "cents", "percent",
];
const MONTHS: [&str; 24] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "jan",
    "feb",
    "mar",
    "apr",
    "jun",
    "jul",
    "aug",
    "sep",
    "sept",
    "oct",
    "nov",
    "dec",
];

/// Every number of `text`, as typed: the words with digits that may be written about it. Each once, at most 64.
pub(super) fn numbers(text: &str) -> Vec<String> {
    let mut numbers: Vec<String> = Vec::new();
    for range in ranges(text) {
        let number = &text[range];
        if number.chars().count() <= NUMBER_CHARS_MAX && !numbers.iter().any(|known| known == number) {
            numbers.push(number.to_owned());
        }
    }
    numbers.truncate(NUMBERS_MAX);
    numbers
}

/// The facts of `text` in its order, each once: a number with its unit (`7:30 pm`), a date (`5 May`, `May 5th`), a
/// code (`GLOW40`).
pub(super) fn facts(text: &str) -> Vec<String> {
    let mut facts: Vec<String> = Vec::new();
    let mut last_end = 0;
    for range in ranges(text) {
        let Range { start, end } = with_companions(text, &range, last_end.min(range.start));
        last_end = end;
        let fact = &text[start..end];
        if fact.chars().count() <= NUMBER_CHARS_MAX && !facts.iter().any(|known| known == fact) {
            facts.push(fact.to_owned());
        }
    }
    facts
}

/// Where the numbers stand.
fn ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        if !is_part(character) && !JOINTS.contains(&character) {
            numbers_of_run(text, start..at, &mut ranges);
            start = at + character.len_utf8();
        }
    }
    ranges
}

/// Numbers of a run without blanks: its neighbouring parts with digits. Of `5-star` it is `5`, of `9-5` all of it.
fn numbers_of_run(text: &str, run: Range<usize>, ranges: &mut Vec<Range<usize>>) {
    let mut number: Option<Range<usize>> = None;
    let mut at = run.start;
    for part in text[run].split(JOINTS) {
        let end = at + part.len();
        if part.contains(char::is_numeric) {
            number = Some(number.map_or(at, |number| number.start)..end);
        } else {
            ranges.extend(number.take());
        }
        // Every joint is left out of the parts; its length is what stands between them.
        at = end + text[end..].chars().next().map_or(0, char::len_utf8);
    }
    ranges.extend(number);
}

const fn is_sign(character: char) -> bool {
    matches!(character, '%' | '$' | '°' | '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}')
}

fn is_part(character: char) -> bool {
    character.is_alphanumeric() || is_sign(character)
}

/// The number with its unit or its month; nothing before `from` is taken.
fn with_companions(text: &str, number: &Range<usize>, from: usize) -> Range<usize> {
    let (before, after) = (&text[from..number.start], &text[number.end..]);
    if let Some(next) = after.strip_prefix(' ') {
        let signs: usize = next.chars().take_while(|character| is_sign(*character)).map(char::len_utf8).sum();
        let is_apart = next[signs..].chars().next().is_none_or(|character| !character.is_alphanumeric());
        if signs > 0 && is_apart {
            return number.start..number.end + 1 + signs;
        }
        let word = first_word(next);
        let lower = word.to_lowercase();
        if UNITS.contains(&lower.as_str()) || MONTHS.contains(&lower.as_str()) {
            return number.start..number.end + 1 + word.len();
        }
        let of = next.strip_prefix("of ").map(first_word);
        if let Some(month) = of.filter(|word| MONTHS.contains(&word.to_lowercase().as_str())) {
            return number.start..number.end + " of ".len() + month.len();
        }
    }
    let last = before.strip_suffix(' ').map(|before| {
        &before[before
            .rfind(|c: char| !c.is_alphabetic())
            .map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8))..]
    });
    match last.filter(|word| MONTHS.contains(&word.to_lowercase().as_str())) {
        Some(month) => number.start - 1 - month.len()..number.end,
        None => number.clone(),
    }
}

/// The letters at the beginning, with full stops between them (`a.m`).
fn first_word(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_alphabetic() && character != '.').unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fact_is_a_number_with_what_belongs_to_it() {
        for (text, found) in [
            ("lamp for $1,299.50, now 20% off!", &["$1,299.50", "20%"][..]),
            ("doors at 7:30 pm, 54:12 of music", &["7:30 pm", "54:12"]),
            ("10k run, bib 3/5 #1", &["10k", "3/5", "1"]),
            ("use code GLOW40 until 5 May", &["GLOW40", "5 May"]),
            ("May 5th, then 3rd of june 2026", &["May 5th", "3rd of june", "2026"]),
            ("a 5-star place, open 9-5", &["5", "9-5"]),
            ("tea for two, no numbers", &[]),
            ("20% off is 20% off", &["20%"]),
            ("25€ or 30 dollars. 8 a.m. sharp", &["25€", "30 dollars", "8 a.m"]),
            ("3️⃣ things", &["3"]),
            ("May 5 May", &["5 May"]),
        ] {
            assert_eq!(facts(text), found, "{text}");
        }
        assert_eq!(numbers("5 May, 5 May, GLOW40"), ["5", "GLOW40"]);
    }

    proptest! {
        #[test]
        fn every_digit_of_a_text_is_in_one_of_its_numbers(text in "[a-zA-Z0-9 .,:%$/é–-]{0,60}|\\PC{0,60}") {
            let found = numbers(&text);
            prop_assume!(found.len() < NUMBERS_MAX);
            let facts = facts(&text);
            prop_assert!(found.iter().chain(&facts).all(|number| text.contains(number.as_str())));
            for digits in text.split(|c: char| !c.is_numeric()).filter(|run| (1..=4).contains(&run.len())) {
                prop_assert!(found.iter().any(|number| number.contains(digits)) || text.len() > NUMBER_CHARS_MAX, "{digits}");
            }
            for fact in &facts {
                prop_assert!(fact.contains(char::is_numeric), "{fact}");
            }
        }
    }
}
