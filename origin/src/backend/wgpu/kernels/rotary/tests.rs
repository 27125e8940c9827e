use proptest::prelude::*;

use super::*;
use crate::backend::wgpu::{
    kernels::Entry,
    reference::{agree, fetched, fetched_pool, kernels, numbers, ran, rms_norm, turned, uploaded, uploaded_pool},
};

const CONTEXT: usize = 50;
const EPSILON: f32 = 1e-6;

/// Entries at scattered positions and slots, each slot once.
fn entries(count: usize, slots: usize) -> Vec<Entry> {
    let at = |index: usize| ((index * 17 + 5) % CONTEXT, (index * 7 + 3) % slots);
    let entry = |(position, slot)| Entry { position: position as u32, slot: slot as u32, ..Entry::default() };
    (0..count).map(|index| entry(at(index))).collect()
}

/// What a kernel wrote.
struct Written {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

fn on_device(shape: HeadShape, entries: &[Entry], projected: &[f32], norms: Option<&[f32]>) -> Written {
    let pool = 4 * shape.block_bytes() / if shape.f16_pool { 2 } else { 4 };
    let (keys, values) =
        (uploaded_pool(&vec![7.0; pool], shape.f16_pool), uploaded_pool(&vec![7.0; pool], shape.f16_pool));
    let queries = uploaded(&vec![7.0f32; entries.len() * shape.heads * shape.head_size]);
    let weights = norms.map(uploaded);
    let rotary = Rotary {
        shape,
        entries: &uploaded(entries),
        angles: &uploaded(&table(shape)),
        projected: &uploaded(projected),
        norms: weights.as_ref().map(|weights| HeadNorms { weights, epsilon: EPSILON }),
        queries: &queries,
        keys: &keys,
        values: &values,
    };
    let call = rotary.bind(&mut kernels()).expect("it compiles");
    ran(|pass| call.record(pass, entries.len() as u32));
    Written {
        queries: fetched(&queries, entries.len() * shape.heads * shape.head_size),
        keys: fetched_pool(&keys, pool, shape.f16_pool),
        values: fetched_pool(&values, pool, shape.f16_pool),
    }
}

fn table(shape: HeadShape) -> Vec<[f32; 2]> {
    let half = shape.rotary_width / 2;
    let frequencies: Vec<f64> = (0..half).map(|place| 10_000f64.powf(-(place as f64) / half as f64)).collect();
    angles(&frequencies, CONTEXT)
}

fn on_host(shape: HeadShape, entries: &[Entry], projected: &[f32], norms: Option<&[f32]>) -> Written {
    let HeadShape { heads, kv_heads, head_size, block_tokens, .. } = shape;
    let pool = 4 * kv_heads * block_tokens * head_size;
    let mut written = Written { queries: Vec::new(), keys: vec![7.0; pool], values: vec![7.0; pool] };
    let (table, half) = (table(shape), shape.rotary_width / 2);
    for (entry, all) in entries.iter().zip(projected.chunks_exact((heads + 2 * kv_heads) * head_size)) {
        for (head, numbers) in all.chunks_exact(head_size).enumerate() {
            let weights = norms.map(|norms| &norms[if head < heads { 0 } else { head_size }..][..head_size]);
            let normed = weights.map_or(numbers.to_vec(), |weights| rms_norm(numbers, weights, EPSILON));
            let done = turned(&normed, &table[entry.position as usize * half..][..half]);
            let (block, place) = (entry.slot as usize / block_tokens, entry.slot as usize % block_tokens);
            let at = |kv_head| ((block * kv_heads + kv_head) * block_tokens + place) * head_size;
            if head < heads {
                written.queries.extend(done);
            } else if head < heads + kv_heads {
                written.keys[at(head - heads)..][..head_size].copy_from_slice(&done);
            } else {
                written.values[at(head - heads - kv_heads)..][..head_size].copy_from_slice(numbers);
            }
        }
    }
    written
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn heads_are_normed_and_turned_and_land_in_their_slots(
        (heads, kv_heads) in prop::sample::select(vec![(9, 3), (6, 2), (4, 4), (1, 1)]),
        (head_size, rotary_width) in prop::sample::select(vec![(32, 32), (64, 64), (80, 32), (64, 0), (80, 80), (128, 128), (12, 4)]),
        f16_pool in any::<bool>(), normed in any::<bool>(), block_tokens in 2usize..9, count in 1usize..8, seed in any::<u64>(),
    ) {
        let shape = HeadShape { heads, kv_heads, head_size, rotary_width, block_tokens, f16_pool };
        let entries = entries(count.min(4 * block_tokens), 4 * block_tokens);
        // Slots of a stride that shares a factor with their number would meet.
        prop_assume!((4 * block_tokens) % 7 != 0);
        let projected = numbers(seed, entries.len() * (heads + 2 * kv_heads) * head_size);
        let weights = numbers(3, 2 * head_size);
        let norms = normed.then_some(weights.as_slice());
        let (actual, expected) =
            (on_device(shape, &entries, &projected, norms), on_host(shape, &entries, &projected, norms));
        let tolerance = if f16_pool { 1e-3 } else { 4e-6 };
        agree(&actual.queries, &expected.queries, 4e-6);
        agree(&actual.keys, &expected.keys, tolerance);
        agree(&actual.values, &expected.values, tolerance);
    }
}

#[test]
fn angles_are_positions_times_frequencies() {
    let angles = angles(&[1.0, 0.5], 3);
    assert_eq!(angles.len(), 6);
    assert_eq!(angles[5], [1.0f64.cos() as f32, 1.0f64.sin() as f32]);
}
