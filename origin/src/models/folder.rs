//! A model folder whose parts have been checked against one another.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lede_shared::api::Style;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::manifest::{Manifest, PROMPT_FORMAT};
use super::tokenizer::TextTokenizer;
use crate::engine::vocabulary::{SpecialIds, Vocabulary};

/// A part of a model folder is missing, broken or does not fit the others. One line, for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct ModelError {
    path: PathBuf,
    reason: String,
}

impl ModelError {
    pub(super) fn new(path: &Path, reason: impl Display) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// What is read of `config.json`.
#[derive(Debug, Deserialize)]
struct ArchitectureConfig {
    vocab_size: usize,
    max_position_embeddings: usize,
}

/// A model's text side: everything but its weights, which a backend loads.
#[derive(Clone, Debug)]
pub struct Model {
    id: String,
    context_tokens_max: usize,
    graph_file: PathBuf,
    vocabulary: Arc<Vocabulary>,
    styles: HashMap<Style, u32>,
    tokenizer: TextTokenizer,
}

impl Model {
    /// Opens `folder`.
    ///
    /// # Errors
    /// Names the file at fault and what is wrong with it.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let manifest_path = folder.join("lede.json");
        let manifest: Manifest = read_json(&manifest_path)?;
        let config: ArchitectureConfig = read_json(&folder.join("config.json"))?;
        let graph_file = folder.join("onnx").join("model.onnx");
        if !graph_file.is_file() {
            return Err(ModelError::new(&graph_file, "there is no such file"));
        }
        let fault = |reason: String| ModelError::new(&manifest_path, reason);
        if manifest.prompt_format != PROMPT_FORMAT {
            return Err(fault(format!("prompt_format must be {PROMPT_FORMAT}")));
        }
        if manifest.context_tokens_max > config.max_position_embeddings {
            return Err(fault("context_tokens_max is above the model's max_position_embeddings".to_owned()));
        }
        let tokenizer = TextTokenizer::open(&folder.join("tokenizer.json"))?;
        let id_of = |entry: &str| {
            let id = tokenizer.id_of(entry);
            id.ok_or_else(|| fault(format!("the tokenizer has no entry {entry:?}")))
        };
        let special = special_ids(&manifest, id_of)?;
        let styles = style_ids(&manifest, id_of)?;
        let vocabulary = Arc::new(Vocabulary::new(tokenizer.pieces(config.vocab_size), special));
        let (id, context_tokens_max) = (manifest.id, manifest.context_tokens_max);
        Ok(Self { id, context_tokens_max, graph_file, vocabulary, styles, tokenizer })
    }

    /// The model's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Most positions, prompt and completion together.
    #[must_use]
    pub const fn context_tokens_max(&self) -> usize {
        self.context_tokens_max
    }

    /// The exported graph.
    #[must_use]
    pub fn graph_file(&self) -> &Path {
        &self.graph_file
    }

    /// The vocabulary, as the engine sees it.
    #[must_use]
    pub const fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// The entry that asks for `style`. Opening has checked that every style has one.
    #[must_use]
    pub fn style_id(&self, style: Style) -> Option<u32> {
        self.styles.get(&style).copied()
    }

    /// Encodes text as text: markers in it are letters.
    ///
    /// # Errors
    /// When the tokenizer is faulty; for the log.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        self.tokenizer.encode(text)
    }
}

fn special_ids(
    manifest: &Manifest,
    id_of: impl Fn(&str) -> Result<u32, ModelError>,
) -> Result<SpecialIds, ModelError> {
    Ok(SpecialIds {
        begin: id_of(&manifest.special.begin)?,
        description: id_of(&manifest.special.description)?,
        caption: id_of(&manifest.special.caption)?,
        tag: id_of(&manifest.special.tag)?,
        end: id_of(&manifest.special.end)?,
    })
}

fn style_ids(
    manifest: &Manifest,
    id_of: impl Fn(&str) -> Result<u32, ModelError>,
) -> Result<HashMap<Style, u32>, ModelError> {
    let style_id = |style: &Style| {
        let entry = manifest.styles.get(style).map_or("", String::as_str);
        id_of(entry).map(|id| (*style, id))
    };
    Style::ALL.iter().map(style_id).collect()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let bytes = std::fs::read(path).map_err(|error| ModelError::new(path, error))?;
    serde_json::from_slice(&bytes).map_err(|error| ModelError::new(path, error))
}
