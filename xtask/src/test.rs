//! Sets up and runs every test, and says at the end how long each phase took.

mod deployments;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::{edge, origin};
use crate::workspace::Workspace;
use crate::{command, progress, setup};

/// One phase and how it went.
struct Phase {
    name: &'static str,
    took: Duration,
    failure: Option<anyhow::Error>,
}

/// Set-up and builds stop at the first failure; the suites all run, so that one report tells of all of them. Who
/// names tests wants only those: then the suites that are not nextest's are left out.
pub(crate) fn test(workspace: &Workspace, nextest_args: &[String]) -> Result<()> {
    let mut phases = Vec::new();
    let mut run = |name, work: &mut dyn FnMut() -> Result<()>| {
        let begun = Instant::now();
        let failure = work().err();
        let failed = failure.is_some();
        phases.push(Phase { name, took: begun.elapsed(), failure });
        !failed
    };
    let ready = run("set-up and edge", &mut || edge::build(workspace, false, None).map(drop))
        && run("compile", &mut || compile(workspace));
    if ready {
        run("nextest", &mut || nextest(workspace, nextest_args));
    }
    if ready && nextest_args.is_empty() {
        run("doc tests", &mut || doc_tests(workspace));
        run("deployments", &mut || deployments::dry_runs(workspace));
        run("training", &mut || training(workspace));
    }
    report(&phases)
}

/// One call of cargo for the test binaries and for what the suites start or have loaded (examples are libraries that are devices
/// with faults): with the same features, nothing is compiled twice.
fn compile(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--locked", "--workspace", "--bins", "--tests", "--examples"]);
    command::streamed(&mut cargo)
}

fn nextest(workspace: &Workspace, nextest_args: &[String]) -> Result<()> {
    let library = setup::onnx_runtime(workspace)?;
    let web = setup::web(workspace)?;
    let redis = setup::redis(workspace)?;
    let vulkan = setup::vulkan(workspace)?;
    let mut nextest = command::that_calls_cargo(setup::nextest(workspace)?);
    nextest.args(["nextest", "run", "--locked", "--workspace"]).args(nextest_args).current_dir(&workspace.root);
    nextest
        .env("LEDE_ORIGIN_BIN", origin::binary(workspace, false))
        .env("LEDE_EDGE_BUILD", edge::folder(workspace))
        .env("LEDE_EDGE_DIR", workspace.edge())
        .env("LEDE_ORT_LIBRARY", library)
        .env("LEDE_FAULTY_DEVICES", workspace.target.join("debug").join("examples"))
        .env("LEDE_CHROMIUM", web.chromium)
        .env("LEDE_REDIS_SERVER", redis)
        .env("LEDE_SCREENSHOTS", workspace.target.join("screenshots"))
        .env("LEDE_SCHEMATHESIS", web.schemathesis)
        .env("LEDE_MODEL_DIR", workspace.model());
    if let Some(vulkan) = vulkan {
        vulkan.offer_to(&mut nextest);
    }
    command::streamed(&mut nextest)
}

/// Only of the packages that have any: each costs a compilation.
fn doc_tests(workspace: &Workspace) -> Result<()> {
    for package in ["shared", "origin", "edge"] {
        if has_doc_tests(&workspace.root.join(package).join("src"))? {
            let mut cargo = workspace.cargo();
            cargo.args(["test", "--locked", "--doc", "--package", &format!("lede-{package}")]);
            command::streamed(&mut cargo)?;
        }
    }
    Ok(())
}

fn has_doc_tests(folder: &Path) -> Result<bool> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let found = if path.is_dir() {
            has_doc_tests(&path)?
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
                && holds_example(
                    &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?,
                )
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True when a doc comment holds a block that rustdoc compiles; ` ```text ` and the like are not.
fn holds_example(source: &str) -> bool {
    let mut in_block = false;
    for line in source.lines().map(str::trim_start) {
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let Some(language) = comment.and_then(|text| text.trim().strip_prefix("```")) else { continue };
        if !in_block && matches!(language, "" | "rust" | "no_run" | "should_panic" | "compile_fail") {
            return true;
        }
        in_block = !in_block;
    }
    false
}

/// The parts of `training/` that need nothing but Python itself: the corpus and the tokenizer's layout.
fn training(workspace: &Workspace) -> Result<()> {
    let mut python = Command::new("python3");
    python.args(["-m", "unittest", "discover", "--start-directory", "training", "--top-level-directory", "."]);
    command::streamed(python.current_dir(&workspace.root))
}

fn report(phases: &[Phase]) -> Result<()> {
    progress::line("");
    for phase in phases {
        let sign = if phase.failure.is_some() { '✗' } else { '✓' };
        progress::line(&format!("{sign} {:<16} {}", phase.name, progress::seconds(phase.took)));
    }
    let failures: Vec<String> = phases
        .iter()
        .filter_map(|phase| phase.failure.as_ref().map(|error| format!("{}: {error:#}", phase.name)))
        .collect();
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_examples_that_compile_count_as_doc_tests() {
        assert!(holds_example("    /// ```\n    /// f();\n    /// ```"));
        assert!(holds_example("//! ```text\n//! x\n//! ```\n//! ```no_run\n"));
        assert!(!holds_example("/// ```text\n/// x\n/// ```\n"));
        assert!(!holds_example("// ```rust\nlet fence = \"```\";"));
    }

    #[test]
    fn every_failed_phase_is_in_the_report() {
        let phase = |name, failure| Phase { name, took: Duration::ZERO, failure };
        assert!(report(&[phase("compile", None)]).is_ok());
        let failed = report(&[
            phase("nextest", Some(anyhow::anyhow!("two"))),
            phase("training", Some(anyhow::anyhow!("one"))),
        ]);
        assert_eq!(failed.unwrap_err().to_string(), "nextest: two\ntraining: one");
    }
}
