//! The kernels: WGSL beside the Rust that compiles it, binds its buffers and records it.
//!
//! A step is a *ragged batch* of entries: the ids of all its rows one after another, whatever their number. What an entry
//! computes does not depend on the others, and is added up in the same order wherever it stands and however many there are:
//! each kernel fixes that order, and its variants differ in who adds, never in what is added to what.
//!
//! A kernel is bound once to the buffers of a layer ([`Call`]) and recorded in every step for as many entries as it has; the
//! number itself lies in a uniform buffer that the host writes before it submits ([`count_buffer`]).

pub mod attention;
pub mod block_copy;
pub mod embed;
pub mod gather;
pub mod linear;
pub mod norm;
pub mod rotary;
pub mod select;

use std::{collections::HashMap, fmt::Write};

use super::device::{Device, DeviceBuffer, WORKGROUPS_MAX};
use super::matrix::{BlockFormat, Precision};
use crate::backend::{BackendError, FailureKind};

/// One entry of a step, as the device reads it: an id at a position of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Entry {
    /// Id in the vocabulary.
    pub id: u32,
    /// Position in its row, from 0.
    pub position: u32,
    /// Which of the step's block tables is that of its row.
    pub table: u32,
    /// Where its key and value go: number of its block × positions in a block + place in the block.
    pub slot: u32,
}

/// The sizes of attention in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// Heads of queries; a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Numbers in a head; a multiple of 4, at most 256.
    pub head_size: usize,
    /// How many of them, from the first, the positions turn; a multiple of 4, 0 in layers without positions.
    pub rotary_width: usize,
    /// Positions in a block of the pools.
    pub block_tokens: usize,
    /// Whether keys and values are kept as 16-bit floats.
    pub f16_pool: bool,
}

impl HeadShape {
    /// Bytes of the keys (or the values) of one block in one layer: `[kv_heads, block_tokens, head_size]`.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        self.kv_heads * self.block_tokens * self.head_size * if self.f16_pool { 2 } else { 4 }
    }
}

/// Kernels compiled on a device, each text once.
pub struct Kernels {
    device: Device,
    compiled: HashMap<String, wgpu::ComputePipeline>,
}

/// A kernel with its buffers, ready to be recorded in any number of steps.
pub struct Call {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: u32,
    entries_per_workgroup: u32,
}

/// How a kernel spreads: workgroups for all of an entry's outputs, and entries that one of them takes on.
#[derive(Clone, Copy)]
struct Spread {
    workgroups: usize,
    entries: u32,
}

impl Kernels {
    /// No kernel yet.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), compiled: HashMap::new() }
    }

    /// The device that they run on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Compiles the source unless it has been, and binds buffers to its bindings 0, 1, …; `None` is one that it does not have.
    fn bind(
        &mut self,
        source: &Source,
        buffers: &[Option<&DeviceBuffer>],
        spread: Spread,
    ) -> Result<Call, BackendError> {
        let workgroups = u32::try_from(spread.workgroups).unwrap_or(u32::MAX);
        if workgroups > WORKGROUPS_MAX {
            let cause = format!("{} in {workgroups} workgroups", source.label);
            return Err(BackendError::of_kind(FailureKind::Refused, "binding a kernel", cause));
        }
        let pipeline = self.pipeline(source)?;
        let present = (0u32..).zip(buffers).filter_map(|(binding, buffer)| Some((binding, (*buffer)?)));
        let entries: Vec<_> = present
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.raw().as_entire_binding() })
            .collect();
        let bind_group = self.device.scoped("binding a kernel", |device| {
            let layout = pipeline.get_bind_group_layout(0);
            let descriptor =
                wgpu::BindGroupDescriptor { label: Some(source.label), layout: &layout, entries: &entries };
            device.create_bind_group(&descriptor)
        })?;
        Ok(Call { pipeline, bind_group, workgroups, entries_per_workgroup: spread.entries })
    }

    fn pipeline(&mut self, source: &Source) -> Result<wgpu::ComputePipeline, BackendError> {
        if let Some(pipeline) = self.compiled.get(&source.text) {
            return Ok(pipeline.clone());
        }
        let pipeline = self.device.scoped("compiling a kernel", |device| {
            let text = wgpu::ShaderSource::Wgsl(source.text.as_str().into());
            let descriptor = wgpu::ShaderModuleDescriptor { label: Some(source.label), source: text };
            let module = module(device, descriptor);
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(source.label),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: None,
            })
        })?;
        self.compiled.insert(source.text.clone(), pipeline.clone());
        Ok(pipeline)
    }
}

/// Compiles a text whose loops all end. Otherwise each of them is given a second counter that ends it, which keeps compilers from
/// unrolling the small ones: three times the time for a linear layer, and as much for compiling it.
#[expect(unsafe_code, reason = "wgpu takes the caller's word that loops end")]
fn module(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
    // SAFETY: every loop of every kernel counts, in steps of at least 1, to a constant, to a size from a uniform buffer that the
    // host wrote, or to a position that it bounds by the width of a block table; none runs on what a buffer happens to hold. All other
    // checks, those of bounds among them, stay.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

impl Call {
    /// Records the kernel for a number of entries.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, entries: u32) {
        if entries > 0 {
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.bind_group, &[]);
            // Entries first: workgroups that read the same weights run next to each other.
            pass.dispatch_workgroups(entries.div_ceil(self.entries_per_workgroup), self.workgroups, 1);
        }
    }
}

/// A uniform buffer for the number of entries of a step, or of those whose logits are wanted.
///
/// # Errors
/// When there is no memory left.
pub fn count_buffer(device: &Device) -> Result<DeviceBuffer, BackendError> {
    device.uniform("count", &[0u32; 4])
}

/// Sets the number that kernels bound to a count buffer find there from the next submission on.
pub fn write_count(device: &Device, buffer: &DeviceBuffer, count: u32) {
    device.write(buffer, 0, &[count, 0, 0, 0]);
}

/// The text of a kernel: constants, then what it is put together from, then its body.
struct Source {
    label: &'static str,
    text: String,
}

impl Source {
    fn new(label: &'static str) -> Self {
        Self { label, text: String::new() }
    }

    fn constant(mut self, name: &str, value: usize) -> Self {
        // Writing into a string cannot fail.
        let _infallible = writeln!(self.text, "const {name}: u32 = {value}u;");
        self
    }

    fn flag(mut self, name: &str, value: bool) -> Self {
        let _infallible = writeln!(self.text, "const {name}: bool = {value};");
        self
    }

    fn number(mut self, name: &str, value: f32) -> Self {
        let _infallible = writeln!(self.text, "const {name}: f32 = {value:?}f;");
        self
    }

    fn with(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// How weights of a precision are loaded: `unit_weights(words, index)` and `unit_scale(row, unit)`.
    fn weights(self, precision: Precision) -> Self {
        let words = match precision {
            Precision::F32 => include_str!("kernels/weights_f32.wgsl"),
            Precision::F16 => include_str!("kernels/weights_f16.wgsl"),
            Precision::Int8(_) => include_str!("kernels/weights_int8.wgsl"),
            Precision::Int4(_) => include_str!("kernels/weights_int4.wgsl"),
        };
        let scales = match precision.block_format() {
            None => "",
            Some(BlockFormat { zero_point: false, f16_scales: false }) => include_str!("kernels/scales_f32.wgsl"),
            Some(BlockFormat { zero_point: false, f16_scales: true }) => include_str!("kernels/scales_f16.wgsl"),
            Some(BlockFormat { zero_point: true, f16_scales: false }) => {
                include_str!("kernels/scales_zeros_f32.wgsl")
            }
            Some(BlockFormat { zero_point: true, f16_scales: true }) => {
                include_str!("kernels/scales_zeros_f16.wgsl")
            }
        };
        self.with(scales).with(words)
    }
}
