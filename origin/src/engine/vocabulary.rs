//! What the engine knows about each vocabulary entry: its bytes.

/// One entry of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A marker that is never part of a text, or an entry that is never written.
    Special,
    /// Bytes of text.
    Text(TextPiece),
}

/// Bytes of text and what is asked about them, worked out once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPiece {
    /// The bytes; a character of several bytes may be spread over several pieces.
    pub bytes: Box<[u8]>,
    /// UTF-16 code units of the characters that begin in this piece.
    pub utf16_units: usize,
    /// Nothing but ASCII white space.
    pub is_blank: bool,
}

impl TextPiece {
    /// Works out the properties of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.into(),
            utf16_units: utf16_units(bytes),
            is_blank: bytes.iter().all(u8::is_ascii_whitespace),
        }
    }
}

/// UTF-16 code units of the characters that begin in `bytes`.
#[must_use]
pub fn utf16_units(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .map(|byte| usize::from(byte & 0b1100_0000 != 0b1000_0000) + usize::from(*byte >= 0b1111_0000))
        .sum()
}

/// All entries, by id.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    pieces: Vec<Piece>,
}

impl Vocabulary {
    /// A vocabulary of `pieces`, the index being the id.
    #[must_use]
    pub const fn new(pieces: Vec<Piece>) -> Self {
        Self { pieces }
    }

    /// Number of entries, which is the width of a row of logits.
    #[must_use]
    pub const fn entries(&self) -> usize {
        self.pieces.len()
    }

    /// The text of an entry, when it is text.
    #[must_use]
    pub fn text(&self, id: u32) -> Option<&TextPiece> {
        match self.pieces.get(usize::try_from(id).ok()?)? {
            Piece::Text(piece) => Some(piece),
            Piece::Special => None,
        }
    }

    /// Every entry's text, by id.
    pub fn texts(&self) -> impl Iterator<Item = Option<&TextPiece>> {
        self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Some(text),
            Piece::Special => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_counts_where_it_begins() {
        let sunrise = "é🌅".as_bytes();
        assert_eq!(TextPiece::new(sunrise).utf16_units, 3);
        let halves = (TextPiece::new(&sunrise[..3]).utf16_units, TextPiece::new(&sunrise[3..]).utf16_units);
        assert_eq!(halves, (3, 0));
        assert!(TextPiece::new(b" \n").is_blank && !TextPiece::new(b" a").is_blank);
    }
}
