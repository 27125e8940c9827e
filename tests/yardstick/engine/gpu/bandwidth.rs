//! What the memory of an adapter gives: a kernel that reads a large buffer once and writes next to nothing.

use std::time::Duration;

use lede_origin::backend::wgpu::device::Device;
use wgpu::util::DeviceExt as _;

use crate::decode::seconds_of;

/// Larger than any cache of a GPU, where the adapter permits it.
const BYTES_MAX: u64 = 1 << 30;
const PASSES: u32 = 16;
const INVOCATIONS: u32 = 256;
const WORKGROUPS: u32 = 8_192;
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Neighbours read neighbouring words; the sum is written so that nothing is left out as unused.
const KERNEL: &str = "
@group(0) @binding(0) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;
@compute @workgroup_size(256)
fn read_all(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    var sum = vec4<u32>(0u);
    let count = arrayLength(&words);
    for (var at = id.x; at < count; at += groups.x * 256u) {
        sum += words[at];
    }
    sums[id.x] = sum.x + sum.y + sum.z + sum.w;
}
";

/// Bytes read in a second, the best that plain reading does.
pub(super) fn bytes_per_s(device: &Device) -> f64 {
    let capabilities = device.capabilities();
    let software_max = if capabilities.software { 1 << 26 } else { BYTES_MAX };
    let bytes = software_max.min(capabilities.binding_bytes_max).min(capabilities.buffer_bytes_max) & !0xff;
    let raw = device.raw();
    let words = raw.create_buffer(&wgpu::BufferDescriptor {
        label: Some("words"),
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let sums = raw.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: Some("sums"),
        contents: &vec![0; (INVOCATIONS * WORKGROUPS * 4) as usize],
        usage: wgpu::BufferUsages::STORAGE,
    });
    let module = raw.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("bandwidth"),
        source: wgpu::ShaderSource::Wgsl(KERNEL.into()),
    });
    let pipeline = raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("bandwidth"),
        layout: None,
        module: &module,
        entry_point: Some("read_all"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let group = raw.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("bandwidth"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: words.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: sums.as_entire_binding() },
        ],
    });
    run(device, &pipeline, &group, 1);
    let seconds = seconds_of(|| run(device, &pipeline, &group, PASSES));
    bytes as f64 * f64::from(PASSES) / seconds
}

fn run(device: &Device, pipeline: &wgpu::ComputePipeline, group: &wgpu::BindGroup, passes: u32) {
    let mut encoder = device.encoder();
    for _ in 0..passes {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(WORKGROUPS, 1, 1);
    }
    device.submit(encoder).expect("it is taken");
    device.wait(WAIT_MAX).expect("it is done");
}
