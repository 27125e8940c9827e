//! A model folder whose parts have been checked against one another.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::chat::{ChatModel, ChatSettings};
use super::graph_files::PrecisionChoice;
use super::manifest::Manifest;
use super::nano::{self, Markers};
use super::tokenizer::TextTokenizer;
use super::weight_files::WeightFiles;
use crate::backend::wgpu;
use crate::engine::constraint::{ConstraintFactory, Markup};
use crate::engine::vocabulary::Vocabulary;

/// A part of a model folder is missing, broken or does not fit the others. One line, for the operator.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// Where there is none, why, and what can be done about it.
    graph_file: Result<PathBuf, ModelError>,
    vocabulary: Arc<Vocabulary>,
    constraints: ConstraintFactory,
    dialect: Dialect,
}

/// How a model is spoken to.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// In markers of its own: the embedded model (`lede.json`).
    Markers(Arc<MarkerDialect>),
    /// In messages, through its chat template: any other model.
    Chat(Arc<ChatModel>),
}

/// The embedded model's markers and tokenizer.
#[derive(Debug)]
pub struct MarkerDialect {
    /// The structuring entries.
    pub markers: Markers,
    tokenizer: TextTokenizer,
}

impl MarkerDialect {
    /// Encodes text as text: markers in it are letters. It gets a blank before it, as every text has in training.
    ///
    /// # Errors
    /// When the tokenizer is faulty; for the log.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        self.tokenizer.encode(&format!(" {text}"))
    }
}

impl Model {
    /// Opens `folder`; one without a `lede.json` as a chat model.
    ///
    /// # Errors
    /// Names the file at fault and what is wrong with it.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        Self::open_with(folder, &ChatSettings::default())
    }

    /// Opens `folder`, with settings for a chat model.
    ///
    /// # Errors
    /// Names the file at fault and what is wrong with it.
    pub fn open_with(folder: &Path, settings: &ChatSettings) -> Result<Self, ModelError> {
        let graph_file = graph_file(folder, settings.precision)?;
        if is_chat(folder) {
            Self::open_chat(folder, settings, graph_file)
        } else {
            Self::open_embedded(folder, graph_file)
        }
    }

    /// The id of the model in `folder`, without opening it.
    ///
    /// # Errors
    /// When the folder holds no model, or one that does not say its id.
    pub fn id_in(folder: &Path) -> Result<String, ModelError> {
        if is_chat(folder) {
            return Ok(super::chat::id_of(folder));
        }
        let manifest: Manifest = read_json(&folder.join("lede.json"))?;
        Ok(manifest.id)
    }

    fn open_embedded(folder: &Path, graph_file: Result<PathBuf, ModelError>) -> Result<Self, ModelError> {
        let manifest_path = folder.join("lede.json");
        let manifest: Manifest = read_json(&manifest_path)?;
        let config: ArchitectureConfig = read_json(&folder.join("config.json"))?;
        if manifest.context_tokens_max > config.max_position_embeddings {
            let reason = "context_tokens_max is above the model's max_position_embeddings";
            return Err(ModelError::new(&manifest_path, reason));
        }
        let tokenizer = TextTokenizer::open(&folder.join("tokenizer.json"))?;
        let markers = Markers::find(&manifest, &manifest_path, &tokenizer)?;
        let lexicon = nano::open_lexicon(folder)?;
        let vocabulary = Arc::new(Vocabulary::new(tokenizer.pieces(config.vocab_size)));
        let markup = Markup::Tags { tag: markers.tag, end: markers.end };
        let constraints = ConstraintFactory::new(Arc::clone(&vocabulary), &markup, Some(lexicon))
            .map_err(|error| ModelError::new(&folder.join("tokenizer.json"), error))?;
        let dialect = Dialect::Markers(Arc::new(MarkerDialect { markers, tokenizer }));
        let (id, context_tokens_max) = (manifest.id, manifest.context_tokens_max);
        Ok(Self { id, context_tokens_max, graph_file, vocabulary, constraints, dialect })
    }

    fn open_chat(
        folder: &Path,
        settings: &ChatSettings,
        graph_file: Result<PathBuf, ModelError>,
    ) -> Result<Self, ModelError> {
        let chat = ChatModel::open(folder, settings)?;
        let vocabulary = Arc::new(Vocabulary::new(chat.pieces()));
        let markup = Markup::Json { ends: chat.end_ids().to_vec() };
        let constraints = ConstraintFactory::new(Arc::clone(&vocabulary), &markup, None)
            .map_err(|error| ModelError::new(&folder.join("tokenizer.json"), error))?;
        Ok(Self {
            id: chat.id().to_owned(),
            context_tokens_max: chat.context_tokens_max(),
            graph_file,
            vocabulary,
            constraints,
            dialect: Dialect::Chat(Arc::new(chat)),
        })
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
    ///
    /// # Errors
    /// When there are safetensors only: what is missing, and what can be done about it.
    pub fn graph_file(&self) -> Result<&Path, &ModelError> {
        self.graph_file.as_deref()
    }

    /// The vocabulary, as the engine sees it.
    #[must_use]
    pub const fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// Makes the constraints under which it writes.
    #[must_use]
    pub const fn constraints(&self) -> &ConstraintFactory {
        &self.constraints
    }

    /// How it is spoken to.
    #[must_use]
    pub const fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// The chat model that it is, if it is one.
    #[must_use]
    pub fn chat(&self) -> Option<&ChatModel> {
        match &self.dialect {
            Dialect::Chat(chat) => Some(chat),
            Dialect::Markers(_) => None,
        }
    }

    /// Encodes text as text: markers in it are letters.
    ///
    /// # Errors
    /// When the tokenizer is faulty; for the log.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        match &self.dialect {
            Dialect::Markers(dialect) => dialect.tokenizer.encode(text),
            Dialect::Chat(chat) => chat.encode(text),
        }
    }
}

/// The graph that is run, or why there is none where safetensors that wgpu can run are there instead.
///
/// Told apart here, before anything large is read: a model that neither engine can run is refused with both reasons.
fn graph_file(folder: &Path, precision: PrecisionChoice) -> Result<Result<PathBuf, ModelError>, ModelError> {
    let found = WeightFiles::in_folder(folder, precision);
    let reason = match found.graph {
        Ok(graph) => {
            tracing::info!(file = graph.path, precision = graph.precision.name(), asked = ?precision, "graph chosen");
            return Ok(Ok(folder.join(graph.path)));
        }
        Err(reason) => reason,
    };
    let Some(safetensors) = found.safetensors else {
        return Err(ModelError::new(folder, format!("{reason}, and no model.safetensors for wgpu either")));
    };
    match wgpu::check(folder) {
        Ok(()) => {
            let advice =
                format!("export one (docs/MODELS.md), or set LEDE_BACKEND=wgpu, which reads {safetensors}");
            Ok(Err(ModelError::new(folder, format!("{reason}; {advice}"))))
        }
        Err(error) => Err(ModelError::new(folder, format!("{reason}, and wgpu cannot run it: {error}"))),
    }
}

/// Is it a model that is spoken to in messages?
pub(super) fn is_chat(folder: &Path) -> bool {
    let has = |file: &str| folder.join(file).exists();
    !has("lede.json") && (has("tokenizer.json") || has("config.json"))
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let bytes = std::fs::read(path).map_err(|error| ModelError::new(path, error))?;
    serde_json::from_slice(&bytes).map_err(|error| ModelError::new(path, error))
}
