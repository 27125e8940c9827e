//! Attention keys and values of several rows, in buffers that the graph reads and extends in place.
//!
//! Each buffer is `[rows, heads, positions_max, head_size]`, bound as a layer's past input and as its present
//! output at once: GroupQueryAttention then appends without copying (measured faster than passing values).

use ort::memory::Allocator;
use ort::session::IoBinding;
use ort::value::Tensor;

use super::graph::CacheSignature;
use crate::backend::BackendError;

/// The attention cache of a graph with room for a number of positions.
#[derive(Clone, Debug)]
pub(super) struct CacheLayout {
    signature: CacheSignature,
    positions_max: usize,
}

impl CacheLayout {
    /// Room for `positions_max` positions in each row.
    pub(super) const fn new(signature: CacheSignature, positions_max: usize) -> Self {
        Self { signature, positions_max }
    }
}

/// The buffers of a fixed number of rows.
pub(super) struct AttentionCache {
    layout: CacheLayout,
    /// One for each pair of names in the layout.
    buffers: Vec<Tensor<f32>>,
}

impl AttentionCache {
    pub(super) fn new(layout: &CacheLayout, rows: usize) -> Result<Self, BackendError> {
        let signature = &layout.signature;
        let shape = [rows, signature.heads, layout.positions_max, signature.head_size];
        let buffer = || {
            let mut buffer = Tensor::<f32>::new(&Allocator::default(), shape)?;
            // Fresh memory may hold NaN, and 0 × NaN is NaN even where attention gives no weight.
            buffer.extract_tensor_mut().1.fill(0.0);
            Ok(buffer)
        };
        let buffers: ort::Result<_> = signature.names.iter().map(|_| buffer()).collect();
        let buffers = buffers.map_err(|error| BackendError::new("allocating the attention cache", error))?;
        Ok(Self { layout: layout.clone(), buffers })
    }

    /// Makes the graph read and write these buffers.
    pub(super) fn bind(&mut self, binding: &mut IoBinding) -> ort::Result<()> {
        for ((past, present), buffer) in self.layout.signature.names.iter().zip(&mut self.buffers) {
            binding.bind_input(past, &*buffer)?;
            binding.bind_output(present, buffer)?;
        }
        Ok(())
    }

    /// Copies the first `positions` positions of a row of another cache of the same layout.
    pub(super) fn copy_from(&mut self, source: &Self, source_row: usize, row: usize, positions: usize) {
        let layout = &self.layout;
        for (target, source) in self.buffers.iter_mut().zip(&source.buffers) {
            let (target, source) = (target.extract_tensor_mut().1, source.extract_tensor().1);
            for head in 0..layout.signature.heads {
                let (from, to) = (layout.span(source_row, head, positions), layout.span(row, head, positions));
                target[to].copy_from_slice(&source[from]);
            }
        }
    }

    /// Copies the first `positions` positions of one row over another.
    pub(super) fn copy_within(&mut self, source_row: usize, row: usize, positions: usize) {
        let layout = &self.layout;
        for buffer in &mut self.buffers {
            let buffer = buffer.extract_tensor_mut().1;
            for head in 0..layout.signature.heads {
                let to = layout.span(row, head, positions).start;
                buffer.copy_within(layout.span(source_row, head, positions), to);
            }
        }
    }
}

impl CacheLayout {
    /// Where one head's first `positions` positions of a row lie.
    fn span(&self, row: usize, head: usize, positions: usize) -> std::ops::Range<usize> {
        let CacheSignature { heads, head_size, .. } = self.signature;
        let start = (row * heads + head) * self.positions_max * head_size;
        start..start + positions * head_size
    }
}
