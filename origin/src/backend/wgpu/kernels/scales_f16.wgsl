@group(0) @binding(3) var<storage, read> scales: array<u32>;

fn block_scale(block: u32) -> vec2<f32> {
    return vec2(unpack2x16float(scales[block / 2u] >> ((block % 2u) * 16u)).x, SYMMETRIC_ZERO);
}
