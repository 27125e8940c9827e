@group(0) @binding(3) var<storage, read> scales: array<u32>;

fn block_scale(block: u32) -> vec2<f32> {
    return vec2(bitcast<f32>(scales[block * 2u]), bitcast<f32>(scales[block * 2u + 1u]));
}
