//! Programs installed with `cargo install` into the cache.

use std::env::consts::EXE_SUFFIX;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::setup::{locked_version, store};
use crate::workspace::Workspace;
use crate::{command, progress};

/// One program of a published package.
#[derive(Debug)]
pub(crate) struct CargoTool {
    package: &'static str,
    version: String,
    binary: &'static str,
}

impl CargoTool {
    /// Turns the edge crate into a Worker. Released together with the `worker` crate, under the same version.
    pub(crate) fn worker_build(workspace: &Workspace) -> Result<Self> {
        let version = locked_version::of(&workspace.root, "worker")?;
        Ok(Self { package: "worker-build", version, binary: "worker-build" })
    }

    /// Must be exactly the version of the library that the edge is compiled with.
    pub(crate) fn wasm_bindgen(workspace: &Workspace) -> Result<Self> {
        let version = locked_version::of(&workspace.root, "wasm-bindgen")?;
        Ok(Self { package: "wasm-bindgen-cli", version, binary: "wasm-bindgen" })
    }

    pub(crate) fn deny() -> Self {
        Self { package: "cargo-deny", version: "0.20.2".to_owned(), binary: "cargo-deny" }
    }

    pub(crate) fn nextest() -> Self {
        Self { package: "cargo-nextest", version: "0.9.143".to_owned(), binary: "cargo-nextest" }
    }

    /// The program's path in the cache, installed first when it is not there.
    pub(crate) fn ensure(&self, workspace: &Workspace) -> Result<(PathBuf, String)> {
        let name = format!("{}-{}", self.package, self.version);
        let stored = store::ensure(&workspace.cache, &name, |folder| self.install(workspace, folder))?;
        let program = stored.folder.join("bin").join(format!("{}{EXE_SUFFIX}", self.binary));
        Ok((program, stored.outcome(&self.version)))
    }

    /// The one on PATH whatever its version, or else [`CargoTool::ensure`].
    pub(crate) fn installed_or_ensure(&self, workspace: &Workspace) -> Result<(PathBuf, String)> {
        if command::exists(self.binary) {
            return Ok((self.binary.into(), "already on PATH".to_owned()));
        }
        self.ensure(workspace)
    }

    /// Unoptimised: these programs run for a second or two, and optimising them would cost minutes.
    /// One target folder for all of them, so that what they share is compiled once.
    fn install(&self, workspace: &Workspace, folder: &std::path::Path) -> Result<()> {
        progress::note(&format!("installing {} {} with cargo; about a minute", self.package, self.version));
        let target = workspace.target.join("tools");
        let _held = store::lock(&workspace.cache, "cargo-install")?;
        let mut cargo = workspace.cargo();
        cargo
            .args(["install", self.package, "--version", &self.version, "--bin", self.binary])
            .args(["--locked", "--debug", "--no-track", "--force", "--root"])
            .arg(folder)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
            .env("CARGO_INCREMENTAL", "0");
        command::streamed(&mut cargo).with_context(|| format!("cannot install {}", self.package))
    }
}
