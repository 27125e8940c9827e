// Four numbers of a pool of 16-bit floats. Unpacking needs no feature of the adapter.
@group(0) @binding(3) var<storage, read> keys: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> values: array<vec2<u32>>;

fn key_vector(place: u32) -> vec4<f32> {
    let words = keys[place];
    return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn value_vector(place: u32) -> vec4<f32> {
    let words = values[place];
    return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}
