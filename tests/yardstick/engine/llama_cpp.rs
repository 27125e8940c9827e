//! llama.cpp's own measurement, in a process of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use lede_tests::path_from_environment;
use serde_json::Value;

use crate::decode::Speed;
use crate::device::THREADS;

/// One turn of `llama-batched-bench`: `prompt` pieces are read by one row, then `steps` pieces written by one row and by eight.
pub(crate) fn turn(model: &Path, prompt: usize, steps: usize) -> Speed {
    let mut bench = Command::new(path_from_environment("LEDE_LLAMA_CPP").join("llama-batched-bench"));
    bench.arg("--model").arg(model).args(["--output-format", "jsonl", "--ctx-size", "4096", "-npl", "1,8"]);
    bench.args(["-npp", &prompt.to_string(), "-ntg", &steps.to_string()]);
    bench.args(["--threads", &THREADS.to_string(), "--threads-batch", &THREADS.to_string()]);
    let output = bench.stderr(Stdio::null()).output().expect("llama.cpp can be started");
    assert!(output.status.success(), "llama-batched-bench failed");
    let said = String::from_utf8(output.stdout).expect("it says text");
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |rows: u64, what: &str| {
        let line = lines.iter().find(|line| line["pl"] == rows).expect("a line for each batch");
        line[what].as_f64().expect("a number")
    };
    Speed { prefill: of(1, "speed_pp"), alone: of(1, "speed_tg"), together: of(8, "speed_tg") }
}
