// RMSNorm of one entry by one workgroup. Each invocation squares every INVOCATIONS-th vector; all of them add up the strands.
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

var<workgroup> strands: array<f32, INVOCATIONS>;

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * WIDTH4;
    var squares = vec4(0.0);
    for (var place = lane; place < WIDTH4; place += INVOCATIONS) {
        let numbers = x[first + place];
        squares = fma(numbers, numbers, squares);
    }
    strands[lane] = (squares.x + squares.y) + (squares.z + squares.w);
    workgroupBarrier();
    var total = 0.0;
    for (var strand = 0u; strand < INVOCATIONS; strand++) {
        total += strands[strand];
    }
    let factor = 1.0 / sqrt(total / f32(WIDTH4 * 4u) + EPSILON);
    for (var place = lane; place < WIDTH4; place += INVOCATIONS) {
        y[first + place] = x[first + place] * factor * weight[place];
    }
}
