// Copies the wanted entries, four numbers by an invocation.
@group(0) @binding(0) var<storage, read> wanted: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < WIDTH4 {
        y[group.y * WIDTH4 + id.x] = x[wanted[group.y] * WIDTH4 + id.x];
    }
}
