// Attention of one head of one entry by one workgroup, INVOCATIONS positions at a time. First each invocation scores one position;
// then the invocations, as STRANDS groups of HEAD_VECTORS, add up the values, each group every STRANDS-th position.
@group(0) @binding(0) var<storage, read> entries: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> attended: array<vec4<f32>>;

const STRANDS: u32 = INVOCATIONS / HEAD_VECTORS;
const LOWEST: f32 = -3.0e38;

var<workgroup> query: array<vec4<f32>, HEAD_VECTORS>;
var<workgroup> scores: array<f32, INVOCATIONS>;
var<workgroup> strand_sums: array<vec4<f32>, INVOCATIONS>;

// Where a position's key and value begin in their pools, in vectors.
fn pool_place(table: u32, kv_head: u32, position: u32) -> u32 {
    let block = tables[table * TABLE_BLOCKS + position / BLOCK_TOKENS];
    return ((block * KV_HEADS + kv_head) * BLOCK_TOKENS + position % BLOCK_TOKENS) * HEAD_VECTORS;
}

fn score(place: u32) -> f32 {
    var strands = vec4(0.0);
    for (var index = 0u; index < HEAD_VECTORS; index++) {
        strands = fma(query[index], key_vector(place + index), strands);
    }
    return ((strands.x + strands.y) + (strands.z + strands.w)) * SCALE;
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let kv_head = head / (HEADS / KV_HEADS);
    let own = (group.y * HEADS + head) * HEAD_VECTORS;
    let table = entries[group.y].z;
    let positions = entries[group.y].y + 1u;
    if lane < HEAD_VECTORS {
        query[lane] = queries[own + lane];
    }
    let vector = lane % HEAD_VECTORS;
    let strand = lane / HEAD_VECTORS;
    var highest = LOWEST;
    var weights = 0.0;
    var sum = vec4(0.0);
    for (var first = 0u; first < positions; first += INVOCATIONS) {
        workgroupBarrier();
        let here = min(INVOCATIONS, positions - first);
        if lane < here {
            scores[lane] = score(pool_place(table, kv_head, first + lane));
        }
        workgroupBarrier();
        // Every invocation finds the same maximum and adds up the same weights.
        var higher = highest;
        for (var index = 0u; index < here; index++) {
            higher = max(higher, scores[index]);
        }
        let kept = exp(highest - higher);
        highest = higher;
        weights *= kept;
        sum *= kept;
        for (var index = 0u; index < here; index++) {
            weights += exp(scores[index] - highest);
        }
        if strand < STRANDS {
            for (var index = strand; index < here; index += STRANDS) {
                let weight = exp(scores[index] - highest);
                sum = fma(vec4(weight), value_vector(pool_place(table, kv_head, first + index) + vector), sum);
            }
        }
    }
    strand_sums[lane] = sum;
    workgroupBarrier();
    if lane < HEAD_VECTORS {
        var total = vec4(0.0);
        for (var index = 0u; index < STRANDS; index++) {
            total += strand_sums[index * HEAD_VECTORS + lane];
        }
        attended[own + lane] = total / weights;
    }
}
