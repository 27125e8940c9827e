//! Resident memory over many cycles of what comes and goes: rows on a device, and a model on its device.

use std::fmt::Write as _;

use lede_tests::model_fixture;

use crate::device::{self, open, served_graph, step};
use crate::in_short;
use crate::meter::{float, resident_bytes};

/// Cycles before the first reading: arenas and caches grow to what they need.
const WARMING: usize = 100;

/// Measures and returns the table.
pub(crate) fn measure() -> String {
    let cycles = in_short(1_000, 100);
    let mut table =
        String::from("| cycles | of what | resident before, MiB | after, MiB | drift |\n|---|---|---|---|---|\n");
    let mut backend = open(&served_graph());
    let prompt = device::prompt(32);
    write_row(&mut table, "row opened, 32 entries read, closed (135M shape, int4)", cycles, &mut || {
        let row = backend.open(None).expect("there is room");
        step(backend.as_mut(), &[row], &prompt);
        backend.close(row);
    });
    drop(backend);
    let tiny = model_fixture("tiny-llama").join("onnx/model.onnx");
    write_row(&mut table, "model loaded, a step, unloaded (tiny Llama)", cycles, &mut || {
        let mut backend = open(&tiny);
        let row = backend.open(None).expect("there is room");
        step(backend.as_mut(), &[row], &[1, 2, 3]);
    });
    table
}

fn write_row(table: &mut String, what: &str, cycles: usize, cycle: &mut dyn FnMut()) {
    (0..WARMING).for_each(|_| cycle());
    let before = float(resident_bytes());
    (0..cycles).for_each(|_| cycle());
    let after = float(resident_bytes());
    let mib = f64::from(1 << 20);
    let drift = (after - before) / before * 100.0;
    let _ =
        writeln!(table, "| {cycles} | {what} | {:.1} | {:.1} | **{drift:+.2} %** |", before / mib, after / mib);
}
