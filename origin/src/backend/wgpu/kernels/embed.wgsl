// Embedding look-up: a workgroup's invocations take the units of one entry's row.
@group(0) @binding(1) var<storage, read> entries: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> hidden: array<vec4<f32>>;

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let unit = group.y * INVOCATIONS + lane;
    let row = entries[group.x].x - FIRST_ROW; // Wraps around for the rows of earlier parts.
    if unit >= UNITS || row >= ROWS {
        return;
    }
    let words = weights[row * UNITS + unit];
    let fitted = unit_scale(row * UNITS + unit);
    for (var index = 0u; index < UNIT_VECTORS; index++) {
        let place = unit * UNIT_VECTORS + index;
        if place < WIDTH4 {
            hidden[group.x * WIDTH4 + place] = fitted.x * (unit_weights(words, index) - fitted.y);
        }
    }
}
