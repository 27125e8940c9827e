//! `lede.json`: what Lede must know of a model besides its architecture.

use std::collections::HashMap;

use lede_shared::api::{CallToAction, EmojiLevel, Style};
use serde::Deserialize;

/// The prompt format that this software writes.
pub(super) const PROMPT_FORMAT: u32 = 2;

/// The content of `lede.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// The model's id, part of every cache key.
    pub id: String,
    /// How prompts are written; must be 2.
    pub prompt_format: u32,
    /// Most positions, prompt and completion together.
    pub context_tokens_max: usize,
    /// The structuring vocabulary entries.
    pub special: SpecialNames,
    /// The vocabulary entry that asks for each style.
    pub styles: HashMap<Style, String>,
    /// The vocabulary entry that asks for emoji; without one there are none.
    pub emoji: HashMap<EmojiLevel, String>,
    /// The vocabulary entry that asks for each call to action; without one there is none.
    pub calls_to_action: HashMap<CallToAction, String>,
}

/// Names of the structuring entries in the vocabulary.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialNames {
    /// Starts every prompt.
    pub begin: String,
    /// Stands before each text that has to stand in the caption.
    pub include: String,
    /// Stands before the description.
    pub description: String,
    /// Stands before the caption.
    pub caption: String,
    /// Stands before each hashtag.
    pub tag: String,
    /// Ends an answer.
    pub end: String,
}
