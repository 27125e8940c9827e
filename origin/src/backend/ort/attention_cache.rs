//! Attention keys and values of several rows, in buffers that the graph reads and extends in place.
//!
//! Each buffer is `[rows, heads, positions_max, head_size]`, bound as a layer's past input and as its present
//! output at once: GroupQueryAttention then appends without copying (measured faster than passing values).

use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::{Tensor, TensorElementType, ValueType};

use crate::backend::BackendError;

/// Names and sizes of the attention cache, as the graph declares them.
#[derive(Clone, Debug)]
pub(super) struct CacheLayout {
    /// Past input and present output of each buffer.
    names: Vec<(String, String)>,
    heads: usize,
    head_size: usize,
    positions_max: usize,
}

impl CacheLayout {
    /// Reads names and sizes off the graph's inputs.
    pub(super) fn of(session: &Session, positions_max: usize) -> Result<Self, BackendError> {
        const CONTEXT: &str = "the graph's attention cache";
        let mut names = Vec::new();
        let mut sizes = None;
        for input in session.inputs() {
            let Some(part) = input.name().strip_prefix("past_key_values.") else { continue };
            let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = input.dtype() else {
                return Err(BackendError::new(CONTEXT, "only 32-bit floats are supported"));
            };
            let [_, heads, _, head_size] = shape[..] else {
                return Err(BackendError::new(CONTEXT, "it must have four dimensions"));
            };
            sizes = Some((heads, head_size));
            names.push((input.name().to_owned(), format!("present.{part}")));
        }
        let positive = |size: i64| usize::try_from(size).ok().filter(|size| *size > 0);
        let sizes = sizes.and_then(|(heads, head_size)| Some((positive(heads)?, positive(head_size)?)));
        let (heads, head_size) = sizes.ok_or_else(|| {
            BackendError::new(CONTEXT, "it is missing or has no fixed number of heads and head size")
        })?;
        Ok(Self { names, heads, head_size, positions_max })
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
        let shape = [rows, layout.heads, layout.positions_max, layout.head_size];
        let buffer = || {
            let mut buffer = Tensor::<f32>::new(&Allocator::default(), shape)?;
            // Fresh memory may hold NaN, and 0 × NaN is NaN even where attention gives no weight.
            buffer.extract_tensor_mut().1.fill(0.0);
            Ok(buffer)
        };
        let buffers: ort::Result<_> = layout.names.iter().map(|_| buffer()).collect();
        let buffers = buffers.map_err(|error| BackendError::new("allocating the attention cache", error))?;
        Ok(Self { layout: layout.clone(), buffers })
    }

    /// Makes the graph read and write these buffers.
    pub(super) fn bind(&mut self, binding: &mut IoBinding) -> ort::Result<()> {
        for ((past, present), buffer) in self.layout.names.iter().zip(&mut self.buffers) {
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
            for head in 0..layout.heads {
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
            for head in 0..layout.heads {
                let to = layout.span(row, head, positions).start;
                buffer.copy_within(layout.span(source_row, head, positions), to);
            }
        }
    }
}

impl CacheLayout {
    /// Where one head's first `positions` positions of a row lie.
    fn span(&self, row: usize, head: usize, positions: usize) -> std::ops::Range<usize> {
        let start = (row * self.heads + head) * self.positions_max * self.head_size;
        start..start + positions * self.head_size
    }
}
