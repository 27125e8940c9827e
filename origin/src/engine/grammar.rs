//! What the model may write next: a caption, then exactly as many different hashtags as were asked for.
//!
//! The grammar only forbids; every character of an answer is the model's choice. It keeps answers well formed:
//! whole UTF-8 characters, no `#` inside the caption, hashtags of letters and digits.

use std::sync::Arc;

use super::detokenizer::text_of;
use super::vocabulary::Vocabulary;

/// How much may be written. The default is a caption of one entry and no hashtags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrammarLimits {
    /// Different hashtags wanted.
    pub hashtag_count: usize,
    /// Most vocabulary entries in the caption.
    pub caption_pieces_max: usize,
    /// Most vocabulary entries in one hashtag's name.
    pub hashtag_pieces_max: usize,
    /// Hashtags that may be begun before repeating one is forbidden.
    pub hashtags_begun_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Caption,
    Hashtag,
    Ended,
}

/// What is allowed at one step. Cheap to copy and to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    text: Option<TextRule>,
    tag: bool,
    end: bool,
    pending: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextRule {
    CaptionStart,
    Caption,
    Hashtag,
}

impl Allowed {
    /// May entry `id` come next?
    #[must_use]
    pub fn permits(&self, vocabulary: &Vocabulary, id: u32) -> bool {
        let Some(piece) = vocabulary.text(id) else {
            let special = vocabulary.special();
            return (self.tag && id == special.tag) || (self.end && id == special.end);
        };
        let fits = match self.text {
            None => return false,
            Some(TextRule::CaptionStart) => !piece.is_blank && piece.is_caption_safe,
            Some(TextRule::Caption) => piece.is_caption_safe,
            Some(TextRule::Hashtag) => piece.is_hashtag_safe,
        };
        fits && !piece.bytes.is_empty() && piece.continues(self.pending)
    }
}

/// What one sequence has written so far, and from it what it may write next.
#[derive(Clone, Debug)]
pub struct CaptionGrammar {
    vocabulary: Arc<Vocabulary>,
    limits: GrammarLimits,
    phase: Phase,
    caption: Vec<u8>,
    name: Vec<u8>,
    hashtags: Vec<String>,
    /// Entries in the part that is being written.
    pieces: usize,
    hashtags_begun: usize,
    /// Bytes that the last character still lacks.
    pending: u8,
    caption_was_cut: bool,
}

/// What a sequence wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenCaption {
    /// The caption as written, untrimmed.
    pub caption: String,
    /// Names of different hashtags, lower case, without `#`.
    pub hashtags: Vec<String>,
    /// The caption reached its limit and was made to end.
    pub caption_was_cut: bool,
    /// The end was reached with every hashtag that was asked for.
    pub is_complete: bool,
}

impl CaptionGrammar {
    /// Nothing written yet.
    #[must_use]
    pub const fn new(vocabulary: Arc<Vocabulary>, limits: GrammarLimits) -> Self {
        Self {
            vocabulary,
            limits,
            phase: Phase::Caption,
            caption: Vec::new(),
            name: Vec::new(),
            hashtags: Vec::new(),
            pieces: 0,
            hashtags_begun: 0,
            pending: 0,
            caption_was_cut: false,
        }
    }

    /// The vocabulary it speaks of.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Was the end reached?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// What may come next. Until the end there is always something.
    #[must_use]
    pub fn allowed(&self) -> Allowed {
        match self.phase {
            Phase::Caption => self.allowed_in_caption(),
            Phase::Hashtag => self.allowed_in_hashtag(),
            Phase::Ended => Allowed { text: None, tag: false, end: false, pending: 0 },
        }
    }

    fn allowed_in_caption(&self) -> Allowed {
        let room = self.pieces < self.limits.caption_pieces_max || self.pending > 0 || self.caption.is_empty();
        let rule = if self.caption.is_empty() { TextRule::CaptionStart } else { TextRule::Caption };
        let may_leave = self.pending == 0 && !self.caption.is_empty();
        let wants_hashtags = self.limits.hashtag_count > 0;
        Allowed {
            text: room.then_some(rule),
            tag: may_leave && wants_hashtags,
            end: may_leave && !wants_hashtags,
            pending: self.pending,
        }
    }

    /// A repeated hashtag may be ended, and is dropped, while few have been begun: what the model writes next by
    /// itself reads better. After that a name must be written on until it differs from all others.
    fn allowed_in_hashtag(&self) -> Allowed {
        let room = self.pieces < self.limits.hashtag_pieces_max || self.pending > 0;
        let name = hashtag_name(&self.name);
        let usable = self.is_usable(&name);
        let may_repeat = self.hashtags_begun < self.limits.hashtags_begun_max && !name.is_empty();
        // A full name of which nothing is usable is given up, so that there is always a way on.
        let may_leave = self.pending == 0 && (usable || may_repeat || !room);
        let complete = self.hashtags.len() + usize::from(usable);
        let begun_max = self.limits.hashtags_begun_max + self.limits.hashtag_count;
        let enough = complete >= self.limits.hashtag_count || self.hashtags_begun >= begun_max;
        Allowed {
            text: room.then_some(TextRule::Hashtag),
            tag: may_leave && !enough,
            end: may_leave && enough,
            pending: self.pending,
        }
    }

    /// Instagram makes no hashtag of digits alone; a repeated one adds nothing.
    fn is_usable(&self, name: &str) -> bool {
        name.chars().any(char::is_alphabetic) && !self.hashtags.iter().any(|known| known == name)
    }

    /// Takes entry `id`, which must have been allowed.
    pub fn accept(&mut self, id: u32) {
        let special = self.vocabulary.special();
        if id == special.tag || id == special.end {
            self.finish_part();
            self.phase = if id == special.tag { Phase::Hashtag } else { Phase::Ended };
            self.hashtags_begun += usize::from(id == special.tag);
            return;
        }
        let Some(piece) = self.vocabulary.text(id) else { return };
        let part = if self.phase == Phase::Caption { &mut self.caption } else { &mut self.name };
        part.extend_from_slice(&piece.bytes);
        self.pending = piece.pending_after(self.pending);
        self.pieces += 1;
    }

    fn finish_part(&mut self) {
        if self.phase == Phase::Caption {
            self.caption_was_cut = self.pieces >= self.limits.caption_pieces_max;
        }
        let name = hashtag_name(&std::mem::take(&mut self.name));
        if self.phase == Phase::Hashtag && self.is_usable(&name) {
            self.hashtags.push(name);
        }
        self.pieces = 0;
    }

    /// What was written; a hashtag that was being written when the sequence stopped is left out.
    #[must_use]
    pub fn into_written(self) -> WrittenCaption {
        WrittenCaption {
            is_complete: self.phase == Phase::Ended && self.hashtags.len() == self.limits.hashtag_count,
            caption_was_cut: self.caption_was_cut || self.phase == Phase::Caption,
            caption: text_of(&self.caption),
            hashtags: self.hashtags,
        }
    }
}

/// The name that is left of what the model wrote after a tag marker: lower case, letters and digits. Lower case first:
/// it can turn a letter into a letter and a mark (`İ`).
fn hashtag_name(bytes: &[u8]) -> String {
    let text = text_of(bytes);
    text.chars().flat_map(char::to_lowercase).filter(|character| character.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::{Piece, SpecialIds, TextPiece};
    use super::*;
    use proptest::prelude::*;

    const SPECIAL: SpecialIds = SpecialIds { begin: 0, description: 1, caption: 2, tag: 3, end: 4 };

    /// Five specials, then one entry for each byte.
    fn byte_vocabulary() -> Arc<Vocabulary> {
        let specials = (0..5).map(|_| Piece::Special);
        let bytes = (0..=255u8).map(|byte| Piece::Text(TextPiece::new(&[byte])));
        Arc::new(Vocabulary::new(specials.chain(bytes).collect(), SPECIAL))
    }

    fn grammar(hashtag_count: usize) -> CaptionGrammar {
        let limits =
            GrammarLimits { hashtag_count, caption_pieces_max: 20, hashtag_pieces_max: 6, hashtags_begun_max: 8 };
        CaptionGrammar::new(byte_vocabulary(), limits)
    }

    fn write(grammar: &mut CaptionGrammar, text: &str) {
        for byte in text.bytes() {
            let id = 5 + u32::from(byte);
            assert!(grammar.allowed().permits(grammar.vocabulary(), id), "{text:?} at {}", char::from(byte));
            grammar.accept(id);
        }
    }

    fn permits(grammar: &CaptionGrammar, id: u32) -> bool {
        grammar.allowed().permits(grammar.vocabulary(), id)
    }

    #[test]
    fn the_end_is_impossible_before_enough_hashtags_and_a_hashtag_after() {
        let mut grammar = grammar(2);
        assert!(!permits(&grammar, SPECIAL.end) && !permits(&grammar, SPECIAL.tag));
        write(&mut grammar, "Sun!");
        assert!(!permits(&grammar, SPECIAL.end) && permits(&grammar, SPECIAL.tag));
        grammar.accept(SPECIAL.tag);
        write(&mut grammar, "sun");
        assert!(!permits(&grammar, SPECIAL.end) && permits(&grammar, SPECIAL.tag));
        grammar.accept(SPECIAL.tag);
        write(&mut grammar, "sea");
        assert!(permits(&grammar, SPECIAL.end) && !permits(&grammar, SPECIAL.tag));
        grammar.accept(SPECIAL.end);
        let written = grammar.into_written();
        assert_eq!((written.caption.as_str(), written.is_complete), ("Sun!", true));
        assert_eq!(written.hashtags, ["sun", "sea"]);
    }

    #[test]
    fn a_repeated_hashtag_is_dropped_and_another_is_asked_for() {
        let mut grammar = grammar(2);
        write(&mut grammar, "x");
        for name in ["sun", "Sun"] {
            grammar.accept(SPECIAL.tag);
            write(&mut grammar, name);
        }
        assert!(!permits(&grammar, SPECIAL.end) && permits(&grammar, SPECIAL.tag));
        grammar.accept(SPECIAL.tag);
        write(&mut grammar, "sea");
        grammar.accept(SPECIAL.end);
        assert_eq!(grammar.into_written().hashtags, ["sun", "sea"]);
    }

    #[test]
    fn a_model_that_repeats_itself_too_often_must_write_on_until_the_name_differs() {
        let mut grammar = grammar(2);
        write(&mut grammar, "x");
        for _ in 0..7 {
            grammar.accept(SPECIAL.tag);
            write(&mut grammar, "sun");
            assert!(permits(&grammar, SPECIAL.tag));
        }
        grammar.accept(SPECIAL.tag);
        write(&mut grammar, "sun");
        assert!(!permits(&grammar, SPECIAL.tag) && !permits(&grammar, SPECIAL.end));
        write(&mut grammar, "ny");
        assert!(permits(&grammar, SPECIAL.end));
        grammar.accept(SPECIAL.end);
        let written = grammar.into_written();
        assert_eq!((written.hashtags, written.is_complete), (vec!["sun".to_owned(), "sunny".to_owned()], true));
    }

    #[test]
    fn names_that_fill_their_room_without_differing_are_given_up_and_nothing_is_invented() {
        let mut grammar = grammar(3);
        write(&mut grammar, "x");
        while permits(&grammar, SPECIAL.tag) {
            grammar.accept(SPECIAL.tag);
            write(&mut grammar, "123456");
        }
        assert!(permits(&grammar, SPECIAL.end));
        grammar.accept(SPECIAL.end);
        let written = grammar.into_written();
        assert_eq!((written.hashtags, written.is_complete), (Vec::new(), false));
    }

    #[test]
    fn a_caption_cannot_hold_a_hashtag_or_begin_with_a_blank() {
        let mut grammar = grammar(0);
        assert!(!permits(&grammar, 5 + u32::from(b' ')) && !permits(&grammar, 5 + u32::from(b'#')));
        write(&mut grammar, "a ");
        assert!(!permits(&grammar, 5 + u32::from(b'#')));
        assert!(permits(&grammar, SPECIAL.end) && !permits(&grammar, SPECIAL.tag));
    }

    #[test]
    fn a_mark_that_lower_case_splits_off_a_letter_is_not_kept() {
        assert_eq!(hashtag_name("İstanbul 2".as_bytes()), "istanbul2");
    }

    proptest! {
        /// Whatever the model prefers, an answer ends within its limits and is well formed.
        #[test]
        fn any_choices_end_in_a_well_formed_answer(
            hashtag_count in 0usize..4, choices in prop::collection::vec(any::<u32>(), 400),
        ) {
            let mut grammar = grammar(hashtag_count);
            for choice in choices {
                let allowed = grammar.allowed();
                let ids: Vec<u32> = (0..261).filter(|id| allowed.permits(grammar.vocabulary(), *id)).collect();
                prop_assert!(!ids.is_empty(), "a dead end in {grammar:?}");
                grammar.accept(ids[choice as usize % ids.len()]);
                if grammar.has_ended() {
                    break;
                }
            }
            prop_assert!(grammar.has_ended());
            let written = grammar.into_written();
            prop_assert!(!written.caption.is_empty() && !written.caption.contains('#'));
            prop_assert!(written.hashtags.len() <= hashtag_count);
            for name in &written.hashtags {
                prop_assert!(name.chars().all(char::is_alphanumeric) && !name.is_empty());
            }
        }
    }
}
