//! `config.json`: which architecture a model has, and its sizes.

use std::path::Path;

use serde::Deserialize;

use super::folder::{ModelError, read_json};
use crate::backend::ort::GraphSizes;

/// Decoder families, by `model_type`. Their exports have one of the two layouts that can be run.
const SUPPORTED: [&str; 10] =
    ["llama", "mistral", "qwen2", "qwen3", "smollm3", "phi", "phi3", "gemma", "gemma2", "gemma3_text"];

/// What is read of `config.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Architecture {
    /// The family's name in transformers.
    #[serde(default)]
    pub model_type: String,
    /// Width of a row of logits.
    pub vocab_size: usize,
    /// Positions that the model was made for.
    pub max_position_embeddings: usize,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    pub(super) eos_token_id: Option<Ids>,
}

/// One id or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Ids {
    One(u32),
    Many(Vec<u32>),
}

impl Ids {
    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

impl Architecture {
    /// Reads a `config.json` of a supported family.
    ///
    /// # Errors
    /// When the file is broken or the family is another; the message names those that are supported.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let architecture: Self = read_json(path)?;
        if !SUPPORTED.contains(&architecture.model_type.as_str()) {
            let (found, known) = (&architecture.model_type, SUPPORTED.join(", "));
            return Err(ModelError::new(
                path,
                format!("model_type {found:?} is not supported; supported are {known}"),
            ));
        }
        if architecture.vocab_size == 0 || architecture.max_position_embeddings < 2 {
            return Err(ModelError::new(path, "vocab_size or max_position_embeddings is too small"));
        }
        Ok(architecture)
    }

    /// Sizes for a graph that leaves its own open.
    #[must_use]
    pub fn graph_sizes(&self) -> Option<GraphSizes> {
        let heads = self.num_attention_heads.filter(|heads| *heads > 0)?;
        Some(GraphSizes {
            key_value_heads: self.num_key_value_heads.unwrap_or(heads),
            head_size: self.head_size(heads)?,
            vocabulary_entries: self.vocab_size,
        })
    }

    /// Parameters, worked out from the sizes; norms and biases, which are few, are left out.
    #[must_use]
    pub fn parameters(&self) -> Option<u64> {
        let heads = self.num_attention_heads.filter(|heads| *heads > 0)?;
        let head_size = self.head_size(heads)?;
        let (hidden, inner) = (self.hidden_size?, self.intermediate_size?);
        let key_value_width = self.num_key_value_heads.unwrap_or(heads).checked_mul(head_size)?;
        let attention_width = heads.checked_mul(head_size)?.checked_add(key_value_width)?.checked_mul(2)?;
        let gates = if self.model_type == "phi" { 2 } else { 3 };
        let layer = attention_width.checked_add(inner.checked_mul(gates)?)?.checked_mul(hidden)?;
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        let embeddings = self.vocab_size.checked_mul(hidden)?.checked_mul(tables)?;
        u64::try_from(layer.checked_mul(self.num_hidden_layers?)?.checked_add(embeddings)?).ok()
    }

    fn head_size(&self, heads: usize) -> Option<usize> {
        self.head_dim.or_else(|| Some(self.hidden_size? / heads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Architecture, ModelError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json).unwrap();
        Architecture::open(file.path())
    }

    #[test]
    fn parameters_are_those_that_the_model_card_of_smollm2_states() {
        let json = r#"{"model_type": "llama", "vocab_size": 49152, "max_position_embeddings": 8192, "hidden_size": 576,
            "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
            "tie_word_embeddings": true}"#;
        let architecture = read(json).unwrap();
        assert_eq!(architecture.parameters().unwrap() / 1_000_000, 134);
        let sizes = architecture.graph_sizes().unwrap();
        assert_eq!((sizes.key_value_heads, sizes.head_size), (3, 64));
    }

    #[test]
    fn another_family_is_refused_with_the_names_of_those_that_work() {
        let error = read(r#"{"model_type": "t5", "vocab_size": 9, "max_position_embeddings": 9}"#).unwrap_err();
        assert!(error.to_string().contains("\"t5\"") && error.to_string().contains("qwen3"), "{error}");
    }
}
