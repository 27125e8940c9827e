// 32 weights of 4 bits in a unit, a block: the lower halves of a word's bytes, then the upper ones.
const UNIT_VECTORS: u32 = 8u;
const SYMMETRIC_ZERO: f32 = 8.0;

fn unit_weights(words: vec4<u32>, index: u32) -> vec4<f32> {
    let word = words[index / 2u] >> ((index % 2u) * 4u);
    return vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu));
}

// Scale and zero point of the unit with this number in the matrix.
fn unit_scale(unit: u32) -> vec2<f32> {
    return block_scale(unit);
}
