//! A caption being written.

use toktrie::SimpleVob;

use super::characters::{emoji_count, without_pictures};
use super::lexicon::WordState;
use super::markup::Notation;
use super::matcher::Matcher;
use super::room::{self, Room};
use super::rules::Required;
use super::{ConstraintError, PreparedConstraint};
use crate::engine::vocabulary::utf16_units;
use lede_shared::api::text::{contains_folded_word, fold_case};

/// Room in which a caption that lacks something is closed at the next end of a word, before it has to be cut.
const CLOSING_ROOM: Room = Room { utf16: 24, pieces: 8 };
/// How often a model may try to leave a caption that lacks something before that is put there.
const LEAVES_REFUSED_MAX: usize = 1;
/// Emoji that are put there when the model writes none.
const EMOJI_FORCED: [&str; 8] = ["✨", "⭐", "❤", "☀", "💛", "🌟", "🙌", "🎉"];
/// What may stand between a caption and what is put behind it, in order of preference.
const JOINTS: [&str; 6] = [". ", " ", ", ", " – ", ": ", "; "];

/// A caption being written.
#[derive(Clone, Debug)]
pub(super) struct CaptionStage {
    matcher: Matcher,
    text: Vec<u8>,
    words: WordState,
    room: Room,
    /// Pictures that may still be written, those of required texts not counted.
    pictures_left: usize,
    /// The last length in bytes at which the caption could have ended.
    complete_at: Option<usize>,
    /// The last such length after which no letter followed: there a word ended for certain.
    word_ended_at: Option<usize>,
    missing: Vec<usize>,
    emoji_missing: usize,
    leaves_refused: usize,
    /// The length of the text when the model first wanted to leave.
    left_at: Option<usize>,
    pub(super) was_cut: bool,
    pub(super) length_forced: bool,
    pub(super) lacks_required: bool,
}

/// What may follow in a caption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CaptionStep {
    /// What the mask holds; the caption may also be left if so it says.
    Free {
        /// May it be left?
        may_leave: bool,
    },
    /// There is no room left: what is missing has to be put there now.
    Close,
}

impl CaptionStage {
    pub(super) fn new(prepared: &PreparedConstraint) -> Self {
        let mut stage = Self {
            matcher: prepared.caption_matcher(),
            text: Vec::new(),
            words: WordState::START,
            room: room::of_caption(&prepared.rules, prepared.frame()),
            pictures_left: prepared.rules.emoji.max,
            complete_at: None,
            word_ended_at: None,
            missing: Vec::new(),
            emoji_missing: 0,
            leaves_refused: 0,
            left_at: None,
            was_cut: false,
            length_forced: false,
            lacks_required: false,
        };
        stage.look_for_missing(prepared);
        stage
    }

    /// The text as it has been written.
    pub(super) fn read(&self, notation: Notation) -> String {
        notation.read(&self.text)
    }

    /// The same of a text that may go on in the middle of a character.
    pub(super) fn read_so_far(&self, notation: Notation) -> String {
        notation.read_so_far(&self.text)
    }

    /// Is it complete but for what has to stand in it?
    pub(super) fn is_held_back(&self) -> bool {
        self.complete_at == Some(self.text.len()) && self.lacks_something()
    }

    fn lacks_something(&self) -> bool {
        !self.missing.is_empty() || self.emoji_missing > 0
    }

    /// The model wants to leave and may not. True when it has been refused often enough.
    pub(super) fn refuse_leave(&mut self) -> bool {
        self.leaves_refused += 1;
        self.left_at.get_or_insert(self.text.len());
        self.leaves_refused > LEAVES_REFUSED_MAX
    }

    /// What may come next goes into `mask`.
    pub(super) fn next(
        &mut self,
        prepared: &PreparedConstraint,
        mask: &mut SimpleVob,
    ) -> Result<CaptionStep, ConstraintError> {
        let grammar = self.matcher.mask()?;
        let lexicon = prepared.lexicon.as_ref();
        let is_complete = grammar.accepting && lexicon.is_none_or(|lexicon| lexicon.is_between_words(self.words));
        if is_complete {
            self.complete_at = Some(self.text.len());
            self.look_for_missing(prepared);
        }
        let free = self.room.minus(self.needed(prepared));
        let is_tight = free.utf16 < CLOSING_ROOM.utf16 || free.pieces < CLOSING_ROOM.pieces;
        if free.is_empty() || (is_complete && is_tight && self.lacks_something()) {
            return Ok(CaptionStep::Close);
        }
        let may_leave = is_complete && !self.lacks_something();
        mask.set_from(&grammar.permitted);
        prepared.lengths().restrict(mask, free.utf16);
        if prepared.rules.emoji.max > 0 {
            prepared.lengths().restrict_pictures(mask, self.pictures_left);
        }
        if let Some(lexicon) = lexicon {
            let words = lexicon.mask(prepared.trie(), self.words);
            // A word that cannot go on in any way is given up: validity before beauty.
            if may_leave || !mask.and_is_zero(&words) {
                mask.and(&words);
            }
        }
        if mask.is_zero() && !may_leave { Ok(CaptionStep::Close) } else { Ok(CaptionStep::Free { may_leave }) }
    }

    /// Takes an entry of the text.
    pub(super) fn accept(&mut self, prepared: &PreparedConstraint, id: u32) -> Result<(), ConstraintError> {
        self.append(prepared, id)?;
        let is_ascii = prepared.vocabulary().text(id).is_some_and(|piece| piece.bytes.is_ascii());
        if self.pictures_left > 0 && !is_ascii { self.count_pictures(prepared) } else { Ok(()) }
    }

    fn append(&mut self, prepared: &PreparedConstraint, id: u32) -> Result<(), ConstraintError> {
        self.matcher.consume(id)?;
        let Some(piece) = prepared.vocabulary().text(id) else { return Ok(()) };
        if self.complete_at == Some(self.text.len()) && piece.bytes.first().is_some_and(ends_word) {
            self.word_ended_at = self.complete_at;
        }
        self.room.pieces = self.room.pieces.saturating_sub(1);
        self.write(prepared, &piece.bytes);
        Ok(())
    }

    fn write(&mut self, prepared: &PreparedConstraint, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        self.room.utf16 = self.room.utf16.saturating_sub(utf16_units(bytes));
        if let Some(lexicon) = &prepared.lexicon {
            self.words = lexicon.after(self.words, bytes);
        }
    }

    /// Counts the pictures; when there are enough, goes on without.
    fn count_pictures(&mut self, prepared: &PreparedConstraint) -> Result<(), ConstraintError> {
        let Ok(text) = std::str::from_utf8(&self.text) else { return Ok(()) };
        if prepared.rules.emoji.max == 0 {
            return Ok(());
        }
        let theirs =
            prepared.pictured.iter().map(|wanted| emoji_count(wanted) * text.matches(wanted.as_str()).count());
        let written = emoji_count(text).saturating_sub(theirs.sum());
        self.pictures_left = prepared.rules.emoji.max.saturating_sub(written);
        if self.pictures_left == 0
            && let Some(matcher) = plain_matcher(prepared, text)?
        {
            self.matcher = matcher;
        }
        Ok(())
    }

    /// Begins anew with `text`, which has been written before; with nothing if the grammar could not have written it in
    /// one go, as can happen where required texts begin with half an emoji.
    fn set(&mut self, prepared: &PreparedConstraint, text: &[u8]) -> Result<(), ConstraintError> {
        let whole = match following(prepared.caption_matcher(), prepared, text)? {
            Some(matcher) => Some(matcher),
            None => plain_matcher(prepared, &String::from_utf8_lossy(text))?,
        };
        let text = if whole.is_some() { text } else { &[] };
        self.matcher = whole.unwrap_or_else(|| prepared.caption_matcher());
        self.text.clear();
        self.words = WordState::START;
        self.room.utf16 = room::caption_utf16_max(&prepared.rules, prepared.frame());
        self.write(prepared, text);
        self.pictures_left = prepared.rules.emoji.max;
        self.count_pictures(prepared)
    }

    /// Room for what is missing.
    fn needed(&self, prepared: &PreparedConstraint) -> Room {
        let texts = self.missing.iter().map(|index| prepared.required_rooms[*index]);
        let emoji = std::iter::repeat_n(prepared.emoji_room, self.emoji_missing);
        texts.chain(emoji).fold(Room::default(), Room::plus)
    }

    fn look_for_missing(&mut self, prepared: &PreparedConstraint) {
        let rules = &prepared.rules;
        if rules.required.is_empty() && rules.emoji.min == 0 {
            return;
        }
        let text = prepared.frame().notation.read(&self.text);
        let folded = fold_case(&text);
        let stands = |required: &Required| required.stands_in(&text, &folded);
        self.missing = (0..rules.required.len()).filter(|index| !stands(&rules.required[*index])).collect();
        if rules.emoji.min > 0 {
            let present = rules.required.iter().filter(|required| stands(required));
            let theirs =
                present.filter_map(|required| required.alternatives.first()).map(|text| emoji_count(text));
            self.emoji_missing = rules.emoji.min.saturating_sub(emoji_count(&text).saturating_sub(theirs.sum()));
        }
    }

    /// Puts behind the caption what is missing. One that the model did not want to leave is cut back first, to the end of
    /// a word where it could have ended. The device does not read what is put there: only hashtags follow.
    pub(super) fn close(&mut self, prepared: &PreparedConstraint, was_left: bool) -> Result<(), ConstraintError> {
        let complete = self.complete_at.unwrap_or(0);
        let mut written = self.text.trim_ascii_end().len();
        let before = std::mem::take(&mut self.text);
        let mut ended = if was_left { complete } else { self.word_ended_at.unwrap_or(complete) };
        let says = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
        // What the model put behind the end that it had wanted is dropped when it says nothing.
        if let Some(left_at) = self.left_at.filter(|at| was_left && !before.iter().skip(*at).any(says)) {
            (ended, written) = (left_at.min(ended), left_at.min(written));
        }
        self.set(prepared, before[..ended].trim_ascii_end())?;
        let lacking = self.missing.len();
        self.look_for_missing(prepared);
        if self.missing.len() > lacking {
            self.set(prepared, before[..complete].trim_ascii_end())?;
        }
        self.was_cut |= self.text.len() < written || !self.lacks_something();
        self.look_for_missing(prepared);
        self.length_forced |= self.lacks_something();
        let missing = std::mem::take(&mut self.missing);
        for index in &missing {
            let required = &prepared.rules.required[*index];
            if !self.put_any(prepared, &required.alternatives)? {
                self.lacks_required = true;
            }
        }
        if !missing.is_empty() && self.text.last().is_some_and(u8::is_ascii_alphanumeric) {
            self.put(prepared, ".")?;
        }
        for emoji in EMOJI_FORCED.into_iter().cycle().take(std::mem::take(&mut self.emoji_missing)) {
            self.put(prepared, &format!(" {emoji}"))?;
        }
        Ok(())
    }

    fn put_any(
        &mut self,
        prepared: &PreparedConstraint,
        alternatives: &[String],
    ) -> Result<bool, ConstraintError> {
        let notation = prepared.frame().notation;
        let opening = if notation == Notation::Words { " " } else { "" };
        let last = self.text.last().copied();
        let is_sentence_end =
            matches!(last, Some(b'.' | b'!' | b'?')) || last.is_some_and(|byte| !byte.is_ascii());
        for text in alternatives {
            let text = notation.written(text);
            let joints = JOINTS.iter().cycle().skip(usize::from(is_sentence_end)).take(JOINTS.len());
            for joint in joints.copied() {
                let joint = if self.text.is_empty() { opening } else { joint };
                if self.put(prepared, &format!("{joint}{text}"))? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Puts `text` at the end if the grammar permits it there and there is room for it.
    fn put(&mut self, prepared: &PreparedConstraint, text: &str) -> Result<bool, ConstraintError> {
        let ids = prepared.trie().greedy_tokenize(text.as_bytes());
        let units = utf16_units(&self.text) + utf16_units(text.as_bytes());
        if units > room::caption_utf16_max(&prepared.rules, prepared.frame()) || !self.matcher.permits_all(&ids) {
            return Ok(false);
        }
        for id in ids {
            self.append(prepared, id)?;
        }
        self.count_pictures(prepared)?;
        Ok(true)
    }
}

impl Required {
    /// Does one of the alternatives stand in `text`, not as part of a longer word?
    fn stands_in(&self, text: &str, folded: &str) -> bool {
        self.alternatives.iter().any(|wanted| {
            // Folding both is what makes a case-blind search; else the text is searched as it is.
            if self.any_case {
                contains_folded_word(folded, &fold_case(wanted))
            } else {
                contains_folded_word(text, wanted)
            }
        })
    }
}

/// The matcher without pictures after `text`, unless it cannot follow.
fn plain_matcher(prepared: &PreparedConstraint, text: &str) -> Result<Option<Matcher>, ConstraintError> {
    let plain = without_pictures(text, &prepared.pictured);
    following(prepared.plain_caption_matcher(), prepared, plain.as_bytes())
}

/// The matcher after `text`, unless it cannot follow.
fn following(
    mut matcher: Matcher,
    prepared: &PreparedConstraint,
    text: &[u8],
) -> Result<Option<Matcher>, ConstraintError> {
    let ids = prepared.trie().greedy_tokenize(text);
    if !ids.is_empty() && !matcher.permits_all(&ids) {
        return Ok(None);
    }
    ids.into_iter().try_for_each(|id| matcher.consume(id))?;
    Ok(Some(matcher))
}

/// No letter, digit or part of any other character.
const fn ends_word(byte: &u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_alphanumeric()
}
