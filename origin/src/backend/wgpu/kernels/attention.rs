//! Paged grouped-query attention with an online softmax (Dao et al. 2022; pages as in vLLM, Kwon et al. 2023), causal by position.
//!
//! One workgroup takes one entry and up to four heads that share keys and values, and walks the row's positions from the first,
//! 64 at a time, so that an entry's result is the same whether its prompt came whole or in pieces, and from whichever blocks.

use super::{Call, HeadShape, Kernels, Source, Spread};
use crate::backend::{BackendError, wgpu::device::DeviceBuffer};

/// Invocations in a workgroup, and positions that it takes at a time.
const INVOCATIONS: usize = 64;
/// Most heads that a workgroup takes on: each costs every invocation registers.
const GROUP_MAX: usize = 4;

/// Attention and its buffers.
pub struct Attention<'a> {
    /// Sizes of the heads and of the pools.
    pub shape: HeadShape,
    /// What scores are multiplied with, mostly 1 / √head_size.
    pub scale: f32,
    /// Blocks in a block table, the width of `tables`.
    pub table_blocks: usize,
    /// `[entries]` of [`super::Entry`]: positions and tables. An entry attends to positions 0 to its own.
    pub entries: &'a DeviceBuffer,
    /// `[tables, table_blocks]`, u32: numbers of blocks, in the order of their positions.
    pub tables: &'a DeviceBuffer,
    /// `[entries, heads, head_size]`, f32.
    pub queries: &'a DeviceBuffer,
    /// The pool of keys, `[blocks, kv_heads, block_tokens, head_size]`, f32 or f16.
    pub keys: &'a DeviceBuffer,
    /// The pool of values, likewise.
    pub values: &'a DeviceBuffer,
    /// `[entries, heads, head_size]`, f32, written.
    pub attended: &'a DeviceBuffer,
}

impl Attention<'_> {
    /// Binds the kernel.
    ///
    /// # Errors
    /// When the kernel does not compile or there is no memory left.
    pub fn bind(&self, kernels: &mut Kernels) -> Result<Call, BackendError> {
        let HeadShape { heads, kv_heads, head_size, block_tokens, f16_pool, .. } = self.shape;
        let sharing = heads / kv_heads;
        let group = (1..=GROUP_MAX).rev().find(|group| sharing.is_multiple_of(*group)).unwrap_or(1);
        let source = Source::new("attention")
            .constant("GROUP", group)
            .constant("HEADS", heads)
            .constant("KV_HEADS", kv_heads)
            .constant("HEAD_VECTORS", head_size / 4)
            .constant("BLOCK_TOKENS", block_tokens)
            .constant("TABLE_BLOCKS", self.table_blocks)
            .constant("INVOCATIONS", INVOCATIONS)
            .number("SCALE", self.scale)
            .with(if f16_pool { include_str!("pool_read_f16.wgsl") } else { include_str!("pool_read_f32.wgsl") })
            .with(include_str!("attention.wgsl"));
        let buffers = [self.entries, self.tables, self.queries, self.keys, self.values, self.attended].map(Some);
        kernels.bind(&source, &buffers, Spread { workgroups: heads / group, entries: 1 })
    }
}

#[cfg(test)]
mod tests;
