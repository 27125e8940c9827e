// Of the candidates of all chunks of a row: the likeliest, in order, and the logarithm of all exponentials' sum.
@group(0) @binding(0) var<storage, read> requests: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> candidates: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> chunk_sums: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> results: array<vec2<u32>>;

const MINUS_INFINITY: u32 = 0xff800000u;

var<workgroup> request: u32;
var<workgroup> wanted: u32;

// Chunks' candidates lie PICKED_MAX apart, however few are wanted.
fn item_at(index: u32) -> vec2<u32> {
    let chunk = request * CHUNKS + index / wanted;
    return candidates[chunk * PICKED_MAX + index % wanted];
}

fn log_sum_exp() -> u32 {
    var greatest = 0u;
    for (var chunk = request * CHUNKS; chunk < request * CHUNKS + CHUNKS; chunk++) {
        greatest = max(greatest, chunk_sums[chunk].x);
    }
    if greatest == 0u {
        return MINUS_INFINITY;
    }
    let highest = bitcast<f32>(bits_of(greatest));
    var sum = 0.0;
    for (var chunk = request * CHUNKS; chunk < request * CHUNKS + CHUNKS; chunk++) {
        let its = chunk_sums[chunk];
        if its.x != 0u {
            sum += bitcast<f32>(its.y) * exp(bitcast<f32>(bits_of(its.x)) - highest);
        }
    }
    return bitcast<u32>(highest + log(sum));
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if lane == 0u {
        request = group.x;
        wanted = requests[group.x].y;
    }
    workgroupBarrier();
    pick(lane, CHUNKS * wanted, wanted);
    let found = atomicLoad(&picked_count);
    let first = request * (PICKED_MAX + 1u);
    if lane == 0u {
        results[first] = vec2(found, log_sum_exp());
    }
    if lane < found {
        let item = picked[lane];
        var rank = 0u;
        for (var other = 0u; other < found; other++) {
            rank += select(0u, 1u, is_before(picked[other], item));
        }
        results[first + 1u + rank] = vec2(bits_of(item.x), ID_CEILING - item.y);
    }
}
