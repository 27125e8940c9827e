//! The description of the API against the running service, and clients that stand on it.
#![expect(clippy::unwrap_used, reason = "a suite that cannot reach its own processes has failed")]

mod generated_client;
mod schemathesis;
mod snippets;

use std::process::{Command, Output};

/// Runs to the end and must succeed; returns standard output.
fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{:?} {status}\n{stdout}\n{stderr}", command.get_program());
    stdout.into_owned()
}
