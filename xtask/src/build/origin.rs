//! Builds the origin's binary.

use std::env::consts::EXE_SUFFIX;
use std::path::PathBuf;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{command, progress};

/// Compiles `lede-origin` and returns its path.
pub(crate) fn build(workspace: &Workspace, release: bool) -> Result<PathBuf> {
    progress::step("origin", || {
        let mut cargo = workspace.cargo();
        // Of the whole workspace, so that features are unified as they are for the tests and nothing is compiled twice.
        cargo.args(["build", "--locked", "--workspace", "--bin", "lede-origin"]);
        if release {
            cargo.arg("--release");
        }
        command::streamed(&mut cargo)?;
        Ok(workspace.shown(&binary(workspace, release)))
    })?;
    Ok(binary(workspace, release))
}

/// Where cargo puts the binary.
pub(crate) fn binary(workspace: &Workspace, release: bool) -> PathBuf {
    let profile = if release { "release" } else { "debug" };
    workspace.target.join(profile).join(format!("lede-origin{EXE_SUFFIX}"))
}
