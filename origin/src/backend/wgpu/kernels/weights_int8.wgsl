// 16 weights of 8 bits in a unit, half a block.
const UNIT_VECTORS: u32 = 4u;
const SYMMETRIC_ZERO: f32 = 0.0;

fn unit_weights(words: vec4<u32>, index: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(words[index]));
}

// Scale and zero point of the unit with this number in the matrix.
fn unit_scale(unit: u32) -> vec2<f32> {
    return block_scale(unit / 2u);
}
