use proptest::prelude::*;

use super::*;
use crate::backend::wgpu::{
    kernels::Entry,
    reference::{agree, attention, fetched, kernels, numbers, ran, rounded_f16, uploaded, uploaded_pool},
};

/// Rows of attention in blocks that lie scattered over a pool, and entries that look at them.
struct Case {
    shape: HeadShape,
    table_blocks: usize,
    tables: Vec<u32>,
    entries: Vec<Entry>,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Case {
    /// Rows of `table_blocks` blocks each; an entry for each pair of row and position.
    fn new(shape: HeadShape, (rows, table_blocks): (usize, usize), looks: &[(u32, u32)], seed: u64) -> Self {
        let blocks = rows * table_blocks;
        let pool = blocks * shape.kv_heads * shape.block_tokens * shape.head_size;
        let spread =
            |numbers: Vec<f32>| rounded_f16(&numbers.iter().map(|number| number * 3.0).collect::<Vec<_>>());
        Self {
            shape,
            table_blocks,
            tables: (0..blocks as u32).rev().collect(),
            entries: looks
                .iter()
                .map(|(table, position)| Entry { table: *table, position: *position, ..Entry::default() })
                .collect(),
            queries: numbers(seed, looks.len() * shape.heads * shape.head_size),
            keys: spread(numbers(seed ^ 1, pool)),
            values: spread(numbers(seed ^ 2, pool)),
        }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.shape.head_size as f32).sqrt()
    }

    /// On the device, the entries in this range in one step.
    fn on_device(&self, range: std::ops::Range<usize>) -> Vec<f32> {
        let entry_numbers = self.shape.heads * self.shape.head_size;
        let count = range.len();
        let attended = uploaded(&vec![7.0f32; count * entry_numbers]);
        let f16 = self.shape.f16_pool;
        let kernel = Attention {
            shape: self.shape,
            scale: self.scale(),
            table_blocks: self.table_blocks,
            entries: &uploaded(&self.entries[range.clone()]),
            tables: &uploaded(&self.tables),
            queries: &uploaded(&self.queries[range.start * entry_numbers..range.end * entry_numbers]),
            keys: &uploaded_pool(&self.keys, f16),
            values: &uploaded_pool(&self.values, f16),
            attended: &attended,
        };
        let call = kernel.bind(&mut kernels()).expect("it compiles");
        ran(|pass| call.record(pass, count as u32));
        fetched(&attended, count * entry_numbers)
    }

    fn on_host(&self) -> Vec<f32> {
        let HeadShape { heads, kv_heads, head_size, block_tokens, .. } = self.shape;
        let mut attended = Vec::new();
        for (entry, queries) in self.entries.iter().zip(self.queries.chunks_exact(heads * head_size)) {
            for (head, query) in queries.chunks_exact(head_size).enumerate() {
                let at = |position: usize| {
                    let block =
                        self.tables[entry.table as usize * self.table_blocks + position / block_tokens] as usize;
                    let kv_head = head / (heads / kv_heads);
                    ((block * kv_heads + kv_head) * block_tokens + position % block_tokens) * head_size
                };
                let rows = |pool: &[f32]| -> Vec<Vec<f32>> {
                    (0..=entry.position as usize)
                        .map(|position| pool[at(position)..][..head_size].to_vec())
                        .collect()
                };
                attended.extend(attention(query, &rows(&self.keys), &rows(&self.values), self.scale()));
            }
        }
        attended
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]
    #[test]
    fn it_agrees_with_the_plain_one_at_any_position_of_any_row(
        (heads, kv_heads) in prop::sample::select(vec![(9, 3), (6, 2), (14, 2), (4, 4), (1, 1)]),
        head_size in prop::sample::select(vec![4, 32, 48, 64, 80, 128, 256]),
        f16_pool in any::<bool>(), block_tokens in prop::sample::select(vec![4usize, 16, 32]),
        table_blocks in 1usize..12, seed in any::<u64>(),
    ) {
        let shape = HeadShape { heads, kv_heads, head_size, rotary_width: head_size, block_tokens, f16_pool };
        let last = (block_tokens * table_blocks - 1) as u32;
        let looks = [(0, 0), (1, last), (2, last / 2), (1, last / 3), (0, last)];
        let case = Case::new(shape, (3, table_blocks), &looks, seed);
        agree(&case.on_device(0..5), &case.on_host(), 5e-6);
    }
}

#[test]
fn an_entry_gives_the_same_bits_alone_and_among_others() {
    let shape =
        HeadShape { heads: 9, kv_heads: 3, head_size: 64, rotary_width: 64, block_tokens: 16, f16_pool: false };
    let looks = [(0, 0), (1, 130), (1, 131), (2, 64), (0, 63), (2, 65)];
    let case = Case::new(shape, (3, 10), &looks, 4);
    let together = case.on_device(0..6);
    for (entry, numbers) in together.chunks_exact(9 * 64).enumerate() {
        assert_eq!(case.on_device(entry..entry + 1), numbers);
    }
}

#[test]
fn scores_that_differ_by_thousands_do_no_harm() {
    let shape =
        HeadShape { heads: 1, kv_heads: 1, head_size: 32, rotary_width: 32, block_tokens: 16, f16_pool: false };
    let mut case = Case::new(shape, (1, 12), &[(0, 190)], 9);
    case.queries.iter_mut().for_each(|number| *number *= 3000.0);
    agree(&case.on_device(0..1), &case.on_host(), 1e-3);
}
