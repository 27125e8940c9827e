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
            let buffers =
                [None, Some(embed.entries), Some(&part.values), part.scales.as_ref(), Some(embed.hidden)];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::wgpu::{
        device::Device,
        kernels::Entry,
        matrix::{BlockFormat, Precision},
        reference::{device, fetched, kernels, numbers, ran, uploaded},
    };

    #[test]
    fn each_entry_gets_its_row_as_it_was_rounded_in_any_precision_and_part() {
        let format = BlockFormat { zero_point: true, f16_scales: true };
        let ids = [3u32, 149, 0, 64, 63, 3];
        for precision in [Precision::F32, Precision::F16, Precision::Int8(format), Precision::Int4(format)] {
            for width in [64, 100] {
                let weights = numbers(1, 150 * width);
                let matrix = in_parts(device(), precision, width, &weights);
                assert_eq!(matrix.parts.len(), 3);
                let entries = ids.map(|id| Entry { id, ..Entry::default() });
                let hidden = uploaded(&vec![9.0f32; ids.len() * width]);
                let embed = Embed { matrix: &matrix, entries: &uploaded(&entries), hidden: &hidden };
                let call = EmbedCall::bind(&mut kernels(), &embed).expect("it compiles");
                ran(|pass| call.record(pass, ids.len() as u32));
                let rounded = precision.unpack(&precision.pack(&weights, width), width);
                let row = |id: u32| &rounded[id as usize * width..][..width];
                assert_eq!(fetched(&hidden, ids.len() * width), ids.map(row).concat(), "{precision:?}");
            }
        }
    }

    /// A matrix as a device with small bindings would have it.
    fn in_parts(device: &Device, precision: Precision, width: usize, weights: &[f32]) -> Matrix {
        let mut whole = Matrix::of(device, precision, (0, width), &[]).expect("there is room");
        for first in [0, 64, 128] {
            let rows = first..150.min(first + 64);
            let packed = precision.pack(&weights[rows.start * width..rows.end * width], width);
            let scales = (!packed.scales.is_empty()).then(|| uploaded(&packed.scales));
            whole.parts.push(crate::backend::wgpu::matrix::MatrixPart {
                rows,
                values: uploaded(&packed.values),
                scales,
            });
        }
        whole
    }
}
