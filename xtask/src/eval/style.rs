//! Can the style be told from the text? A small classifier, trained on what people wrote for each style: naive Bayes
//! over words and pairs of neighbouring words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lede_shared::api::Style;
use regex::Regex;

use super::words::{WordReader, words};

/// Where the hand-written texts lie in the repository, one file per style.
const FRAMES: &str = "training/corpus/frames";
/// One text in so many is held out when the accuracy is measured.
const HELD_OUT: usize = 5;
/// Added to every count, so that a word that one style has never used does not decide alone.
const SMOOTHING: f64 = 0.1;
const STYLES: usize = Style::ALL.len();
/// Stands where words were taken out; no pair reaches across.
const GAP: &str = "\u{0}";
/// Before the first word and behind the last one: how a text begins and ends is part of its style.
const BORDER: &str = "\u{1}";

/// A text of a known style, as words.
#[derive(Clone, Debug)]
pub(super) struct Example {
    pub(super) style: Style,
    pub(super) words: Vec<String>,
}

/// How many texts of each style hold a word or a pair.
#[derive(Default)]
pub(super) struct StyleClassifier {
    counts: BTreeMap<String, [f64; STYLES]>,
    totals: [f64; STYLES],
}

impl StyleClassifier {
    pub(super) fn train(examples: &[&Example]) -> Self {
        let mut classifier = Self::default();
        for example in examples {
            let place = place_of(example.style);
            for feature in features_of(&example.words) {
                classifier.counts.entry(feature).or_default()[place] += 1.0;
                classifier.totals[place] += 1.0;
            }
        }
        classifier
    }

    /// The styles, likeliest first. All are taken to be equally common.
    pub(super) fn ranked(&self, text: &[String]) -> Vec<Style> {
        let mut scores = [0.0; STYLES];
        for counts in features_of(text).iter().filter_map(|feature| self.counts.get(feature)) {
            for (place, score) in scores.iter_mut().enumerate() {
                let all = self.totals[place] + SMOOTHING * self.counts.len() as f64;
                *score += ((counts[place] + SMOOTHING) / all).ln();
            }
        }
        let mut ranked: Vec<(f64, Style)> = scores.into_iter().zip(Style::ALL.iter().copied()).collect();
        ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
        ranked.into_iter().map(|(_, style)| style).collect()
    }

    /// Share of the examples whose style is the first choice.
    pub(super) fn accuracy(&self, examples: &[&Example]) -> f64 {
        let right = examples.iter().filter(|example| self.ranked(&example.words).first() == Some(&example.style));
        right.count() as f64 / examples.len().max(1) as f64
    }
}

/// Trained on four texts of five, with its accuracy on the fifth; the texts that it was trained on are counted too.
pub(super) struct Judge {
    pub(super) classifier: StyleClassifier,
    pub(super) held_out_accuracy: f64,
    pub(super) trained_on: usize,
    pub(super) held_out: usize,
}

impl Judge {
    pub(super) fn train(examples: &[Example]) -> Self {
        let (mut known, mut held_out) = (Vec::new(), Vec::new());
        for (index, example) in examples.iter().enumerate() {
            if index % HELD_OUT == HELD_OUT - 1 { held_out.push(example) } else { known.push(example) }
        }
        let classifier = StyleClassifier::train(&known);
        let held_out_accuracy = classifier.accuracy(&held_out);
        Self { classifier, held_out_accuracy, trained_on: known.len(), held_out: held_out.len() }
    }
}

/// What people wrote for every style: captions, openings, closings and offers, without the slots. Calls to action and
/// the sentences for required words are left out, for they belong to a request and not to a style.
pub(super) fn hand_written(root: &Path) -> Result<Vec<Example>> {
    let slots = Slots::new()?;
    let mut examples = Vec::new();
    for style in Style::ALL {
        let path = root.join(FRAMES).join(format!("{}.txt", style.as_str()));
        let content = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        examples.extend(content.lines().filter_map(|line| slots.example(*style, line)));
    }
    Ok(examples)
}

struct Slots {
    slot: Regex,
    choice: Regex,
}

impl Slots {
    fn new() -> Result<Self> {
        Ok(Self { slot: Regex::new(r"\{[^}]*\}")?, choice: Regex::new(r"\[([^\[\]|]*)\|[^\[\]]*\]")? })
    }

    /// `code | text`, where `{X}` is a slot and `[has|have]` a choice, of which the first is taken.
    fn example(&self, style: Style, line: &str) -> Option<Example> {
        let (code, text) = line.split_once(" | ")?;
        if line.starts_with("# ") || code.starts_with("CTA") || code == "MUST" {
            return None;
        }
        let text = self.choice.replace_all(text, "$1");
        let words = marked_words(&self.slot.replace_all(&text, GAP));
        words.iter().any(|word| word != GAP).then_some(Example { style, words })
    }
}

/// A caption with a gap for what comes from the description: its content words and facts, and the stop words of the
/// description between and beside them.
pub(super) fn without_description(caption: &str, description: &str, reader: &WordReader) -> Vec<String> {
    let theirs = words(description);
    let stems: BTreeSet<String> =
        theirs.iter().filter(|word| !is_silent(reader, word)).map(|word| reader.stem(word)).collect();
    let small: BTreeSet<&String> = theirs.iter().filter(|word| is_silent(reader, word)).collect();
    let mut kept = marked_words(caption);
    let mut gone: Vec<bool> = kept.iter().map(|word| stems.contains(&reader.stem(word))).collect();
    for index in 1..kept.len() {
        gone[index] |= gone[index - 1] && small.contains(&kept[index]);
    }
    for index in (1..kept.len()).rev() {
        gone[index - 1] |= gone[index] && small.contains(&kept[index - 1]);
    }
    for (word, gone) in kept.iter_mut().zip(gone) {
        if gone {
            GAP.clone_into(word);
        }
    }
    kept.dedup_by(|next, previous| next == GAP && previous == GAP);
    kept
}

fn is_silent(reader: &WordReader, word: &str) -> bool {
    !reader.is_content(word) && !word.contains(|character: char| character.is_numeric())
}

/// The words of a text with its marks that carry a tone, and its gaps.
fn marked_words(text: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '!' | '?' | '.' | ',' | ':' | '\u{0}' => spaced.extend([' ', character, ' ']),
            _ => spaced.push(character),
        }
    }
    let mut found = Vec::new();
    for piece in spaced.split_whitespace() {
        let read = words(piece);
        if read.is_empty() { found.push(piece.to_owned()) } else { found.extend(read) }
    }
    found
}

/// Words and pairs of neighbours, each once; gaps and borders are no words, but a border has a neighbour.
fn features_of(text: &[String]) -> BTreeSet<String> {
    let border = BORDER.to_owned();
    let bordered: Vec<&String> = [&border].into_iter().chain(text).chain([&border]).collect();
    let pairs = bordered.windows(2).filter(|pair| !pair.iter().any(|word| *word == GAP));
    let pairs = pairs.map(|pair| format!("{} {}", pair[0], pair[1]));
    text.iter().filter(|word| *word != GAP).cloned().chain(pairs).collect()
}

fn place_of(style: Style) -> usize {
    Style::ALL.iter().position(|other| *other == style).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(style: Style, text: &str) -> Example {
        Example { style, words: marked_words(text) }
    }

    #[test]
    fn a_toy_set_is_learned() {
        let examples = [
            example(Style::Bold, "No excuses. No limits!"),
            example(Style::Romantic, "Forever yours, my love."),
            example(Style::Bold, "No fear!"),
            example(Style::Romantic, "My heart is yours."),
        ];
        let classifier = StyleClassifier::train(&examples.iter().collect::<Vec<_>>());
        assert_eq!(classifier.ranked(&marked_words("no mercy!"))[0], Style::Bold);
        assert_eq!(classifier.ranked(&marked_words("love, forever"))[..1], [Style::Romantic]);
        assert!((classifier.accuracy(&examples.iter().collect::<Vec<_>>()) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn slots_are_gaps_and_what_belongs_to_a_request_is_left_out() {
        let slots = Slots::new().unwrap();
        let read = |line| slots.example(Style::Bold, line).map(|example| example.words.join(" "));
        assert_eq!(read("vf | Look at {X}{R} [has|have] it!").unwrap(), "look at \u{0} \u{0} has it !");
        for left_out in ["CTA save | Save it", "MUST | With {M}", "# Comment | no", "E | {E}"] {
            assert_eq!(read(left_out), None, "{left_out}");
        }
    }

    #[test]
    fn the_descriptions_words_leave_a_gap() {
        let reader = WordReader::new();
        let left = without_description(
            "Honestly? My dogs on the sofa again, and I am fine.",
            "my dog asleep on the sofa again",
            &reader,
        );
        assert_eq!(left.join(" "), "honestly ? \u{0} , and i am fine .");
    }

    #[test]
    fn the_hand_written_texts_can_be_told_apart() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let examples = hand_written(root).unwrap();
        for style in Style::ALL {
            assert!(examples.iter().filter(|example| example.style == *style).count() > 100, "{style:?}");
        }
        let judge = Judge::train(&examples);
        assert!(judge.held_out_accuracy > 2.0 / STYLES as f64, "{}", judge.held_out_accuracy);
    }
}
