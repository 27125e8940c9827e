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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::wgpu::reference::{
        fetched_pool, kernels, numbers, ran, rounded_f16, uploaded, uploaded_pool,
    };

    #[test]
    fn blocks_go_where_they_are_sent_and_the_others_stay() {
        for f16_pool in [false, true] {
            let shape =
                HeadShape { heads: 2, kv_heads: 1, head_size: 12, rotary_width: 12, block_tokens: 3, f16_pool };
            let block = 12 * 3;
            let (keys, values) = (rounded_f16(&numbers(1, 6 * block)), rounded_f16(&numbers(2, 6 * block)));
            let (key_pool, value_pool) = (uploaded_pool(&keys, f16_pool), uploaded_pool(&values, f16_pool));
            let pairs = uploaded(&[[0u32, 5], [3, 1]]);
            let copy = BlockCopy { shape, pairs: &pairs, keys: &key_pool, values: &value_pool };
            let call = copy.bind(&mut kernels()).expect("it compiles");
            ran(|pass| call.record(pass, 2));
            for (pool, before) in [(key_pool, keys), (value_pool, values)] {
                let now = [0, 3, 2, 3, 4, 0].map(|source| &before[source * block..][..block]).concat();
                assert_eq!(fetched_pool(&pool, 6 * block, f16_pool), now);
            }
        }
    }
}
