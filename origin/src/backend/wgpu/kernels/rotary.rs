//! Rotary positions (Su et al. 2021, the half-split layout of Llama), with Qwen3's norm of each head before them, fused with
//! writing keys and values to their blocks.

use super::{Call, HeadShape, Kernels, Source, Spread};
use crate::backend::{BackendError, wgpu::device::DeviceBuffer};

/// Invocations in a workgroup, each for four numbers of a head.
const INVOCATIONS: usize = 64;

/// Rotary positions and their buffers.
pub struct Rotary<'a> {
    /// Sizes of the heads and of the pools.
    pub shape: HeadShape,
    /// `[entries]` of [`super::Entry`]: positions and slots.
    pub entries: &'a DeviceBuffer,
    /// `[positions, rotary_width / 2, 2]`, f32: cosine and sine ([`angles`]).
    pub angles: &'a DeviceBuffer,
    /// `[entries, heads + 2 kv_heads, head_size]`, f32: queries, keys and values as they were projected.
    pub projected: &'a DeviceBuffer,
    /// For models that norm each head of queries and keys.
    pub norms: Option<HeadNorms<'a>>,
    /// `[entries, heads, head_size]`, f32, written.
    pub queries: &'a DeviceBuffer,
    /// The pool of keys, `[blocks, kv_heads, block_tokens, head_size]`, f32 or f16, written at the entries' slots.
    pub keys: &'a DeviceBuffer,
    /// The pool of values, likewise.
    pub values: &'a DeviceBuffer,
}

/// RMSNorm of each head.
#[derive(Clone, Copy)]
pub struct HeadNorms<'a> {
    /// `[2, head_size]`, f32: weights for queries, then for keys.
    pub weights: &'a DeviceBuffer,
    /// ε.
    pub epsilon: f32,
}

impl Rotary<'_> {
    /// Binds the kernel.
    ///
    /// # Errors
    /// When the kernel does not compile or there is no memory left.
    pub fn bind(&self, kernels: &mut Kernels) -> Result<Call, BackendError> {
        let HeadShape { heads, kv_heads, head_size, rotary_width, block_tokens, f16_pool } = self.shape;
        let source = Source::new("rotary")
            .constant("HEADS", heads)
            .constant("KV_HEADS", kv_heads)
            .constant("HEAD_SIZE", head_size)
            .constant("ROTARY_WIDTH", rotary_width)
            .constant("BLOCK_TOKENS", block_tokens)
            .constant("INVOCATIONS", INVOCATIONS)
            .number("EPSILON", self.norms.map_or(0.0, |norms| norms.epsilon))
            .with(match self.norms {
                Some(_) => include_str!("rotary_norms.wgsl"),
                None => include_str!("rotary_plain.wgsl"),
            })
            .with(if f16_pool { include_str!("pool_write_f16.wgsl") } else { include_str!("pool_write_f32.wgsl") })
            .with(include_str!("rotary.wgsl"));
        let plain = [self.entries, self.angles, self.projected, self.queries, self.keys, self.values].map(Some);
        let buffers: Vec<_> = plain.into_iter().chain([self.norms.map(|norms| norms.weights)]).collect();
        let quads = (heads + 2 * kv_heads) * head_size / 4;
        kernels.bind(&source, &buffers, Spread { workgroups: quads.div_ceil(INVOCATIONS), entries: 1 })
    }
}

/// Cosines and sines for the first `positions`, for [`Rotary::angles`]: position × inverse frequency, in double precision.
/// Whoever scales positions does so in the frequencies.
#[must_use]
pub fn angles(inverse_frequencies: &[f64], positions: usize) -> Vec<[f32; 2]> {
    let turned = |position: usize| {
        inverse_frequencies.iter().map(move |frequency| {
            let angle = position as f64 * frequency;
            [angle.cos() as f32, angle.sin() as f32]
        })
    };
    (0..positions).flat_map(turned).collect()
}

#[cfg(test)]
mod tests;
