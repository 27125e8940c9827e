// Four numbers of a pool of 32-bit floats.
@group(0) @binding(3) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> values: array<vec4<f32>>;

fn key_vector(place: u32) -> vec4<f32> {
    return keys[place];
}

fn value_vector(place: u32) -> vec4<f32> {
    return values[place];
}
