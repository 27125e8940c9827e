//! Weight matrices `[outputs, inputs]`: four precisions, how their rows are packed into words, and their way to the device.
//!
//! A row is cut into *units* of 16 bytes (4, 8, 16 or 32 weights), what an invocation loads at once. Integers come in blocks of 32
//! along the inputs, each with a scale and perhaps a zero point: `weight = scale × (q − zero)`. This is the scheme of ONNX
//! Runtime's `MatMulNBits`, rounding included. Rows are padded to whole blocks with weights that are exactly 0.

use std::ops::Range;

use half::f16;

use super::device::{Device, DeviceBuffer};
use crate::backend::BackendError;

/// Weights that share a scale.
pub const BLOCK_WEIGHTS: usize = 32;
/// Rows in a part of a matrix are a multiple of this, so that what belongs together stays together.
const PART_ROWS_STEP: usize = 64;
/// Most rows in a part: a workgroup works on at least 4, and a dispatch has at most 65,535 of them.
const PART_ROWS_MAX: usize = 262_080;

/// How weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, two in a word.
    F16,
    /// Signed 8-bit integers, four in a word.
    Int8(BlockFormat),
    /// 4-bit integers, eight in a word: byte `b` of a word has weight `b` in its lower and weight `4 + b` in its upper half.
    Int4(BlockFormat),
}

/// What comes with each block of integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BlockFormat {
    /// A zero point of its own; without one 0 (8 for 4-bit integers) stands for the weight 0.
    pub zero_point: bool,
    /// Scales (and zero points) as 16-bit floats instead of 32-bit ones.
    pub f16_scales: bool,
}

/// Rows packed for the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedRows {
    /// Units of four words, row after row.
    pub values: Vec<u32>,
    /// Scales (and zero points) of the blocks, row after row; empty for floats.
    pub scales: Vec<u32>,
}

/// A matrix on the device, in as many parts as the largest binding makes necessary.
pub struct Matrix {
    /// How its weights are kept.
    pub precision: Precision,
    /// Number of rows.
    pub outputs: usize,
    /// Weights in a row.
    pub inputs: usize,
    /// Its rows, in order.
    pub parts: Vec<MatrixPart>,
}

/// Some rows of a matrix.
pub struct MatrixPart {
    /// Which rows.
    pub rows: Range<usize>,
    /// [`PackedRows::values`].
    pub values: DeviceBuffer,
    /// [`PackedRows::scales`], for integers.
    pub scales: Option<DeviceBuffer>,
}

impl Precision {
    /// As it is configured.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8(_) => "int8",
            Self::Int4(_) => "int4",
        }
    }

    /// Weights in a unit.
    #[must_use]
    pub const fn unit_weights(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 8,
            Self::Int8(_) => 16,
            Self::Int4(_) => 32,
        }
    }

    /// What comes with blocks; `None` for floats, which have none.
    #[must_use]
    pub const fn block_format(self) -> Option<BlockFormat> {
        match self {
            Self::F32 | Self::F16 => None,
            Self::Int8(format) | Self::Int4(format) => Some(format),
        }
    }

    /// Units in a row.
    #[must_use]
    pub const fn units(self, inputs: usize) -> usize {
        let padded = match self.block_format() {
            None => inputs,
            Some(_) => inputs.next_multiple_of(BLOCK_WEIGHTS),
        };
        padded.div_ceil(self.unit_weights())
    }

    /// Bytes that a row takes, its scales included: what a step reads of it.
    #[must_use]
    pub const fn row_bytes(self, inputs: usize) -> usize {
        let blocks = inputs.div_ceil(BLOCK_WEIGHTS);
        let scales = match self.block_format() {
            None => 0,
            Some(BlockFormat { zero_point, f16_scales }) => {
                blocks * if zero_point { 2 } else { 1 } * if f16_scales { 2 } else { 4 }
            }
        };
        self.units(inputs) * 16 + scales
    }

    /// Packs rows of `inputs` weights each.
    #[must_use]
    pub fn pack(self, weights: &[f32], inputs: usize) -> PackedRows {
        let mut packed = PackedRows::default();
        let mut scales = Vec::new();
        for row in weights.chunks_exact(inputs) {
            match self {
                Self::F32 => pack_f32(row, &mut packed.values),
                Self::F16 => pack_f16(row, &mut packed.values),
                Self::Int8(format) => pack_blocks(row, Levels::INT8, format, (&mut packed.values, &mut scales)),
                Self::Int4(format) => pack_blocks(row, Levels::INT4, format, (&mut packed.values, &mut scales)),
            }
        }
        if let Some(format) = self.block_format() {
            packed.scales = format.words(&scales);
        }
        packed
    }

    /// What the device makes of packed rows: the weights as they were rounded.
    #[must_use]
    pub fn unpack(self, packed: &PackedRows, inputs: usize) -> Vec<f32> {
        let row_words = self.units(inputs) * 4;
        let blocks = inputs.div_ceil(BLOCK_WEIGHTS);
        let mut weights = Vec::with_capacity(packed.values.len() / row_words * inputs);
        for (row, words) in packed.values.chunks_exact(row_words).enumerate() {
            for index in 0..inputs {
                let (scale, zero) = match self.block_format() {
                    None => (1.0, 0.0),
                    Some(format) => format.scale_of(&packed.scales, row * blocks + index / BLOCK_WEIGHTS, self),
                };
                weights.push(scale * (self.level_of(words, index) - zero));
            }
        }
        weights
    }

    fn level_of(self, words: &[u32], index: usize) -> f32 {
        match self {
            Self::F32 => f32::from_bits(words[index]),
            Self::F16 => f16::from_bits((words[index / 2] >> (index % 2 * 16)) as u16).to_f32(),
            Self::Int8(_) => f32::from((words[index / 4] >> (index % 4 * 8)) as u8 as i8),
            Self::Int4(_) => {
                let (byte, upper) = (index % 4, index % 8 / 4);
                f32::from((words[index / 8] >> (byte * 8 + upper * 4)) as u8 & 0xf)
            }
        }
    }

    /// The level that stands for 0 in a block without a zero point.
    const fn symmetric_zero(self) -> f32 {
        match self {
            Self::Int4(_) => 8.0,
            Self::F32 | Self::F16 | Self::Int8(_) => 0.0,
        }
    }
}

impl BlockFormat {
    /// Pairs of scale and zero point as words.
    fn words(self, pairs: &[(f32, f32)]) -> Vec<u32> {
        let numbers: Vec<f32> = match self.zero_point {
            true => pairs.iter().flat_map(|(scale, zero)| [*scale, *zero]).collect(),
            false => pairs.iter().map(|(scale, _)| *scale).collect(),
        };
        let half_word = |number: f32| u32::from(f16::from_f32(number).to_bits());
        match self.f16_scales {
            true => numbers
                .chunks(2)
                .map(|pair| half_word(pair[0]) | half_word(pair.get(1).copied().unwrap_or(0.0)) << 16)
                .collect(),
            false => numbers.iter().map(|number| number.to_bits()).collect(),
        }
    }

    fn scale_of(self, words: &[u32], block: usize, precision: Precision) -> (f32, f32) {
        let number = |index: usize| match self.f16_scales {
            true => f16::from_bits((words[index / 2] >> (index % 2 * 16)) as u16).to_f32(),
            false => f32::from_bits(words[index]),
        };
        match self.zero_point {
            true => (number(block * 2), number(block * 2 + 1)),
            false => (number(block), precision.symmetric_zero()),
        }
    }
}

/// The integers that a weight can become.
#[derive(Clone, Copy)]
struct Levels {
    lowest: f32,
    highest: f32,
    bits: u32,
}

impl Levels {
    const INT8: Self = Self { lowest: -128.0, highest: 127.0, bits: 8 };
    const INT4: Self = Self { lowest: 0.0, highest: 15.0, bits: 4 };

    /// Scale and zero point of a block.
    fn fit(self, block: &[f32], format: BlockFormat) -> (f32, f32) {
        let (low, high) = block.iter().fold((0.0f32, 0.0f32), |(low, high), w| (low.min(*w), high.max(*w)));
        let rounded = |scale: f32| if format.f16_scales { f16::from_f32(scale).to_f32() } else { scale };
        if format.zero_point {
            let scale = rounded((high - low) / (self.highest - self.lowest));
            let zero = if scale > 0.0 { (self.lowest - low / scale).round() } else { self.lowest };
            return (scale, zero.clamp(self.lowest, self.highest));
        }
        match self.bits {
            8 => (rounded(high.max(-low) / self.highest), 0.0),
            // The side that reaches farther gets the level 0, which has no opposite: 16 levels are used instead of 15.
            _ => (rounded(if high > -low { high } else { low } / -8.0), 8.0),
        }
    }

    fn level(self, weight: f32, (scale, zero): (f32, f32)) -> i32 {
        let level = if scale == 0.0 { zero } else { (weight / scale).round() + zero };
        level.clamp(self.lowest, self.highest) as i32
    }
}

fn pack_f32(row: &[f32], words: &mut Vec<u32>) {
    words.extend(row.iter().map(|weight| weight.to_bits()));
    words.resize(words.len().next_multiple_of(4), 0);
}

fn pack_f16(row: &[f32], words: &mut Vec<u32>) {
    let bits = |weight: f32| u32::from(f16::from_f32(weight).to_bits());
    words.extend(row.chunks(2).map(|pair| bits(pair[0]) | bits(pair.get(1).copied().unwrap_or(0.0)) << 16));
    words.resize(words.len().next_multiple_of(4), 0);
}

fn pack_blocks(
    row: &[f32],
    levels: Levels,
    format: BlockFormat,
    (words, scales): (&mut Vec<u32>, &mut Vec<(f32, f32)>),
) {
    for block in row.chunks(BLOCK_WEIGHTS) {
        let fitted = levels.fit(block, format);
        scales.push(fitted);
        let mut padded = [fitted.1 as i32; BLOCK_WEIGHTS];
        for (level, weight) in padded.iter_mut().zip(block) {
            *level = levels.level(*weight, fitted);
        }
        if levels.bits == 8 {
            words.extend(padded.chunks_exact(4).map(|four| bytes_word(four, 0)));
        } else {
            words.extend(
                padded.chunks_exact(8).map(|eight| bytes_word(&eight[..4], 0) | bytes_word(&eight[4..], 4)),
            );
        }
    }
}

fn bytes_word(levels: &[i32], shift: usize) -> u32 {
    levels.iter().enumerate().fold(0, |word, (byte, level)| word | u32::from(*level as u8) << (byte * 8 + shift))
}

impl Matrix {
    /// Packs and uploads a matrix whose rows `rows_of` gives, a range at a time and in order, so that no second copy of the
    /// whole is needed.
    ///
    /// # Errors
    /// When there is no memory left on the device, and those of `rows_of`.
    pub fn upload(
        device: &Device,
        precision: Precision,
        (outputs, inputs): (usize, usize),
        rows_of: &mut dyn FnMut(Range<usize>) -> Result<Vec<f32>, BackendError>,
    ) -> Result<Self, BackendError> {
        let part_rows = part_rows(device.capabilities().binding_bytes_max, precision.units(inputs) * 16);
        let mut parts = Vec::new();
        for first in (0..outputs).step_by(part_rows) {
            let rows = first..outputs.min(first + part_rows);
            let packed = precision.pack(&rows_of(rows.clone())?, inputs);
            let values = device.storage_of("weights", &packed.values)?;
            let with_scales = !packed.scales.is_empty();
            let scales = with_scales.then(|| device.storage_of("scales", &packed.scales)).transpose()?;
            parts.push(MatrixPart { rows, values, scales });
        }
        Ok(Self { precision, outputs, inputs, parts })
    }

    /// [`Self::upload`] of a matrix that the host has whole.
    ///
    /// # Errors
    /// When there is no memory left on the device.
    pub fn of(
        device: &Device,
        precision: Precision,
        (outputs, inputs): (usize, usize),
        weights: &[f32],
    ) -> Result<Self, BackendError> {
        let rows_of = &mut |rows: Range<usize>| Ok(weights[rows.start * inputs..rows.end * inputs].to_vec());
        Self::upload(device, precision, (outputs, inputs), rows_of)
    }

    /// Bytes it takes on the device.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let scales = |part: &MatrixPart| part.scales.as_ref().map_or(0, DeviceBuffer::bytes);
        self.parts.iter().map(|part| part.values.bytes() + scales(part)).sum()
    }
}

fn part_rows(binding_bytes_max: u64, row_bytes: usize) -> usize {
    let fitting = usize::try_from(binding_bytes_max).unwrap_or(usize::MAX) / row_bytes;
    (fitting.min(PART_ROWS_MAX) / PART_ROWS_STEP * PART_ROWS_STEP).max(PART_ROWS_STEP)
}

/// Interleaves the rows of two matrices of the same size, as `SwiGLU`'s gate and up projections are kept: gate 0, up 0, gate 1, …
#[must_use]
pub fn interleaved(gate: &[f32], up: &[f32], inputs: usize) -> Vec<f32> {
    gate.chunks_exact(inputs).zip(up.chunks_exact(inputs)).flat_map(|(gate, up)| [gate, up].concat()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::wgpu::reference::precisions;

    /// Largest rounding error, as a share of the largest weight of a block.
    fn share_lost(precision: Precision) -> f32 {
        match precision {
            Precision::F32 => 0.0,
            Precision::F16 => 6e-4,
            Precision::Int8(_) => 6e-3,
            Precision::Int4(_) => 0.14,
        }
    }

    proptest! {
        #[test]
        fn a_packed_weight_comes_back_rounded_no_further_than_its_precision_says(
            inputs in 1usize..100, rows in 1usize..4, seed in prop::collection::vec(-3.0f32..3.0, 300),
        ) {
            for precision in precisions() {
                let weights = &seed[..inputs * rows.min(300 / inputs)];
                let packed = precision.pack(weights, inputs);
                prop_assert_eq!(packed.values.len() % (precision.units(inputs) * 4), 0);
                let back = precision.unpack(&packed, inputs);
                prop_assert_eq!(back.len(), weights.len());
                for (row, expected) in back.chunks(inputs).zip(weights.chunks(inputs)) {
                    for (block, expected) in row.chunks(BLOCK_WEIGHTS).zip(expected.chunks(BLOCK_WEIGHTS)) {
                        let largest = expected.iter().fold(0.0f32, |max, w| max.max(w.abs()));
                        for (weight, expected) in block.iter().zip(expected) {
                            prop_assert!((weight - expected).abs() <= share_lost(precision) * largest, "{:?}", precision);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_pads_a_row_is_exactly_nothing() {
        for precision in precisions() {
            let packed = precision.pack(&[1.5; 33], 33);
            let padded = precision.units(33) * precision.unit_weights();
            let whole = precision.unpack(&packed, padded);
            assert!(whole[33..].iter().all(|weight| *weight == 0.0), "{precision:?}: {whole:?}");
        }
    }

    #[test]
    fn a_block_of_zeros_stays_one() {
        for precision in precisions() {
            assert_eq!(precision.unpack(&precision.pack(&[0.0; 64], 64), 64), [0.0; 64], "{precision:?}");
        }
    }

    #[test]
    fn a_row_weighs_what_its_words_and_scales_do() {
        for precision in precisions() {
            let packed = precision.pack(&[0.5; 2 * 192], 192);
            let words = packed.values.len() + packed.scales.len();
            assert_eq!(words * 4, precision.row_bytes(192) * 2, "{precision:?}");
        }
    }

    #[test]
    fn a_part_fits_the_largest_binding() {
        assert_eq!(part_rows(128 << 20, 576 * 4), 58_240);
        assert!(part_rows(128 << 20, 576 * 4) * 576 * 4 <= 128 << 20);
        assert_eq!(part_rows(1 << 40, 4), PART_ROWS_MAX);
    }
}
