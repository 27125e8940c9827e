//! Words of a text, their stems, and which of them say what it is about.

use std::collections::BTreeSet;

use rust_stemmers::{Algorithm, Stemmer};

/// Words that carry no content by themselves; people leave their apostrophes out.
const STOP_WORDS: &str = "\
    a about above after again against ago all almost along already also always am an and another any anybody \
    anyone anything are aren't around as at away back be because been before being below between both but by \
    came can cannot can't come comes could couldn't did didn't do does doesn't doing done don't down during \
    each else even ever every everybody everyone everything few for from further get gets give gives go goes \
    going gone got had hadn't has hasn't have haven't having he her here hers herself he's him himself his how \
    i i'd if i'll i'm in into is isn't it its itself i've just keep keeps let let's like made make makes many \
    may maybe me might mine more most much must my myself need needs never no nobody none nor not nothing now \
    of off ok okay on once one only onto or other our ours ourselves out over own per put quite rather really \
    said same saw say says see seen shall she she's should shouldn't so some somebody someone something soon \
    still such than that that's the their theirs them themselves then there there's these they they're this \
    those though through till to together told too took toward towards tried try trying under until up upon us \
    use used very via was wasn't way we went were weren't we've what what's when where which while who whole \
    whom who's whose why will with within without won't would wouldn't yeah yes yet you your you're yours \
    yourself";
/// Words about the post itself rather than about what it shows.
const INSTRUCTION_WORDS: &str = "\
    caption captions description hashtag hashtags image instagram photo photos pic pics picture pictures \
    please post posts write";

/// Stems English words and knows which say nothing.
pub(super) struct WordReader {
    stemmer: Stemmer,
    /// Without apostrophes.
    silent: BTreeSet<String>,
}

impl WordReader {
    pub(super) fn new() -> Self {
        let silent = STOP_WORDS.split_whitespace().chain(INSTRUCTION_WORDS.split_whitespace());
        let silent = silent.map(|word| word.replace('\'', "")).collect();
        Self { stemmer: Stemmer::create(Algorithm::English), silent }
    }

    /// The stem of a word of [`words`].
    pub(super) fn stem(&self, word: &str) -> String {
        self.stemmer.stem(without_possessive(word)).into_owned()
    }

    /// The stems of all words, in order.
    pub(super) fn stems(&self, text: &str) -> Vec<String> {
        words(text).iter().map(|word| self.stem(word)).collect()
    }

    /// Is it neither a stop word nor one about the post itself? Numbers are facts, not content.
    pub(super) fn is_content(&self, word: &str) -> bool {
        let bare = without_possessive(word).replace('\'', "");
        bare.chars().count() > 1
            && !bare.contains(|character: char| character.is_numeric())
            && !self.silent.contains(bare.as_str())
    }

    /// The content words of a text in order, each stem once.
    pub(super) fn content_words(&self, text: &str) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut found = words(text);
        found.retain(|word| self.is_content(word) && seen.insert(self.stem(word)));
        found
    }
}

/// Lower-case runs of letters and digits; an apostrophe inside a word belongs to it.
pub(super) fn words(text: &str) -> Vec<String> {
    let straight = text.replace(['’', 'ʼ'], "'").to_lowercase();
    let split = straight.split(|character: char| !character.is_alphanumeric() && character != '\'');
    split.map(|word| word.trim_matches('\'').to_owned()).filter(|word| !word.is_empty()).collect()
}

/// `grandma's` → `grandma`
pub(super) fn without_possessive(word: &str) -> &str {
    word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_one_stem_are_one() {
        let reader = WordReader::new();
        assert_eq!(reader.stems("running Runs"), ["run", "run"]);
        assert_eq!(reader.stem("dumplings"), reader.stem("dumpling"));
        assert_eq!(reader.stem("grandma's"), reader.stem("grandma"));
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let reader = WordReader::new();
        assert_eq!(
            reader.content_words(
                "please write a caption for my dog's 3 toys, i couldn’t, he's in, i'll wait, don't"
            ),
            ["dog's", "toys", "wait"]
        );
        assert_eq!(reader.content_words("night train, the trains at night"), ["night", "train"]);
    }

    #[test]
    fn words_end_at_everything_but_letters_digits_and_inner_apostrophes() {
        assert_eq!(words("Don’t 'stop' x-ray São"), ["don't", "stop", "x", "ray", "são"]);
    }
}
