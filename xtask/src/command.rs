//! Running other programs: quietly, with their output shown when they fail, or streamed.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// Lines of a failed program's output that are shown.
const OUTPUT_LINES_MAX: usize = 60;

/// Runs to the end without showing anything and returns stdout.
///
/// # Errors
/// When it cannot be started or fails; then the end of its output is part of the error.
pub(crate) fn quietly(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        bail!("`{}` failed ({})\n{}", shown(command), output.status, end_of(&output));
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` wrote something that is not UTF-8", shown(command)))
}

/// Runs to the end with its output going straight to the terminal.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn streamed(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().map_err(|error| not_started(command, &error))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// A program that may call cargo, without what the cargo that runs this has said of this package. Build scripts that look
/// at it (ring's does) would otherwise run, and everything above them be compiled, each time that a person's call and
/// ours take turns.
pub(crate) fn that_calls_cargo(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let said = env::vars_os().map(|(name, _)| name).filter(|name| says_which_package(&name.to_string_lossy()));
    for name in said {
        command.env_remove(name);
    }
    command
}

fn says_which_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// True when the program exists and `--version` works.
pub(crate) fn exists(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    version.is_ok_and(|output| output.status.success())
}

fn not_started(command: &Command, error: &std::io::Error) -> anyhow::Error {
    let program = command.get_program().to_string_lossy();
    match error.kind() {
        ErrorKind::NotFound => anyhow!("{program} is not installed (or not on PATH)"),
        _ => anyhow!("cannot run {program}: {error}"),
    }
}

/// The program and its arguments, without the environment: that may hold secrets.
fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(line, " {}", argument.to_string_lossy());
    }
    line
}

fn end_of(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(OUTPUT_LINES_MAX)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_calls_cargo_hears_nothing_of_this_package() {
        let command = that_calls_cargo("true");
        let removed: Vec<_> =
            command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"] {
            assert!(removed.contains(&OsStr::new(name)), "{name} is passed on");
        }
        assert!(!removed.contains(&OsStr::new("PATH")) && !says_which_package("CARGO_HOME"));
    }

    #[test]
    fn a_failure_shows_what_the_program_said() {
        let error = quietly(Command::new("sh").args(["-c", "echo said; echo loudly >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("said") && text.contains("loudly") && text.contains('3'), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = quietly(&mut Command::new("lede-no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "lede-no-such-program is not installed (or not on PATH)");
    }
}
