//! How much may still be written. Lengths are counted here, outside of the grammars.

use toktrie::{SimpleVob, TokTrie};

use super::characters::emoji_count;
use super::markup::{Frame, Notation};
use super::rules::CaptionRules;
use crate::engine::vocabulary::{TextPiece, Vocabulary, utf16_units};

/// Longest name of a hashtag, in characters.
pub(super) const NAME_CHARS_MAX: usize = 30;
/// Shortest name of a hashtag, in characters.
pub(super) const NAME_CHARS_MIN: usize = 2;
/// Letters that may be put to a name that is there already, until it differs.
pub(super) const CLOSING_LETTERS_MAX: usize = 3;
/// Most entries of a hashtag's name.
const NAME_PIECES_MAX: usize = 24;
/// Entries of a name that are kept free for each hashtag to come.
const NAME_PIECES_RESERVED: usize = 4;
/// Units from which on entries are not told apart by their length.
const UNITS_TOLD_APART: usize = 48;

/// Pictures from which on entries are not told apart by their number.
const PICTURES_TOLD_APART: usize = 9;

/// The entries of a vocabulary by their length and by how many pictures are in them.
#[derive(Debug)]
pub(super) struct Lengths {
    at_most: Vec<SimpleVob>,
    pictures_at_most: Vec<SimpleVob>,
}

impl Lengths {
    pub(super) fn of(vocabulary: &Vocabulary, trie: &TokTrie) -> Self {
        let fitting = |fits: &dyn Fn(&TextPiece) -> bool| {
            let mut mask = trie.alloc_token_set();
            for (id, piece) in (0u32..).zip(vocabulary.texts()) {
                if piece.is_some_and(fits) {
                    mask.allow_token(id);
                }
            }
            mask
        };
        let pictures = |piece: &TextPiece| std::str::from_utf8(&piece.bytes).map_or(0, emoji_count);
        Self {
            at_most: (0..UNITS_TOLD_APART).map(|max| fitting(&|piece| piece.utf16_units <= max)).collect(),
            pictures_at_most: (0..PICTURES_TOLD_APART)
                .map(|max| fitting(&|piece| pictures(piece) <= max))
                .collect(),
        }
    }

    /// Takes out of `mask` what has more than `pictures_left` pictures.
    pub(super) fn restrict_pictures(&self, mask: &mut SimpleVob, pictures_left: usize) {
        if let Some(fitting) = self.pictures_at_most.get(pictures_left) {
            mask.and(fitting);
        }
    }

    /// Takes out of `mask` what is longer than `units_left`.
    pub(super) fn restrict(&self, mask: &mut SimpleVob, units_left: usize) {
        // What is longer than any entry told apart by length is cut where it overruns the room.
        let index = units_left.min(self.at_most.len() - 1);
        mask.and(&self.at_most[index]);
    }
}

/// Room in UTF-16 code units and in vocabulary entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) utf16: usize,
    pub(super) pieces: usize,
}

impl Room {
    pub(super) const fn minus(self, other: Self) -> Self {
        Self { utf16: self.utf16.saturating_sub(other.utf16), pieces: self.pieces.saturating_sub(other.pieces) }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self { utf16: self.utf16 + other.utf16, pieces: self.pieces + other.pieces }
    }

    pub(super) const fn is_empty(self) -> bool {
        self.utf16 == 0 || self.pieces == 0
    }

    /// What `text` takes when it is put behind another: the device does not read it, so that it costs no entries.
    pub(super) fn of_text(text: &str) -> Self {
        /// A full stop and a blank before it.
        const JOINT_UTF16: usize = 2;
        Self { utf16: utf16_units(text.as_bytes()) + JOINT_UTF16, pieces: 0 }
    }
}

/// Room of a caption at its beginning.
pub(super) fn of_caption(rules: &CaptionRules, frame: &Frame) -> Room {
    let hashtags = rules.hashtag_count * pieces_reserved(frame);
    let pieces = rules.completion_pieces_max.saturating_sub(hashtags + frame.frame_pieces);
    Room { utf16: caption_utf16_max(rules, frame), pieces: pieces.min(rules.caption_pieces_max) }
}

/// Longest caption as it is written, with the blank before it.
pub(super) fn caption_utf16_max(rules: &CaptionRules, frame: &Frame) -> usize {
    rules.caption_utf16_max + usize::from(frame.notation == Notation::Words)
}

/// Entries for the name of a hashtag when `pieces_left` are left for it and `hashtags_after` others.
pub(super) fn name_pieces(frame: &Frame, pieces_left: usize, hashtags_after: usize) -> usize {
    let reserved = hashtags_after * pieces_reserved(frame) + CLOSING_LETTERS_MAX + frame.frame_pieces;
    pieces_left.saturating_sub(reserved).min(NAME_PIECES_MAX)
}

const fn pieces_reserved(frame: &Frame) -> usize {
    NAME_PIECES_RESERVED + CLOSING_LETTERS_MAX + frame.separator_pieces
}
