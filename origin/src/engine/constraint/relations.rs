//! Which hashtags go with a request: words of its own, alone and joined, and known names that the lexicon relates to
//! them. What goes with nothing that was said is noise in a post.

use std::collections::{HashMap, HashSet};

use lede_shared::api::text::fold_case;

use super::lexicon::LexiconFile;
use super::room::NAME_CHARS_MAX;
use super::rules::CaptionRules;

/// Most words of a request that are looked at: hashtags are about what is said first.
const WORDS_MAX: usize = 48;
/// Longest noun of the lexicon, in words.
const NOUN_WORDS_MAX: usize = 4;
/// Most words of the request in one hashtag.
const OWN_WORDS_MAX: usize = 3;
/// Shorter words are parts of too many names that have nothing to do with them.
const STEM_CHARS_MIN: usize = 4;

/// What `lexicon.json` knows of what goes with what.
#[derive(Debug)]
pub(super) struct Relations {
    small_words: HashSet<String>,
    /// Hashtags of whole kinds of scenes.
    kinds: Vec<Vec<String>>,
    /// By noun: its kinds and its own hashtags.
    nouns: HashMap<String, Vec<(usize, Vec<String>)>>,
    /// Last words of the nouns.
    heads: HashSet<String>,
    styles: HashMap<String, Vec<String>>,
}

impl Relations {
    pub(super) fn new(file: &LexiconFile) -> Self {
        let mut nouns: HashMap<String, Vec<(usize, Vec<String>)>> = HashMap::new();
        let mut kinds = Vec::new();
        for scene in file.hashtags_of_scenes.values() {
            for (noun, names) in &scene.nouns {
                nouns.entry(noun.clone()).or_default().push((kinds.len(), names.clone()));
            }
            kinds.push(scene.hashtags.clone());
        }
        let heads = nouns.keys().filter_map(|noun| noun.rsplit(' ').next()).map(|head| stem(head).to_owned());
        Self {
            small_words: file.small_words.iter().cloned().collect(),
            kinds,
            heads: heads.collect(),
            nouns,
            styles: file.hashtags_of_styles.clone(),
        }
    }

    /// Names made of words of the request: one, or two or three that follow each other, with blanks between them.
    pub(super) fn own_names(&self, sources: &[String]) -> Vec<String> {
        let mut names = Vec::new();
        for source in sources {
            let words: Vec<String> = words(source).collect();
            let says_something = |word: &String| !self.small_words.contains(word) && word.chars().count() > 1;
            let says_nothing = !words.iter().any(says_something);
            for count in 1..=OWN_WORDS_MAX {
                let fits =
                    |window: &&[String]| all_differ(window) && (says_nothing || window.iter().all(says_something));
                let joined = words.windows(count).filter(fits).map(|window| window.join(" "));
                names.extend(joined.filter(|name| name.chars().count() <= NAME_CHARS_MAX));
            }
        }
        names
    }

    /// Names that go with what the sources say, each once: those of nouns in them and, should these be fewer than
    /// `wanted`, those of the style and those of `known` that begin with a thing that they name.
    pub(super) fn related<'a>(
        &'a self,
        rules: &CaptionRules,
        known: &'a [String],
        wanted: usize,
    ) -> HashSet<&'a str> {
        let mut related = HashSet::new();
        let sources: Vec<Vec<String>> = rules.sources.iter().map(|source| words(source).collect()).collect();
        for words in &sources {
            for count in 1..=NOUN_WORDS_MAX {
                for window in words.windows(count) {
                    self.add_of_noun(&window.join(" "), &mut related);
                }
            }
        }
        if related.len() >= wanted {
            return related;
        }
        related.extend(self.styles.get(&rules.style).into_iter().flatten().map(String::as_str));
        let things = sources.iter().flatten().map(|word| stem(word)).filter(|stem| self.heads.contains(*stem));
        for thing in things.filter(|thing| thing.chars().count() >= STEM_CHARS_MIN) {
            related.extend(known.iter().filter(|name| name.starts_with(thing)).map(String::as_str));
        }
        related
    }

    fn add_of_noun<'a>(&'a self, phrase: &str, related: &mut HashSet<&'a str>) {
        let singulars = ["s", "es"].iter().filter_map(|ending| phrase.strip_suffix(ending)).map(str::to_owned);
        let plurals = [format!("{phrase}s"), format!("{phrase}es")];
        for form in [phrase.to_owned()].into_iter().chain(singulars).chain(plurals) {
            for (kind, names) in self.nouns.get(&form).into_iter().flatten() {
                related.extend(names.iter().chain(&self.kinds[*kind]).map(String::as_str));
            }
        }
    }
}

/// The first words of a text, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    let folded = fold_case(text);
    let words: Vec<String> = folded
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| word.chars().any(char::is_alphabetic))
        .take(WORDS_MAX)
        .map(str::to_owned)
        .collect();
    words.into_iter()
}

/// Without the ending of a plural.
fn stem(word: &str) -> &str {
    ["es", "s"].iter().find_map(|ending| word.strip_suffix(ending)).filter(|stem| stem.len() > 2).unwrap_or(word)
}

fn all_differ(words: &[String]) -> bool {
    words.iter().enumerate().all(|(index, word)| !words[..index].contains(word))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::constraint::lexicon::SceneHashtags;

    fn relations() -> Relations {
        let nouns = HashMap::from([
            ("street market".to_owned(), vec!["stalls".to_owned()]),
            ("olive".to_owned(), vec!["oliveoil".to_owned()]),
        ]);
        let scene = SceneHashtags { hashtags: vec!["foodie".to_owned()], nouns };
        Relations::new(&LexiconFile {
            small_words: vec!["the".to_owned(), "at".to_owned()],
            hashtags_of_scenes: BTreeMap::from([("food".to_owned(), scene)]),
            hashtags_of_styles: HashMap::from([("bold".to_owned(), vec!["daring".to_owned()])]),
            ..LexiconFile::default()
        })
    }

    #[test]
    fn a_hashtag_of_ones_own_is_one_to_three_words_that_follow_each_other() {
        let names = relations().own_names(&["Olives at the Street market, olives".to_owned()]);
        let expected =
            ["olives", "street", "market", "olives", "street market", "market olives", "street market olives"];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_goes_with_a_noun_and_its_kind_is_related_and_where_that_is_little_what_goes_with_the_style() {
        let known = ["stalls", "foodie", "marketday", "oliveoil", "opera", "interview"].map(str::to_owned);
        let relations = relations();
        let sources = vec!["olives with a view at the street market".to_owned()];
        let rules = CaptionRules { sources, style: "bold".to_owned(), ..CaptionRules::default() };
        assert_eq!(relations.related(&rules, &known, 3), HashSet::from(["stalls", "foodie", "oliveoil"]));
        assert_eq!(
            relations.related(&rules, &known, 4),
            HashSet::from(["stalls", "foodie", "oliveoil", "marketday", "daring"])
        );
    }

    #[test]
    fn a_request_of_small_words_alone_has_names_all_the_same() {
        assert_eq!(relations().own_names(&["At the".to_owned()]), ["at", "the", "at the"]);
    }
}
