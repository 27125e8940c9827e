// Each head of queries and keys is normed before it is turned. Every invocation adds up the squares of the whole head again:
// heads are small and in the cache, and nobody has to wait for anybody.
@group(0) @binding(6) var<storage, read> norms: array<f32>;

fn norm_factor(first: u32) -> f32 {
    var squares = vec4(0.0);
    for (var place = first; place < first + HEAD_SIZE; place += 4u) {
        let numbers = vec4(projected[place], projected[place + 1u], projected[place + 2u], projected[place + 3u]);
        squares = fma(numbers, numbers, squares);
    }
    return 1.0 / sqrt(((squares.x + squares.y) + (squares.z + squares.w)) / f32(HEAD_SIZE) + EPSILON);
}

fn norm_weight(head: u32, place: u32) -> f32 {
    return norms[select(0u, HEAD_SIZE, head >= HEADS) + place];
}
