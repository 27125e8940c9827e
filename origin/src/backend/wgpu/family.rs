//! `config.json`: which decoders of the Llama family are computed, and what each of them does differently.
//!
//! All are: embedding; per layer RMSNorm, rotary grouped-query attention, RMSNorm, SwiGLU, each added to what came in;
//! RMSNorm; head. Mistral is Llama. Qwen2 has a bias on queries, keys and values; Qwen3 norms each head of queries and keys;
//! SmolLM3 leaves the rotary positions out of some layers.

use std::path::Path;

use serde::Deserialize;

use super::rotary::{RopeParameters, Rotary};
use crate::backend::BackendError;

const CONFIG_FILE: &str = "config.json";
/// What is read here can be computed; everything else is refused by name.
const SUPPORTED: [&str; 5] = ["llama", "mistral", "qwen2", "qwen3", "smollm3"];

/// What is computed, and how large it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Width of a row of logits.
    pub vocabulary_entries: usize,
    /// Width of what goes from layer to layer.
    pub hidden: usize,
    /// Width inside the SwiGLU.
    pub inner: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of queries.
    pub query_heads: usize,
    /// Heads of keys and of values, each shared by `query_heads / key_value_heads` heads of queries.
    pub key_value_heads: usize,
    /// Width of a head.
    pub head_size: usize,
    /// Added to the mean square in every norm.
    pub norm_epsilon: f32,
    /// Do queries, keys and values have a bias?
    pub query_bias: bool,
    /// Does the attention's output have one?
    pub output_bias: bool,
    /// Do gate, up and down have one?
    pub inner_bias: bool,
    /// Is each head of queries and keys normed before it is turned?
    pub head_norms: bool,
    /// Is the embedding the head, too? `None` where the file does not say: then it is where there is no other.
    pub tied_head: Option<bool>,
    /// How positions turn queries and keys.
    pub rotary: Rotary,
    /// Which layers leave that out.
    pub unturned_layers: Vec<bool>,
    /// Positions that the model was made for, and beyond which attention would no longer see all of them.
    pub positions_max: usize,
}

#[derive(Deserialize)]
struct Raw {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    hidden_act: Option<String>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    tie_word_embeddings: Option<bool>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    layer_types: Option<Vec<String>>,
    no_rope_layers: Option<Vec<u8>>,
    no_rope_layer_interval: Option<usize>,
    quantization_config: Option<serde_json::Value>,
    #[serde(flatten)]
    rope: RopeParameters,
}

impl Family {
    /// Reads a model folder's `config.json`.
    ///
    /// # Errors
    /// When the file is missing or broken, or describes what is not computed here; the message says what that is.
    pub fn open(model_dir: &Path) -> Result<Self, BackendError> {
        Self::read(&model_dir.join(CONFIG_FILE))
    }

    /// Reads such a file, whatever its name.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(path: &Path) -> Result<Self, BackendError> {
        let refused = |reason: String| refusal(format!("{}: {reason}", path.display()));
        let content = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
        let value = serde_json::from_slice(&content).map_err(|error| refused(error.to_string()))?;
        Self::of(value).map_err(refused)
    }

    /// Reads the document itself.
    pub(super) fn of(config: serde_json::Value) -> Result<Self, String> {
        let found = config.get("model_type").and_then(serde_json::Value::as_str).unwrap_or_default();
        if !SUPPORTED.contains(&found) {
            let known = SUPPORTED.join(", ");
            return Err(format!(
                "model_type {found:?} is not computed on wgpu; {known} are, others need an ONNX graph"
            ));
        }
        let raw: Raw = serde_json::from_value(config).map_err(|error| error.to_string())?;
        raw.check()?;
        let (is_qwen2, is_qwen3) = (raw.model_type == "qwen2", raw.model_type == "qwen3");
        let has_bias_setting = !matches!(raw.model_type.as_str(), "mistral" | "qwen2");
        let head_size = raw.head_size();
        Ok(Self {
            vocabulary_entries: raw.vocab_size,
            hidden: raw.hidden_size,
            inner: raw.intermediate_size,
            layers: raw.num_hidden_layers,
            query_heads: raw.num_attention_heads,
            key_value_heads: raw.key_value_heads(),
            head_size,
            norm_epsilon: raw.rms_norm_eps,
            query_bias: is_qwen2 || (has_bias_setting && raw.attention_bias),
            output_bias: has_bias_setting && raw.attention_bias,
            inner_bias: raw.mlp_bias && matches!(raw.model_type.as_str(), "llama" | "smollm3"),
            head_norms: is_qwen3,
            tied_head: raw.tie_word_embeddings,
            rotary: raw.rope.rotary(head_size)?,
            unturned_layers: raw.unturned_layers()?,
            positions_max: raw.positions_max(),
        })
    }

    /// Width of all heads of queries side by side.
    #[must_use]
    pub const fn query_width(&self) -> usize {
        self.query_heads * self.head_size
    }

    /// Width of all heads of keys, or of values, side by side.
    #[must_use]
    pub const fn key_value_width(&self) -> usize {
        self.key_value_heads * self.head_size
    }
}

impl Raw {
    fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn head_size(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.key_value_heads()),
            ("head_dim", self.head_size()),
        ];
        if let Some((name, size)) = sizes.iter().find(|(_, size)| !(1..=1 << 24).contains(size)) {
            return Err(format!("{name} is {size}"));
        }
        if !self.num_attention_heads.is_multiple_of(self.key_value_heads()) {
            return Err("num_attention_heads is no multiple of num_key_value_heads".to_owned());
        }
        if !self.head_size().is_multiple_of(2) {
            return Err("head_dim is odd: rotary positions turn pairs".to_owned());
        }
        if let Some(function) = self.hidden_act.as_deref().filter(|name| !matches!(*name, "silu" | "swish")) {
            return Err(format!("hidden_act {function:?} is not computed on wgpu, silu is"));
        }
        if self.quantization_config.is_some() {
            return Err("the weights are quantised already; wgpu reads f32, f16 and bf16".to_owned());
        }
        Ok(())
    }

    /// Attention sees every position up to here. A window that slides is not computed; within its width it never slides.
    fn positions_max(&self) -> usize {
        let slides_somewhere = match (&self.layer_types, self.use_sliding_window) {
            (_, Some(false)) => false,
            (Some(types), _) => types.iter().any(|name| name == "sliding_attention"),
            (None, Some(true)) => true,
            (None, None) => self.model_type == "mistral",
        };
        let window = self.sliding_window.filter(|_| slides_somewhere);
        window.map_or(self.max_position_embeddings, |window| window.min(self.max_position_embeddings))
    }

    /// SmolLM3 lists the layers that are turned with 1, the others with 0; without a list it is every fourth that is not.
    fn unturned_layers(&self) -> Result<Vec<bool>, String> {
        const INTERVAL: usize = 4;
        let layers = self.num_hidden_layers;
        if self.model_type != "smollm3" {
            return Ok(vec![false; layers]);
        }
        if let Some(turned) = &self.no_rope_layers {
            let unturned: Vec<bool> = turned.iter().map(|turned| *turned == 0).collect();
            return if unturned.len() == layers {
                Ok(unturned)
            } else {
                Err("no_rope_layers has not an entry for each layer".to_owned())
            };
        }
        let interval = self.no_rope_layer_interval.unwrap_or(INTERVAL).max(1);
        Ok((1..=layers).map(|layer| layer.is_multiple_of(interval)).collect())
    }
}

pub(super) fn refusal(reason: String) -> BackendError {
    BackendError::new("reading the model", reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(changes: &serde_json::Value) -> Result<Family, String> {
        let mut config = json!({
            "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 48, "num_hidden_layers": 8,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
        });
        let fields = config.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        Family::of(config)
    }

    #[test]
    fn each_family_has_the_biases_and_norms_that_transformers_gives_it() {
        let traits = |changes| {
            let family = with(&changes).unwrap();
            (family.query_bias, family.output_bias, family.inner_bias, family.head_norms)
        };
        assert_eq!(traits(json!({})), (false, false, false, false));
        assert_eq!(traits(json!({"attention_bias": true, "mlp_bias": true})), (true, true, true, false));
        assert_eq!(traits(json!({"model_type": "qwen2"})), (true, false, false, false));
        assert_eq!(traits(json!({"model_type": "mistral"})), (false, false, false, false));
        assert_eq!(traits(json!({"model_type": "qwen3"})), (false, false, false, true));
        let unturned = |changes| with(&changes).unwrap().unturned_layers;
        let every_fourth = [false, false, false, true, false, false, false, true];
        assert_eq!(unturned(json!({"model_type": "smollm3"})), every_fourth);
        let listed = json!({"model_type": "smollm3", "no_rope_layers": [0, 1, 1, 1, 1, 1, 1, 1]});
        assert_eq!(unturned(listed), [true, false, false, false, false, false, false, false]);
    }

    #[test]
    fn a_sliding_window_bounds_the_positions_where_it_is_in_use() {
        let positions = |changes| with(&changes).unwrap().positions_max;
        assert_eq!(positions(json!({"model_type": "mistral", "sliding_window": 32})), 32);
        assert_eq!(positions(json!({"model_type": "mistral", "sliding_window": null})), 64);
        assert_eq!(
            positions(json!({"model_type": "qwen2", "sliding_window": 32, "use_sliding_window": false})),
            64
        );
        let types = json!({"model_type": "qwen3", "sliding_window": 32, "layer_types": ["sliding_attention"]});
        assert_eq!(positions(types), 32);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (changes, named) in [
            (json!({"model_type": "gemma2"}), "gemma2"),
            (json!({"hidden_act": "gelu"}), "gelu"),
            (json!({"num_key_value_heads": 3}), "num_key_value_heads"),
            (json!({"num_attention_heads": 0}), "num_attention_heads"),
            (json!({"head_dim": 3}), "head_dim"),
            (json!({"quantization_config": {"quant_method": "awq"}}), "quantised"),
            (json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}), "yarn"),
            (json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}), "partial"),
            (json!({"model_type": "smollm3", "no_rope_layers": [1]}), "no_rope_layers"),
            (json!({"vocab_size": null}), "invalid type"),
        ] {
            let error = with(&changes).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
