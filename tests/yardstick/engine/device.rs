//! Models on their devices, as the origin opens them.

use std::path::{Path, PathBuf};

use lede_origin::backend::ort::{self, ExecutionProviderName, GraphSizes, OrtSettings};
use lede_origin::backend::{Backend, LogitsWanted, Row, RowWork};
use lede_tests::path_from_environment;

/// Most rows of a step.
pub(crate) const ROWS_MAX: usize = 8;
/// Positions of a row.
pub(crate) const CONTEXT_TOKENS_MAX: usize = 512;
/// Threads of every engine that is compared.
pub(crate) const THREADS: usize = 2;

/// SmolLM2-135M's. The builder's graphs leave their own open; others say what they have, which is then taken.
const SIZES: GraphSizes = GraphSizes { key_value_heads: 3, head_size: 64, vocabulary_entries: 49_152 };

/// The folder that `cargo xtask bench engine` fills: weights of SmolLM2-135M's shape in every form that is compared.
pub(crate) fn models() -> PathBuf {
    path_from_environment("LEDE_BENCH_MODELS")
}

/// The graph of a precision, `int4` or `int8`.
pub(crate) fn graph(precision: &str) -> PathBuf {
    let file = if precision == "int4" { "model_q4.onnx" } else { "model_int8.onnx" };
    models().join("model/onnx").join(file)
}

/// The graph that is served: the measures of the engine stand on it.
pub(crate) fn served_graph() -> PathBuf {
    graph("int4")
}

/// Opens a graph on the processor, for [`ROWS_MAX`] rows.
pub(crate) fn open(graph: &Path) -> Box<dyn Backend> {
    open_with_rows(graph, ROWS_MAX)
}

/// The same for as many rows as are wanted.
pub(crate) fn open_with_rows(graph: &Path, rows_max: usize) -> Box<dyn Backend> {
    let settings = OrtSettings {
        library: path_from_environment("LEDE_ORT_LIBRARY"),
        model_file: graph.to_owned(),
        execution_providers: vec![ExecutionProviderName::Cpu],
        intra_op_threads: THREADS,
        // As the others do: the machine is meant to be idle but for this.
        intra_op_spinning: true,
        rows_max,
        context_tokens_max: CONTEXT_TOKENS_MAX,
        attention_bytes_max: None,
        sizes: Some(SIZES),
    };
    ort::open(&settings).unwrap_or_else(|error| panic!("{}: {error}", graph.display()))
}

/// A step in which each row reads one piece, and which is waited for.
pub(crate) fn step(backend: &mut dyn Backend, rows: &[Row], ids: &[u32]) {
    let work: Vec<_> = rows.iter().map(|row| RowWork { row: *row, ids, logits: LogitsWanted::Last }).collect();
    backend.submit(&work).expect("the step begins");
    for item in 0..rows.len() {
        assert!(backend.logits(item, ids.len() - 1).expect("the step ends")[0].is_finite());
    }
}

/// Pieces that mean nothing; a model's speed does not depend on them.
pub(crate) fn prompt(pieces: usize) -> Vec<u32> {
    (0..pieces).map(|position| 1_000 + (position as u32 * 7_919) % 40_000).collect()
}
