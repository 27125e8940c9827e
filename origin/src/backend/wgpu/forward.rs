//! A step on the device: embedding, layers, the entries whose logits are wanted, norm, head.
//!
//! Everything is bound once, when the model is loaded. A step is written to its buffers, recorded and submitted: one submission,
//! unless it has more entries than the scratch buffers hold; then one for each part that they hold. What is picked from the
//! logits is a second, small submission, because the host works out what is permitted while the device computes the first.

use super::device::{Device, DeviceBuffer};
use super::family::Family;
use super::kernels::attention::Attention;
use super::kernels::block_copy::BlockCopy as CopyBlocks;
use super::kernels::embed::{Embed, EmbedCall};
use super::kernels::gather::Gather;
use super::kernels::linear::{Linear, LinearCall, Output};
use super::kernels::norm::Norm;
use super::kernels::rotary::{HeadNorms, Rotary};
use super::kernels::{Call, Entry, HeadShape, Kernels, write_count};
use super::kv_blocks::{BLOCK_TOKENS, BlockCopy};
use super::matrix::Matrix;
use super::scratch::{Scratch, ScratchSizes};
use super::step::Step;
use super::weights::{LayerWeights, ModelWeights};
use crate::backend::BackendError;

/// The keys and values of one layer, `[blocks, key_value_heads, block_tokens, head_size]` each.
pub(super) struct Pool {
    keys: DeviceBuffer,
    values: DeviceBuffer,
}

impl Pool {
    pub(super) fn new(device: &Device, shape: HeadShape, blocks: usize) -> Result<Self, BackendError> {
        let bytes = (blocks * shape.block_bytes()) as u64;
        Ok(Self { keys: device.storage("keys", bytes)?, values: device.storage("values", bytes)? })
    }
}

/// The sizes of a family's attention.
pub(super) fn head_shape(family: &Family, f16_pool: bool) -> HeadShape {
    HeadShape {
        heads: family.query_heads,
        kv_heads: family.key_value_heads,
        head_size: family.head_size,
        rotary_width: family.head_size,
        block_tokens: BLOCK_TOKENS,
        f16_pool,
    }
}

/// A model, bound to its buffers.
pub(super) struct Forward {
    scratch: Scratch,
    step_tokens_max: usize,
    hidden_bytes: u64,
    copy_blocks: Vec<Call>,
    embed: EmbedCall,
    layers: Vec<LayerCalls>,
    gather: Call,
    last_norm: Call,
    head: LinearCall,
    /// What the calls are bound to, like the pools.
    _weights: ModelWeights,
    pools: Vec<Pool>,
}

/// A layer's kernels in the order in which they run.
struct LayerCalls {
    attention_norm: Call,
    projections: LinearCall,
    rotary: Call,
    attention: Call,
    output: LinearCall,
    inner_norm: Call,
    gate_up: LinearCall,
    down: LinearCall,
}

/// What is bound.
pub(super) struct Loaded {
    pub(super) weights: ModelWeights,
    pub(super) pools: Vec<Pool>,
    pub(super) shape: HeadShape,
}

impl Forward {
    /// Makes the scratch buffers and binds everything.
    pub(super) fn bind(
        kernels: &mut Kernels,
        family: &Family,
        loaded: Loaded,
        sizes: &ScratchSizes,
    ) -> Result<Self, BackendError> {
        let Loaded { weights, pools, shape } = loaded;
        let scratch = Scratch::new(kernels.device(), family, sizes)?;
        let mut binder = Binder { kernels, family, scratch: &scratch, table_blocks: sizes.limits.table_blocks() };
        let mut layers = Vec::new();
        let mut copy_blocks = Vec::new();
        for ((weights, pool), is_unturned) in weights.layers.iter().zip(&pools).zip(&family.unturned_layers) {
            let rotary_width = if *is_unturned { 0 } else { family.head_size };
            layers.push(binder.layer(weights, pool, HeadShape { rotary_width, ..shape })?);
            let copy = CopyBlocks { shape, pairs: &scratch.copies, keys: &pool.keys, values: &pool.values };
            copy_blocks.push(copy.bind(binder.kernels)?);
        }
        let (gathered, gathered_normed) = (&scratch.gathered, &scratch.gathered_normed);
        let gather = Gather { width: family.hidden, wanted: &scratch.wanted, x: &scratch.hidden, y: gathered };
        let embed = Embed { matrix: &weights.embedding, entries: &scratch.entries, hidden: &scratch.hidden };
        let head = Linear {
            matrix: weights.head(),
            bias: None,
            x: gathered_normed,
            y: &scratch.logits,
            count: &scratch.wanted_count,
            output: Output::Store,
        };
        Ok(Self {
            step_tokens_max: sizes.step_tokens_max,
            hidden_bytes: 4 * family.hidden as u64,
            copy_blocks,
            layers,
            gather: gather.bind(binder.kernels)?,
            last_norm: binder.norm(gathered, &weights.last_norm, gathered_normed)?,
            embed: EmbedCall::bind(binder.kernels, &embed)?,
            head: LinearCall::bind(binder.kernels, &head)?,
            scratch,
            _weights: weights,
            pools,
        })
    }

    /// `[logits_rows_max, vocabulary_entries]`: in the order of [`Step::wanted`] after [`Self::submit`].
    pub(super) fn logits(&self) -> &DeviceBuffer {
        &self.scratch.logits
    }

    /// Where one row of logits is copied to for the host.
    pub(super) fn logits_staging(&self) -> &DeviceBuffer {
        &self.scratch.logits_staging
    }

    /// Sends a step to the device, copies of blocks first. Returns before the device is done, and for how many entries its
    /// matrices are multiplied, which is most of the work: those of the step, and those that fill the last tile.
    pub(super) fn submit(&self, device: &Device, step: &Step, copies: &[BlockCopy]) -> Result<u64, BackendError> {
        let pairs: Vec<[u32; 2]> = copies.iter().map(|copy| [copy.from, copy.to]).collect();
        device.write(&self.scratch.copies, 0, &pairs);
        device.write(&self.scratch.tables, 0, &step.tables);
        write_count(device, &self.scratch.wanted_count, step.wanted.len() as u32);
        let parts = step.entries.len().div_ceil(self.step_tokens_max);
        let mut computed = 0;
        for (part, entries) in step.entries.chunks(self.step_tokens_max).enumerate() {
            self.write_entries(device, entries);
            let mut encoder = device.encoder();
            if part == 0 {
                self.record_copies(&mut encoder, copies.len() as u32);
            }
            self.record_layers(&mut encoder, entries.len() as u32);
            if parts > 1 {
                self.record_gathering_part(&mut encoder, step, part);
            }
            if part + 1 == parts {
                self.record_logits(device, &mut encoder, step, parts == 1);
            }
            device.submit(encoder)?;
            computed += u64::from(self.computed(entries.len() as u32));
        }
        Ok(computed)
    }

    /// The layers' matrices have tiles of the same sizes.
    fn computed(&self, entries: u32) -> u32 {
        self.layers.first().map_or(entries, |layer| layer.projections.computed(entries))
    }

    /// What attention keys and values take.
    pub(super) fn attention_bytes(&self) -> u64 {
        self.pools.iter().map(|pool| pool.keys.bytes() + pool.values.bytes()).sum()
    }

    fn write_entries(&self, device: &Device, entries: &[Entry]) {
        device.write(&self.scratch.entries, 0, entries);
        write_count(device, &self.scratch.count, entries.len() as u32);
    }

    fn record_copies(&self, encoder: &mut wgpu::CommandEncoder, copies: u32) {
        if copies > 0 {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            self.copy_blocks.iter().for_each(|copy| copy.record(&mut pass, copies));
        }
    }

    fn record_layers(&self, encoder: &mut wgpu::CommandEncoder, entries: u32) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        self.embed.record(&mut pass, entries);
        for layer in &self.layers {
            layer.attention_norm.record(&mut pass, entries);
            layer.projections.record(&mut pass, entries);
            layer.rotary.record(&mut pass, entries);
            layer.attention.record(&mut pass, entries);
            layer.output.record(&mut pass, entries);
            layer.inner_norm.record(&mut pass, entries);
            layer.gate_up.record(&mut pass, entries);
            layer.down.record(&mut pass, entries);
        }
    }

    /// Of a step in parts, each part puts its wanted entries aside, because the next one writes over them.
    fn record_gathering_part(&self, encoder: &mut wgpu::CommandEncoder, step: &Step, part: usize) {
        let first = part * self.step_tokens_max;
        let bytes = self.hidden_bytes;
        for (place, wanted) in step.wanted.iter().enumerate() {
            if (first..first + self.step_tokens_max).contains(&wanted.entry) {
                let (from, to) = ((wanted.entry - first) as u64 * bytes, place as u64 * bytes);
                encoder.copy_buffer_to_buffer(
                    self.scratch.hidden.raw(),
                    from,
                    self.scratch.gathered.raw(),
                    to,
                    bytes,
                );
            }
        }
    }

    fn record_logits(&self, device: &Device, encoder: &mut wgpu::CommandEncoder, step: &Step, gathers: bool) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let count = step.wanted.len() as u32;
        if gathers {
            let entries: Vec<u32> = step.wanted.iter().map(|wanted| wanted.entry as u32).collect();
            device.write(&self.scratch.wanted, 0, &entries);
            self.gather.record(&mut pass, count);
        }
        self.last_norm.record(&mut pass, count);
        self.head.record(&mut pass, count);
    }
}

struct Binder<'a> {
    kernels: &'a mut Kernels,
    family: &'a Family,
    scratch: &'a Scratch,
    table_blocks: usize,
}

/// Where a linear layer reads and writes.
#[derive(Clone, Copy)]
struct Through<'a> {
    x: &'a DeviceBuffer,
    y: &'a DeviceBuffer,
    output: Output,
}

impl Binder<'_> {
    fn layer(
        &mut self,
        weights: &LayerWeights,
        pool: &Pool,
        shape: HeadShape,
    ) -> Result<LayerCalls, BackendError> {
        let Scratch { hidden, normed, projected, attended, inner, .. } = self.scratch;
        let stored = Through { x: normed, y: projected, output: Output::Store };
        let attended = Through { x: attended, y: hidden, output: Output::Add };
        let gated = Through { x: normed, y: inner, output: Output::SwiGlu };
        let transformed = Through { x: inner, y: hidden, output: Output::Add };
        Ok(LayerCalls {
            attention_norm: self.norm(hidden, &weights.attention_norm, normed)?,
            projections: self.linear(&weights.projections, weights.projections_bias.as_ref(), stored)?,
            rotary: self.rotary(weights, pool, shape)?,
            attention: self.attention(pool, shape)?,
            output: self.linear(&weights.output, weights.output_bias.as_ref(), attended)?,
            inner_norm: self.norm(hidden, &weights.inner_norm, normed)?,
            gate_up: self.linear(&weights.gate_up, weights.gate_up_bias.as_ref(), gated)?,
            down: self.linear(&weights.down, weights.down_bias.as_ref(), transformed)?,
        })
    }

    fn norm(&mut self, x: &DeviceBuffer, weight: &DeviceBuffer, y: &DeviceBuffer) -> Result<Call, BackendError> {
        Norm { width: self.family.hidden, epsilon: self.family.norm_epsilon, x, weight, y }.bind(self.kernels)
    }

    fn linear(
        &mut self,
        matrix: &Matrix,
        bias: Option<&DeviceBuffer>,
        through: Through<'_>,
    ) -> Result<LinearCall, BackendError> {
        let Through { x, y, output } = through;
        LinearCall::bind(self.kernels, &Linear { matrix, bias, x, y, count: &self.scratch.count, output })
    }

    fn rotary(&mut self, weights: &LayerWeights, pool: &Pool, shape: HeadShape) -> Result<Call, BackendError> {
        let epsilon = self.family.norm_epsilon;
        let rotary = Rotary {
            shape,
            entries: &self.scratch.entries,
            angles: &self.scratch.angles,
            projected: &self.scratch.projected,
            norms: weights.head_norms.as_ref().map(|weights| HeadNorms { weights, epsilon }),
            queries: &self.scratch.queries,
            keys: &pool.keys,
            values: &pool.values,
        };
        rotary.bind(self.kernels)
    }

    fn attention(&mut self, pool: &Pool, shape: HeadShape) -> Result<Call, BackendError> {
        let attention = Attention {
            shape,
            scale: 1.0 / (shape.head_size as f32).sqrt(),
            table_blocks: self.table_blocks,
            entries: &self.scratch.entries,
            tables: &self.scratch.tables,
            queries: &self.scratch.queries,
            keys: &pool.keys,
            values: &pool.values,
            attended: &self.scratch.attended,
        };
        attention.bind(self.kernels)
    }
}
