//! What a sequence may write next: a caption that keeps every rule of its request, then exactly its hashtags.
//!
//! It is staged: the caption, then each hashtag; what stands between them is fixed. A stage is a grammar, which
//! llguidance turns into an automaton (`patterns`, `matcher`), and beside it what a grammar would need counters for:
//! lengths (`room`), required texts, different hashtags. A lexicon, when the model has one, lets only whole words pass.
//! Decision 0008 tells why.

mod caption_stage;
mod characters;
mod hashtag_stage;
mod lexicon;
mod markup;
mod matcher;
mod patterns;
mod relations;
mod room;
mod rules;
mod stages;
#[cfg(test)]
mod tests;
mod trie;
mod written;

use std::sync::{Arc, Mutex, PoisonError};

use lede_shared::api::text::contains_emoji;
use llguidance::ParserFactory;
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

pub use self::characters::emoji_count;
use self::lexicon::RequestLexicon;
pub use self::lexicon::{Lexicon, LexiconFile, SceneHashtags};
pub use self::markup::Markup;
use self::markup::{Frame, Notation};
use self::matcher::{Matcher, Prototype};
use self::room::{Lengths, Room};
use self::rules::BannedInName;
pub use self::rules::{CaptionRules, EmojiRule, Required};
pub use self::stages::Constraint;
pub use self::written::WrittenCaption;
use super::vocabulary::Vocabulary;

/// Grammars kept from one request to the next.
const GRAMMARS_KEPT_MAX: usize = 64;
/// Longer entries are never written; the vocabulary's walk has a stack of 300.
const PIECE_BYTES_MAX: usize = 256;
/// A byte that no UTF-8 text has; the library takes it for the beginning of a marker.
const MARKER_BYTE: u8 = 0xff;

/// A constraint could not be built or followed. For the log; it holds no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// The grammar's library refused: too complex, or a fault.
    #[error("grammar: {0}")]
    Grammar(String),
}

/// Makes constraints for one model.
#[derive(Clone)]
pub struct ConstraintFactory(Arc<FactoryInner>);

struct FactoryInner {
    vocabulary: Arc<Vocabulary>,
    tokens: TokEnv,
    parsers: ParserFactory,
    lengths: Lengths,
    frame: Frame,
    lexicon: Option<Arc<Lexicon>>,
    /// Entries of one small letter each.
    letters: Vec<(u32, u8)>,
    /// Grammars and what was made of them, the latest last.
    kept: Mutex<Vec<(String, Prototype)>>,
}

impl std::fmt::Debug for ConstraintFactory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ConstraintFactory").finish_non_exhaustive()
    }
}

impl ConstraintFactory {
    /// A factory for a model that writes like `markup` and, with a lexicon, only words that it or the request has.
    ///
    /// # Errors
    /// When the vocabulary cannot be used.
    pub fn new(
        vocabulary: Arc<Vocabulary>,
        markup: &Markup,
        lexicon: Option<Lexicon>,
    ) -> Result<Self, ConstraintError> {
        let end = match markup {
            Markup::Tags { end, .. } => Some(*end),
            Markup::Json { ends } => ends.first().copied(),
        };
        let end = end.ok_or_else(|| ConstraintError::Grammar("no entry ends an answer".to_owned()))?;
        let words: Vec<Vec<u8>> =
            vocabulary.texts().map(|piece| piece.map_or_else(Vec::new, |piece| usable(&piece.bytes))).collect();
        let entries = u32::try_from(words.len()).map_err(|error| ConstraintError::Grammar(error.to_string()))?;
        let trie = TokTrie::from(&TokRxInfo::new(entries, end), &words);
        let letters = (b'a'..=b'z').filter_map(|letter| Some((trie.token_id(&[letter])?, letter))).collect();
        let frame = Frame::of(markup, &trie);
        let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let parsers = matcher::parser_factory(&tokens)?;
        let lengths = Lengths::of(&vocabulary, tokens.tok_trie());
        let lexicon = lexicon.map(Arc::new);
        let kept = Mutex::default();
        Ok(Self(Arc::new(FactoryInner { vocabulary, tokens, parsers, lengths, frame, lexicon, letters, kept })))
    }

    /// Prepares what all sequences of one request share.
    ///
    /// # Errors
    /// When the rules make a grammar that is too complex.
    pub fn prepare(&self, rules: CaptionRules) -> Result<Arc<PreparedConstraint>, ConstraintError> {
        let inner = &self.0;
        let notation = inner.frame.notation;
        let has_pictures = rules.emoji.max > 0;
        let plain_caption = inner.prototype(patterns::caption(&rules, notation, false))?;
        let caption = match has_pictures {
            true => inner.prototype(patterns::caption(&rules, notation, true))?,
            false => plain_caption.clone(),
        };
        let hashtag = inner.prototype(patterns::hashtag(&rules, notation))?;
        let largest = |required: &Required| {
            let written = required.alternatives.iter().map(|text| Room::of_text(&notation.written(text)));
            written.max_by_key(|room| room.utf16).unwrap_or_default()
        };
        let required = rules.required.iter().flat_map(|required| &required.alternatives);
        let pictured = required.filter(|text| contains_emoji(text)).map(|text| notation.written(text)).collect();
        Ok(Arc::new(PreparedConstraint {
            pictured,
            banned_in_names: rules.banned_in_names(),
            required_rooms: rules.required.iter().map(largest).collect(),
            emoji_room: Room::of_text("🌟"),
            lexicon: inner.lexicon.as_ref().map(|lexicon| RequestLexicon::new(Arc::clone(lexicon), &rules)),
            caption: Mutex::new(caption),
            plain_caption: Mutex::new(plain_caption),
            hashtag: Mutex::new(hashtag),
            factory: self.clone(),
            rules,
        }))
    }
}

impl FactoryInner {
    /// The automaton of a grammar; one that an earlier request had too is taken from there, with what it has learnt.
    fn prototype(&self, grammar: String) -> Result<Prototype, ConstraintError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = kept.iter().position(|(known, _)| *known == grammar) {
            let (grammar, prototype) = kept.remove(index);
            if !prototype.is_worn_out() {
                kept.push((grammar, prototype.clone()));
                return Ok(prototype);
            }
        }
        drop(kept);
        let prototype = Prototype::new(&self.parsers, &grammar)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= GRAMMARS_KEPT_MAX {
            kept.remove(0);
        }
        kept.push((grammar, prototype.clone()));
        Ok(prototype)
    }
}

/// The bytes of an entry, unless it can never be part of a text.
fn usable(bytes: &[u8]) -> Vec<u8> {
    let is_usable = bytes.len() <= PIECE_BYTES_MAX && bytes.first() != Some(&MARKER_BYTE);
    if is_usable { bytes.to_vec() } else { Vec::new() }
}

/// What all sequences of one request share.
pub struct PreparedConstraint {
    factory: ConstraintFactory,
    rules: CaptionRules,
    caption: Mutex<Prototype>,
    /// The same without pictures, for when there are enough of them.
    plain_caption: Mutex<Prototype>,
    hashtag: Mutex<Prototype>,
    lexicon: Option<RequestLexicon>,
    /// What each required text takes at most.
    required_rooms: Vec<Room>,
    /// Required texts with emoji in them, as they are written.
    pictured: Vec<String>,
    /// Banned words as they would stand in hashtags.
    banned_in_names: Vec<BannedInName>,
    /// What an emoji takes.
    emoji_room: Room,
}

/// Rules hold the caller's texts, which are not for logs.
impl std::fmt::Debug for PreparedConstraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PreparedConstraint").finish_non_exhaustive()
    }
}

impl PreparedConstraint {
    fn caption_matcher(&self) -> Matcher {
        self.caption.lock().unwrap_or_else(PoisonError::into_inner).matcher()
    }

    fn plain_caption_matcher(&self) -> Matcher {
        self.plain_caption.lock().unwrap_or_else(PoisonError::into_inner).matcher()
    }

    fn hashtag_matcher(&self) -> Matcher {
        self.hashtag.lock().unwrap_or_else(PoisonError::into_inner).matcher()
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.factory.0.vocabulary
    }

    fn trie(&self) -> &TokTrie {
        self.factory.0.tokens.tok_trie()
    }

    fn lengths(&self) -> &Lengths {
        &self.factory.0.lengths
    }

    fn frame(&self) -> &Frame {
        &self.factory.0.frame
    }

    fn letter_ids(&self) -> &[(u32, u8)] {
        &self.factory.0.letters
    }

    fn starts_with_blank(&self) -> bool {
        self.frame().notation == Notation::Words
    }
}
