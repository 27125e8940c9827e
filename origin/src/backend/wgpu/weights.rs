//! A model's weights: which tensors a layer has, what is fused, and their way to the device.

use super::checkpoint::Checkpoint;
use super::device::{Device, DeviceBuffer};
use super::family::Family;
use super::matrix::{Matrix, Precision, interleaved};
use crate::backend::BackendError;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";
const LAST_NORM: &str = "model.norm.weight";

/// A layer as the host reads it. Matrices are `[outputs, inputs]`, row by row.
pub(super) struct HostLayer {
    /// `[hidden]`.
    pub(super) attention_norm: Vec<f32>,
    /// Queries, keys and values, one after the other: `[query_width + 2 key_value_width, hidden]`.
    pub(super) projections: Vec<f32>,
    pub(super) projections_bias: Option<Vec<f32>>,
    /// Qwen3: `[2, head_size]`, for queries, then for keys.
    pub(super) head_norms: Option<Vec<f32>>,
    /// `[hidden, query_width]`.
    pub(super) output: Vec<f32>,
    pub(super) output_bias: Option<Vec<f32>>,
    /// `[hidden]`.
    pub(super) inner_norm: Vec<f32>,
    /// Gate and up, a row of one after a row of the other: `[2 inner, hidden]`.
    pub(super) gate_up: Vec<f32>,
    pub(super) gate_up_bias: Option<Vec<f32>>,
    /// `[hidden, inner]`.
    pub(super) down: Vec<f32>,
    pub(super) down_bias: Option<Vec<f32>>,
}

impl HostLayer {
    /// Reads layer `index` of a checkpoint.
    pub(super) fn take(checkpoint: &mut Checkpoint, family: &Family, index: usize) -> Result<Self, BackendError> {
        let (hidden, inner) = (family.hidden, family.inner);
        let (query_width, key_value_width) = (family.query_width(), family.key_value_width());
        let mut reader = LayerReader { checkpoint, prefix: format!("model.layers.{index}.") };
        let queries_keys_values = [
            ("self_attn.q_proj", query_width),
            ("self_attn.k_proj", key_value_width),
            ("self_attn.v_proj", key_value_width),
        ];
        let gate = reader.take("mlp.gate_proj.weight", &[inner, hidden])?;
        let up = reader.take("mlp.up_proj.weight", &[inner, hidden])?;
        let gate_bias = reader.bias("mlp.gate_proj", inner, family.inner_bias)?;
        let up_bias = reader.bias("mlp.up_proj", inner, family.inner_bias)?;
        Ok(Self {
            attention_norm: reader.take("input_layernorm.weight", &[hidden])?,
            projections: reader.stack(&queries_keys_values, hidden)?,
            projections_bias: reader.stacked_bias(&queries_keys_values, family.query_bias)?,
            head_norms: reader.head_norms(family)?,
            output: reader.take("self_attn.o_proj.weight", &[hidden, query_width])?,
            output_bias: reader.bias("self_attn.o_proj", hidden, family.output_bias)?,
            inner_norm: reader.take("post_attention_layernorm.weight", &[hidden])?,
            gate_up: interleaved(&gate, &up, hidden),
            gate_up_bias: gate_bias.zip(up_bias).map(|(gate, up)| interleaved(&gate, &up, 1)),
            down: reader.take("mlp.down_proj.weight", &[hidden, inner])?,
            down_bias: reader.bias("mlp.down_proj", hidden, family.inner_bias)?,
        })
    }
}

struct LayerReader<'a> {
    checkpoint: &'a mut Checkpoint,
    prefix: String,
}

impl LayerReader<'_> {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, BackendError> {
        self.checkpoint.take(&format!("{}{name}", self.prefix), shape)
    }

    fn bias(&mut self, name: &str, outputs: usize, is_there: bool) -> Result<Option<Vec<f32>>, BackendError> {
        is_there.then(|| self.take(&format!("{name}.bias"), &[outputs])).transpose()
    }

    fn stack(&mut self, matrices: &[(&str, usize)], inputs: usize) -> Result<Vec<f32>, BackendError> {
        let mut stacked = Vec::new();
        for (name, outputs) in matrices {
            stacked.extend(self.take(&format!("{name}.weight"), &[*outputs, inputs])?);
        }
        Ok(stacked)
    }

    fn stacked_bias(
        &mut self,
        matrices: &[(&str, usize)],
        is_there: bool,
    ) -> Result<Option<Vec<f32>>, BackendError> {
        let mut stacked = Vec::new();
        for (name, outputs) in matrices {
            stacked.extend(self.bias(name, *outputs, is_there)?.unwrap_or_default());
        }
        Ok(is_there.then_some(stacked))
    }

    fn head_norms(&mut self, family: &Family) -> Result<Option<Vec<f32>>, BackendError> {
        if !family.head_norms {
            return Ok(None);
        }
        let queries = self.take("self_attn.q_norm.weight", &[family.head_size])?;
        let keys = self.take("self_attn.k_norm.weight", &[family.head_size])?;
        Ok(Some([queries, keys].concat()))
    }
}

/// The embedding, `[vocabulary_entries, hidden]`, for readers that want it whole.
#[cfg(test)]
pub(super) fn host_embedding(checkpoint: &mut Checkpoint, family: &Family) -> Result<Vec<f32>, BackendError> {
    checkpoint.take(EMBEDDING, &[family.vocabulary_entries, family.hidden])
}

/// The head of its own, where there is one.
#[cfg(test)]
pub(super) fn host_head(checkpoint: &mut Checkpoint, family: &Family) -> Result<Option<Vec<f32>>, BackendError> {
    let is_own = !has_tied_head(checkpoint, family);
    is_own.then(|| checkpoint.take(HEAD, &[family.vocabulary_entries, family.hidden])).transpose()
}

pub(super) fn last_norm(checkpoint: &mut Checkpoint, family: &Family) -> Result<Vec<f32>, BackendError> {
    checkpoint.take(LAST_NORM, &[family.hidden])
}

pub(super) fn has_tied_head(checkpoint: &Checkpoint, family: &Family) -> bool {
    family.tied_head.unwrap_or_else(|| !checkpoint.contains(HEAD))
}

/// A layer on the device; see [`HostLayer`].
pub(super) struct LayerWeights {
    pub(super) attention_norm: DeviceBuffer,
    pub(super) projections: Matrix,
    pub(super) projections_bias: Option<DeviceBuffer>,
    pub(super) head_norms: Option<DeviceBuffer>,
    pub(super) output: Matrix,
    pub(super) output_bias: Option<DeviceBuffer>,
    pub(super) inner_norm: DeviceBuffer,
    pub(super) gate_up: Matrix,
    pub(super) gate_up_bias: Option<DeviceBuffer>,
    pub(super) down: Matrix,
    pub(super) down_bias: Option<DeviceBuffer>,
}

/// All weights on the device.
pub(super) struct ModelWeights {
    /// `[vocabulary_entries, hidden]`; the head, too, where there is no other.
    pub(super) embedding: Matrix,
    pub(super) head: Option<Matrix>,
    pub(super) layers: Vec<LayerWeights>,
    pub(super) last_norm: DeviceBuffer,
}

impl ModelWeights {
    /// Reads all of a checkpoint and sends it to the device, a layer at a time.
    ///
    /// With 4-bit weights, embedding and head have 8: their rounding errors meet no layer that evens them out.
    pub(super) fn load(
        device: &Device,
        mut checkpoint: Checkpoint,
        family: &Family,
        precision: Precision,
    ) -> Result<Self, BackendError> {
        let is_tied = has_tied_head(&checkpoint, family);
        let table_precision = match precision {
            Precision::Int4(format) => Precision::Int8(format),
            other => other,
        };
        let shape = (family.vocabulary_entries, family.hidden);
        let mut table = |name: &str| {
            let mut rows_of = |rows| checkpoint.take_rows(name, &[shape.0, shape.1], rows);
            Matrix::upload(device, table_precision, shape, &mut rows_of)
        };
        let embedding = table(EMBEDDING)?;
        let head = if is_tied { None } else { Some(table(HEAD)?) };
        let last_norm = device.storage_of("last norm", &last_norm(&mut checkpoint, family)?)?;
        let layer = |index| {
            let layer = HostLayer::take(&mut checkpoint, family, index)?;
            LayerWeights::upload(device, family, precision, &layer)
        };
        let layers: Result<Vec<_>, _> = (0..family.layers).map(layer).collect();
        let weights = Self { embedding, head, layers: layers?, last_norm };
        checkpoint.finish(is_tied)?;
        Ok(weights)
    }

    /// What the logits are computed with.
    pub(super) fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}

impl LayerWeights {
    fn upload(
        device: &Device,
        family: &Family,
        precision: Precision,
        layer: &HostLayer,
    ) -> Result<Self, BackendError> {
        let matrix = |outputs, inputs, weights: &[f32]| Matrix::of(device, precision, (outputs, inputs), weights);
        let buffer = |label, numbers: &Option<Vec<f32>>| {
            numbers.as_ref().map(|numbers| device.storage_of(label, numbers)).transpose()
        };
        let (hidden, inner, query_width) = (family.hidden, family.inner, family.query_width());
        let projected = query_width + 2 * family.key_value_width();
        Ok(Self {
            attention_norm: device.storage_of("norm", &layer.attention_norm)?,
            projections: matrix(projected, hidden, &layer.projections)?,
            projections_bias: buffer("bias", &layer.projections_bias)?,
            head_norms: buffer("head norms", &layer.head_norms)?,
            output: matrix(hidden, query_width, &layer.output)?,
            output_bias: buffer("bias", &layer.output_bias)?,
            inner_norm: device.storage_of("norm", &layer.inner_norm)?,
            gate_up: matrix(2 * inner, hidden, &layer.gate_up)?,
            gate_up_bias: buffer("bias", &layer.gate_up_bias)?,
            down: matrix(hidden, inner, &layer.down)?,
            down_bias: buffer("bias", &layer.down_bias)?,
        })
    }
}
