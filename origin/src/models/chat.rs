//! The text side of any Hugging Face decoder: what its folder says besides the weights.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::architecture::{Architecture, Ids};
use super::chat_template::{ChatTemplate, SpecialTexts};
use super::chat_tokenizer::ChatTokenizer;
use super::folder::{ModelError, read_json};
use super::generation_settings::{GenerationSettings, SuggestedSampling};
use super::graph_files::PrecisionChoice;
use crate::backend::ort::GraphSizes;
use crate::engine::vocabulary::Piece;

/// How a folder is opened.
#[derive(Clone, Copy, Debug)]
pub struct ChatSettings {
    /// Which of several graphs is run.
    pub precision: PrecisionChoice,
    /// Most positions, prompt and completion together, whatever the model could do.
    pub context_tokens_max: usize,
}

/// Most positions unless a setting says otherwise: room for any request, while 8 sequences of a small model's cache
/// stay below a gigabyte.
pub const CONTEXT_TOKENS_MAX_DEFAULT: usize = 2_048;

impl Default for ChatSettings {
    fn default() -> Self {
        Self { precision: PrecisionChoice::Auto, context_tokens_max: CONTEXT_TOKENS_MAX_DEFAULT }
    }
}

/// A chat model's text side.
#[derive(Clone, Debug)]
pub struct ChatModel {
    id: String,
    architecture: Architecture,
    context_tokens_max: usize,
    tokenizer: ChatTokenizer,
    template: ChatTemplate,
    begin_id: Option<u32>,
    end_ids: Vec<u32>,
    sampling: Option<SuggestedSampling>,
}

impl ChatModel {
    /// Opens `folder`, whose name becomes the model's id.
    ///
    /// # Errors
    /// Names the file at fault and what is wrong with it.
    pub fn open(folder: &Path, settings: &ChatSettings) -> Result<Self, ModelError> {
        let architecture = Architecture::open(&folder.join("config.json"))?;
        let tokenizer_path = folder.join("tokenizer.json");
        let tokenizer = ChatTokenizer::open(&tokenizer_path)?;
        let (entries, width) = (tokenizer.entries(), architecture.vocab_size);
        if entries > width {
            let reason = format!("it has {entries} entries, more than config.json's vocab_size of {width}");
            return Err(ModelError::new(&tokenizer_path, reason));
        }
        let config = TokenizerConfig::open(folder)?;
        let specials = config.special_texts();
        let template_source = config.template(folder)?;
        let template = ChatTemplate::new(template_source.as_deref(), specials.clone())
            .map_err(|reason| ModelError::new(folder, reason))?;
        let generation = GenerationSettings::open(&folder.join("generation_config.json"))?;
        let end_ids = end_ids(&architecture, &generation, tokenizer.id_of(&specials.eos_token), width);
        if end_ids.is_empty() {
            return Err(ModelError::new(
                folder,
                "neither generation_config.json nor the tokenizer says what ends an answer",
            ));
        }
        Ok(Self {
            id: id_of(folder),
            context_tokens_max: architecture.max_position_embeddings.min(settings.context_tokens_max),
            architecture,
            begin_id: tokenizer.id_of(&specials.bos_token),
            tokenizer,
            template,
            end_ids,
            sampling: generation.sampling(),
        })
    }

    /// The model's id, part of every cache key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What `config.json` says.
    #[must_use]
    pub const fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Most positions, prompt and completion together.
    #[must_use]
    pub const fn context_tokens_max(&self) -> usize {
        self.context_tokens_max
    }

    /// Sizes for a graph that leaves its own open.
    #[must_use]
    pub fn graph_sizes(&self) -> Option<GraphSizes> {
        self.architecture.graph_sizes()
    }

    /// Every entry's bytes, by id; as many as the logits are wide.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        self.tokenizer.pieces(self.architecture.vocab_size)
    }

    /// What starts a prompt, when the model has such an entry.
    #[must_use]
    pub const fn begin_id(&self) -> Option<u32> {
        self.begin_id
    }

    /// Entries that end an answer; at least one.
    #[must_use]
    pub fn end_ids(&self) -> &[u32] {
        &self.end_ids
    }

    /// How the model's makers want it to be sampled.
    #[must_use]
    pub const fn sampling(&self) -> Option<SuggestedSampling> {
        self.sampling
    }

    /// Encodes text as text: markers in it are letters.
    ///
    /// # Errors
    /// When the tokenizer is faulty; for the log.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        self.tokenizer.encode(text)
    }

    /// Writes a conversation (`{"role": …, "content": …}` each) as the model reads it, up to where it answers.
    /// Contents are text: no marker in them means anything.
    ///
    /// # Errors
    /// When the template refuses the conversation or the tokenizer is faulty; for the log.
    pub fn prompt_ids<M: Serialize>(&self, messages: &[M]) -> Result<Vec<u32>, String> {
        self.tokenizer.encode_parts(&self.template.render(messages)?)
    }
}

/// The folder's name.
pub(super) fn id_of(folder: &Path) -> String {
    let name = std::fs::canonicalize(folder).ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    name.unwrap_or_else(|| "model".to_owned())
}

/// All of them, once, as far as there are logits for them.
fn end_ids(
    architecture: &Architecture,
    generation: &GenerationSettings,
    eos: Option<u32>,
    width: usize,
) -> Vec<u32> {
    let of_config = architecture.eos_token_id.as_ref().map_or(&[][..], Ids::as_slice);
    let mut ids: Vec<u32> = generation.end_ids().iter().chain(of_config).copied().chain(eos).collect();
    ids.retain(|id| (*id as usize) < width);
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// What is read of `tokenizer_config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    bos_token: Option<TokenName>,
    eos_token: Option<TokenName>,
    pad_token: Option<TokenName>,
    unk_token: Option<TokenName>,
    chat_template: Option<TemplateSource>,
}

/// `"<s>"` or `{"content": "<s>", …}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum TokenName {
    Text(String),
    Entry { content: String },
}

/// One template, or several with names.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum TemplateSource {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Clone, Debug, Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl TokenizerConfig {
    fn open(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("tokenizer_config.json");
        if path.exists() { read_json(&path) } else { Ok(Self::default()) }
    }

    fn special_texts(&self) -> SpecialTexts {
        let text = |name: &Option<TokenName>| match name {
            Some(TokenName::Text(content) | TokenName::Entry { content }) => content.clone(),
            None => String::new(),
        };
        SpecialTexts {
            bos_token: text(&self.bos_token),
            eos_token: text(&self.eos_token),
            pad_token: text(&self.pad_token),
            unk_token: text(&self.unk_token),
        }
    }

    /// `chat_template.jinja`, `chat_template.json`, or the one in `tokenizer_config.json`.
    fn template(&self, folder: &Path) -> Result<Option<String>, ModelError> {
        let path = folder.join("chat_template.jinja");
        if path.exists() {
            return std::fs::read_to_string(&path).map(Some).map_err(|error| ModelError::new(&path, error));
        }
        let path = folder.join("chat_template.json");
        let beside: Option<Self> = if path.exists() { Some(read_json(&path)?) } else { None };
        let source = beside.and_then(|config| config.chat_template).or_else(|| self.chat_template.clone());
        Ok(source.and_then(|source| match source {
            TemplateSource::One(template) => Some(template),
            TemplateSource::Named(templates) => {
                templates.into_iter().find(|named| named.name == "default").map(|named| named.template)
            }
        }))
    }
}
