//! What a description is about: its content words and names, and how much of them stands in a caption.

use std::collections::HashSet;
use std::sync::LazyLock;

use lede_shared::api::text::fold_case;

/// Words that say nothing about a post's content, and those with which people ask for a caption.
const STOP_WORDS: &str = "a about above after again all also am an and any are around as at back be been before being \
below best between both but by can caption captions could create day describe did do does doing done down each \
even every few for from generate get gets getting give go goes going good got great had has have having he her here \
hers him his how i if image in instagram into is it its just let like little lot made make makes making many me more \
most much my need new next nice no not now of off on one only or other our out over own people photo photos pic pics \
picture pictures please post posts really reel same see she shot should showing shows so some something still story \
such take taken takes taking than that the their them then there these they thing things this those through to today \
together too two under until up us use using very via want was we well went were what when where which while who why \
will with without would write writing yet you your yours";

static STOP_WORD_SET: LazyLock<HashSet<&str>> = LazyLock::new(|| STOP_WORDS.split(' ').collect());

/// The content words of one description, and its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    stems: Vec<String>,
    names: Vec<String>,
}

impl Content {
    /// Of a description.
    pub(super) fn of(description: &str) -> Self {
        let (mut stems, mut names): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        let mut begins_sentence = true;
        for (word, after) in words(description) {
            let lower = fold_case(word);
            let is_content = word.chars().count() > 1 && !STOP_WORD_SET.contains(lower.as_str());
            let is_name = !begins_sentence && word.starts_with(char::is_uppercase);
            if is_content && is_name && !names.contains(&lower) {
                names.push(lower.clone());
            }
            let stem = stem(&lower);
            if is_content && !stems.contains(&stem) {
                stems.push(stem);
            }
            begins_sentence = after.contains(['.', '!', '?', ':', '\n']);
        }
        Self { stems, names }
    }

    /// Words with a capital inside of a sentence, folded.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Share of the content words that stand in `caption`, in whatever form, 0 to 1.
    pub(super) fn coverage(&self, caption: &str) -> f64 {
        let present: HashSet<String> = words(caption).map(|(word, _)| stem(&fold_case(word))).collect();
        share(&self.stems, |stem| present.contains(stem))
    }

    /// Share of the names that stand in `caption`, 0 to 1.
    pub(super) fn names_kept(&self, caption: &str) -> f64 {
        let present: HashSet<String> = words(caption).map(|(word, _)| fold_case(word)).collect();
        share(&self.names, |name| present.contains(name))
    }
}

fn share(wanted: &[String], is_present: impl Fn(&String) -> bool) -> f64 {
    if wanted.is_empty() {
        return 1.0;
    }
    wanted.iter().filter(|wanted| is_present(wanted)).count() as f64 / wanted.len() as f64
}

/// Words of letters, each with what stands between it and the next.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(char::is_alphabetic)?;
        let from_word = &rest[start..];
        let word_end = from_word.find(|character: char| !character.is_alphabetic()).unwrap_or(from_word.len());
        let (word, after) = from_word.split_at(word_end);
        let gap_end = after.find(char::is_alphabetic).unwrap_or(after.len());
        rest = &after[gap_end..];
        Some((word, &after[..gap_end]))
    })
}

/// What is left of a folded word without its ending: `bake`, `bakes`, `baked` and `baking` have the same.
fn stem(word: &str) -> String {
    const STEM_CHARS_MIN: usize = 3;
    let mut stem = word;
    for ending in ["ing", "ies", "ed", "es", "s"] {
        let Some(shorter) = word.strip_suffix(ending) else { continue };
        if shorter.chars().count() >= STEM_CHARS_MIN && !(ending == "s" && shorter.ends_with('s')) {
            stem = shorter;
            break;
        }
    }
    let mut characters: Vec<char> = stem.chars().collect();
    while characters.len() > STEM_CHARS_MIN && matches!(characters.last(), Some('e' | 'y' | 'i')) {
        characters.pop();
    }
    let is_doubled = |pair: &[char]| pair[0] == pair[1] && !matches!(pair[1], 'a' | 'e' | 'i' | 'o' | 'u');
    if characters.len() > STEM_CHARS_MIN && characters.last_chunk::<2>().is_some_and(|pair| is_doubled(pair)) {
        characters.pop();
    }
    characters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_of_a_word_are_the_same_word() {
        for forms in [
            &["bake", "bakes", "baked", "baking"][..],
            &["berry", "berries"],
            &["run", "runs", "running"],
            &["dress", "dresses", "dressed", "dressing"],
            &["beach", "beaches"],
        ] {
            assert!(
                forms.iter().all(|form| stem(form) == stem(forms[0])),
                "{forms:?}: {:?}",
                forms.iter().map(|f| stem(f)).collect::<Vec<_>>()
            );
        }
        for (one, other) in [("sea", "see"), ("sun", "sunset"), ("cat", "car"), ("bus", "but")] {
            assert_ne!(stem(one), stem(other));
        }
    }

    #[test]
    fn coverage_counts_what_the_description_is_about() {
        let content = Content::of("please write a caption about two dogs playing on the beach in Lisbon");
        assert_eq!(content.coverage("Dogs play at the beach. Lisbon, always."), 1.0);
        assert_eq!(content.coverage("Dogs in Lisbon"), 0.5);
        assert_eq!((content.names_kept("dogs in lisbon"), content.names_kept("dogs")), (1.0, 0.0));
        assert_eq!(Content::of("a photo of it").coverage("Anything."), 1.0);
    }

    #[test]
    fn the_first_word_of_a_sentence_is_no_name_for_its_capital() {
        assert_eq!(Content::of("Morning coffee. Fresh bread with Anna").names, ["anna"]);
    }

    proptest! {
        #[test]
        fn a_description_covers_itself(text in "\\PC{0,80}") {
            let content = Content::of(&text);
            prop_assert_eq!(content.coverage(&text), 1.0);
            prop_assert_eq!(content.names_kept(&text), 1.0);
        }
    }
}
