// Of one chunk of a row of logits: the candidates, the greatest key and the sum of exponentials above its logit.
@group(0) @binding(0) var<storage, read> requests: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> permitted: array<u32>;
@group(0) @binding(2) var<storage, read> logits: array<u32>;
@group(0) @binding(3) var<storage, read_write> candidates: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> chunk_sums: array<vec2<u32>>;

var<workgroup> keys: array<u32, CHUNK>;
var<workgroup> first_id: u32;
var<workgroup> greatest: atomic<u32>;
var<workgroup> strands: array<f32, 256>;

fn item_at(index: u32) -> vec2<u32> {
    return vec2(keys[index], ID_CEILING - first_id - index);
}

// The key of an entry that may be picked; 0 for the others and for what is not finite.
fn permitted_key(request: u32, id: u32) -> u32 {
    if id >= VOCABULARY || ((permitted[request * MASK_WORDS + id / 32u] >> (id % 32u)) & 1u) == 0u {
        return 0u;
    }
    let bits = logits[requests[request].x * VOCABULARY + id];
    return select(key_of(bits), 0u, (bits & 0x7f800000u) == 0x7f800000u);
}

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let request = group.x;
    if lane == 0u {
        first_id = group.y * CHUNK;
        atomicStore(&greatest, 0u);
    }
    workgroupBarrier();
    for (var index = lane; index < CHUNK; index += INVOCATIONS) {
        let key = permitted_key(request, group.y * CHUNK + index);
        keys[index] = key;
        atomicMax(&greatest, key);
    }
    workgroupBarrier();
    let highest = bitcast<f32>(bits_of(atomicLoad(&greatest)));
    var sum = 0.0;
    for (var index = lane; index < CHUNK; index += INVOCATIONS) {
        if keys[index] != 0u {
            sum += exp(bitcast<f32>(bits_of(keys[index])) - highest);
        }
    }
    strands[lane] = sum;
    workgroupBarrier();
    for (var half = INVOCATIONS / 2u; half > 0u; half /= 2u) {
        if lane < half {
            strands[lane] += strands[lane + half];
        }
        workgroupBarrier();
    }
    let place = request * CHUNKS + group.y;
    if lane == 0u {
        chunk_sums[place] = vec2(atomicLoad(&greatest), bitcast<u32>(strands[0]));
    }
    let wanted = requests[request].y;
    pick(lane, CHUNK, wanted);
    if lane < wanted {
        let is_there = lane < atomicLoad(&picked_count);
        candidates[place * PICKED_MAX + lane] = select(vec2(0u), picked[lane], is_there);
    }
}
