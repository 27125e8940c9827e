//! Is a hashtag about what the description says?

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lede_shared::api::Style;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::fixture::Description;
use super::words::{WordReader, words};

/// Where the lexicon of scenes lies in the repository, one file per kind.
const SCENES: &str = "training/corpus/scenes";
/// A stem as long as this counts wherever it stands in a hashtag; a shorter word has to be a part of its own.
const STEM_CHARS_MIN: usize = 4;
/// What people put before or after a short word.
const COMPANIONS: &str = "s best big cute day days good gram happy life little love lover lovers mood my new night \
     ofinstagram old our photo sofinstagram stagram style the time vibes";

/// Hashtags that suit a style rather than a scene.
const STYLES: &str = "training/corpus/styles.txt";

/// What a noun of the lexicon brings along.
struct Entry {
    stems: Vec<String>,
    related: BTreeSet<String>,
}

/// One kind of scene.
struct Kind {
    entries: Vec<Entry>,
    tags: BTreeSet<String>,
}

/// The nouns that training knows with hashtags that suit them, and the hashtags that suit a style.
pub(super) struct Lexicon {
    kinds: Vec<Kind>,
    of_style: BTreeSet<(String, String)>,
}

impl Lexicon {
    pub(super) fn read(root: &Path, reader: &WordReader) -> Result<Self> {
        let folder = root.join(SCENES);
        let unreadable = || format!("cannot read {}", folder.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).with_context(unreadable)? {
            paths.push(entry.with_context(unreadable)?.path());
        }
        paths.sort();
        let read = paths.iter().map(|path| {
            let content = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Kind::parse(&content, reader))
        });
        let kinds = read.collect::<Result<_>>()?;
        let styles = root.join(STYLES);
        let content = fs::read_to_string(&styles).with_context(|| format!("cannot read {}", styles.display()))?;
        Ok(Self { kinds, of_style: style_tags(&content) })
    }

    /// Does the hashtag suit the style, whatever the post is about?
    pub(super) fn suits(&self, style: Style, hashtag: &str) -> bool {
        self.of_style.contains(&(style.as_str().to_owned(), folded(hashtag)))
    }

    /// Hashtags that the nouns of the description bring along, folded.
    fn related(&self, stems: &[String]) -> BTreeSet<&str> {
        let mut related = BTreeSet::new();
        for kind in &self.kinds {
            for entry in kind.entries.iter().filter(|entry| entry.stands_in(stems)) {
                related.extend(entry.related.iter().chain(&kind.tags).map(String::as_str));
            }
        }
        related
    }
}

/// Lines are `style: hashtag hashtag …`.
fn style_tags(content: &str) -> BTreeSet<(String, String)> {
    let lines = content.lines().filter(|line| !line.starts_with("# ")).filter_map(|line| line.split_once(':'));
    lines.flat_map(|(style, tags)| tags.split_whitespace().map(|tag| (style.to_owned(), folded(tag)))).collect()
}

impl Kind {
    /// Lines are `noun | flags | related hashtags | emoji`, and `~tags: …; …` for all nouns of the kind.
    fn parse(content: &str, reader: &WordReader) -> Self {
        let mut kind = Self { entries: Vec::new(), tags: BTreeSet::new() };
        for line in content.lines().filter(|line| !line.starts_with("# ")) {
            if let Some(tags) = line.strip_prefix("~tags:") {
                kind.tags.extend(tags.split(';').map(folded));
            } else if let [noun, _, related, ..] = line.split('|').collect::<Vec<_>>()[..] {
                let related = related.split_whitespace().map(folded).collect();
                kind.entries.push(Entry { stems: stems_of_noun(noun, reader), related });
            }
        }
        kind
    }
}

impl Entry {
    fn stands_in(&self, stems: &[String]) -> bool {
        !self.stems.is_empty() && stems.windows(self.stems.len()).any(|window| window == self.stems)
    }
}

/// `my grandmother` stands in `our grandmother's kitchen` too.
fn stems_of_noun(noun: &str, reader: &WordReader) -> Vec<String> {
    let noun = noun.trim();
    let bare = ["my ", "our ", "the ", "a "].iter().find_map(|determiner| noun.strip_prefix(determiner));
    reader.stems(bare.unwrap_or(noun))
}

/// Judges the hashtags of one description.
pub(super) struct Relevance<'lexicon> {
    /// Of the description and the topic words: words and their stems, folded.
    stems: BTreeSet<String>,
    /// Those of them that are short.
    short: BTreeSet<String>,
    related: BTreeSet<&'lexicon str>,
}

impl<'lexicon> Relevance<'lexicon> {
    pub(super) fn of(description: &Description, lexicon: &'lexicon Lexicon, reader: &WordReader) -> Self {
        let mut content: Vec<String> = words(&description.text)
            .into_iter()
            .filter(|word| reader.is_content(word) || has_digit(word))
            .collect();
        content.extend(description.topics.iter().cloned());
        let stems = content.iter().map(|word| reader.stem(word)).chain(content.iter().cloned());
        let all: BTreeSet<String> = stems.map(|word| folded(&word)).filter(|word| !word.is_empty()).collect();
        let (short, stems) = all.into_iter().partition(|stem| stem.chars().count() < STEM_CHARS_MIN);
        let related = lexicon.related(&reader.stems(&description.text));
        Self { stems, short, related }
    }

    /// `hashtag` with or without its `#`.
    pub(super) fn holds(&self, hashtag: &str) -> bool {
        let name = folded(hashtag);
        self.related.contains(name.as_str())
            || self.stems.iter().any(|stem| name.contains(stem.as_str()))
            || self.short.iter().any(|word| self.is_part(word, &name))
    }

    /// A short word is a part of its own when what is left is usual beside it, or another word of the description.
    fn is_part(&self, word: &str, name: &str) -> bool {
        let rests = [name.strip_prefix(word), name.strip_suffix(word)];
        rests.into_iter().flatten().any(|rest| {
            rest.is_empty()
                || COMPANIONS.split_whitespace().any(|companion| companion == rest)
                || self.short.contains(rest)
        })
    }
}

fn has_digit(word: &str) -> bool {
    word.contains(|character: char| character.is_numeric())
}

/// Lower case, only letters and digits, without accents: `#CaféLife` → `cafelife`.
fn folded(text: &str) -> String {
    let plain = text.nfd().filter(|character| !is_combining_mark(*character));
    plain.flat_map(char::to_lowercase).filter(|character| character.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANIMALS: &str =
        "# noun | flags\n~tags: pets; animal lovers\ncat | s | meow whiskers | x\nguinea pigs | p | cavy |\n";

    fn relevant(text: &str, topics: &str, hashtag: &str) -> bool {
        let reader = WordReader::new();
        let lexicon = Lexicon { kinds: vec![Kind::parse(ANIMALS, &reader)], of_style: BTreeSet::new() };
        let topics = topics.split_whitespace().map(str::to_owned).collect();
        let description = Description { line: 1, style: Style::Casual, text: text.to_owned(), topics };
        Relevance::of(&description, &lexicon, &reader).holds(hashtag)
    }

    #[test]
    fn a_hashtag_with_a_stem_or_a_short_word_of_the_description_is_relevant() {
        for hashtag in ["#catnap", "#napping", "#mycat", "#cats", "#goldensofa", "#cafe"] {
            assert!(relevant("cat napping on the sofa at the café", "", hashtag), "{hashtag}");
        }
        assert!(!relevant("art on the sofa", "", "#party"));
        assert!(!relevant("rain on the sofa", "", "#soft"));
    }

    #[test]
    fn the_lexicon_and_the_topic_words_make_relevant_too() {
        assert!(relevant("two cats", "", "#whiskers"));
        assert!(relevant("two cats", "", "#animallovers"));
        assert!(relevant("guinea pig party", "", "#cavy"));
        assert!(!relevant("a pig", "", "#cavy"));
        assert!(relevant("a pig", "farm", "#farmlife"));
    }

    #[test]
    fn a_hashtag_of_a_style_suits_that_style_only() {
        let lexicon =
            Lexicon { kinds: Vec::new(), of_style: style_tags("# Comment: x\nbold: daring noExcuses\n") };
        assert!(lexicon.suits(Style::Bold, "#noexcuses"));
        assert!(!lexicon.suits(Style::Casual, "#noexcuses"));
    }
}
