// LANES invocations for each tile of rows; they meet in workgroup memory, where one of them adds up each output.
var<workgroup> met: array<array<f32, INVOCATIONS>, SUMS>;

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let first_lane = invocation / LANES * LANES;
    let lane = invocation - first_lane;
    let first_row = (group.y * (INVOCATIONS / LANES) + invocation / LANES) * ROWS;
    var sums = lane_sums(first_row, group.x * ENTRIES, lane);
    for (var sum = 0u; sum < SUMS; sum++) {
        met[sum][invocation] = sums[sum];
    }
    workgroupBarrier();
    let step_sums = SUMS / ROWS_STEP;
    if lane < step_sums {
        let row = lane / ENTRIES * ROWS_STEP;
        let entry = lane % ENTRIES;
        write(
            first_row + row,
            group.x * ENTRIES + entry,
            met_total(row * ENTRIES + entry, first_lane),
            met_total((row + ROWS_STEP - 1u) * ENTRIES + entry, first_lane),
        );
    }
}

fn met_total(sum: u32, first_lane: u32) -> f32 {
    var total = 0.0;
    for (var lane = 0u; lane < LANES; lane++) {
        total += met[sum][first_lane + lane];
    }
    return total;
}
