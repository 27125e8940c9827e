//! Copying whole blocks of keys and values within their pools: what a fork does before it writes to a shared block.

use super::{Call, HeadShape, Kernels, Source, Spread};
use crate::backend::{BackendError, wgpu::device::DeviceBuffer};

/// Invocations in a workgroup, each for two words.
const INVOCATIONS: usize = 64;

/// A copy and its buffers. Recorded for as many entries as there are pairs.
pub struct BlockCopy<'a> {
    /// Of the pools.
    pub shape: HeadShape,
    /// `[pairs, 2]`, u32: from which block to which. No block is both written and read, nor written twice.
    pub pairs: &'a DeviceBuffer,
    /// The pool of keys: `[blocks, kv_heads, block_tokens, head_size]`.
    pub keys: &'a DeviceBuffer,
    /// The pool of values, likewise.
    pub values: &'a DeviceBuffer,
}

impl BlockCopy<'_> {
    /// Binds the copy.
    ///
    /// # Errors
    /// When the kernel does not compile or there is no memory left.
    pub fn bind(&self, kernels: &mut Kernels) -> Result<Call, BackendError> {
        let words2 = self.shape.block_bytes() / 8;
        let source = Source::new("block copy")
            .constant("WORD_PAIRS", words2)
            .constant("INVOCATIONS", INVOCATIONS)
            .with(include_str!("block_copy.wgsl"));
        let buffers = [self.pairs, self.keys, self.values].map(Some);
        kernels.bind(&source, &buffers, Spread { workgroups: words2.div_ceil(INVOCATIONS), entries: 1 })
    }
}
