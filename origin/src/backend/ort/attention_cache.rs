//! Attention keys and values of several rows, in buffers that the graph reads and extends in place.
//!
//! Each buffer is `[places, heads, positions, head_size]`, bound as a layer's past input and as its present output at once:
//! GroupQueryAttention then appends without copying (measured faster than passing values).

use std::rc::Rc;

use ort::memory::Allocator;

use super::buffer::{Bindings, Buffer, Part};
use super::graph::CacheSignature;

/// Room for a number of rows with a number of positions each.
pub(super) struct AttentionCache {
    signature: Rc<CacheSignature>,
    places: usize,
    positions: usize,
    /// One for each pair of names in the signature.
    buffers: Vec<Buffer>,
}

impl AttentionCache {
    pub(super) fn new(
        signature: &Rc<CacheSignature>,
        allocator: &Rc<Allocator>,
        places: usize,
        positions: usize,
    ) -> ort::Result<Self> {
        let elements = places * signature.heads * positions * signature.head_size;
        let buffers: ort::Result<_> =
            signature.names.iter().map(|_| Buffer::new(allocator, signature.element_type, elements)).collect();
        Ok(Self { signature: Rc::clone(signature), places, positions, buffers: buffers? })
    }

    /// How many rows there is room for.
    pub(super) const fn places(&self) -> usize {
        self.places
    }

    /// How many positions each can have.
    pub(super) const fn positions(&self) -> usize {
        self.positions
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.buffers.iter().map(Buffer::bytes).sum()
    }

    /// Makes the graph read and extend the rows in `count` places from the `first` on.
    pub(super) fn bind(&self, bindings: &mut Bindings, first: usize, count: usize) -> ort::Result<()> {
        let shape = [count, self.signature.heads, self.positions, self.signature.head_size];
        for ((past, present), buffer) in self.signature.names.iter().zip(&self.buffers) {
            let part = Part { buffer, first: self.start(first, 0), shape: &shape };
            bindings.input(past, part)?;
            bindings.output(present, part)?;
        }
        Ok(())
    }

    /// Copies the first `positions` positions of a row of another cache.
    pub(super) fn copy_from(
        &mut self,
        source: &Self,
        source_place: usize,
        place: usize,
        positions: usize,
    ) -> ort::Result<()> {
        let length = positions * self.signature.head_size;
        for head in 0..self.signature.heads {
            let (from, to) = (source.start(source_place, head), self.start(place, head));
            for (target, source) in self.buffers.iter_mut().zip(&source.buffers) {
                target.copy_from(source, from..from + length, to)?;
            }
        }
        Ok(())
    }

    /// Copies the first `positions` positions of the row in one place to another.
    pub(super) fn copy_within(&mut self, source_place: usize, place: usize, positions: usize) -> ort::Result<()> {
        let length = positions * self.signature.head_size;
        for head in 0..self.signature.heads {
            let (from, to) = (self.start(source_place, head), self.start(place, head));
            for buffer in &mut self.buffers {
                buffer.copy_within(from..from + length, to)?;
            }
        }
        Ok(())
    }

    /// Where the positions of one head of a row begin.
    fn start(&self, place: usize, head: usize) -> usize {
        (place * self.signature.heads + head) * self.positions * self.signature.head_size
    }
}
