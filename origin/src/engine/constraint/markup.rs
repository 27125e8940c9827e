//! How a caption and its hashtags are told apart in what a model writes.

use std::collections::VecDeque;

use toktrie::TokTrie;

/// How a model writes its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Markup {
    /// ` Caption<|tag|> ocean sunset<|tag|> tea<|end|>`: every text starts with a blank, and the blanks between the
    /// words of a hashtag are dropped.
    Tags {
        /// Stands before each hashtag.
        tag: u32,
        /// Ends the answer.
        end: u32,
    },
    /// `{"caption": "...", "hashtags": ["...", "..."]}`, then one of these entries.
    Json {
        /// Entries that end the answer.
        ends: Vec<u32>,
    },
}

/// How texts are written inside an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    /// As they are.
    Words,
    /// As the inside of a JSON string.
    Json,
}

impl Notation {
    /// `text` as it is written.
    pub(super) fn written(self, text: &str) -> String {
        match self {
            Self::Words => text.to_owned(),
            Self::Json => {
                let quoted = serde_json::to_string(text).unwrap_or_default();
                quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
            }
        }
    }

    /// What was written as text, without blanks around it.
    pub(super) fn read(self, written: &[u8]) -> String {
        let written = String::from_utf8_lossy(written);
        let text = match self {
            Self::Words => written.into_owned(),
            Self::Json => serde_json::from_str(&format!("\"{written}\"")).unwrap_or_else(|_| written.into_owned()),
        };
        text.trim().to_owned()
    }

    /// The same for a text that has not ended: a character or an escape that is still incomplete is left out.
    pub(super) fn read_so_far(self, written: &[u8]) -> String {
        let whole = written.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        match self {
            Self::Words => whole.trim().to_owned(),
            Self::Json => self.read(whole.get(..whole_escapes(whole)).unwrap_or_default().as_bytes()),
        }
    }
}

/// Length of the part of a JSON string's inside in which every escape is complete.
fn whole_escapes(written: &str) -> usize {
    let mut whole = 0;
    loop {
        let rest = &written.as_bytes()[whole..];
        let end = whole + escape_len(rest);
        if rest.is_empty() || end > written.len() {
            return whole;
        }
        whole = end;
    }
}

/// Length of the byte or escape at the beginning, as it will be when it is complete. The first half of a surrogate pair
/// is not complete without the second.
const fn escape_len(bytes: &[u8]) -> usize {
    match bytes {
        [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..] => 12,
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] => 2,
        _ => 1,
    }
}

/// One way to leave a stage: an entry, and those that have to follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leave {
    pub(super) id: u32,
    pub(super) rest: VecDeque<u32>,
}

/// Everything between the texts of an answer.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) notation: Notation,
    /// Before the caption.
    pub(super) opening: VecDeque<u32>,
    /// From the caption or a hashtag to the end; by whether there were hashtags.
    pub(super) to_end: [Vec<Leave>; 2],
    /// From the caption to the first hashtag, and from a hashtag to the next.
    pub(super) to_hashtag: [Vec<Leave>; 2],
    /// After the last text, when an entry has to be chosen that ends the answer.
    pub(super) ends: Vec<u32>,
    /// Most entries from one hashtag to the next.
    pub(super) separator_pieces: usize,
    /// Most entries of all the rest of the frame.
    pub(super) frame_pieces: usize,
}

impl Frame {
    pub(super) fn of(markup: &Markup, vocabulary: &TokTrie) -> Self {
        let literal = |text: &str| ways_to_write(vocabulary, text.as_bytes());
        let marker = |id: u32| vec![Leave { id, rest: VecDeque::new() }];
        match markup {
            Markup::Tags { tag, end } => Self {
                notation: Notation::Words,
                opening: VecDeque::new(),
                to_end: [marker(*end), marker(*end)],
                to_hashtag: [marker(*tag), marker(*tag)],
                ends: Vec::new(),
                separator_pieces: 1,
                frame_pieces: 1,
            },
            Markup::Json { ends } => {
                let opening = vocabulary.greedy_tokenize(br#"{"caption": ""#);
                let to_end = [literal(r#"", "hashtags": []}"#), literal(r#""]}"#)];
                let to_hashtag = [literal(r#"", "hashtags": [""#), literal(r#"", ""#)];
                let longest = |ways: &[Leave]| ways.iter().map(|way| way.rest.len() + 1).max().unwrap_or(0);
                let frame_pieces =
                    opening.len() + longest(&to_hashtag[0]) + longest(&to_end[0]) + longest(&to_end[1]) + 1;
                Self {
                    notation: Notation::Json,
                    opening: opening.into(),
                    separator_pieces: longest(&to_hashtag[1]),
                    to_end,
                    to_hashtag,
                    ends: ends.clone(),
                    frame_pieces,
                }
            }
        }
    }
}

/// Every entry that begins `literal`, with the longest entries that complete it: where it is cut is the model's choice
/// only once.
fn ways_to_write(vocabulary: &TokTrie, literal: &[u8]) -> Vec<Leave> {
    let beginnings = (1..=literal.len()).filter_map(|len| Some((len, vocabulary.token_id(&literal[..len])?)));
    beginnings.map(|(len, id)| Leave { id, rest: vocabulary.greedy_tokenize(&literal[len..]).into() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_has_not_ended_is_read_up_to_its_last_whole_character() {
        let sunrise = " Rise é🌅 ".as_bytes();
        let read = |end: usize| Notation::Words.read_so_far(&sunrise[..end]);
        assert_eq!((read(6).as_str(), read(7).as_str(), read(8).as_str()), ("Rise", "Rise", "Rise é"));
        assert_eq!((read(11).as_str(), read(sunrise.len()).as_str()), ("Rise é", "Rise é🌅"));
    }

    #[test]
    fn an_escape_is_read_when_it_is_whole() {
        let written = r#"a\n\"b\\c\u00e9\ud83c\udf05!"#;
        let whole: String = serde_json::from_str(&format!("\"{written}\"")).unwrap();
        let mut longest = 0;
        for end in 0..=written.len() {
            let read = Notation::Json.read_so_far(&written.as_bytes()[..end]);
            assert!(whole.starts_with(&read) && read.len() >= longest, "{read:?} of {:?}", &written[..end]);
            longest = read.len();
        }
        assert_eq!(longest, whole.len());
    }
}
