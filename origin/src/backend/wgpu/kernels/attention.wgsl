// Attention of GROUP heads that share keys and values, of one entry, by one workgroup, INVOCATIONS positions at a time. First each
// invocation scores one position; then, as STRANDS strands of HEAD_VECTORS invocations, they add up values, each strand every
// STRANDS-th position.
@group(0) @binding(0) var<storage, read> entries: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> attended: array<vec4<f32>>;

const STRANDS: u32 = INVOCATIONS / HEAD_VECTORS;
const LOWEST: f32 = -3.0e38;
const EIGHTH: u32 = INVOCATIONS / 8u;

var<workgroup> query: array<array<vec4<f32>, HEAD_VECTORS>, GROUP>;
var<workgroup> scores: array<array<f32, INVOCATIONS>, GROUP>;
var<workgroup> eighths_highest: array<array<f32, 8>, GROUP>;
var<workgroup> weights: array<array<f32, INVOCATIONS>, GROUP>;
var<workgroup> places: array<u32, INVOCATIONS>;
var<workgroup> strand_sums: array<vec4<f32>, INVOCATIONS>;
var<workgroup> strand_totals: array<f32, INVOCATIONS>;

// Where a position's key and value begin in their pools, in vectors.
fn pool_place(table: u32, kv_head: u32, position: u32) -> u32 {
    let block = tables[table * TABLE_BLOCKS + position / BLOCK_TOKENS];
    return ((block * KV_HEADS + kv_head) * BLOCK_TOKENS + position % BLOCK_TOKENS) * HEAD_VECTORS;
}

// Scores the key at a place for all heads of the group.
fn score(lane: u32, place: u32) {
    var strands: array<vec4<f32>, GROUP>;
    for (var index = 0u; index < HEAD_VECTORS; index++) {
        let key = key_vector(place + index);
        for (var head = 0u; head < GROUP; head++) {
            strands[head] = fma(query[head][index], key, strands[head]);
        }
    }
    for (var head = 0u; head < GROUP; head++) {
        let strand = strands[head];
        scores[head][lane] = ((strand.x + strand.y) + (strand.z + strand.w)) * SCALE;
    }
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let kv_head = group.y * GROUP / (HEADS / KV_HEADS);
    let own = (group.x * HEADS + group.y * GROUP) * HEAD_VECTORS;
    let table = entries[group.x].z;
    let positions = min(entries[group.x].y + 1u, TABLE_BLOCKS * BLOCK_TOKENS);
    for (var index = lane; index < GROUP * HEAD_VECTORS; index += INVOCATIONS) {
        query[index / HEAD_VECTORS][index % HEAD_VECTORS] = queries[own + index];
    }
    let vector = lane % HEAD_VECTORS;
    let strand = lane / HEAD_VECTORS;
    var highest: array<f32, GROUP>;
    var totals: array<f32, GROUP>;
    var sums: array<vec4<f32>, GROUP>;
    for (var head = 0u; head < GROUP; head++) {
        highest[head] = LOWEST;
    }
    for (var first = 0u; first < positions; first += INVOCATIONS) {
        workgroupBarrier();
        let here = min(INVOCATIONS, positions - first);
        if lane < here {
            places[lane] = pool_place(table, kv_head, first + lane);
            score(lane, places[lane]);
        } else {
            for (var head = 0u; head < GROUP; head++) {
                scores[head][lane] = LOWEST;
            }
        }
        workgroupBarrier();
        if lane < 8u {
            for (var head = 0u; head < GROUP; head++) {
                var higher = LOWEST;
                for (var index = lane * EIGHTH; index < lane * EIGHTH + EIGHTH; index++) {
                    higher = max(higher, scores[head][index]);
                }
                eighths_highest[head][lane] = higher;
            }
        }
        workgroupBarrier();
        for (var head = 0u; head < GROUP; head++) {
            var higher = highest[head];
            for (var index = 0u; index < 8u; index++) {
                higher = max(higher, eighths_highest[head][index]);
            }
            let kept = exp(highest[head] - higher);
            highest[head] = higher;
            totals[head] *= kept;
            sums[head] *= kept;
            weights[head][lane] = exp(scores[head][lane] - higher);
        }
        workgroupBarrier();
        if strand < STRANDS {
            for (var index = strand; index < here; index += STRANDS) {
                let value = value_vector(places[index] + vector);
                for (var head = 0u; head < GROUP; head++) {
                    totals[head] += weights[head][index];
                    sums[head] = fma(vec4(weights[head][index]), value, sums[head]);
                }
            }
        }
    }
    for (var head = 0u; head < GROUP; head++) {
        workgroupBarrier();
        strand_sums[lane] = sums[head];
        strand_totals[lane] = totals[head];
        workgroupBarrier();
        if lane < HEAD_VECTORS {
            var sum = vec4(0.0);
            var total = 0.0;
            for (var index = lane; index < STRANDS * HEAD_VECTORS; index += HEAD_VECTORS) {
                sum += strand_sums[index];
                total += strand_totals[index];
            }
            attended[own + head * HEAD_VECTORS + lane] = sum / total;
        }
    }
}
