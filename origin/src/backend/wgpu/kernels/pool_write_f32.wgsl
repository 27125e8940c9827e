// Two numbers into a pool of 32-bit floats, at an even place.
fn write_key(place: u32, numbers: vec2<f32>) {
    keys[place] = bitcast<u32>(numbers.x);
    keys[place + 1u] = bitcast<u32>(numbers.y);
}

fn write_value(place: u32, numbers: vec2<f32>) {
    values[place] = bitcast<u32>(numbers.x);
    values[place + 1u] = bitcast<u32>(numbers.y);
}
