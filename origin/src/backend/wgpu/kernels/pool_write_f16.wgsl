// Two numbers into a pool of 16-bit floats, at an even place: one word.
fn write_key(place: u32, numbers: vec2<f32>) {
    keys[place / 2u] = pack2x16float(numbers);
}

fn write_value(place: u32, numbers: vec2<f32>) {
    values[place / 2u] = pack2x16float(numbers);
}
