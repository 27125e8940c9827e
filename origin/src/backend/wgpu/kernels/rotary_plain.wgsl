// Heads are turned as they were projected.
fn norm_factor(first: u32) -> f32 {
    return 1.0;
}

fn norm_weight(head: u32, place: u32) -> f32 {
    return 1.0;
}
