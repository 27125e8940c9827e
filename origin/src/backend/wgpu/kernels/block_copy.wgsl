// Copies a block of keys and one of values, two words of each by an invocation.
@group(0) @binding(0) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read_write> keys: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> values: array<vec2<u32>>;

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let place = group.y * INVOCATIONS + lane;
    if place < WORD_PAIRS {
        let source = pairs[group.x].x * WORD_PAIRS + place;
        let aim = pairs[group.x].y * WORD_PAIRS + place;
        keys[aim] = keys[source];
        values[aim] = values[source];
    }
}
