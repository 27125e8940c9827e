//! Running other programs: quietly, with their output shown when they fail, or streamed.

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
