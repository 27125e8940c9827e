//! Programs and libraries that PyPI carries as wheels: fetched for this platform, checked, unpacked.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::setup::store;
use crate::workspace::Workspace;
use crate::{command, progress};

const INSTALL_PYTHON: &str = "install Python 3 with pip (python3 -m pip must work)";

/// A wheel of one version, with the file for each platform that we know.
#[derive(Debug)]
pub(super) struct Wheel {
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// The Python that the file is made for. Named, so that every machine gets the same file whatever Python it has.
    pub(super) python: Option<Python>,
    pub(super) files: &'static [WheelFile],
}

/// A Python version and binary interface as pip names them.
#[derive(Debug)]
pub(super) struct Python {
    pub(super) version: &'static str,
    pub(super) abi: &'static str,
}

/// One platform's file.
#[derive(Debug)]
pub(super) struct WheelFile {
    /// As in `std::env::consts`.
    pub(super) os: &'static str,
    pub(super) arch: &'static str,
    /// The platform tag that pip takes.
    pub(super) platform: &'static str,
    pub(super) sha256: &'static str,
}

const TYPOS: Wheel = Wheel {
    package: "typos",
    version: "1.52.0",
    python: None,
    files: &[
        WheelFile {
            os: "linux",
            arch: "x86_64",
            platform: "manylinux_2_17_x86_64",
            sha256: "418fd85f7fc11dec14e5482e747f6e916af56da96207cde0cdd69540a4b389f6",
        },
        WheelFile {
            os: "linux",
            arch: "aarch64",
            platform: "manylinux_2_17_aarch64",
            sha256: "5e870133c7e9cace94183e4d638697004a1473e79abcd01b8f75e362049a9b5c",
        },
        WheelFile {
            os: "macos",
            arch: "aarch64",
            platform: "macosx_11_0_arm64",
            sha256: "257324274303a459fef79978cae942568419d2e8b18519e5f66b93a7e2df2ba1",
        },
    ],
};

/// The spelling checker. Its wheel holds the finished program; compiling it would take minutes.
pub(super) fn typos(workspace: &Workspace) -> Result<(PathBuf, String)> {
    let stored = TYPOS.ensure(workspace, |unpacked, folder| {
        let program = unpacked.join(format!("typos-{}.data/scripts/typos", TYPOS.version));
        make_executable(&program)?;
        fs::rename(program, folder.join("typos")).context("the typos wheel holds no program")
    })?;
    Ok((stored.folder.join("typos"), stored.outcome(TYPOS.version)))
}

impl Wheel {
    /// Fetches the file for this platform, checks it and lets `keep` move what is wanted from the unpacked wheel
    /// (first folder) to the cache (second folder).
    pub(super) fn ensure(
        &self,
        workspace: &Workspace,
        keep: impl FnOnce(&Path, &Path) -> Result<()>,
    ) -> Result<store::Stored> {
        let name = format!("{}-{}", self.package, self.version);
        store::ensure(&workspace.cache, &name, |folder| {
            let unpacked = folder.join("wheel");
            self.fetch(folder, &unpacked)?;
            keep(&unpacked, folder)?;
            store::remove(&unpacked)
        })
    }

    fn fetch(&self, folder: &Path, unpacked: &Path) -> Result<()> {
        let file = self.file_for(OS, ARCH)?;
        progress::note(&format!("fetching {} {} with pip", self.package, self.version));
        command::quietly(&mut self.download(file, folder)).context(INSTALL_PYTHON)?;
        let wheel = the_wheel_in(folder)?;
        verify(&wheel, file.sha256)?;
        let mut unzip = Command::new("python3");
        unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(unpacked);
        command::quietly(&mut unzip)?;
        fs::remove_file(&wheel).with_context(|| format!("cannot remove {}", wheel.display()))
    }

    fn download(&self, file: &WheelFile, folder: &Path) -> Command {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]);
        pip.args(["--platform", file.platform, "--dest"]).arg(folder);
        if let Some(python) = &self.python {
            pip.args(["--implementation", "cp", "--python-version", python.version, "--abi", python.abi]);
        }
        pip.arg(format!("{}=={}", self.package, self.version));
        pip
    }

    fn file_for(&self, os: &str, arch: &str) -> Result<&WheelFile> {
        let found = self.files.iter().find(|file| file.os == os && file.arch == arch);
        found.with_context(|| format!("{} {} is not known for {os} on {arch}", self.package, self.version))
    }
}

fn the_wheel_in(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let wheel = paths.find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    wheel.context("pip reported success but left no wheel")
}

fn verify(wheel: &Path, sha256: &str) -> Result<()> {
    let bytes = fs::read(wheel).with_context(|| format!("cannot read {}", wheel.display()))?;
    let found = hex::encode(Sha256::digest(&bytes));
    if found != sha256 {
        bail!("{} has the SHA-256 {found}, not {sha256} as pinned in xtask", wheel.display());
    }
    Ok(())
}

#[cfg(unix)]
fn make_executable(program: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_altered_wheel_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.whl");
        fs::write(&path, "abc").unwrap();
        verify(&path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        let refusal = verify(&path, TYPOS.files[0].sha256).unwrap_err().to_string();
        assert!(refusal.contains("SHA-256"), "{refusal}");
    }

    #[test]
    fn an_unknown_platform_is_named() {
        assert_eq!(TYPOS.file_for("linux", "aarch64").unwrap().platform, "manylinux_2_17_aarch64");
        let refusal = TYPOS.file_for("plan9", "mips").unwrap_err().to_string();
        assert_eq!(refusal, "typos 1.52.0 is not known for plan9 on mips");
    }
}
