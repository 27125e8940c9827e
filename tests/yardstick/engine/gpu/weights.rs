//! Random weights of a Llama in 16 bits, written as safetensors: speed does not depend on what they say.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Map, json};

/// 1 as a 16-bit float.
const ONE: u16 = 0x3c00;
/// Sign and mantissa at random make a 16-bit float between a 64th and a 32nd, or their opposites: a sum over a hidden state of
/// usual width is about as large as what went in.
const EXPONENT: u16 = 9 << 10;
const SIGN_AND_MANTISSA: u16 = 0x83ff;

/// The sizes of a Llama whose head is its embedding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    hidden: usize,
    layers: usize,
    heads: (usize, usize),
    head_size: usize,
    inner: usize,
    entries: usize,
}

impl Shape {
    /// Qwen2-0.5B's sizes.
    pub(super) const HALF_BILLION: Self = Self {
        name: "0.5B",
        hidden: 896,
        layers: 24,
        heads: (14, 2),
        head_size: 64,
        inner: 4_864,
        entries: 151_936,
    };
    /// For adapters that a processor plays.
    pub(super) const SMALL: Self =
        Self { name: "16M", hidden: 256, layers: 4, heads: (4, 2), head_size: 64, inner: 1_024, entries: 49_152 };

    fn tensors(self) -> Vec<(String, Vec<usize>)> {
        let (queries, keys) = (self.heads.0 * self.head_size, self.heads.1 * self.head_size);
        let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![self.entries, self.hidden])];
        for layer in 0..self.layers {
            let of = |name: &str, shape: &[usize]| (format!("model.layers.{layer}.{name}.weight"), shape.to_vec());
            tensors.extend([
                of("input_layernorm", &[self.hidden]),
                of("self_attn.q_proj", &[queries, self.hidden]),
                of("self_attn.k_proj", &[keys, self.hidden]),
                of("self_attn.v_proj", &[keys, self.hidden]),
                of("self_attn.o_proj", &[self.hidden, queries]),
                of("post_attention_layernorm", &[self.hidden]),
                of("mlp.gate_proj", &[self.inner, self.hidden]),
                of("mlp.up_proj", &[self.inner, self.hidden]),
                of("mlp.down_proj", &[self.hidden, self.inner]),
            ]);
        }
        tensors.push(("model.norm.weight".to_owned(), vec![self.hidden]));
        tensors
    }

    /// Bytes of weights that a step has to read, however many rows it has: all, the embedding as the head.
    pub(super) fn bytes_read(self) -> usize {
        self.tensors().iter().map(|(_, shape)| 2 * shape.iter().product::<usize>()).sum()
    }

    fn config(self) -> serde_json::Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float16", "torch_dtype": "float16",
            "vocab_size": self.entries, "hidden_size": self.hidden, "intermediate_size": self.inner,
            "num_hidden_layers": self.layers, "num_attention_heads": self.heads.0,
            "num_key_value_heads": self.heads.1, "head_dim": self.head_size, "hidden_act": "silu",
            "max_position_embeddings": 2_048, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0,
            "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false,
            "bos_token_id": 1, "eos_token_id": 2,
        })
    }
}

/// `config.json` and `model.safetensors` in `folder`.
pub(super) fn write(folder: &Path, shape: Shape) {
    fs::create_dir_all(folder).expect("the folder can be made");
    fs::write(folder.join("config.json"), shape.config().to_string()).expect("it can be written");
    let (mut header, mut offset) = (Map::new(), 0);
    for (name, sizes) in shape.tensors() {
        let end = offset + 2 * sizes.iter().product::<usize>();
        header.insert(name, json!({"dtype": "F16", "shape": sizes, "data_offsets": [offset, end]}));
        offset = end;
    }
    let mut header = serde_json::Value::Object(header).to_string();
    // Data begins at a multiple of eight.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let file = File::create(folder.join("model.safetensors")).expect("it can be made");
    let mut file = BufWriter::with_capacity(1 << 20, file);
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("there is room");
    file.write_all(header.as_bytes()).expect("there is room");
    let mut random = ChaCha8Rng::seed_from_u64(6);
    for (_, sizes) in shape.tensors() {
        file.write_all(&values(&sizes, &mut random)).expect("there is room");
    }
    file.flush().expect("there is room");
}

/// Norms are ones, matrices random.
fn values(sizes: &[usize], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = vec![0; 2 * sizes.iter().product::<usize>()];
    if sizes.len() > 1 {
        random.fill_bytes(&mut bytes);
    }
    for pair in bytes.as_chunks_mut::<2>().0 {
        let value = if sizes.len() > 1 { (u16::from_le_bytes(*pair) & SIGN_AND_MANTISSA) | EXPONENT } else { ONE };
        *pair = value.to_le_bytes();
    }
    bytes
}
