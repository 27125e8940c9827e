//! The buffers that a step works in, made once for the largest one.

use super::device::{Device, DeviceBuffer};
use super::family::Family;
use super::kernels::{Entry, count_buffer, rotary};
use super::step::StepLimits;
use crate::backend::BackendError;

/// Buffers of 32-bit floats unless it says otherwise; *entries* are those of a step at its limit.
pub(super) struct Scratch {
    /// `[entries]` of [`Entry`].
    pub(super) entries: DeviceBuffer,
    /// `[rows_max, table_blocks]`, u32.
    pub(super) tables: DeviceBuffer,
    /// How many entries the step has.
    pub(super) count: DeviceBuffer,
    /// `[logits_rows_max]`, u32: entries whose logits are wanted.
    pub(super) wanted: DeviceBuffer,
    /// How many those are.
    pub(super) wanted_count: DeviceBuffer,
    /// `[copies_max, 2]`, u32: blocks to copy.
    pub(super) copies: DeviceBuffer,
    /// `[context_tokens_max, head_size / 2, 2]`: cosine and sine.
    pub(super) angles: DeviceBuffer,
    /// `[entries, hidden]`: what goes from layer to layer.
    pub(super) hidden: DeviceBuffer,
    /// `[entries, hidden]`.
    pub(super) normed: DeviceBuffer,
    /// `[entries, query_width + 2 key_value_width]`.
    pub(super) projected: DeviceBuffer,
    /// `[entries, query_width]`.
    pub(super) queries: DeviceBuffer,
    /// `[entries, query_width]`.
    pub(super) attended: DeviceBuffer,
    /// `[entries, inner]`.
    pub(super) inner: DeviceBuffer,
    /// `[logits_rows_max, hidden]`.
    pub(super) gathered: DeviceBuffer,
    /// `[logits_rows_max, hidden]`.
    pub(super) gathered_normed: DeviceBuffer,
    /// `[logits_rows_max, vocabulary_entries]`.
    pub(super) logits: DeviceBuffer,
    /// One row of logits, for the host.
    pub(super) logits_staging: DeviceBuffer,
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScratchSizes {
    pub(super) limits: StepLimits,
    /// Most entries that the device works on at once.
    pub(super) step_tokens_max: usize,
    /// Most blocks that one step has to copy.
    pub(super) copies_max: usize,
}

impl Scratch {
    pub(super) fn new(device: &Device, family: &Family, sizes: &ScratchSizes) -> Result<Self, BackendError> {
        let ScratchSizes { limits, step_tokens_max: entries, copies_max } = *sizes;
        let (gathered, shape) = (limits.logits_rows_max, limits.shape);
        let words = |label, count: usize| device.storage(label, 4 * count as u64);
        let query_width = family.query_width();
        let frequencies: Vec<f64> = family.rotary.angles.iter().copied().map(f64::from).collect();
        let angles = rotary::angles(&frequencies, shape.context_tokens_max);
        Ok(Self {
            entries: device.storage("entries", (entries * size_of::<Entry>()) as u64)?,
            tables: words("tables", shape.rows_max * limits.table_blocks())?,
            count: count_buffer(device)?,
            wanted: words("wanted", gathered)?,
            wanted_count: count_buffer(device)?,
            copies: words("copies", 2 * copies_max)?,
            angles: device.storage_of("angles", angles.as_flattened())?,
            hidden: words("hidden", entries * family.hidden)?,
            normed: words("normed", entries * family.hidden)?,
            projected: words("projected", entries * (query_width + 2 * family.key_value_width()))?,
            queries: words("queries", entries * query_width)?,
            attended: words("attended", entries * query_width)?,
            inner: words("inner", entries * family.inner)?,
            gathered: words("gathered", gathered * family.hidden)?,
            gathered_normed: words("gathered, normed", gathered * family.hidden)?,
            logits: words("logits", gathered * family.vocabulary_entries)?,
            logits_staging: device.staging("logits", 4 * family.vocabulary_entries as u64)?,
        })
    }
}
