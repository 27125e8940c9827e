// 8 weights of 16 bits in a unit. Unpacking needs no feature of the adapter.
const UNIT_VECTORS: u32 = 2u;

fn unit_weights(words: vec4<u32>, index: u32) -> vec4<f32> {
    let pair = select(words.xy, words.zw, index == 1u);
    return vec4(unpack2x16float(pair.x), unpack2x16float(pair.y));
}

fn unit_scale(unit: u32) -> vec2<f32> {
    return vec2(1.0, 0.0);
}
