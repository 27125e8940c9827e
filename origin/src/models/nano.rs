//! The embedded model's own way: markers in its vocabulary, and a lexicon of what it was taught to write.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::Path;

use lede_shared::api::{CallToAction, EmojiLevel, Style};

use super::folder::{ModelError, read_json};
use super::manifest::{Manifest, PROMPT_FORMAT};
use super::tokenizer::TextTokenizer;
use crate::engine::constraint::{Lexicon, LexiconFile};

/// The vocabulary entries that structure a prompt and an answer (prompt format 2).
#[derive(Clone, Debug)]
pub struct Markers {
    /// Starts every prompt.
    pub begin: u32,
    /// Stands before each text that has to stand in the caption.
    pub include: u32,
    /// Stands before the description.
    pub description: u32,
    /// Stands before the caption, where the model starts to write.
    pub caption: u32,
    /// Stands before each hashtag.
    pub tag: u32,
    /// Ends an answer.
    pub end: u32,
    styles: HashMap<Style, u32>,
    emoji: HashMap<EmojiLevel, u32>,
    calls_to_action: HashMap<CallToAction, u32>,
}

impl Markers {
    /// Finds the entries that `manifest` names. Every style, emoji level and call to action must have one.
    pub(super) fn find(manifest: &Manifest, path: &Path, tokenizer: &TextTokenizer) -> Result<Self, ModelError> {
        let fault = |reason: String| ModelError::new(path, reason);
        if manifest.prompt_format != PROMPT_FORMAT {
            return Err(fault(format!("prompt_format must be {PROMPT_FORMAT}")));
        }
        let id_of = |entry: &str| {
            let id = tokenizer.id_of(entry);
            id.ok_or_else(|| fault(format!("the tokenizer has no entry {entry:?}")))
        };
        let special = &manifest.special;
        let levels: Vec<EmojiLevel> = wished(EmojiLevel::ALL, EmojiLevel::None);
        let calls: Vec<CallToAction> = wished(CallToAction::ALL, CallToAction::None);
        Ok(Self {
            begin: id_of(&special.begin)?,
            include: id_of(&special.include)?,
            description: id_of(&special.description)?,
            caption: id_of(&special.caption)?,
            tag: id_of(&special.tag)?,
            end: id_of(&special.end)?,
            styles: ids_of(Style::ALL, &manifest.styles, id_of)?,
            emoji: ids_of(&levels, &manifest.emoji, id_of)?,
            calls_to_action: ids_of(&calls, &manifest.calls_to_action, id_of)?,
        })
    }

    /// The entry that asks for `style`. Opening has checked that every style has one.
    #[must_use]
    pub fn style(&self, style: Style) -> Option<u32> {
        self.styles.get(&style).copied()
    }

    /// The entry that asks for emoji; none when none are wanted.
    #[must_use]
    pub fn emoji(&self, level: EmojiLevel) -> Option<u32> {
        self.emoji.get(&level).copied()
    }

    /// The entry that asks for a call to action; none when none is wanted.
    #[must_use]
    pub fn call_to_action(&self, call: CallToAction) -> Option<u32> {
        self.calls_to_action.get(&call).copied()
    }
}

/// Reads `lexicon.json`.
pub(super) fn open_lexicon(folder: &Path) -> Result<Lexicon, ModelError> {
    let path = folder.join("lexicon.json");
    let file: LexiconFile = read_json(&path)?;
    if file.caption_words.is_empty() {
        return Err(ModelError::new(&path, "it has no caption_words"));
    }
    Ok(Lexicon::new(&file))
}

fn wished<T: Copy + PartialEq>(all: &[T], none: T) -> Vec<T> {
    all.iter().copied().filter(|value| *value != none).collect()
}

fn ids_of<T: Copy + Eq + Hash>(
    all: &[T],
    names: &HashMap<T, String>,
    id_of: impl Fn(&str) -> Result<u32, ModelError>,
) -> Result<HashMap<T, u32>, ModelError> {
    let id = |value: &T| id_of(names.get(value).map_or("", String::as_str)).map(|id| (*value, id));
    all.iter().map(id).collect()
}
