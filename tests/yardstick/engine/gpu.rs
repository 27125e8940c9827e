//! wgpu on the adapter that is there: how much of its memory bandwidth decoding uses, and torch on the same weights
//! beside it (docs/GPU.md).

mod bandwidth;
mod torch;
mod weights;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use lede_origin::backend::wgpu::device::{Device, DeviceSettings, Without};
use lede_origin::backend::wgpu::{PrecisionChoice, WgpuSettings, open};
use lede_origin::backend::{Backend, Row};

use self::weights::Shape;
use crate::decode::seconds_of;
use crate::device::{prompt, step};
use crate::in_short;
use crate::meter::median;

/// How many rows write at once.
pub(crate) const BATCHES: [usize; 3] = [1, 8, 64];
/// Positions that each row has read before.
pub(crate) const PAST: usize = 64;
const CONTEXT_TOKENS_MAX: usize = 512;
const ATTENTION_BYTES_MAX: u64 = 1 << 30;

/// Measures and returns the table.
pub(crate) fn measure() -> String {
    let adapter = std::env::var("LEDE_WGPU_ADAPTER").ok();
    let device = Device::open(&DeviceSettings { adapter: adapter.clone(), without: Without::default() });
    let device = device.unwrap_or_else(|error| panic!("no adapter: {error}"));
    let capabilities = device.capabilities().clone();
    let (shape, steps) =
        if capabilities.software { (Shape::SMALL, 4) } else { (Shape::HALF_BILLION, in_short(64, 16)) };
    let folder = folder();
    weights::write(&folder, shape);
    let bytes = shape.bytes_read() as f64;
    let settings = WgpuSettings {
        model_dir: folder.clone(),
        adapter,
        precision: PrecisionChoice::F16,
        rows_max: BATCHES[2],
        context_tokens_max: CONTEXT_TOKENS_MAX,
        attention_bytes_max: ATTENTION_BYTES_MAX,
        step_tokens_max: 512,
    };
    let mut backend = open(&settings).unwrap_or_else(|error| panic!("{error}"));
    let torch = torch::pieces_per_s(&folder, steps);
    let mut table = format!(
        "| {} ({}), {} in 16 bits | a step, ms | pieces per second | read of weights, GB/s | memory, GB/s | share | torch, pieces per second | ÷ torch |\n|---|---|---|---|---|---|---|---|\n",
        capabilities.name, capabilities.driver, shape.name,
    );
    for (batch, torch) in BATCHES.into_iter().zip(torch) {
        let turns: Vec<(f64, f64)> = (0..in_short(7, 3))
            .map(|_| (bandwidth::bytes_per_s(&device), step_s(backend.as_mut(), batch, steps)))
            .collect();
        let memory = median(turns.iter().map(|turn| turn.0).collect());
        let step_s = median(turns.iter().map(|turn| turn.1).collect());
        let per_s = batch as f64 / step_s;
        let beside =
            torch.map_or_else(|| "| |".to_owned(), |torch| format!("| {torch:.0} | **{:.2}** |", per_s / torch));
        let _ = writeln!(
            table,
            "| {batch} rows | {:.2} | {per_s:.0} | {:.0} | {:.0} | **{:.0} %** {beside}",
            step_s * 1e3,
            bytes / step_s / 1e9,
            memory / 1e9,
            bytes / step_s / memory * 100.0,
        );
    }
    table
}

/// Where the weights are made: `LEDE_BENCH_FOLDER`, or the system's for things that may go.
fn folder() -> PathBuf {
    std::env::var_os("LEDE_BENCH_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from).join("gpu-model")
}

/// Seconds of a step in which each of `batch` rows writes one piece.
fn step_s(backend: &mut dyn Backend, batch: usize, steps: usize) -> f64 {
    let prompt = prompt(PAST);
    let rows: Vec<Row> = (0..batch).map(|_| backend.open(None).expect("there is room")).collect();
    rows.iter().for_each(|row| step(backend, &[*row], &prompt));
    // What is compiled or grown at the first time is not measured.
    step(backend, &rows, &[7]);
    let each =
        (0..steps).map(|_| Duration::from_secs_f64(seconds_of(|| step(backend, &rows, &[7])))).sum::<Duration>();
    rows.into_iter().for_each(|row| backend.close(row));
    each.as_secs_f64() / steps as f64
}
