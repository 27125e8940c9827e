//! What the engine knows about each vocabulary entry: its bytes, and what kind of text it can be part of.

/// The vocabulary entries that structure a prompt and an answer (prompt format 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialIds {
    /// Starts every prompt.
    pub begin: u32,
    /// Stands before the description.
    pub description: u32,
    /// Stands before the caption, where the model starts to write.
    pub caption: u32,
    /// Stands before each hashtag's name.
    pub tag: u32,
    /// Ends an answer.
    pub end: u32,
}

/// One entry of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A marker that is never part of a text.
    Special,
    /// Bytes of text.
    Text(TextPiece),
}

/// Bytes of text and what the grammar asks about them, worked out once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPiece {
    /// The bytes; a character of several bytes may be spread over several pieces.
    pub bytes: Box<[u8]>,
    /// UTF-8 continuation bytes at the start: they finish a character that an earlier piece began.
    pub continuations_leading: u8,
    /// Continuation bytes that a later piece must bring to finish the last character.
    pub continuations_pending: u8,
    /// Nothing but ASCII white space.
    pub is_blank: bool,
    /// Could stand in a hashtag's name: ASCII letters and digits, or part of any other character.
    pub is_hashtag_safe: bool,
    /// Could stand in a caption: no `#`, which would make a hashtag there, and no control but the line break.
    pub is_caption_safe: bool,
}

impl TextPiece {
    /// Works out the properties of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let continuations_leading = bytes.iter().take_while(|byte| is_continuation(**byte)).count();
        Self {
            bytes: bytes.into(),
            continuations_leading: u8::try_from(continuations_leading).unwrap_or(u8::MAX),
            continuations_pending: pending_after(&bytes[continuations_leading..]),
            is_blank: bytes.iter().all(u8::is_ascii_whitespace),
            is_hashtag_safe: bytes.iter().all(|byte| !byte.is_ascii() || byte.is_ascii_alphanumeric()),
            is_caption_safe: !bytes
                .iter()
                .any(|byte| *byte == b'#' || (byte.is_ascii_control() && *byte != b'\n')),
        }
    }

    /// Does this piece fit after text whose last character still lacks `pending` bytes?
    #[must_use]
    pub fn continues(&self, pending: u8) -> bool {
        let only_continuations = usize::from(self.continuations_leading) == self.bytes.len();
        self.continuations_leading == pending
            || (only_continuations && (1..pending).contains(&self.continuations_leading))
    }

    /// Bytes that the last character lacks after this piece, when it lacked `pending` before.
    #[must_use]
    pub fn pending_after(&self, pending: u8) -> u8 {
        let only_continuations = usize::from(self.continuations_leading) == self.bytes.len();
        if only_continuations {
            pending.saturating_sub(self.continuations_leading)
        } else {
            self.continuations_pending
        }
    }
}

const fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// How many continuation bytes the last character of `bytes` lacks.
fn pending_after(bytes: &[u8]) -> u8 {
    const CONTINUATIONS_MAX: usize = 3;
    let trailing = bytes.iter().rev().take(CONTINUATIONS_MAX).take_while(|byte| is_continuation(**byte)).count();
    let lead = bytes.len().checked_sub(trailing + 1).map(|index| bytes[index]);
    let wanted = match lead {
        Some(0b1100_0000..=0b1101_1111) => 1,
        Some(0b1110_0000..=0b1110_1111) => 2,
        Some(0b1111_0000..=0b1111_0111) => 3,
        _ => 0,
    };
    u8::try_from(usize::saturating_sub(wanted, trailing)).unwrap_or(0)
}

/// All entries, by id.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    pieces: Vec<Piece>,
    special: SpecialIds,
}

impl Vocabulary {
    /// A vocabulary of `pieces`, the index being the id.
    #[must_use]
    pub const fn new(pieces: Vec<Piece>, special: SpecialIds) -> Self {
        Self { pieces, special }
    }

    /// Number of entries, which is the width of a row of logits.
    #[must_use]
    pub const fn entries(&self) -> usize {
        self.pieces.len()
    }

    /// The structuring entries.
    #[must_use]
    pub const fn special(&self) -> SpecialIds {
        self.special
    }

    /// The text of an entry, when it is text.
    #[must_use]
    pub fn text(&self, id: u32) -> Option<&TextPiece> {
        match self.pieces.get(usize::try_from(id).ok()?)? {
            Piece::Text(piece) => Some(piece),
            Piece::Special => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_may_be_spread_over_pieces_but_not_broken() {
        let bytes = "é🌅".as_bytes();
        let head = TextPiece::new(&bytes[..1]);
        assert_eq!((head.continuations_leading, head.continuations_pending), (0, 1));
        let middle = TextPiece::new(&bytes[1..4]);
        assert_eq!((middle.continuations_leading, middle.continuations_pending), (1, 2));
        assert!(middle.continues(1) && !middle.continues(0) && !middle.continues(2));
        let tail = TextPiece::new(&bytes[4..5]);
        assert!(tail.continues(2) && tail.continues(1) && !tail.continues(0));
        assert_eq!(tail.pending_after(2), 1);
        assert!(TextPiece::new(b"word").continues(0) && !TextPiece::new(b"word").continues(1));
    }

    #[test]
    fn a_piece_knows_where_it_may_stand() {
        assert!(TextPiece::new(b"sun2").is_hashtag_safe && !TextPiece::new(b" sun").is_hashtag_safe);
        assert!(TextPiece::new(b" \n").is_blank && TextPiece::new(b" \n").is_caption_safe);
        assert!(!TextPiece::new(b"a #").is_caption_safe && !TextPiece::new(b"\x1b").is_caption_safe);
    }
}
