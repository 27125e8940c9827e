// Norms and turns queries and keys, and writes keys and values to their blocks. An invocation takes four numbers of a head: two
// pairs, each with its partner half a width further on, or four in a row where nothing turns.
@group(0) @binding(0) var<storage, read> entries: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> angles: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> projected: array<f32>;
@group(0) @binding(3) var<storage, read_write> queries: array<f32>;
@group(0) @binding(4) var<storage, read_write> keys: array<u32>;
@group(0) @binding(5) var<storage, read_write> values: array<u32>;

const QUADS: u32 = HEAD_SIZE / 4u;
const HALF: u32 = ROTARY_WIDTH / 2u;

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let entry = group.x;
    let place = group.y * INVOCATIONS + lane;
    let head = place / QUADS;
    let quad = place % QUADS;
    if head >= HEADS + 2u * KV_HEADS {
        return;
    }
    let turns = quad < ROTARY_WIDTH / 4u;
    let low = select(quad * 4u, quad * 2u, turns);
    let high = select(low + 2u, low + HALF, turns);
    let first = (entry * (HEADS + 2u * KV_HEADS) + head) * HEAD_SIZE;
    if head >= HEADS + KV_HEADS {
        // Values neither turn nor are normed.
        write(entry, head, low, vec2(projected[first + low], projected[first + low + 1u]));
        write(entry, head, high, vec2(projected[first + high], projected[first + high + 1u]));
        return;
    }
    let factor = norm_factor(first);
    let lower = factor * vec2(
        projected[first + low] * norm_weight(head, low),
        projected[first + low + 1u] * norm_weight(head, low + 1u),
    );
    let upper = factor * vec2(
        projected[first + high] * norm_weight(head, high),
        projected[first + high + 1u] * norm_weight(head, high + 1u),
    );
    if !turns {
        write(entry, head, low, lower);
        write(entry, head, high, upper);
        return;
    }
    let angle = entries[entry].y * HALF + low;
    let cosine = vec2(angles[angle].x, angles[angle + 1u].x);
    let sine = vec2(angles[angle].y, angles[angle + 1u].y);
    write(entry, head, low, lower * cosine - upper * sine);
    write(entry, head, high, upper * cosine + lower * sine);
}

fn write(entry: u32, head: u32, place: u32, numbers: vec2<f32>) {
    if head < HEADS {
        let target_place = (entry * HEADS + head) * HEAD_SIZE + place;
        queries[target_place] = numbers.x;
        queries[target_place + 1u] = numbers.y;
        return;
    }
    let slot = entries[entry].w;
    let kv_head = (head - HEADS) % KV_HEADS;
    let row = (slot / BLOCK_TOKENS * KV_HEADS + kv_head) * BLOCK_TOKENS + slot % BLOCK_TOKENS;
    if head < HEADS + KV_HEADS {
        write_key(row * HEAD_SIZE + place, numbers);
    } else {
        write_value(row * HEAD_SIZE + place, numbers);
    }
}
