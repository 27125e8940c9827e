//! torch on the same weights and the same device, where there is a Python that has it.

use std::path::Path;
use std::process::{Command, Stdio};

use lede_tests::repository_root;

use super::{BATCHES, PAST};

/// Pieces per second in batches of [`BATCHES`]; `None` where torch cannot be asked.
pub(super) fn pieces_per_s(folder: &Path, steps: usize) -> [Option<f64>; BATCHES.len()] {
    let Some(python) = std::env::var_os("LEDE_TRAINING_PYTHON") else { return [None; BATCHES.len()] };
    let batches = BATCHES.map(|batch| batch.to_string()).join(",");
    let mut torch = Command::new(python);
    torch.args(["-m", "training.torch_decode", "--batches", &batches, "--model"]).arg(folder);
    torch.args(["--past", &PAST.to_string(), "--steps", &steps.to_string()]).stderr(Stdio::inherit());
    // The binary may have been brought here without the repository.
    let root = std::env::var_os("LEDE_BENCH_ROOT").map_or_else(repository_root, Into::into);
    let said = torch.current_dir(root).output();
    let said = said.ok().filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    let said: Vec<f64> = serde_json::from_slice(&said).unwrap_or_default();
    std::array::from_fn(|index| said.get(index).copied())
}
