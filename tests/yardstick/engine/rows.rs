//! What a step takes by its rows: the device alone, and with what is chosen after it.

use std::fmt::Write as _;

use lede_origin::backend::{Backend, LogitsWanted, Row, RowWork, Selected, Selection};

use crate::decode::seconds_of;
use crate::device::{self, graph, open_with_rows, step};
use crate::in_short;
use crate::meter::median;

/// Rows of a step.
const ROWS: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Entries that each row has read.
const PROMPT: usize = 64;
/// As many as the engine looks at.
const LIKELIEST: usize = 256;

/// Measures and returns the table.
pub(crate) fn measure() -> String {
    let (rounds, steps) = in_short((5, 24), (1, 4));
    let mut table = String::from("| ms of a step, SmolLM2-135M's shape, 2 threads |");
    ROWS.iter().for_each(|rows| {
        let _ = write!(table, " {rows} rows |");
    });
    table.push_str("\n|---|---|---|---|---|---|---|\n");
    for precision in ["int4", "int8"] {
        let mut backend = open_with_rows(&graph(precision), 32);
        let mut turns = Vec::new();
        for _ in 0..rounds {
            turns.push(ROWS.map(|rows| turn(backend.as_mut(), rows, steps)));
        }
        type Column = fn(&(f64, f64)) -> f64;
        let columns: [(&str, Column); 2] = [("the device", |turn| turn.0), ("and choosing", |turn| turn.1)];
        for (what, of) in columns {
            let _ = write!(table, "| {precision}, {what} |");
            for index in 0..ROWS.len() {
                let _ =
                    write!(table, " {:.1} |", median(turns.iter().map(|turn| of(&turn[index])).collect()) * 1e3);
            }
            table.push('\n');
        }
    }
    table
}

/// Seconds of a step without and with a choice.
fn turn(backend: &mut dyn Backend, count: usize, steps: usize) -> (f64, f64) {
    let prompt = device::prompt(PROMPT);
    let rows: Vec<Row> = (0..count).map(|_| backend.open(None).expect("there is room")).collect();
    rows.iter().for_each(|row| step(backend, &[*row], &prompt));
    step(backend, &rows, &[7]);
    let alone_s = seconds_of(|| (0..steps).for_each(|_| step(backend, &rows, &[7])));
    let chosen_s = seconds_of(|| (0..steps).for_each(|_| choose(backend, &rows)));
    rows.into_iter().for_each(|row| backend.close(row));
    (alone_s / steps as f64, chosen_s / steps as f64)
}

/// A step after which each row chooses among all entries.
fn choose(backend: &mut dyn Backend, rows: &[Row]) {
    let work: Vec<_> =
        rows.iter().map(|row| RowWork { row: *row, ids: &[7], logits: LogitsWanted::Last }).collect();
    backend.submit(&work).expect("the step begins");
    let permitted = vec![u32::MAX; backend.shape().vocabulary_entries.div_ceil(32)];
    let selection = |item| Selection { item, offset: 0, permitted: &permitted, count_max: LIKELIEST };
    let selections: Vec<Selection<'_>> = (0..rows.len()).map(selection).collect();
    let mut selected: Vec<Selected> = Vec::new();
    backend.select(&selections, &mut selected).expect("the step ends");
}
