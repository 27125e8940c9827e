//! What the browser and contract suites need: the Node packages of `tests/browser`, the Chromium that lies packed in
//! one of them, and schemathesis from PyPI.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::setup::{node_modules, store};
use crate::workspace::Workspace;
use crate::{command, progress};

const CHROMIUM: &str = "@sparticuz/chromium";
const REQUIREMENTS: &str = "tests/contract/requirements.txt";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    dev_dependencies: std::collections::BTreeMap<String, String>,
}

/// The folder with `chromium` and the libraries and fonts that it runs with.
pub(super) fn chromium(workspace: &Workspace) -> Result<(PathBuf, String)> {
    let folder = workspace.root.join("tests/browser");
    node_modules::ensure(workspace, &folder)?;
    if (OS, ARCH) != ("linux", "x86_64") {
        bail!("the Chromium of the browser suite is for Linux on x86_64, not for {OS} on {ARCH}");
    }
    let manifest =
        fs::read_to_string(folder.join("package.json")).context("cannot read tests/browser/package.json")?;
    let package: Package = serde_json::from_str(&manifest).context("cannot read tests/browser/package.json")?;
    let version = package.dev_dependencies.get(CHROMIUM).context("tests/browser has no Chromium")?;
    let stored = store::ensure(&workspace.cache, &format!("chromium-{version}"), |into| {
        let mut unpack = Command::new("node");
        unpack.arg("unpack-chromium.mjs").current_dir(&folder).env("TMPDIR", into);
        command::quietly(&mut unpack).map(drop)
    })?;
    Ok((stored.folder.clone(), stored.outcome(version)))
}

/// The folder with Python's packages: schemathesis and what it stands on, in the versions that are pinned.
pub(super) fn schemathesis(workspace: &Workspace) -> Result<(PathBuf, String)> {
    let requirements = workspace.root.join(REQUIREMENTS);
    let pinned = fs::read_to_string(&requirements).with_context(|| format!("cannot read {REQUIREMENTS}"))?;
    let version = pinned.lines().find_map(|line| line.strip_prefix("schemathesis==")).unwrap_or_default();
    let hash = hex::encode(Sha256::digest(&pinned));
    let stored = store::ensure(&workspace.cache, &format!("schemathesis-{version}-{}", &hash[..12]), |into| {
        progress::note(&format!("fetching schemathesis {version} with pip"));
        command::quietly(&mut install(&requirements, into)).map(drop)
    })?;
    Ok((stored.folder.clone(), stored.outcome(version)))
}

/// Into a folder rather than a virtual environment: it may be moved, and needs no more of Python than pip.
fn install(requirements: &Path, into: &Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
    ]);
    pip.arg("--target").arg(into).arg("--requirement").arg(requirements);
    pip
}
