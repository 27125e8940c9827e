//! Which words may be written: those that training knew and those of the request. A trie of bytes, walked beside the
//! grammar; what a state permits is found by walking the vocabulary's own trie along with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use lede_shared::api::text::fold_case;
use serde::Deserialize;
use toktrie::recognizer::{FunctionalRecognizer, StackRecognizer};
use toktrie::{SimpleVob, TokTrie};

use super::relations::Relations;
use super::rules::{BannedInName, CaptionRules};
use super::trie::{ROOT, Trie};

/// Most masks that the sequences of one request keep.
const MASKS_MAX: usize = 1_024;
/// Related hashtags to choose from beyond those asked for; with fewer, every known hashtag may come.
const RELATED_SPARE: usize = 3;

/// The content of `lexicon.json`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct LexiconFile {
    /// Words of captions, in lower case.
    pub caption_words: Vec<String>,
    /// Names of hashtags, in lower case, without `#`.
    pub hashtags: Vec<String>,
    /// What goes with each kind of scene and its nouns, by kind.
    #[serde(default)]
    pub hashtags_of_scenes: BTreeMap<String, SceneHashtags>,
    /// What goes with each style.
    #[serde(default)]
    pub hashtags_of_styles: HashMap<String, Vec<String>>,
    /// Words that make no hashtag.
    #[serde(default)]
    pub small_words: Vec<String>,
}

/// The hashtags of a kind of scene.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SceneHashtags {
    /// Those that go with all of it.
    pub hashtags: Vec<String>,
    /// Those that go with a noun, which is in lower case.
    pub nouns: HashMap<String, Vec<String>>,
}

/// What a model was taught to write.
#[derive(Debug)]
pub struct Lexicon {
    words: Trie,
    names: Vec<String>,
    /// All of the names.
    hashtags: Arc<Trie>,
    relations: Relations,
}

impl Lexicon {
    /// A lexicon of these words, each also with a capital, and hashtags.
    #[must_use]
    pub fn new(file: &LexiconFile) -> Self {
        let mut words = Trie::default();
        for word in &file.caption_words {
            words.insert(word);
            words.insert(&capitalised(word));
        }
        let hashtags = Arc::new(Trie::of(&file.hashtags));
        Self { words, names: file.hashtags.clone(), hashtags, relations: Relations::new(file) }
    }
}

/// A model's lexicon and a request's words together.
#[derive(Debug)]
pub(super) struct RequestLexicon {
    model: Arc<Lexicon>,
    own_words: Trie,
    /// Names of the request's own words, with the blanks between them.
    own_names: Trie,
    /// The same, by their names without blanks.
    own_by_name: HashMap<String, Vec<String>>,
    /// The known hashtags that go with the request; all of them when these are few.
    hashtags: Arc<Trie>,
    /// Nodes of the model's words below which every word is banned.
    dead: HashSet<u32>,
    /// Nodes of the model's words that end a banned one.
    banned: HashSet<u32>,
    /// Known hashtags that may not be used.
    unusable: UsedNames,
    masks: Mutex<HashMap<WordState, Arc<SimpleVob>>>,
}

/// Where a caption stands in the lexicon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WordState {
    known: Option<u32>,
    own: Option<u32>,
    /// A word has begun and not ended.
    in_word: bool,
    /// The bytes of a character that is not complete, and how many there are.
    pending: ([u8; 3], u8),
    /// The word before that character could end there.
    may_end: bool,
}

impl WordState {
    /// Before the first word.
    pub(super) const START: Self =
        Self { known: Some(ROOT), own: Some(ROOT), in_word: false, pending: ([0; 3], 0), may_end: true };
}

/// Where a hashtag's name stands in the lexicon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameState {
    known: Option<u32>,
    own: Option<u32>,
}

impl NameState {
    /// Nothing of the name yet.
    pub(super) const START: Self = Self { known: Some(ROOT), own: Some(ROOT) };
    /// The same, for a name that the model knows.
    pub(super) const KNOWN_ONLY: Self = Self { known: Some(ROOT), own: None };
}

impl RequestLexicon {
    pub(super) fn new(model: Arc<Lexicon>, rules: &CaptionRules) -> Self {
        let banned_words: HashSet<&str> = rules.banned.iter().map(String::as_str).collect();
        let required = rules.required.iter().flat_map(|required| &required.alternatives);
        let own_words = own_words(rules.sources.iter().chain(required), &banned_words);
        let own = model.relations.own_names(&rules.sources);
        let own_names = Trie::of(&own);
        let mut own_by_name: HashMap<String, Vec<String>> = HashMap::new();
        own.into_iter().for_each(|spaced| own_by_name.entry(spaced.replace(' ', "")).or_default().push(spaced));
        let wanted = rules.hashtag_count + RELATED_SPARE;
        let related = model.relations.related(rules, &model.names, wanted);
        let hashtags =
            if related.len() >= wanted { Arc::new(Trie::of(related)) } else { Arc::clone(&model.hashtags) };
        let (dead, banned) = without(&model.words, &banned_words);
        let masks = Mutex::default();
        let unusable = UsedNames::default();
        let mut lexicon =
            Self { model, own_words, own_names, own_by_name, hashtags, dead, banned, unusable, masks };
        lexicon.unusable = lexicon.banned_names(&rules.banned_in_names());
        lexicon
    }

    fn banned_names(&self, banned: &[BannedInName]) -> UsedNames {
        let is_banned = |name: &&String| banned.iter().any(|banned| banned.stands_in(name));
        let mut unusable = UsedNames::default();
        for name in self.model.names.iter().chain(self.own_by_name.keys()).filter(is_banned) {
            self.use_name(&mut unusable, name);
        }
        unusable
    }

    /// The names that are used before the first hashtag: those that may not be.
    pub(super) fn unusable_names(&self) -> UsedNames {
        self.unusable.clone()
    }

    /// The state after `byte`; none when no word goes on like this.
    fn word_step(&self, state: WordState, byte: u8) -> Option<WordState> {
        let begins = state.pending.1 == 0;
        if begins && byte.is_ascii() {
            return if byte.is_ascii_alphabetic() {
                self.letter_step(state, byte)
            } else {
                self.may_end(state).then_some(WordState::START)
            };
        }
        let mut next = if begins { WordState { may_end: self.may_end(state), ..state } } else { state };
        let (bytes, len) = (&mut next.pending.0, usize::from(next.pending.1));
        let mut character = [0; 4];
        character[..len].copy_from_slice(&bytes[..len]);
        character[len] = byte;
        let written = &character[..=len];
        next.known = next.known.and_then(|node| self.known_child(node, byte));
        next.own = next.own.and_then(|node| self.own_words.child(node, byte));
        if let Some(complete) = std::str::from_utf8(written).ok().and_then(|text| text.chars().next()) {
            next.pending = ([0; 3], 0);
            let goes_on = next.known.is_some() || next.own.is_some();
            return match complete.is_alphabetic() {
                true => goes_on.then_some(WordState { in_word: true, may_end: false, ..next }),
                false => next.may_end.then_some(WordState::START),
            };
        }
        if len == 3 {
            return None;
        }
        bytes[len] = byte;
        next.pending.1 += 1;
        let goes_on = next.known.is_some() || next.own.is_some();
        (goes_on || (next.may_end && begins_mark(written[0]))).then_some(next)
    }

    fn letter_step(&self, state: WordState, byte: u8) -> Option<WordState> {
        let known = state.known.and_then(|node| self.known_child(node, byte));
        let own = state.own.and_then(|node| self.own_words.child(node, byte));
        (known.is_some() || own.is_some()).then_some(WordState {
            known,
            own,
            in_word: true,
            may_end: false,
            ..state
        })
    }

    fn known_child(&self, node: u32, byte: u8) -> Option<u32> {
        self.model.words.child(node, byte).filter(|child| !self.dead.contains(child))
    }

    fn may_end(&self, state: WordState) -> bool {
        !state.in_word
            || state.known.is_some_and(|node| self.model.words.is_end(node) && !self.banned.contains(&node))
            || state.own.is_some_and(|node| self.own_words.is_end(node))
    }

    /// May the caption end here, or something follow that is no letter?
    pub(super) fn is_between_words(&self, state: WordState) -> bool {
        state.pending.1 == 0 && self.may_end(state)
    }

    /// The state after `bytes`. Where no word goes on like that the next one begins anew.
    pub(super) fn after(&self, state: WordState, bytes: &[u8]) -> WordState {
        bytes.iter().fold(state, |state, byte| self.word_step(state, *byte).unwrap_or(WordState::START))
    }

    /// The entries with which words go on.
    pub(super) fn mask(&self, vocabulary: &TokTrie, state: WordState) -> Arc<SimpleVob> {
        if let Some(known) = self.masks.lock().unwrap_or_else(PoisonError::into_inner).get(&state) {
            return Arc::clone(known);
        }
        let mask = Arc::new(walk(vocabulary, WordWalk { lexicon: self, start: state }));
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        if masks.len() < MASKS_MAX {
            masks.insert(state, Arc::clone(&mask));
        }
        mask
    }

    /// The state of a name after `byte`; none when no hashtag goes on like this.
    fn name_step(&self, state: NameState, byte: u8, used: &UsedNames) -> Option<NameState> {
        let own = state.own.and_then(|node| match (node, byte) {
            // A name begins with a blank.
            (ROOT, b' ') => Some(ROOT),
            _ => self.own_names.child(node, byte).filter(|child| leaves(&used.own, &self.own_names, *child)),
        });
        let known = state.known.and_then(|node| match (node, byte) {
            (ROOT, b' ') => Some(ROOT),
            _ => self.hashtags.child(node, byte).filter(|node| leaves(&used.known, &self.hashtags, *node)),
        });
        let next = NameState { known, own };
        (next.known.is_some() || next.own.is_some()).then_some(next)
    }

    /// Is the name one that may stand as it is?
    pub(super) fn is_name(&self, state: NameState) -> bool {
        state.known.is_some_and(|node| self.hashtags.is_end(node))
            || state.own.is_some_and(|node| self.own_names.is_end(node))
    }

    /// The state of a name after `bytes`; none when it is outside of the lexicon.
    pub(super) fn name_after(&self, state: NameState, bytes: &[u8], used: &UsedNames) -> Option<NameState> {
        bytes.iter().try_fold(state, |state, byte| self.name_step(state, *byte, used))
    }

    /// The entries with which a hashtag goes on that is none of the used ones.
    pub(super) fn name_mask(&self, vocabulary: &TokTrie, state: NameState, used: &UsedNames) -> SimpleVob {
        walk(vocabulary, NameWalk { lexicon: self, start: state, used })
    }

    /// Notes that a name is used, so that no other hashtag begins on a way that leads to it alone.
    pub(super) fn use_name(&self, used: &mut UsedNames, name: &str) {
        note(&mut used.known, &self.hashtags, name);
        for spaced in self.own_by_name.get(name).into_iter().flatten() {
            note(&mut used.own, &self.own_names, spaced);
        }
    }
}

/// How many of the names below each node are used, of the known hashtags and of the request's own.
#[derive(Clone, Debug, Default)]
pub(super) struct UsedNames {
    known: HashMap<u32, u32>,
    own: HashMap<u32, u32>,
}

fn note(used: &mut HashMap<u32, u32>, names: &Trie, name: &str) {
    let path = names.path(name);
    // Each once: counting one twice would take its neighbours out.
    if path.last().is_some_and(|node| names.is_end(*node) && !is_used(used, names, *node)) {
        path.into_iter().for_each(|node| *used.entry(node).or_default() += 1);
    }
}

/// Is the name that ends at `node` used? Below it others may be; those are counted apart.
fn is_used(used: &HashMap<u32, u32>, names: &Trie, node: u32) -> bool {
    let below: u32 = names.children(node).filter_map(|child| used.get(&child)).sum();
    used.get(&node).is_some_and(|count| *count > below)
}

/// Is there a name at `node` or below that is not used?
fn leaves(used: &HashMap<u32, u32>, names: &Trie, node: u32) -> bool {
    used.get(&node).is_none_or(|used| *used < names.ends_below(node))
}

/// The words of some texts, as typed and with letters of another case.
fn own_words<'a>(texts: impl Iterator<Item = &'a String>, banned: &HashSet<&str>) -> Trie {
    let mut own = Trie::default();
    for word in texts.flat_map(|text| text.split(|character: char| !character.is_alphabetic())) {
        let lower = fold_case(word);
        if !banned.contains(lower.as_str()) {
            [word, &lower, &capitalised(&lower)].into_iter().for_each(|form| own.insert(form));
        }
    }
    own
}

/// Nodes below which every word is banned, and nodes that end one.
fn without(words: &Trie, banned: &HashSet<&str>) -> (HashSet<u32>, HashSet<u32>) {
    let (mut gone, mut ends): (HashMap<u32, u32>, HashSet<u32>) = (HashMap::new(), HashSet::new());
    for word in banned {
        for form in HashSet::from([(*word).to_owned(), capitalised(word)]) {
            let path = words.path(&form);
            if let Some(end) = path.last().copied().filter(|end| words.is_end(*end)) {
                ends.insert(end);
                path.into_iter().for_each(|node| *gone.entry(node).or_default() += 1);
            }
        }
    }
    let dead = gone.into_iter().filter(|(node, count)| *count == words.ends_below(*node)).map(|(node, _)| node);
    (dead.collect(), ends)
}

/// Could a character that begins with this byte be a mark or a picture? Those of English texts do.
const fn begins_mark(byte: u8) -> bool {
    matches!(byte, 0xc2 | 0xe2 | 0xe3 | 0xef | 0xf0)
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// All entries whose bytes the recogniser follows to their end.
fn walk<S: Copy + std::fmt::Debug>(vocabulary: &TokTrie, recognizer: impl FunctionalRecognizer<S>) -> SimpleVob {
    let mut mask = vocabulary.alloc_token_set();
    vocabulary.add_bias(&mut StackRecognizer::from(recognizer), &mut mask, &[]);
    mask
}

struct WordWalk<'a> {
    lexicon: &'a RequestLexicon,
    start: WordState,
}

impl FunctionalRecognizer<WordState> for WordWalk<'_> {
    fn initial(&self) -> WordState {
        self.start
    }

    fn try_append(&self, state: WordState, byte: u8) -> Option<WordState> {
        self.lexicon.word_step(state, byte)
    }
}

struct NameWalk<'a> {
    lexicon: &'a RequestLexicon,
    start: NameState,
    used: &'a UsedNames,
}

impl FunctionalRecognizer<NameState> for NameWalk<'_> {
    fn initial(&self) -> NameState {
        self.start
    }

    fn try_append(&self, state: NameState, byte: u8) -> Option<NameState> {
        self.lexicon.name_step(state, byte, self.used)
    }
}
