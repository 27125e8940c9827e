//! `y = x Wᵀ`, with bias, added to what is there, or through SwiGLU, for one entry or many.
//!
//! An output is a sum over the units of a row. It is added up in four strands (one for each place in a vector of four), by one
//! *lane* or by several that take the units in turn; the lanes' sums are added last. How many lanes there are depends on the
//! device ([`Way`]) and on nothing else: a tile of more entries or rows only loads less, and adds in the same order.

use super::{Call, Kernels, Source, Spread};
use crate::backend::{
    BackendError,
    wgpu::{
        device::{Capabilities, DeviceBuffer},
        matrix::{Matrix, MatrixPart},
    },
};

/// Who adds up an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// One invocation alone: the quickest where a processor plays the device.
    Alone,
    /// The invocations of a subgroup, of this size, through subgroup operations.
    Subgroup(u32),
    /// 32 invocations of a workgroup, through workgroup memory: for GPUs without (steady) subgroups.
    Workgroup,
}

impl Way {
    /// The way that suits a device.
    #[must_use]
    pub fn of(capabilities: &Capabilities) -> Self {
        match capabilities.subgroup_size {
            _ if capabilities.software => Self::Alone,
            Some(size) => Self::Subgroup(size),
            None => Self::Workgroup,
        }
    }
}

/// What becomes of the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// `y = sums`.
    Store,
    /// `y += sums`: the residual.
    Add,
    /// `y[i] = silu(sums[2 i]) × sums[2 i + 1]`: gate and up projection in one matrix, their rows interleaved
    /// ([`crate::backend::wgpu::matrix::interleaved`]). `y` is half as wide.
    SwiGlu,
}

/// A linear layer and its buffers.
pub struct Linear<'a> {
    /// `[outputs, inputs]`; `inputs` a multiple of 4.
    pub matrix: &'a Matrix,
    /// `[outputs]`, f32.
    pub bias: Option<&'a DeviceBuffer>,
    /// `[entries, inputs]`, f32.
    pub x: &'a DeviceBuffer,
    /// `[entries, outputs]` (half of them for [`Output::SwiGlu`]), f32.
    pub y: &'a DeviceBuffer,
    /// Number of entries ([`super::count_buffer`]).
    pub count: &'a DeviceBuffer,
    /// What becomes of the sums.
    pub output: Output,
}

/// A bound linear layer: for each size of tile, a call for each part of the matrix.
pub struct LinearCall {
    tiles: Vec<(u32, Vec<Call>)>,
}

/// Entries and rows that a lane (or a group of them) takes on at once, for few entries and for many.
#[derive(Clone, Copy)]
struct Tile {
    entries: u32,
    rows: usize,
}

impl Way {
    /// Its tiles, of one entry and of several. Rows are even in number for the sake of SwiGLU. More than 16 sums at once take
    /// compilers for processors seconds, and GPUs more registers than they have.
    const fn tiles(self) -> &'static [Tile] {
        match self {
            Self::Alone => &[Tile { entries: 1, rows: 4 }, Tile { entries: 4, rows: 4 }],
            Self::Subgroup(_) | Self::Workgroup => &[Tile { entries: 1, rows: 2 }, Tile { entries: 4, rows: 4 }],
        }
    }

    const fn lanes(self) -> usize {
        match self {
            Self::Alone => 1,
            Self::Subgroup(size) => size as usize,
            Self::Workgroup => 32,
        }
    }

    const fn invocations(self) -> usize {
        match self {
            Self::Alone => 16,
            Self::Subgroup(_) | Self::Workgroup => 128,
        }
    }
}

impl LinearCall {
    /// Binds the layer for any number of entries.
    ///
    /// # Errors
    /// When a kernel does not compile or there is no memory left.
    pub fn bind(kernels: &mut Kernels, layer: &Linear<'_>) -> Result<Self, BackendError> {
        Self::bind_way(kernels, layer, Way::of(kernels.device().capabilities()))
    }

    /// Binds the layer with its sums added up in a certain way, whatever suits the device.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_way(kernels: &mut Kernels, layer: &Linear<'_>, way: Way) -> Result<Self, BackendError> {
        let mut tiles = Vec::new();
        for tile in way.tiles() {
            let parts = layer.matrix.parts.iter();
            let calls: Result<Vec<_>, _> =
                parts.map(|part| bind_part(kernels, layer, part, (way, *tile))).collect();
            tiles.push((tile.entries, calls?));
        }
        Ok(Self { tiles })
    }

    /// Records the layer for a number of entries, in the smallest tile that holds them all, or the largest there is.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, entries: u32) {
        for call in self.tile(entries).iter().flat_map(|(_, calls)| calls) {
            call.record(pass, entries);
        }
    }

    /// For how many entries that computes: those beyond the last in its tile are computed like the others, and not written.
    #[must_use]
    pub fn computed(&self, entries: u32) -> u32 {
        self.tile(entries).map_or(entries, |(tile, _)| entries.next_multiple_of(*tile))
    }

    fn tile(&self, entries: u32) -> Option<&(u32, Vec<Call>)> {
        self.tiles.iter().find(|(tile, _)| *tile >= entries).or(self.tiles.last())
    }
}

fn bind_part(
    kernels: &mut Kernels,
    layer: &Linear<'_>,
    part: &MatrixPart,
    (way, tile): (Way, Tile),
) -> Result<Call, BackendError> {
    let Matrix { precision, outputs, inputs, .. } = *layer.matrix;
    let stride = if layer.output == Output::SwiGlu { outputs / 2 } else { outputs };
    let units = precision.units(inputs);
    let numbers =
        [part.rows.len(), units, inputs / 4, part.rows.start, stride, 0, 0, 0].map(|number| number as u32);
    let shape = kernels.device().uniform("linear layer", &numbers)?;
    let padded = units * precision.unit_weights() != inputs;
    let source = source(layer, (way, tile), padded);
    let scales = part.scales.as_ref();
    let buffers =
        [Some(layer.count), Some(&shape), Some(&part.values), scales, Some(layer.x), Some(layer.y), layer.bias];
    let rows = way.invocations() / way.lanes() * tile.rows;
    kernels.bind(&source, &buffers, Spread { workgroups: part.rows.len().div_ceil(rows), entries: tile.entries })
}

fn source(layer: &Linear<'_>, (way, tile): (Way, Tile), padded: bool) -> Source {
    let precision = layer.matrix.precision;
    Source::new("linear")
        .constant("ROWS", tile.rows)
        .constant("ENTRIES", tile.entries as usize)
        .constant("LANES", way.lanes())
        .constant("INVOCATIONS", way.invocations())
        .constant("ADD", Output::Add as usize)
        .constant("SWIGLU", Output::SwiGlu as usize)
        .constant("OUTPUT", layer.output as usize)
        .constant("ROWS_STEP", if layer.output == Output::SwiGlu { 2 } else { 1 })
        .flag("SCALED", precision.block_format().is_some())
        .flag("PADDED", padded)
        .weights(precision)
        .with(if layer.bias.is_some() { include_str!("bias.wgsl") } else { include_str!("bias_none.wgsl") })
        .with(include_str!("linear.wgsl"))
        .with(match way {
            Way::Alone => include_str!("linear_alone.wgsl"),
            Way::Subgroup(_) => include_str!("linear_subgroup.wgsl"),
            Way::Workgroup => include_str!("linear_workgroup.wgsl"),
        })
}

#[cfg(test)]
mod tests;
