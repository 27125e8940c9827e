//! A private Rust with the wasm target, from Debian's packages, for machines where rustup cannot give the target.
//!
//! Needs apt-get and dpkg-deb but not root: packages are fetched with apt's own lists in the cache and unpacked
//! there, and the standard library is compiled once for wasm. Nothing is installed on the machine.

use std::env::consts::ARCH;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::store;
use crate::setup::wasm_target::WASM_TARGET;
use crate::workspace::Workspace;
use crate::{command, progress};

/// Counts up when the recipe below changes, so that caches made by an older one are left alone.
const RECIPE: u32 = 1;
/// rustc with its own source, and the newest lld of the distribution: rustc drives it as `rust-lld`.
const PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "lld-22"];
/// Of what those depend on, the libraries that a machine does not have anyway.
const DEPENDENCIES: [&str; 2] = ["libstd-rust-web", "libllvm"];
const LLD: &str = "llvm-22/bin/lld";

/// Where the toolchain is, or will be.
pub(super) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.cache.join(name())
}

/// Makes the toolchain unless the cache holds it. Its `bin` holds `rustc`.
pub(super) fn ensure(workspace: &Workspace) -> Result<(PathBuf, String)> {
    let stored = store::ensure(&workspace.cache, &name(), |folder| make(workspace, folder))?;
    let version = command::quietly(Command::new(stored.folder.join("bin/rustc")).arg("--version"))?;
    Ok((stored.folder.clone(), stored.outcome(&format!("the distribution's {}", version.trim()))))
}

fn name() -> String {
    format!("wasm-toolchain-distribution-{RECIPE}")
}

fn make(workspace: &Workspace, folder: &Path) -> Result<()> {
    if !command::exists("apt-get") {
        bail!("this machine has no apt-get, so there are no distribution packages to take the target from");
    }
    progress::note("fetching the distribution's rustc, its source and lld; about 140 MB");
    fetch(folder)?;
    fs::create_dir(folder.join("bin")).context("cannot create bin")?;
    write_rustc_wrapper(&folder.join("bin/rustc"))?;
    link_lld(folder)?;
    progress::note("compiling the standard library for wasm; one to two minutes");
    build_standard_library(workspace, folder)?;
    store::remove(&folder.join("usr/src"))
}

/// Downloads the packages with apt's state inside `folder` and unpacks them to `folder/usr`.
fn fetch(folder: &Path) -> Result<()> {
    let apt = folder.join("apt");
    for needed in ["lists/partial", "cache/archives/partial", "packages"] {
        fs::create_dir_all(apt.join(needed)).with_context(|| format!("cannot create {needed}"))?;
    }
    command::quietly(apt_program("apt-get", &apt).arg("update"))?;
    let depends = command::quietly(
        apt_program("apt-cache", &apt)
            .args(["depends", "--recurse", "--important", "--no-pre-depends"])
            .args(PACKAGES),
    )?;
    let mut download = apt_program("apt-get", &apt);
    download.arg("download").args(PACKAGES).args(libraries(&depends)).current_dir(apt.join("packages"));
    command::quietly(&mut download)?;
    for package in fs::read_dir(apt.join("packages")).context("cannot read the downloaded packages")? {
        let package = package.context("cannot read the downloaded packages")?.path();
        command::quietly(Command::new("dpkg-deb").arg("--extract").arg(package).arg(folder))?;
    }
    store::remove(&apt)
}

/// An apt program whose lists and cache lie in `apt`: no root needed, nothing of the machine changed.
fn apt_program(program: &str, apt: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-o").arg(format!("Dir::State::Lists={}", apt.join("lists").display()));
    command.arg("-o").arg(format!("Dir::Cache={}", apt.join("cache").display()));
    command.args(["-o", "APT::Sandbox::User=root", "-q"]);
    command
}

/// The package names in `apt-cache depends` (those at the line's start) that belong to [`DEPENDENCIES`].
fn libraries(depends: &str) -> Vec<&str> {
    let names = depends.lines().map(str::trim_end).filter(|line| !line.starts_with([' ', '<', '|']));
    let mut wanted: Vec<&str> =
        names.filter(|name| DEPENDENCIES.iter().any(|prefix| name.starts_with(prefix))).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

/// Finds its libraries by its own place, so the folder can be renamed.
fn write_rustc_wrapper(path: &Path) -> Result<()> {
    let wrapper = format!(
        "#!/bin/sh\nhere=\"${{0%/*}}\"\nLD_LIBRARY_PATH=\"$here/../usr/lib/{ARCH}-linux-gnu${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\" \\\n  exec \"$here/../usr/bin/rustc\" \"$@\"\n"
    );
    fs::write(path, wrapper).context("cannot write the rustc wrapper")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("cannot make the wrapper executable")
}

fn link_lld(folder: &Path) -> Result<()> {
    let programs = folder.join(format!("usr/lib/rustlib/{}/bin", host()));
    fs::create_dir_all(&programs).context("cannot create rustlib's bin")?;
    symlink(Path::new("../../..").join(LLD), programs.join("rust-lld")).context("cannot link rust-lld")
}

/// Compiles std from an empty crate and puts the libraries where rustc looks for them.
/// With bitcode, because the edge is linked with fat LTO.
fn build_standard_library(workspace: &Workspace, folder: &Path) -> Result<()> {
    let empty = folder.join("std");
    fs::create_dir_all(empty.join("src")).context("cannot create the empty crate")?;
    let manifest = "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n";
    fs::write(empty.join("Cargo.toml"), manifest).context("cannot write the empty crate")?;
    fs::write(empty.join("src/lib.rs"), "#![no_std]\n").context("cannot write the empty crate")?;
    let flags = ["-Cembed-bitcode=yes".to_owned(), format!("--remap-path-prefix={}=/rustc", folder.display())];
    let mut cargo = workspace.cargo();
    cargo
        .current_dir(&empty)
        .args(["build", "--release", "--target", WASM_TARGET, "-Zbuild-std=std,panic_abort"])
        .env("RUSTC", folder.join("bin/rustc"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_TARGET_DIR", empty.join("target"));
    command::quietly(&mut cargo)?;
    let built = empty.join("target").join(WASM_TARGET).join("release/deps");
    let place = folder.join("usr/lib/rustlib").join(WASM_TARGET).join("lib");
    move_libraries(&built, &place)?;
    store::remove(&empty)
}

fn move_libraries(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).context("cannot create the target's library folder")?;
    for entry in fs::read_dir(from).context("cannot read what was compiled")? {
        let path = entry.context("cannot read what was compiled")?.path();
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            fs::rename(&path, to.join(&name)).with_context(|| format!("cannot move {name}"))?;
        }
    }
    Ok(())
}

fn host() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_dependencies_only_the_libraries_of_rustc_and_lld_are_taken() {
        let depends = "rustc-web\n  Depends: libstd-rust-web-dev\n  Depends: gcc\ngcc\nlibstd-rust-web-dev\n  \
                       Depends: libstd-rust-web-1.96\nlibstd-rust-web-1.96\n<libc-dev>\nlibllvm22\nlibllvm22\n";
        assert_eq!(libraries(depends), ["libllvm22", "libstd-rust-web-1.96", "libstd-rust-web-dev"]);
    }

    #[test]
    fn the_empty_crate_itself_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir(&from).unwrap();
        for name in ["libcore-1.rlib", "libcore-1.rmeta", "libempty-2.rlib", "core-1.d"] {
            fs::write(from.join(name), "").unwrap();
        }
        move_libraries(&from, &to).unwrap();
        let moved: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(moved, ["libcore-1.rlib"]);
    }
}
