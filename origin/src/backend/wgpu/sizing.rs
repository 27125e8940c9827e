//! How much of the device a model gets: precision, attention blocks, rows of logits. Pure.

use std::str::FromStr;

use super::device::Capabilities;
use super::family::Family;
use super::kernels::HeadShape;
use super::kv_blocks::BLOCK_TOKENS;
use super::matrix::{BlockFormat, Precision};
use super::step::StepLimits;
use crate::backend::{BackendError, BackendShape, FailureKind};

/// Rows of attention memory for each row of a step: so many may rest, or be the beginning of others.
const ROWS_HELD_PER_STEP_ROW: usize = 2;
/// Rows of logits for each row of a step: so long may drafts be, as long as all of them take no more than these bytes.
const LOGITS_PER_ROW_MAX: usize = 8;
const LOGITS_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// What may be spent on more of them: with a small vocabulary, whole prompts.
const LOGITS_BYTES_AT_EASE: u64 = 16 * 1024 * 1024;
/// Most rows of logits that are picked from in one submission: each takes some kilobytes for each 2,048 of the vocabulary.
pub(super) const PICKED_ROWS_MAX: usize = 256;
/// Most rows that are open at a time, resting ones included: most workgroups of a dispatch, should all have to be copied.
pub(super) const ROWS_OPEN_MAX: usize = 65_535;

/// How weights are kept on the device, as it is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// 16-bit floats on a GPU; on a software adapter, which is there for its correctness, 32-bit ones.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers, a scale for each 32.
    Int8,
    /// 4-bit integers, a scale for each 32; embedding and head have 8 bits.
    Int4,
}

/// No precision goes by that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a precision; known are auto, f32, f16, int8, int4")]
pub struct UnknownPrecision(String);

impl FromStr for PrecisionChoice {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "int8" => Ok(Self::Int8),
            "int4" => Ok(Self::Int4),
            _ => Err(UnknownPrecision(name.to_owned())),
        }
    }
}

impl PrecisionChoice {
    /// What is kept on this device, and why.
    pub(super) fn on(self, capabilities: &Capabilities) -> (Precision, &'static str) {
        let configured = "configured";
        let format = BlockFormat { zero_point: false, f16_scales: true };
        match self {
            Self::Auto if capabilities.software => (Precision::F32, "a software adapter"),
            Self::Auto => (Precision::F16, "a GPU, whose steps last as long as the weights take to read"),
            Self::F32 => (Precision::F32, configured),
            Self::F16 => (Precision::F16, configured),
            Self::Int8 => (Precision::Int8(format), configured),
            Self::Int4 => (Precision::Int4(format), configured),
        }
    }
}

/// What the kernels ask of a model's sizes.
pub(super) fn check_sizes(family: &Family) -> Result<(), BackendError> {
    let is_bad = |(_, size): &&(&str, usize)| !size.is_multiple_of(4);
    let fours =
        [("hidden_size", family.hidden), ("intermediate_size", family.inner), ("head_dim", family.head_size)];
    if let Some((name, size)) = fours.iter().find(is_bad) {
        return Err(refused(format!("{name} is {size}, which is no multiple of 4")));
    }
    if family.head_size > 256 {
        return Err(refused(format!("head_dim is {}, above 256", family.head_size)));
    }
    Ok(())
}

/// Blocks of attention memory: what the budget allows, one buffer can hold, and rows can fill.
pub(super) fn blocks(
    shape: BackendShape,
    heads: HeadShape,
    (layers, attention_bytes_max): (usize, u64),
    capabilities: &Capabilities,
) -> Result<u32, BackendError> {
    let row_blocks = shape.context_tokens_max.div_ceil(BLOCK_TOKENS);
    let of_use = ROWS_HELD_PER_STEP_ROW * shape.rows_max * row_blocks;
    let block_bytes = heads.block_bytes() as u64;
    let of_budget = attention_bytes_max / (2 * layers as u64 * block_bytes);
    let of_buffer = capabilities.binding_bytes_max.min(capabilities.buffer_bytes_max) / block_bytes;
    let blocks = of_budget.min(of_buffer).min(of_use as u64);
    if blocks < row_blocks as u64 {
        let cause = format!(
            "{blocks} attention blocks fit; a row of {} positions needs {row_blocks}",
            shape.context_tokens_max
        );
        return Err(BackendError::of_kind(FailureKind::OutOfMemory, "sizing attention memory", cause));
    }
    Ok(u32::try_from(blocks).unwrap_or(u32::MAX))
}

/// Rows of logits that a step may leave behind: at least one for each row, and in one buffer.
pub(super) fn limits(shape: BackendShape, capabilities: &Capabilities) -> Result<StepLimits, BackendError> {
    let row_bytes = 4 * shape.vocabulary_entries as u64;
    let of_buffer = capabilities.binding_bytes_max.min(capabilities.buffer_bytes_max) / row_bytes;
    if of_buffer < shape.rows_max as u64 {
        return Err(refused(format!("{} rows of logits do not fit a buffer of the device", shape.rows_max)));
    }
    let rows = |bytes: u64| usize::try_from(of_buffer.min(bytes / row_bytes)).unwrap_or(usize::MAX);
    let of_drafts = (shape.rows_max * LOGITS_PER_ROW_MAX).min(rows(LOGITS_BYTES_MAX));
    let of_prompts = (shape.rows_max * shape.context_tokens_max).min(rows(LOGITS_BYTES_AT_EASE));
    let logits_rows_max = shape.rows_max.max(of_drafts).max(of_prompts);
    Ok(StepLimits { shape, logits_rows_max })
}

fn refused(cause: String) -> BackendError {
    BackendError::of_kind(FailureKind::Refused, "sizing the model", cause)
}
