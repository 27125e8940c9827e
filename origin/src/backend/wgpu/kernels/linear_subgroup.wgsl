// A subgroup for each tile of rows; which invocations are in it is the device's affair.
@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first_row = (group.y * (INVOCATIONS / LANES) + subgroup) * ROWS;
    var sums = lane_sums(first_row, group.x * ENTRIES, lane);
    for (var sum = 0u; sum < SUMS; sum++) {
        sums[sum] = subgroupAdd(sums[sum]);
    }
    if lane == 0u {
        write_all(first_row, group.x * ENTRIES, sums);
    }
}
