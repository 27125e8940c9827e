// 4 weights of 32 bits in a unit.
const UNIT_VECTORS: u32 = 1u;

fn unit_weights(words: vec4<u32>, index: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(words);
}

fn unit_scale(unit: u32) -> vec2<f32> {
    return vec2(1.0, 0.0);
}
