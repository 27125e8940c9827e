//! Pieces per second of a device: reading a prompt of 64, writing alone, writing in eight rows at once; against llama.cpp
//! on the same weights in the same precision, and against the same graph as onnxruntime-genai's builder makes it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lede_origin::backend::{Backend, Row};

use crate::device::{self, models, open, step};
use crate::meter::median;
use crate::{in_short, llama_cpp};

/// Entries of the prompt.
const PROMPT: usize = 64;

/// Pieces per second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speed {
    pub(crate) prefill: f64,
    pub(crate) alone: f64,
    pub(crate) together: f64,
}

/// What is written, and which of the speeds it is.
type Column = (&'static str, fn(&Speed) -> f64);

/// One precision: ours, the builder's and llama.cpp's.
struct Contest {
    precision: &'static str,
    ours: Box<dyn Backend>,
    builders: Box<dyn Backend>,
    llama_cpp: PathBuf,
}

/// One turn of each.
struct Turn {
    ours: Speed,
    builders: Speed,
    llama_cpp: Speed,
}

/// Measures and returns the table.
pub(crate) fn measure() -> String {
    let (rounds, steps) = in_short((9, 48), (2, 8));
    let mut table = String::from(
        "| SmolLM2-135M's shape, 2 threads | pieces per second | builder's graph | llama.cpp | ÷ builder's graph | ÷ llama.cpp | lowest to highest |\n|---|---|---|---|---|---|---|\n",
    );
    for mut contest in contests() {
        contest.turn(steps);
        let turns: Vec<Turn> = (0..rounds).map(|_| contest.turn(steps)).collect();
        let columns: [Column; 3] = [
            ("prompt of 64", |speed| speed.prefill),
            ("writing, 1 row", |speed| speed.alone),
            ("writing, 8 rows", |speed| speed.together),
        ];
        for (what, of) in columns {
            write_row(&mut table, &format!("{}, {what}", contest.precision), &turns, of);
        }
    }
    table
}

fn contests() -> Vec<Contest> {
    let of = |precision, file: &str, builders: &str, gguf: &str| Contest {
        precision,
        ours: open(&models().join("model/onnx").join(file)),
        builders: open(&models().join(builders).join("model.onnx")),
        llama_cpp: models().join(gguf),
    };
    vec![
        of("int4 (q4_0)", "model_q4.onnx", "builder-int4", "q4_0.gguf"),
        of("int8 (q8_0)", "model_int8.onnx", "builder-int8", "q8_0.gguf"),
    ]
}

impl Contest {
    fn turn(&mut self, steps: usize) -> Turn {
        Turn {
            ours: speed(self.ours.as_mut(), steps),
            llama_cpp: llama_cpp::turn(Path::new(&self.llama_cpp), PROMPT, steps),
            builders: speed(self.builders.as_mut(), steps),
        }
    }
}

fn speed(backend: &mut dyn Backend, steps: usize) -> Speed {
    let prompt = device::prompt(PROMPT);
    let mut rows: Vec<Row> = Vec::new();
    let prefill_s = (0..device::ROWS_MAX).map(|_| {
        rows.push(backend.open(None).expect("there is room"));
        seconds_of(|| step(backend, &rows[rows.len() - 1..], &prompt))
    });
    let prefill_s = median(prefill_s.collect());
    let together_s = seconds_of(|| (0..steps).for_each(|_| step(backend, &rows, &[7])));
    rows.split_off(1).into_iter().for_each(|row| backend.close(row));
    backend.truncate(rows[0], PROMPT);
    let alone_s = seconds_of(|| (0..steps).for_each(|_| step(backend, &rows, &[7])));
    backend.close(rows[0]);
    let steps = steps as f64;
    Speed {
        prefill: PROMPT as f64 / prefill_s,
        alone: steps / alone_s,
        together: steps * device::ROWS_MAX as f64 / together_s,
    }
}

/// Wall time of `work`.
pub(crate) fn seconds_of(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

/// Medians, and medians and spread of the ratios of neighbouring turns.
fn write_row(table: &mut String, what: &str, turns: &[Turn], of: fn(&Speed) -> f64) {
    let all = |which: &dyn Fn(&Turn) -> f64| turns.iter().map(which).collect::<Vec<f64>>();
    let ratios = all(&|turn| of(&turn.ours) / of(&turn.llama_cpp));
    let (lowest, highest) =
        (ratios.iter().copied().fold(f64::INFINITY, f64::min), ratios.iter().copied().fold(0.0, f64::max));
    let _ = writeln!(
        table,
        "| {what} | {:.0} | {:.0} | {:.0} | {:.2} | **{:.2}** | {lowest:.2} to {highest:.2} |",
        median(all(&|turn| of(&turn.ours))),
        median(all(&|turn| of(&turn.builders))),
        median(all(&|turn| of(&turn.llama_cpp))),
        median(all(&|turn| of(&turn.ours) / of(&turn.builders))),
        median(ratios),
    );
}
