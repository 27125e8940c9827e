//! Text → ids, and the bytes behind each id of a byte-level BPE.

use std::collections::HashMap;
use std::path::Path;

use tokenizers::Tokenizer;

use super::folder::ModelError;
use crate::engine::vocabulary::{Piece, TextPiece};

/// A tokenizer that reads every text as text: a caller who writes a marker gets its letters, never its meaning.
#[derive(Clone, Debug)]
pub(super) struct TextTokenizer {
    tokenizer: Tokenizer,
}

impl TextTokenizer {
    /// Opens a `tokenizer.json`.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let fault = |reason: String| ModelError::new(path, reason);
        let json = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
        let mut document: serde_json::Value =
            serde_json::from_slice(&json).map_err(|error| fault(error.to_string()))?;
        let decoder = document["decoder"]["type"].as_str().unwrap_or_default();
        if decoder != "ByteLevel" {
            return Err(fault(format!("only byte-level BPE is supported, the decoder here is {decoder:?}")));
        }
        // Truncation and padding are the prompt's business.
        document["truncation"] = serde_json::Value::Null;
        document["padding"] = serde_json::Value::Null;
        let mut tokenizer: Tokenizer = document.to_string().parse().map_err(|error| fault(format!("{error}")))?;
        tokenizer.set_encode_special_tokens(true);
        Ok(Self { tokenizer })
    }

    /// Encodes text. Byte-level BPE has an encoding for everything, so an error is a fault of the tokenizer.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|error| error.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The id of a vocabulary entry.
    pub(super) fn id_of(&self, entry: &str) -> Option<u32> {
        self.tokenizer.token_to_id(entry)
    }

    /// Every entry's bytes, by id, up to `entries`. Ids without an entry are never chosen, like specials.
    pub(super) fn pieces(&self, entries: usize) -> Vec<Piece> {
        let byte_of = byte_of_character();
        let added = self.tokenizer.get_added_tokens_decoder();
        let piece = |id: u32| {
            if added.contains_key(&id) {
                return None;
            }
            let entry = self.tokenizer.id_to_token(id)?;
            let bytes: Option<Vec<u8>> = entry.chars().map(|character| byte_of.get(&character).copied()).collect();
            Some(Piece::Text(TextPiece::new(&bytes?)))
        };
        (0u32..).take(entries).map(|id| piece(id).unwrap_or(Piece::Special)).collect()
    }
}

/// The inverse of GPT-2's table, which gives each byte a visible character: printable Latin-1 stands for itself,
/// the other 68 bytes for U+0100 onwards, in order.
pub(super) fn byte_of_character() -> HashMap<char, u8> {
    let stands_for_itself = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let (own, others): (Vec<u8>, Vec<u8>) = (0..=u8::MAX).partition(stands_for_itself);
    let own = own.into_iter().map(|byte| (char::from(byte), byte));
    own.chain(('\u{100}'..).zip(others)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        let table = byte_of_character();
        assert_eq!(table.len(), 256);
        assert_eq!((table[&'A'], table[&'Ġ'], table[&'Ċ']), (b'A', b' ', b'\n'));
    }
}
