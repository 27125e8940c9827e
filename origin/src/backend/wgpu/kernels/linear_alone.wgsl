// An invocation alone for each tile.
@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_row = (group.y * INVOCATIONS + lane) * ROWS;
    if first_row < shape.rows {
        write_all(first_row, group.x * ENTRIES, lane_sums(first_row, group.x * ENTRIES, 0u));
    }
}
