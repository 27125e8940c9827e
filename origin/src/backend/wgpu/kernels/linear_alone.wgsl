// An invocation alone for each tile.
@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(global_invocation_id) id: vec3<u32>) {
    let first_row = id.x * ROWS;
    if first_row < shape.rows {
        write_all(first_row, group.y * ENTRIES, lane_sums(first_row, group.y * ENTRIES, 0u));
    }
}
