//! Embedding look-up: each entry's row of a matrix in any precision, as f32.

use super::{Call, Kernels, Source, Spread};
use crate::backend::{
    BackendError,
    wgpu::{device::DeviceBuffer, matrix::Matrix},
};

/// Invocations in a workgroup, each for one unit of a row.
const INVOCATIONS: usize = 64;

/// An embedding and its buffers.
pub struct Embed<'a> {
    /// `[vocabulary, width]`; `width` a multiple of 4.
    pub matrix: &'a Matrix,
    /// `[entries]` of [`super::Entry`]: their ids.
    pub entries: &'a DeviceBuffer,
    /// `[entries, width]`, f32, written.
    pub hidden: &'a DeviceBuffer,
}

/// A bound embedding: a call for each part of the matrix, which writes the rows that it has.
pub struct EmbedCall {
    parts: Vec<Call>,
}

impl EmbedCall {
    /// Binds the embedding.
    ///
    /// # Errors
    /// When the kernel does not compile or there is no memory left.
    pub fn bind(kernels: &mut Kernels, embed: &Embed<'_>) -> Result<Self, BackendError> {
        let (precision, width) = (embed.matrix.precision, embed.matrix.inputs);
        let units = precision.units(width);
        let mut parts = Vec::new();
        for part in &embed.matrix.parts {
            let source = Source::new("embed")
                .constant("UNITS", units)
                .constant("WIDTH4", width / 4)
                .constant("FIRST_ROW", part.rows.start)
                .constant("ROWS", part.rows.len())
                .constant("INVOCATIONS", INVOCATIONS)
                .weights(precision)
                .with(include_str!("embed.wgsl"));
            let buffers = [None, Some(embed.entries), Some(&part.values), part.scales.as_ref(), Some(embed.hidden)];
            let spread = Spread { workgroups: units.div_ceil(INVOCATIONS), entries: 1 };
            parts.push(kernels.bind(&source, &buffers, spread)?);
        }
        Ok(Self { parts })
    }

    /// Records it for a number of entries.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, entries: u32) {
        self.parts.iter().for_each(|part| part.record(pass, entries));
    }
}
