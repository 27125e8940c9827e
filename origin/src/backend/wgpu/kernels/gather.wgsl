// Copies the wanted entries, four numbers by an invocation.
@group(0) @binding(0) var<storage, read> wanted: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let place = group.y * INVOCATIONS + lane;
    if place < WIDTH4 {
        y[group.x * WIDTH4 + place] = x[wanted[group.x] * WIDTH4 + place];
    }
}
