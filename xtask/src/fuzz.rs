//! The libFuzzer programs of `tests/fuzz`, built by the ordinary compiler.
//!
//! cargo-fuzz would want a nightly one for its sanitizer. There is no `unsafe` in what is fuzzed, so the sanitizer would find
//! little; what guides the fuzzer is the instrumentation, and that is a pass of LLVM that any compiler has.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{command, progress};

/// What cargo-fuzz gives rustc for `--sanitizer none`, and the checks of arithmetic that a release build leaves out.
const RUSTFLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];
/// Longest input: more than any limit of the contract for one request.
const INPUT_BYTES_MAX: u32 = 8_192;

/// Runs each target, or the named one, for `seconds`.
///
/// # Errors
/// When a target is not there, does not build, or an input broke it.
pub(crate) fn fuzz(workspace: &Workspace, target: Option<&str>, seconds: u32) -> Result<()> {
    let folder = workspace.root.join("tests/fuzz");
    let mut targets = names(&folder)?;
    if let Some(wanted) = target {
        targets.retain(|name| name == wanted);
        if targets.is_empty() {
            bail!("tests/fuzz has no target {wanted}: {}", names(&folder)?.join(", "));
        }
    }
    let built = workspace.target.join("fuzz");
    let host = host()?;
    let mut cargo = workspace.cargo();
    // Naming the host's own target keeps the flags away from build scripts and macros.
    cargo.args(["build", "--release", "--bins", "--target", &host]).current_dir(&folder);
    cargo.env("CARGO_TARGET_DIR", &built).env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\u{1f}"));
    command::streamed(&mut cargo)?;
    for name in targets {
        let program = built.join(&host).join("release").join(format!("{name}{EXE_SUFFIX}"));
        progress::step(&format!("fuzzed {name}"), || run(&folder, (&name, &program), seconds))?;
    }
    Ok(())
}

/// One target for `seconds`; what came of it is libFuzzer's own last line.
fn run(folder: &Path, (name, program): (&str, &PathBuf), seconds: u32) -> Result<String> {
    let (corpus, artifacts) = (folder.join("corpus").join(name), folder.join("artifacts").join(name));
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut fuzzer = Command::new(program);
    fuzzer.arg(&corpus).arg(folder.join("../fixtures/wire")).current_dir(folder);
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={INPUT_BYTES_MAX}"));
    let output = fuzzer.args(["-print_final_stats=1", "-timeout=10", "-verbosity=0"]).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{name} was broken by an input, kept in {}\n{said}", artifacts.display());
    }
    Ok(executions(&said))
}

/// `stat::number_of_executed_units: 12345`
fn executions(said: &str) -> String {
    let count = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    count.map_or_else(|| "nothing broke".to_owned(), |count| format!("{} inputs, nothing broke", count.trim()))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder.join("fuzz_targets")).context("cannot read tests/fuzz/fuzz_targets")?;
    let stems = entries.filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()));
    let mut names: Vec<String> = stems.collect();
    names.sort();
    Ok(names)
}

fn host() -> Result<String> {
    let said = command::quietly(Command::new("rustc").args(["--print", "host-tuple"]))?;
    Ok(said.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_inputs_is_found_in_what_libfuzzer_says() {
        let said = "INFO: x\nstat::number_of_executed_units: 4711\nstat::average_exec_per_sec: 5\n";
        assert_eq!(executions(said), "4711 inputs, nothing broke");
        assert_eq!(executions("INFO: x"), "nothing broke");
    }

    #[test]
    fn every_target_has_a_program_of_its_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
        let targets = fs::read_to_string(folder.join("targets.rs")).unwrap();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let functions: Vec<_> =
            targets.lines().filter_map(|line| line.strip_prefix("pub fn ")?.split('(').next()).collect();
        assert!(functions.len() >= 7, "{functions:?}");
        for name in &functions {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no program");
        }
        let mut sorted = functions.clone();
        sorted.sort_unstable();
        assert_eq!(names(&folder).unwrap(), sorted);
    }
}
