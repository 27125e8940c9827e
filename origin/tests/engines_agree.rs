//! Two engines that have nothing but the weights in common, ONNX Runtime on the exported graph and wgpu on the safetensors,
//! write the same.
//!
//! Run by `cargo xtask test`, which sets `LEDE_ORT_LIBRARY` and `LEDE_MODEL_DIR` and provides a software adapter.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "only a part of it is for comparing two engines")]
mod rows;
mod transformers;

use std::path::{Path, PathBuf};

use lede_origin::backend::ort::{self, ExecutionProviderName, OrtSettings};
use lede_origin::backend::wgpu::{self, PrecisionChoice, WgpuSettings};
use lede_origin::backend::{Backend, Row};
use lede_origin::models::{Dialect, Model};
use lede_shared::api::Style;

use self::rows::{largest_difference, opened, stepped};
use self::transformers::expected;

const ROWS_MAX: usize = 8;
const PROMPTS: usize = 200;
const STEPS: usize = 24;
/// Steps of the model of real size.
const STEPS_AT_SIZE: usize = 64;
/// What sums in another order come to in 32-bit floats, and far less than what an error does.
const DIFFERENCE_MAX: f32 = 2e-3;

fn path_from_environment(name: &str) -> PathBuf {
    let path = std::env::var_os(name);
    let path = path.unwrap_or_else(|| panic!("{name} is not set; `cargo xtask test` sets it"));
    // Tests run in the package's folder; a relative path is meant from the workspace.
    PathBuf::from("..").join(path)
}

fn on_ort(graph: &Path, context_tokens_max: usize) -> Box<dyn Backend> {
    let settings = OrtSettings {
        library: path_from_environment("LEDE_ORT_LIBRARY"),
        model_file: graph.to_owned(),
        execution_providers: vec![ExecutionProviderName::Cpu],
        intra_op_threads: 2,
        intra_op_spinning: false,
        rows_max: ROWS_MAX,
        context_tokens_max,
        attention_bytes_max: None,
        sizes: None,
    };
    ort::open(&settings).unwrap_or_else(|error| panic!("{error}"))
}

fn on_wgpu(model_dir: &Path, context_tokens_max: usize, precision: PrecisionChoice) -> Box<dyn Backend> {
    let settings = WgpuSettings {
        model_dir: model_dir.to_owned(),
        adapter: None,
        precision,
        rows_max: ROWS_MAX,
        context_tokens_max,
        attention_bytes_max: 1 << 30,
        step_tokens_max: 256,
    };
    wgpu::open(&settings).unwrap_or_else(|error| panic!("{error}"))
}

fn prompts(model: &Model) -> Vec<Vec<u32>> {
    const WHAT: [&str; 20] = [
        "a lighthouse",
        "two dogs asleep",
        "fresh bread",
        "our new studio",
        "an old tram",
        "a paper boat",
        "the first snow",
        "a birthday cake",
        "rain on the window",
        "a market stall",
        "my grandmother",
        "a yellow umbrella",
        "ten years of us",
        "a ceramic bowl",
        "the night train",
        "wild flowers",
        "a long run",
        "an empty beach",
        "a vinyl record",
        "hot soup",
    ];
    const WHERE: [&str; 10] = [
        "at dusk",
        "by the sea",
        "in Lisbon",
        "on a quiet sunday morning",
        "under the bridge",
        "after the storm",
        "behind the station",
        "in the mountains",
        "for everybody who waited",
        "at 7 pm with friends & music",
    ];
    let Dialect::Markers(dialect) = model.dialect() else { panic!("the embedded model is asked for in markers") };
    let markers = &dialect.markers;
    let texts = WHAT.iter().flat_map(|what| WHERE.iter().map(move |place| format!("{what} {place}")));
    let styles = Style::ALL.iter().cycle();
    let prompt = |(text, style): (String, &Style)| {
        let head = vec![markers.begin, markers.style(*style).unwrap(), markers.description];
        [head, dialect.encode(&text).unwrap(), vec![markers.caption]].concat()
    };
    texts.zip(styles).map(prompt).collect()
}

fn likeliest(logits: &[f32]) -> u32 {
    logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).unwrap().0 as u32
}

/// What two engines wrote after some prompts, each choosing the likeliest of its own logits.
#[derive(Debug, Default)]
struct Agreement {
    chosen: usize,
    chosen_alike: usize,
    largest_difference: f32,
}

/// Both engines step all prompts together. Both read what the first one chose, so that one different choice counts once.
fn agreement(engines: [&mut dyn Backend; 2], prompts: &[Vec<u32>], steps: usize) -> Agreement {
    let [first, second] = engines;
    let mut agreement = Agreement::default();
    let open_all = |engine: &mut dyn Backend| -> (Vec<Row>, Vec<Vec<f32>>) {
        prompts.iter().map(|ids| opened(engine, ids)).unzip()
    };
    let (first_rows, mut first_logits) = open_all(first);
    let (second_rows, mut second_logits) = open_all(second);
    for _ in 0..steps {
        let ids: Vec<u32> = first_logits.iter().map(|logits| likeliest(logits)).collect();
        for ((id, logits), others) in ids.iter().zip(&first_logits).zip(&second_logits) {
            agreement.chosen += 1;
            agreement.chosen_alike += usize::from(likeliest(others) == *id);
            agreement.largest_difference = agreement.largest_difference.max(largest_difference(logits, others));
        }
        first_logits = stepped(first, &first_rows, &ids);
        second_logits = stepped(second, &second_rows, &ids);
    }
    first_rows.into_iter().for_each(|row| first.close(row));
    second_rows.into_iter().for_each(|row| second.close(row));
    agreement
}

#[test]
fn two_hundred_prompts_of_the_embedded_model_are_answered_alike_word_for_word() {
    let folder = path_from_environment("LEDE_MODEL_DIR");
    let model = Model::open(&folder).unwrap();
    let mut ort = on_ort(model.graph_file().unwrap(), 128);
    let mut wgpu = on_wgpu(&folder, 128, PrecisionChoice::F32);
    let free = wgpu.positions_free();
    let prompts = prompts(&model);
    assert_eq!(prompts.len(), PROMPTS);
    for some in prompts.chunks(ROWS_MAX) {
        let found = agreement([ort.as_mut(), wgpu.as_mut()], some, STEPS);
        assert_eq!(found.chosen_alike, found.chosen, "{found:?}");
        assert!(found.largest_difference <= DIFFERENCE_MAX, "{found:?}");
    }
    assert_eq!(wgpu.positions_free(), free, "all blocks come back");
}

#[test]
fn fewer_bits_come_as_close_as_is_stated() {
    let folder = path_from_environment("LEDE_MODEL_DIR");
    let model = Model::open(&folder).unwrap();
    let mut ort = on_ort(model.graph_file().unwrap(), 128);
    let prompts: Vec<Vec<u32>> = prompts(&model).into_iter().step_by(9).take(ROWS_MAX).collect();
    for (precision, difference_max, share_alike_least) in [
        (PrecisionChoice::F16, 0.02, 0.99),
        (PrecisionChoice::Int8, 0.6, 0.97),
        (PrecisionChoice::Int4, 6.0, 0.85),
    ] {
        let mut wgpu = on_wgpu(&folder, 128, precision);
        let found = agreement([ort.as_mut(), wgpu.as_mut()], &prompts, STEPS);
        assert!(found.largest_difference <= difference_max, "{precision:?}: {found:?}");
        assert!(found.chosen_alike as f32 >= share_alike_least * found.chosen as f32, "{precision:?}: {found:?}");
    }
}

/// For a model of one's own: `LEDE_LOGITS_MODEL` names its folder, made by `training/random_model.py` with `--golden`.
#[test]
#[ignore = "needs a large model, which is not committed (docs/MODELS.md)"]
fn a_model_of_real_size_is_answered_alike_and_as_transformers_does() {
    let folder = PathBuf::from(std::env::var_os("LEDE_LOGITS_MODEL").unwrap());
    let mut ort = on_ort(&folder.join("onnx/model.onnx"), 256);
    let mut wgpu = on_wgpu(&folder, 256, PrecisionChoice::F32);
    let cases = expected(&folder);
    let mut from_transformers = 0.0f32;
    for case in &cases {
        let (row, logits) = opened(wgpu.as_mut(), &case.prompt_ids);
        let mut written = vec![logits];
        case.decoded_ids.iter().for_each(|id| written.extend(stepped(wgpu.as_mut(), &[row], &[*id])));
        wgpu.close(row);
        for (written, expected) in written.iter().zip(&case.logits) {
            from_transformers = from_transformers.max(largest_difference(written, expected));
        }
    }
    let prompts: Vec<Vec<u32>> = cases.into_iter().map(|case| case.prompt_ids).take(2).collect();
    let found = agreement([ort.as_mut(), wgpu.as_mut()], &prompts, STEPS_AT_SIZE);
    // What a person who runs this wants to know.
    let text = format!("{found:?}, from transformers {from_transformers:e}\n");
    std::fs::write(folder.join("agreement.txt"), &text).unwrap();
    assert_eq!(found.chosen_alike, found.chosen, "{text}");
    assert!(found.largest_difference.max(from_transformers) <= DIFFERENCE_MAX, "{text}");
}
