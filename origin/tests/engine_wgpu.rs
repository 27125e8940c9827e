//! The wgpu backend on small models of every family: it gives transformers' logits, and a row's are the same bits however it
//! came to its ids.
//!
//! Needs a Vulkan, Metal or DX12 adapter; a software one will do, and `cargo xtask test` provides it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "only a part of it is for one engine against itself, bit for bit")]
mod rows;
mod transformers;

use std::path::{Path, PathBuf};

use lede_origin::backend::wgpu::{self, PrecisionChoice, WgpuSettings};
use lede_origin::backend::{
    Backend, BackendError, FailureKind, LogitsWanted, Prefix, Row, RowWork, Selected, Selection, select_on_host,
};
use proptest::prelude::*;

use self::rows::largest_difference;
use self::transformers::expected;

const FAMILIES: [&str; 4] = ["tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-smollm3"];
const ROWS_MAX: usize = 6;
const CONTEXT_TOKENS: usize = 96;
/// What is expected is written with four digits after the point.
const DIFFERENCE_MAX: f32 = 5e-4;

fn fixture(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models").join(model)
}

fn settings(model: &str) -> WgpuSettings {
    WgpuSettings {
        model_dir: fixture(model),
        adapter: None,
        precision: PrecisionChoice::F32,
        rows_max: ROWS_MAX,
        context_tokens_max: CONTEXT_TOKENS,
        attention_bytes_max: 1 << 30,
        step_tokens_max: 256,
    }
}

fn open(settings: &WgpuSettings) -> Box<dyn Backend> {
    wgpu::open(settings).unwrap_or_else(|error| panic!("{error}"))
}

/// The logits after each of some ids, in one step.
fn read(backend: &mut dyn Backend, row: Row, ids: &[u32]) -> Vec<Vec<f32>> {
    backend.submit(&[RowWork { row, ids, logits: LogitsWanted::All }]).unwrap();
    (0..ids.len()).map(|offset| backend.logits(0, offset).unwrap().to_vec()).collect()
}

/// Some ids of a vocabulary of 96 or more, different for each `seed`: a linear congruential generator's.
fn ids(seed: u32, count: usize) -> Vec<u32> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(seed), next).skip(1).take(count).map(|state| (state >> 16) % 96).collect()
}

#[test]
fn every_family_gives_the_logits_of_transformers() {
    for model in FAMILIES {
        let cases = expected(&fixture(model));
        let mut backend = open(&settings(model));
        for case in &cases {
            let row = backend.open(None).unwrap();
            let mut written = vec![read(backend.as_mut(), row, &case.prompt_ids).pop().unwrap()];
            for id in &case.decoded_ids {
                written.extend(read(backend.as_mut(), row, &[*id]));
            }
            for (written, expected) in written.iter().zip(&case.logits) {
                let difference = largest_difference(written, expected);
                assert!(difference <= DIFFERENCE_MAX, "{model}: {difference}");
            }
        }
    }
}

#[test]
fn the_backend_says_what_it_runs_on_what_it_holds_and_what_its_tiles_compute_for_nobody() {
    let mut held = Vec::new();
    for precision in [PrecisionChoice::F32, PrecisionChoice::Int8] {
        let backend = open(&WgpuSettings { precision, ..settings("tiny-llama") });
        held.push(backend.device_bytes());
        let described = backend.description();
        assert_eq!((described.backend, described.file.as_str()), ("wgpu", "model.safetensors"));
        assert!(described.batched && !described.cooperative_matrices && described.driver.is_some(), "{described}");
        assert_eq!(described.precision, if precision == PrecisionChoice::F32 { "f32" } else { "int8" });
    }
    assert_eq!(open(&settings("tiny-qwen3")).description().file, "model.safetensors.index.json");
    assert!(held[1].weights_bytes < held[0].weights_bytes / 2, "{held:?}");
    assert!(held[1].attention_bytes * 2 == held[0].attention_bytes && held[0].scratch_bytes > 0, "{held:?}");

    let mut backend = open(&settings("tiny-llama"));
    let row = backend.open(None).unwrap();
    for (asked, computed) in [(1, 1), (4, 4), (5, 8), (13, 16)] {
        let before = backend.entries_computed();
        backend.submit(&[RowWork { row, ids: &ids(7, asked), logits: LogitsWanted::Last }]).unwrap();
        assert_eq!(backend.entries_computed() - before, computed, "{asked}");
    }
}

#[test]
fn a_row_has_the_same_bits_whole_in_pieces_among_others_forked_and_cut_back() {
    for (model, precision) in [
        ("tiny-llama", PrecisionChoice::F32),
        ("tiny-qwen2", PrecisionChoice::Int8),
        ("tiny-qwen3", PrecisionChoice::F16),
        ("tiny-smollm3", PrecisionChoice::Int4),
    ] {
        let all = ids(7, 40);
        let mut backend = open(&WgpuSettings { precision, ..settings(model) });
        let whole = backend.open(None).unwrap();
        let expected = read(backend.as_mut(), whole, &all);
        assert!(largest_difference(&expected[38], &expected[39]) > 1e-2, "{model}: positions differ");
        let same = |logits: &[Vec<f32>], first: usize, how: &str| {
            assert_eq!(logits, &expected[first..first + logits.len()], "{model}, {how}");
        };
        let pieces = backend.open(None).unwrap();
        let mut first = 0;
        for length in [1, 15, 2, 7, 1, 14] {
            same(&read(backend.as_mut(), pieces, &all[first..first + length]), first, "in pieces");
            first += length;
        }
        let fork = backend.open(Some(Prefix { row: whole, positions: 21 })).unwrap();
        read(backend.as_mut(), fork, &ids(8, 30));
        same(&among_others(backend.as_mut(), &all), 39, "among others");
        backend.truncate(fork, 19);
        backend.close(whole);
        same(&read(backend.as_mut(), fork, &all[19..]), 19, "forked and cut back");
        let mut cut_up = open(&WgpuSettings { precision, step_tokens_max: 7, ..settings(model) });
        let row = cut_up.open(None).unwrap();
        same(&read(cut_up.as_mut(), row, &all), 0, "in several submissions");
        same(&among_others(cut_up.as_mut(), &all), 39, "among others, in several submissions");
    }
}

/// The last logits of a row that is read in one step with two others.
fn among_others(backend: &mut dyn Backend, ids_of_row: &[u32]) -> Vec<Vec<f32>> {
    let rows: Vec<Row> = (0..3).map(|_| backend.open(None).unwrap()).collect();
    let (before, after) = (ids(21, 5), ids(22, 33));
    let work = [(rows[0], before.as_slice()), (rows[1], ids_of_row), (rows[2], &after)];
    let work = work.map(|(row, ids)| RowWork { row, ids, logits: LogitsWanted::Last });
    backend.submit(&work).unwrap();
    let logits = backend.logits(1, ids_of_row.len() - 1).unwrap().to_vec();
    rows.iter().for_each(|row| backend.close(*row));
    vec![logits]
}

#[derive(Clone, Debug)]
enum Deed {
    Open,
    Fork { of: usize, positions: usize },
    Step { counts: Vec<usize> },
    Truncate { row: usize, positions: usize },
    Close { row: usize },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => Just(Deed::Open),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(of, positions)| Deed::Fork { of, positions }),
        5 => prop::collection::vec(0usize..20, ROWS_MAX).prop_map(|counts| Deed::Step { counts }),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(row, positions)| Deed::Truncate { row, positions }),
        1 => any::<usize>().prop_map(|row| Deed::Close { row }),
    ]
}

/// Rows and what they have read.
struct Histories {
    backend: Box<dyn Backend>,
    rows: Vec<(Row, Vec<u32>)>,
    steps: u32,
}

impl Histories {
    fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::Open => self.open(None, Vec::new()),
            Deed::Fork { of, positions } => {
                let Some((row, history)) = self.pick(*of).map(|at| self.rows[at].clone()) else { return };
                let Some(positions) = positions.checked_rem(history.len()).map(|rest| rest + 1) else { return };
                self.open(Some(Prefix { row, positions }), history[..positions].to_vec());
            }
            Deed::Step { counts } => self.step(counts),
            Deed::Truncate { row, positions } => {
                let Some(at) = self.pick(*row) else { return };
                let (row, history) = &mut self.rows[at];
                history.truncate(positions % (history.len() + 1));
                self.backend.truncate(*row, history.len());
            }
            Deed::Close { row } => {
                let Some(at) = self.pick(*row) else { return };
                self.backend.close(self.rows.swap_remove(at).0);
            }
        }
    }

    fn pick(&self, number: usize) -> Option<usize> {
        number.checked_rem(self.rows.len())
    }

    fn open(&mut self, prefix: Option<Prefix>, history: Vec<u32>) {
        if self.rows.len() < ROWS_MAX {
            self.rows.push((self.backend.open(prefix).unwrap(), history));
        }
    }

    /// Every row that still has room reads some ids of its own.
    fn step(&mut self, counts: &[usize]) {
        let mut news = Vec::new();
        for ((row, history), count) in self.rows.iter_mut().zip(counts) {
            if *count > 0 && history.len() + count < CONTEXT_TOKENS {
                self.steps += 1;
                news.push((*row, ids(self.steps, *count)));
                history.extend(ids(self.steps, *count));
            }
        }
        let work: Vec<RowWork<'_>> =
            news.iter().map(|(row, ids)| RowWork { row: *row, ids, logits: LogitsWanted::Last }).collect();
        if !work.is_empty() {
            self.backend.submit(&work).unwrap();
        }
    }

    /// Each row goes on as one does that has read the same all at once.
    fn check(mut self, free: usize) {
        let rows = std::mem::take(&mut self.rows);
        for (row, history) in &rows {
            let goes_on = read(self.backend.as_mut(), *row, &[5]).remove(0);
            let alone = self.backend.open(None).unwrap();
            let whole = [history.as_slice(), &[5]].concat();
            self.backend.submit(&[RowWork { row: alone, ids: &whole, logits: LogitsWanted::Last }]).unwrap();
            assert_eq!(self.backend.logits(0, history.len()).unwrap(), goes_on);
            self.backend.close(alone);
        }
        rows.iter().for_each(|(row, _)| self.backend.close(*row));
        assert_eq!(self.backend.positions_free(), free, "all blocks come back");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_gives_each_row_what_it_gives_alone(deeds in prop::collection::vec(deed(), 1..40)) {
        let backend = open(&settings("tiny-llama"));
        let free = backend.positions_free();
        let mut histories = Histories { backend, rows: Vec::new(), steps: 0 };
        deeds.iter().for_each(|deed| histories.act(deed));
        histories.check(free);
    }
}

#[test]
fn what_is_picked_is_what_the_host_picks_from_the_same_logits() {
    let mut backend = open(&settings("tiny-llama"));
    let row = backend.open(None).unwrap();
    let logits = read(backend.as_mut(), row, &ids(3, 9));
    let words = logits[0].len().div_ceil(32);
    let mask: Vec<u32> = ids(4, words * 2).chunks(2).map(|pair| pair[0] << 20 | pair[1] << 3).collect();
    let (nothing, all) = (vec![0; words], vec![u32::MAX; words]);
    for count_max in [1, 8, 200, 300] {
        let selection = |(offset, permitted)| Selection { item: 0, offset, permitted, count_max };
        let selections =
            [(8, &mask), (0, &all), (3, &nothing)].map(|(offset, mask)| selection((offset, mask.as_slice())));
        let mut selected = Vec::new();
        backend.select(&selections, &mut selected).unwrap();
        assert_eq!(selected.len(), 3);
        for (selection, selected) in selections.iter().zip(&selected) {
            let mut expected = Selected::default();
            select_on_host(&logits[selection.offset], selection.permitted, count_max, &mut expected);
            assert_eq!(selected.likeliest, expected.likeliest);
            let difference = selected.log_sum_exp - expected.log_sum_exp;
            assert!(selected.log_sum_exp == expected.log_sum_exp || difference.abs() < 1e-4, "{difference}");
        }
    }
}

#[test]
fn what_does_not_fit_leaves_all_rows_as_they_were() {
    let bytes_of_a_block = 2 * 2 * 16 * 16 * 4;
    let mut backend = open(&WgpuSettings { attention_bytes_max: 7 * bytes_of_a_block, ..settings("tiny-llama") });
    assert_eq!(backend.positions_free(), 7 * backend.block_tokens());
    let (first, second) = (backend.open(None).unwrap(), backend.open(None).unwrap());
    let (long, short) = (ids(1, 90), ids(2, 20));
    backend.submit(&[RowWork { row: first, ids: &long, logits: LogitsWanted::None }]).unwrap();
    let both = [(first, &short[..6]), (second, &short[..])];
    let both = both.map(|(row, ids)| RowWork { row, ids, logits: LogitsWanted::Last });
    let kind = |outcome: Result<(), BackendError>| outcome.unwrap_err().kind();
    assert_eq!(kind(backend.submit(&both)), FailureKind::OutOfMemory);
    assert_eq!(backend.positions_free(), 16);
    let goes_on = read(backend.as_mut(), first, &short[..1]).remove(0);
    assert_eq!(kind(backend.submit(&[RowWork { ids: &short, ..both[0] }])), FailureKind::Refused);
    assert_eq!(kind(backend.submit(&[both[1], both[1]])), FailureKind::Refused);
    assert!(backend.logits(0, 1).is_err(), "logits that nobody asked for");
    backend.close(first);
    let again = backend.open(None).unwrap();
    let whole = [long.as_slice(), &short[..1]].concat();
    backend.submit(&[RowWork { row: again, ids: &whole, logits: LogitsWanted::Last }]).unwrap();
    assert_eq!(backend.logits(0, 90).unwrap(), goes_on);
}

#[test]
fn a_model_or_an_adapter_that_cannot_be_had_is_refused_by_name() {
    let refusal = |settings: &WgpuSettings| wgpu::open(settings).err().unwrap().to_string();
    let absent = WgpuSettings { adapter: Some("abacus".to_owned()), ..settings("tiny-llama") };
    assert!(refusal(&absent).contains("abacus"), "{}", refusal(&absent));
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = WgpuSettings { model_dir: folder.path().to_owned(), ..settings("tiny-llama") };
    assert!(refusal(&elsewhere).contains("config.json"), "{}", refusal(&elsewhere));
    let copy = |name: &str| {
        std::fs::copy(fixture("tiny-qwen2").join(name), folder.path().join(name)).unwrap();
    };
    ["config.json", "model.safetensors"].into_iter().for_each(copy);
    let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    for (from, to, named) in [
        ("\"qwen2\"", "\"gemma\"", "gemma"),
        ("\"qwen2\"", "\"llama\"", "q_proj.bias"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "model.layers.2."),
        ("\"vocab_size\": 320", "\"vocab_size\": 321", "embed_tokens"),
    ] {
        std::fs::write(folder.path().join("config.json"), config.replace(from, to)).unwrap();
        assert!(refusal(&elsewhere).contains(named), "{named}: {}", refusal(&elsewhere));
    }
}
