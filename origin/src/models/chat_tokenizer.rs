//! Any Hugging Face tokenizer of a decoder: text → ids, markers → ids, and the bytes behind each id.

use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer;

use super::chat_template::PromptPart;
use super::folder::ModelError;
use super::tokenizer::byte_of_character;
use crate::engine::vocabulary::{Piece, TextPiece};

/// Below any score that text can have: a piece of this score is never chosen.
const SCORE_OF_MARKERS: f64 = -1e9;

/// How the entries of the vocabulary spell bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// A visible character for each byte, as GPT-2 has it.
    ByteLevel,
    /// Text in which `▁` is a blank; `<0x0A>` is a byte.
    SentencePiece,
}

/// An entry that was added to the vocabulary: a marker, or text that is always one piece.
#[derive(Clone, Debug)]
struct Added {
    id: u32,
    content: String,
    is_special: bool,
    /// Swallows blanks before it, and after it.
    strips: (bool, bool),
}

/// A tokenizer that finds markers only where the template wrote them.
#[derive(Clone, Debug)]
pub(super) struct ChatTokenizer {
    /// Knows no marker at all.
    tokenizer: Tokenizer,
    spelling: Spelling,
    /// Longest first, so that no marker hides a longer one.
    added: Vec<Added>,
}

impl ChatTokenizer {
    /// Opens a `tokenizer.json`.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let fault = |reason: String| ModelError::new(path, reason);
        let json = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
        let mut document: Value = serde_json::from_slice(&json).map_err(|error| fault(error.to_string()))?;
        let spelling = Spelling::of(&document).map_err(fault)?;
        let added = take_added(&mut document);
        make_markers_unlikely(&mut document, &added);
        // A text in the middle of a prompt is not the beginning of anything.
        prepend_never(&mut document["pre_tokenizer"]);
        for part in ["truncation", "padding", "post_processor"] {
            document[part] = Value::Null;
        }
        let tokenizer = document.to_string().parse().map_err(|error| fault(format!("{error}")))?;
        Ok(Self { tokenizer, spelling, added })
    }

    /// Encodes text as text: markers in it are letters.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|error| error.to_string())?;
        let ids = encoding.get_ids();
        if self
            .added
            .iter()
            .any(|added| added.is_special && ids.contains(&added.id) && text.contains(&added.content))
        {
            return Err("the tokenizer takes letters for a marker".to_owned());
        }
        Ok(ids.to_vec())
    }

    /// Encodes a rendered prompt; markers are found in the template's parts only.
    pub(super) fn encode_parts(&self, parts: &[PromptPart]) -> Result<Vec<u32>, String> {
        let mut ids = Vec::new();
        let mut text = String::new();
        for part in parts {
            let template = match part {
                PromptPart::Content(content) => {
                    text.push_str(content);
                    continue;
                }
                PromptPart::Template(template) => template,
            };
            let mut rest = template.as_str();
            while let Some((at, added)) = self.next_marker(rest) {
                let (strips_before, strips_after) = added.strips;
                text.push_str(&rest[..at]);
                let before = if strips_before { text.trim_end() } else { &text };
                ids.extend(self.encode_unless_empty(before)?);
                text.clear();
                ids.push(added.id);
                rest = &rest[at + added.content.len()..];
                rest = if strips_after { rest.trim_start() } else { rest };
            }
            text.push_str(rest);
        }
        ids.extend(self.encode_unless_empty(&text)?);
        Ok(ids)
    }

    fn encode_unless_empty(&self, text: &str) -> Result<Vec<u32>, String> {
        if text.is_empty() { Ok(Vec::new()) } else { self.encode(text) }
    }

    fn next_marker(&self, text: &str) -> Option<(usize, &Added)> {
        let found = self.added.iter().filter_map(|added| Some((text.find(&added.content)?, added)));
        found.min_by_key(|(at, _)| *at)
    }

    /// The id of an entry, markers included.
    pub(super) fn id_of(&self, entry: &str) -> Option<u32> {
        let added = self.added.iter().find(|added| added.content == entry);
        added.map(|added| added.id).or_else(|| self.tokenizer.token_to_id(entry))
    }

    /// One more than the highest id.
    pub(super) fn entries(&self) -> usize {
        let highest =
            self.tokenizer.get_vocab(false).into_values().chain(self.added.iter().map(|added| added.id)).max();
        highest.map_or(0, |id| id as usize + 1)
    }

    /// Every entry's bytes, by id, up to `entries`. Markers and ids without an entry are special: never part of a text.
    pub(super) fn pieces(&self, entries: usize) -> Vec<Piece> {
        let byte_of = byte_of_character();
        let byte_level = |entry: &str| -> Option<Vec<u8>> {
            entry.chars().map(|character| byte_of.get(&character).copied()).collect()
        };
        let mut pieces = vec![Piece::Special; entries];
        for (entry, id) in self.tokenizer.get_vocab(false) {
            let bytes = match self.spelling {
                Spelling::ByteLevel => byte_level(&entry),
                Spelling::SentencePiece => Some(sentence_piece_bytes(&entry)),
            };
            if let (Some(piece), Some(bytes)) =
                (pieces.get_mut(id as usize), bytes.filter(|bytes| !bytes.is_empty()))
            {
                *piece = Piece::Text(TextPiece::new(&bytes));
            }
        }
        for added in &self.added {
            if let Some(piece) = pieces.get_mut(added.id as usize) {
                *piece = if added.is_marker() {
                    Piece::Special
                } else {
                    Piece::Text(TextPiece::new(added.text().as_bytes()))
                };
            }
        }
        pieces
    }
}

impl Added {
    /// `<tool_call>` is one even where its maker did not say so; runs of blanks are text.
    fn is_marker(&self) -> bool {
        self.is_special || self.content.starts_with(['<', '[']) || self.content.is_empty()
    }

    fn text(&self) -> String {
        self.content.replace('▁', " ")
    }
}

impl Spelling {
    fn of(document: &Value) -> Result<Self, String> {
        let decoder = &document["decoder"];
        let of_type = |part: &Value, name: &str| part["type"].as_str() == Some(name);
        let steps = decoder["decoders"].as_array().map_or(&[][..], Vec::as_slice);
        let has = |name: &str| of_type(decoder, name) || steps.iter().any(|step| of_type(step, name));
        if has("ByteLevel") {
            Ok(Self::ByteLevel)
        } else if has("Metaspace") || has("ByteFallback") {
            Ok(Self::SentencePiece)
        } else {
            let found = decoder["type"].as_str().unwrap_or("none");
            Err(format!(
                "only byte-level and SentencePiece vocabularies are supported, the decoder here is {found:?}"
            ))
        }
    }
}

/// Takes the added entries out of the document, so that no text can be taken for one.
fn take_added(document: &mut Value) -> Vec<Added> {
    let entries = std::mem::replace(&mut document["added_tokens"], Value::Array(Vec::new()));
    let added = |entry: &Value| {
        Some(Added {
            id: u32::try_from(entry["id"].as_u64()?).ok()?,
            content: entry["content"].as_str()?.to_owned(),
            is_special: entry["special"].as_bool().unwrap_or(false),
            strips: (entry["lstrip"].as_bool().unwrap_or(false), entry["rstrip"].as_bool().unwrap_or(false)),
        })
    };
    let mut added: Vec<Added> =
        entries.as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(added).collect();
    added.sort_by_key(|added| std::cmp::Reverse(added.content.len()));
    added
}

/// A Unigram model weighs all of its pieces; SentencePiece never weighs its markers.
fn make_markers_unlikely(document: &mut Value, added: &[Added]) {
    if document["model"]["type"].as_str() != Some("Unigram") {
        return;
    }
    let Some(pieces) = document["model"]["vocab"].as_array_mut() else { return };
    for added in added.iter().filter(|added| added.is_marker()) {
        if let Some(piece) = pieces.get_mut(added.id as usize) {
            piece[1] = SCORE_OF_MARKERS.into();
        }
    }
}

fn prepend_never(pre_tokenizer: &mut Value) {
    if pre_tokenizer["prepend_scheme"].as_str() == Some("first") {
        pre_tokenizer["prepend_scheme"] = "never".into();
    }
    if let Some(steps) = pre_tokenizer.get_mut("pretokenizers").and_then(Value::as_array_mut) {
        steps.iter_mut().for_each(prepend_never);
    }
}

/// `<0x0A>` is a byte, everything else text with `▁` for a blank.
fn sentence_piece_bytes(entry: &str) -> Vec<u8> {
    let digits =
        entry.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>')).filter(|digits| digits.len() == 2);
    match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        Some(byte) => vec![byte],
        None => entry.replace('▁', " ").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn open(document: &Value) -> Result<ChatTokenizer, ModelError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), document.to_string()).unwrap();
        ChatTokenizer::open(file.path())
    }

    fn added(id: u32, content: &str, special: bool) -> Value {
        json!({ "id": id, "content": content, "special": special, "single_word": false, "lstrip": false, "rstrip": content == "<|end|>",
            "normalized": false })
    }

    /// Llama 2's kind: `▁` before each text, bytes for what is unknown.
    fn sentence_piece(model: &Value) -> Value {
        json!({
            "version": "1.0",
            "added_tokens": [added(0, "<unk>", true), added(1, "<s>", true), added(2, "<|end|>", true), added(3, "▁▁", false)],
            "normalizer": { "type": "Sequence", "normalizers": [
                { "type": "Prepend", "prepend": "▁" },
                { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
            ]},
            "pre_tokenizer": null,
            "decoder": { "type": "Sequence", "decoders": [{ "type": "ByteFallback" }, { "type": "Fuse" }] },
            "model": model,
        })
    }

    fn bpe() -> Value {
        let mut vocab = json!({ "<unk>": 0, "<s>": 1, "<|end|>": 2, "▁▁": 3, "▁": 4, "h": 5, "i": 6, "hi": 7, "▁hi": 8, "<": 9, "s": 10,
            ">": 11 });
        for byte in 0..=255u32 {
            vocab[format!("<0x{byte:02X}>")] = (12 + byte).into();
        }
        json!({ "type": "BPE", "vocab": vocab, "merges": [["h", "i"], ["▁", "hi"]], "byte_fallback": true,
            "unk_token": "<unk>", "fuse_unk": true })
    }

    fn bytes(piece: &Piece) -> Option<&[u8]> {
        match piece {
            Piece::Text(text) => Some(&text.bytes),
            Piece::Special => None,
        }
    }

    #[test]
    fn sentence_piece_entries_are_the_bytes_that_they_write() {
        let tokenizer = open(&sentence_piece(&bpe())).unwrap();
        let pieces = tokenizer.pieces(280);
        assert_eq!(tokenizer.entries(), 268);
        assert_eq!(bytes(&pieces[8]), Some(" hi".as_bytes()));
        assert_eq!(bytes(&pieces[12 + 10]), Some(&b"\n"[..]));
        assert_eq!(bytes(&pieces[12 + 0xF0]), Some(&[0xF0][..]));
        assert_eq!(bytes(&pieces[3]), Some(&b"  "[..]));
        for marker in [0, 1, 2, 270] {
            assert_eq!(bytes(&pieces[marker]), None);
        }
    }

    #[test]
    fn what_no_piece_spells_is_written_in_bytes() {
        let tokenizer = open(&sentence_piece(&bpe())).unwrap();
        let pieces = tokenizer.pieces(268);
        let ids = tokenizer.encode("hi é\n").unwrap();
        let written: Vec<u8> = ids.iter().flat_map(|id| bytes(&pieces[*id as usize]).unwrap().to_vec()).collect();
        assert_eq!(String::from_utf8(written).unwrap(), " hi é\n");
    }

    #[test]
    fn markers_are_found_in_the_templates_parts_only() {
        let tokenizer = open(&sentence_piece(&bpe())).unwrap();
        let template = |text: &str| PromptPart::Template(text.to_owned());
        let content = |text: &str| PromptPart::Content(text.to_owned());
        let parts = [template("<s>"), content("hi <s>"), template("<|end|>  hi")];
        let ids = tokenizer.encode_parts(&parts).unwrap();
        assert_eq!(ids, [1, 8, 4, 9, 10, 11, 2, 8]);
        assert_eq!(tokenizer.encode("<s>").unwrap(), [4, 9, 10, 11]);
    }

    #[test]
    fn a_unigram_model_never_reads_a_marker_out_of_a_text() {
        let mut vocab =
            vec![json!(["<unk>", 0.0]), json!(["<s>", 0.0]), json!(["<|end|>", 0.0]), json!(["▁▁", -3.0])];
        vocab.extend(["▁", "<", "s", ">", "hi"].map(|piece| json!([piece, -5.0])));
        let model = json!({ "type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": false });
        let tokenizer = open(&sentence_piece(&model)).unwrap();
        assert_eq!(tokenizer.encode("hi<s>").unwrap(), [4, 8, 5, 6, 7]);
    }

    #[test]
    fn another_kind_of_vocabulary_is_refused_by_name() {
        let error = open(&json!({ "decoder": { "type": "WordPiece" }, "model": {} })).unwrap_err().to_string();
        assert!(error.contains("WordPiece"), "{error}");
    }
}
