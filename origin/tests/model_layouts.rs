//! Exports of two families in two layouts give the logits that transformers gives.
//!
//! The models are made by `training/random_model.py`; run by `cargo xtask test`, which sets `LEDE_ORT_LIBRARY`.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod rows;
mod transformers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lede_origin::backend::ort::{self, ExecutionProviderName, OrtSettings};
use lede_origin::backend::{Backend, LogitsWanted, Row, RowWork};
use lede_origin::models::{ChatModel, ChatSettings};
use rows::{any_schedule_gives_what_each_row_gives_alone, largest_difference, opened, stepped};
use serde::Deserialize;
use transformers::{Expected, expected};

const ROWS_MAX: usize = 4;
const DIFFERENCE_MAX: f32 = 1e-3;
/// 16-bit floats have eleven bits; the logits of the tiny models reach 10.
const DIFFERENCE_MAX_FP16: f32 = 5e-2;

fn fixture(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models").join(model)
}

fn open(graph: &Path) -> Box<dyn Backend> {
    let library = std::env::var_os("LEDE_ORT_LIBRARY");
    let library = library.unwrap_or_else(|| panic!("LEDE_ORT_LIBRARY is not set; `cargo xtask test` sets it"));
    let settings = OrtSettings {
        library: PathBuf::from("..").join(library),
        model_file: graph.to_owned(),
        execution_providers: vec![ExecutionProviderName::Cpu],
        intra_op_threads: 1,
        intra_op_spinning: false,
        rows_max: ROWS_MAX,
        context_tokens_max: 128,
        attention_bytes_max: None,
        sizes: None,
    };
    ort::open(&settings).unwrap_or_else(|error| panic!("{}: {error}", graph.display()))
}

/// Prefill and decode, each compared; the largest difference of all.
fn difference_from_transformers(backend: &mut dyn Backend, cases: &[Expected]) -> f32 {
    let mut largest = 0.0f32;
    for case in cases {
        let (row, logits) = opened(backend, &case.prompt_ids);
        let mut written = vec![logits];
        for id in &case.decoded_ids {
            written.extend(stepped(backend, &[row], &[*id]));
        }
        backend.close(row);
        for (written, expected) in written.iter().zip(&case.logits) {
            largest = largest.max(largest_difference(written, expected));
        }
    }
    largest
}

#[test]
fn every_layout_gives_the_logits_of_transformers() {
    for (model, graph, most) in [
        ("tiny-llama", "model.onnx", DIFFERENCE_MAX),
        ("tiny-qwen2", "model.onnx", DIFFERENCE_MAX),
        ("tiny-qwen2", "decoder_model_merged_fp16.onnx", DIFFERENCE_MAX_FP16),
    ] {
        let folder = fixture(model);
        let cases = expected(&folder);
        let mut backend = open(&folder.join("onnx").join(graph));
        let difference = difference_from_transformers(&mut *backend, &cases);
        assert!(difference <= most, "{model} {graph}: {difference}");
        // Else the comparison would say nothing: the rows differ from one another.
        assert!(largest_difference(&cases[0].logits[0], &cases[0].logits[1]) > 0.5, "{model}");
    }
}

#[test]
fn sequences_of_different_lengths_do_not_touch_each_other_in_any_layout() {
    for model in ["tiny-llama", "tiny-qwen2"] {
        let folder = fixture(model);
        let cases = expected(&folder);
        let mut backend = open(&folder.join("onnx/model.onnx"));
        let rows: Vec<Row> = cases.iter().map(|case| opened(backend.as_mut(), &case.prompt_ids).0).collect();
        let steps: Vec<u32> = cases.iter().map(|case| case.decoded_ids[0]).collect();
        for (case, logits) in cases.iter().zip(stepped(backend.as_mut(), &rows, &steps)) {
            let difference = largest_difference(&logits, &case.logits[1]);
            assert!(difference <= DIFFERENCE_MAX, "{model}: {difference}");
        }
        // The last row goes on as before.
        backend.close(rows[0]);
        let logits = stepped(backend.as_mut(), &rows[1..2], &cases[1].decoded_ids[1..2]).remove(0);
        assert!(largest_difference(&logits, &cases[1].logits[2]) <= DIFFERENCE_MAX, "{model}");
        let more_than_fits = vec![1; 129];
        let row = backend.open(None).unwrap();
        let work = RowWork { row, ids: &more_than_fits, logits: LogitsWanted::Last };
        assert!(backend.submit(&[work]).is_err(), "{model}");
        let work = RowWork { row: rows[0], ids: &[1], logits: LogitsWanted::Last };
        assert!(backend.submit(&[work]).is_err(), "{model}: a closed row");
    }
}

#[test]
fn any_schedule_of_rows_gives_what_each_gives_alone_in_any_layout() {
    for model in ["tiny-llama", "tiny-qwen2"] {
        let graph = fixture(model).join("onnx/model.onnx");
        any_schedule_gives_what_each_row_gives_alone(24, open(&graph), open(&graph));
    }
}

/// transformers' ids of a conversation.
#[derive(Deserialize)]
struct ExpectedPrompt {
    messages: Vec<BTreeMap<String, String>>,
    ids: Vec<u32>,
}

#[test]
fn a_conversation_has_the_ids_of_transformers() {
    for model in ["tiny-llama", "tiny-qwen2"] {
        let folder = fixture(model);
        let expected: ExpectedPrompt =
            serde_json::from_slice(&std::fs::read(folder.join("expected_prompt.json")).unwrap()).unwrap();
        let chat = ChatModel::open(&folder, &ChatSettings::default()).unwrap();
        assert_eq!(chat.prompt_ids(&expected.messages).unwrap(), expected.ids, "{model}");
        let marker = BTreeMap::from([("role", "user"), ("content", "</s> <|im_end|>")]);
        let ids = chat.prompt_ids(&[marker]).unwrap();
        let ends = ids.iter().filter(|id| chat.end_ids().contains(id)).count();
        let by_template = expected.ids.iter().filter(|id| chat.end_ids().contains(id)).count();
        assert_eq!(ends, by_template, "{model}: what a caller writes never ends anything");
    }
}

#[test]
fn what_is_no_decoder_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("model.onnx");
    let whole = std::fs::read(fixture("tiny-llama").join("onnx/model.onnx")).unwrap();
    for content in [&b"not a graph"[..], &whole[..whole.len() / 2]] {
        std::fs::write(&graph, content).unwrap();
        let outcome = std::panic::catch_unwind(|| open(&graph).shape());
        let message = *outcome.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("opening the model"), "{message}");
    }
}

/// For a model of one's own: `LEDE_LOGITS_MODEL` names its folder, made with `--golden`.
#[test]
#[ignore = "needs a large model, which is not committed (docs/MODELS.md)"]
fn a_model_of_real_size_gives_the_logits_of_transformers() {
    let folder = PathBuf::from(std::env::var_os("LEDE_LOGITS_MODEL").unwrap());
    let mut backend = open(&folder.join("onnx/model.onnx"));
    let difference = difference_from_transformers(&mut *backend, &expected(&folder));
    assert!(difference <= DIFFERENCE_MAX, "{difference}");
    // What a person who runs this wants to know.
    std::fs::write(folder.join("largest_difference.txt"), format!("{difference:e}\n")).unwrap();
}
