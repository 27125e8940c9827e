//! The engine and the ONNX Runtime backend on the real model.
//!
//! Run by `cargo xtask test`, which sets `LEDE_ORT_LIBRARY` and `LEDE_MODEL_DIR`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod rows;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lede_origin::backend::ort::{self, ExecutionProviderName, OrtSettings};
use lede_origin::backend::{Backend, DeviceKind, FailureKind, LogitsWanted, Prefix, Row, RowWork};
use lede_origin::engine::constraint::{CaptionRules, Constraint};
use lede_origin::engine::sampler::Sampling;
use lede_origin::engine::sequence::{FinishedSequence, SequenceError, SequenceRequest};
use lede_origin::engine::{EngineHandle, EngineLimits, EngineStatus};
use lede_origin::models::{Dialect, MarkerDialect, Model};
use lede_shared::api::Style;
use lede_shared::plan::Priority;
use rows::{any_schedule_gives_what_each_row_gives_alone, largest_difference, opened, stepped};

const ROWS_MAX: usize = 8;

fn path_from_environment(name: &str) -> PathBuf {
    let path = std::env::var_os(name);
    let path = path.unwrap_or_else(|| panic!("{name} is not set; `cargo xtask test` sets it"));
    // Tests run in the package's folder; a relative path is meant from the workspace.
    PathBuf::from("..").join(path)
}

fn model() -> Model {
    Model::open(&path_from_environment("LEDE_MODEL_DIR")).unwrap()
}

fn backend(model: &Model) -> Box<dyn Backend> {
    let settings = OrtSettings {
        library: path_from_environment("LEDE_ORT_LIBRARY"),
        model_file: model.graph_file().unwrap().to_owned(),
        execution_providers: vec![ExecutionProviderName::Cpu],
        intra_op_threads: 1,
        intra_op_spinning: false,
        rows_max: ROWS_MAX,
        context_tokens_max: model.context_tokens_max(),
        attention_bytes_max: None,
        sizes: None,
    };
    ort::open(&settings).unwrap()
}

fn dialect(model: &Model) -> &MarkerDialect {
    match model.dialect() {
        Dialect::Markers(dialect) => dialect,
        Dialect::Chat(_) => panic!("the embedded model is asked for in markers"),
    }
}

fn prompt(model: &Model, text: &str) -> Vec<u32> {
    let dialect = dialect(model);
    let markers = &dialect.markers;
    let mut ids = vec![markers.begin, markers.style(Style::Casual).unwrap(), markers.description];
    ids.extend(dialect.encode(text).unwrap());
    ids.push(markers.caption);
    ids
}

#[test]
fn reading_a_prompt_and_then_stepping_gives_the_logits_of_reading_all_at_once() {
    let model = model();
    let mut backend = backend(&model);
    let ids = prompt(&model, "a lighthouse above a quiet harbour at dusk");
    let (head, tail) = ids.split_at(6);
    let (row, short) = opened(backend.as_mut(), head);
    let mut last = Vec::new();
    for id in tail {
        last = stepped(backend.as_mut(), &[row], &[*id]).remove(0);
    }
    backend.close(row);
    let (_, whole) = opened(backend.as_mut(), &ids);
    let difference = largest_difference(&last, &whole);
    assert!(difference < 1e-4, "largest difference {difference}");
    assert!(largest_difference(&short, &whole) > 1e-2, "every entry of the prompt counts");
}

#[test]
fn the_backend_says_what_it_runs_on_what_it_holds_and_that_it_pads_nothing() {
    let model = model();
    let mut backend = backend(&model);
    let described = backend.description();
    assert_eq!((described.backend, described.device.as_str()), ("onnxruntime", "cpu"));
    assert_eq!((described.device_kind, described.precision), (DeviceKind::Cpu, "f32"));
    assert_eq!((described.file.as_str(), described.batched), ("model.onnx", true));
    let held = backend.device_bytes();
    let graph_bytes = std::fs::metadata(model.graph_file().unwrap()).unwrap().len();
    assert!(held.weights_bytes >= graph_bytes && held.attention_bytes > 0 && held.scratch_bytes > 0, "{held:?}");

    let before = backend.entries_computed();
    let (lengths, mut rows) = ([3usize, 1, 7], Vec::new());
    for length in lengths {
        rows.push(opened(backend.as_mut(), &prompt(&model, "a lighthouse above a quiet harbour")[..length]).0);
    }
    assert_eq!(backend.entries_computed() - before, 11);
    // Of rows that stand apart, too.
    backend.close(rows.remove(1));
    for (some, asked) in [(&rows[..], 2), (&rows[1..], 1)] {
        let before = backend.entries_computed();
        stepped(backend.as_mut(), some, &vec![9; some.len()]);
        assert_eq!(backend.entries_computed() - before, asked);
    }
    assert!(backend.device_bytes().attention_bytes >= held.attention_bytes, "it grows with what is read");
}

#[test]
fn rows_of_different_lengths_step_together_as_each_does_alone() {
    let model = model();
    let mut backend = backend(&model);
    let texts = ["tea", "a very old tram in the rain", "two dogs asleep on a warm blue boat", "snow", "a market"];
    let prompts: Vec<Vec<u32>> = texts.iter().map(|text| prompt(&model, text)).collect();
    let steps: Vec<u32> = prompt(&model, "bright morning").into_iter().skip(3).take(6).collect();
    let mut alone = Vec::new();
    for prompt in &prompts {
        let (row, _) = opened(backend.as_mut(), prompt);
        let mut logits = Vec::new();
        for id in &steps {
            logits = stepped(backend.as_mut(), &[row], &[*id]).remove(0);
        }
        alone.push(logits);
        backend.close(row);
    }
    let rows: Vec<Row> = prompts.iter().map(|prompt| opened(backend.as_mut(), prompt).0).collect();
    let mut together = Vec::new();
    for id in &steps {
        together = stepped(backend.as_mut(), &rows, &vec![*id; rows.len()]);
    }
    // Else the comparison would say nothing: other prompts must give other logits.
    assert!(largest_difference(&together[0], &together[1]) > 1e-2);
    for (row, alone) in together.iter().zip(&alone) {
        assert_eq!(largest_difference(row, alone), 0.0, "a row must not depend on its neighbours at all");
    }
}

#[test]
fn closing_a_row_leaves_the_others_as_they_are() {
    let model = model();
    let mut backend = backend(&model);
    let keep = prompt(&model, "a yellow umbrella");
    let gone = prompt(&model, "a long and winding story about something else entirely");
    let (row, _) = opened(backend.as_mut(), &keep);
    let expected = stepped(backend.as_mut(), &[row], &keep[3..4]).remove(0);
    backend.close(row);
    let (first, _) = opened(backend.as_mut(), &gone);
    let (second, _) = opened(backend.as_mut(), &gone);
    let (row, _) = opened(backend.as_mut(), &keep);
    backend.close(first);
    backend.close(second);
    let after = stepped(backend.as_mut(), &[row], &keep[3..4]).remove(0);
    assert_eq!(largest_difference(&after, &expected), 0.0, "a row must not depend on its neighbours at all");
}

#[test]
fn any_schedule_of_rows_gives_what_each_gives_alone() {
    let model = model();
    any_schedule_gives_what_each_row_gives_alone(6, backend(&model), backend(&model));
}

#[test]
fn how_a_prompt_is_cut_changes_nothing_unless_a_piece_is_a_single_entry() {
    let model = model();
    let mut backend = backend(&model);
    let ids =
        prompt(&model, "a very old tram in the rain, two dogs asleep on a warm blue boat, and a market at dusk");
    let (row, whole) = opened(backend.as_mut(), &ids);
    backend.close(row);
    let other = opened(backend.as_mut(), &ids[1..]).0;
    for cut in 2..ids.len() - 1 {
        let row = backend.open(None).unwrap();
        // The first piece's logits are not wanted; another row steps meanwhile.
        let work = RowWork { row, ids: &ids[..cut], logits: LogitsWanted::None };
        backend.submit(&[work]).unwrap();
        assert!(backend.logits(0, cut - 1).is_err(), "they were not wanted");
        let next = [ids[2]];
        let works = [
            RowWork { row: other, ids: &next, logits: LogitsWanted::Last },
            RowWork { row, ids: &ids[cut..], logits: LogitsWanted::Last },
        ];
        backend.submit(&works).unwrap();
        let last = backend.logits(1, ids.len() - cut - 1).unwrap();
        assert_eq!(largest_difference(last, &whole), 0.0, "cut after {cut}");
        backend.close(row);
    }
}

#[test]
fn a_row_that_begins_with_part_of_another_outlives_it_and_goes_on_as_if_it_had_read_all() {
    let model = model();
    let mut backend = backend(&model);
    let ids = prompt(&model, "a lighthouse above a quiet harbour at dusk");
    let (first, whole) = opened(backend.as_mut(), &ids);
    let fork = backend.open(Some(Prefix { row: first, positions: 5 })).unwrap();
    stepped(backend.as_mut(), &[first], &ids[1..2]);
    backend.close(first);
    let work = RowWork { row: fork, ids: &ids[5..], logits: LogitsWanted::Last };
    backend.submit(&[work]).unwrap();
    assert_eq!(largest_difference(backend.logits(0, ids.len() - 6).unwrap(), &whole), 0.0);
    for positions in [0, ids.len() + 1] {
        let error = backend.open(Some(Prefix { row: fork, positions })).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Refused, "{positions}");
    }
    assert!(backend.open(Some(Prefix { row: first, positions: 1 })).is_err(), "a closed row");
}

#[test]
fn memory_for_attention_is_refused_before_it_runs_out_and_given_back() {
    let model = model();
    let mut backend = backend(&model);
    let ids = vec![5; model.context_tokens_max()];
    let free = backend.positions_free();
    let mut rows = Vec::new();
    let refused = loop {
        let row = backend.open(None).unwrap();
        rows.push(row);
        let work = RowWork { row, ids: &ids, logits: LogitsWanted::None };
        if let Err(error) = backend.submit(&[work]) {
            break error;
        }
        assert!(rows.len() < 100, "there is no end to the memory");
    };
    assert_eq!(refused.kind(), FailureKind::OutOfMemory);
    assert_eq!(rows.len() - 1, free / ids.len().next_multiple_of(backend.block_tokens()));
    rows.into_iter().for_each(|row| backend.close(row));
    assert_eq!(backend.positions_free(), free);
    let (_, logits) = opened(backend.as_mut(), &ids[..4]);
    assert!(logits.iter().all(|logit| logit.is_finite()));
}

async fn engine(model: &Model) -> EngineHandle {
    let limits = EngineLimits { waiting_sequences_max: 64, sequences_max: ROWS_MAX, ..EngineLimits::default() };
    let model = model.clone();
    let engine = EngineHandle::start(limits, move || -> Result<Box<dyn Backend>, String> { Ok(backend(&model)) });
    let engine = engine.unwrap();
    assert!(matches!(engine.loaded().await, EngineStatus::Ready(_)));
    engine
}

fn request(model: &Model, text: &str, seed: u8) -> SequenceRequest {
    let rules = CaptionRules {
        sources: vec![text.to_owned()],
        hashtag_count: 3,
        caption_utf16_max: 200,
        caption_pieces_max: 40,
        completion_pieces_max: 160,
        ..CaptionRules::default()
    };
    SequenceRequest {
        prompt_ids: prompt(model, text).into(),
        constraint: Constraint::new(model.constraints().prepare(rules).unwrap()),
        sampling: Sampling::Nucleus { temperature: 0.8, top_p: 0.95 },
        stream_seed: [seed; 32],
        completion_tokens_max: 160,
        priority: Priority::Normal,
        deadline: Instant::now() + Duration::from_secs(60),
        listener: None,
    }
}

async fn finished(engine: &EngineHandle, request: SequenceRequest) -> Result<FinishedSequence, SequenceError> {
    engine.submit(request).unwrap().await.unwrap()
}

#[tokio::test]
async fn a_seed_gives_the_same_answer_alone_and_among_others() {
    let model = model();
    let engine = engine(&model).await;
    let alone = finished(&engine, request(&model, "a lighthouse at dusk", 1)).await.unwrap();
    let mut pending = Vec::new();
    for seed in 1..=20 {
        let text = if seed == 1 { "a lighthouse at dusk" } else { "a completely different and longer picture" };
        pending.push(engine.submit(request(&model, text, seed)).unwrap());
    }
    let mut together = Vec::new();
    for pending in pending {
        together.push(pending.await.unwrap().unwrap());
    }
    assert_eq!(together[0].completion_ids, alone.completion_ids);
    assert_ne!(together[1].completion_ids, together[2].completion_ids);
    assert!(together.iter().all(|finished| !finished.written.caption.is_empty()));
}

#[tokio::test]
async fn a_client_who_leaves_frees_the_device_at_the_next_step() {
    let model = model();
    let engine = engine(&model).await;
    let mut pending = Vec::new();
    for seed in 0..ROWS_MAX {
        pending.push(engine.submit(request(&model, "rain", seed as u8)).unwrap());
    }
    drop(pending);
    // All rows were taken; this one can only finish if they are free again.
    finished(&engine, request(&model, "sun", 9)).await.unwrap();
    let counters = engine.counters();
    assert_eq!(counters.finished.load(Ordering::Relaxed), 1, "nobody waited for the others");
}

#[tokio::test]
async fn a_deadline_ends_a_sequence_that_waits_or_runs() {
    let model = model();
    let engine = engine(&model).await;
    let mut late = request(&model, "rain", 1);
    late.deadline = Instant::now();
    assert_eq!(finished(&engine, late).await, Err(SequenceError::DeadlineExceeded));
}
