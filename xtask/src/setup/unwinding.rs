//! Can the edge be built so that a panic ends its own request only (docs/decisions/0020)?
//!
//! The standard library for wasm that Rust ships is compiled to abort, and an abort takes every request of the isolate
//! with it. One that unwinds has to be compiled from its source, which rustup brings as the component rust-src.
//! `LEDE_EDGE_PANIC` = `auto` (the default), which unwinds where it can, `unwind` or `abort`.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::wasm_target::WasmToolchain;
use crate::workspace::Workspace;
use crate::{command, progress};

/// So that a machine without a way to the rustup servers falls through in seconds rather than minutes.
const RUSTUP_TIMEOUT_S: &str = "30";

/// What a panic in the edge does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Panics {
    /// Ends its own request.
    Unwind,
    /// Ends the isolate; the next request begins with a new one.
    Abort,
}

impl Panics {
    /// Tells cargo, whoever calls it. `RUSTC_BOOTSTRAP` lets a stable compiler take `-Zbuild-std`, which is all that is
    /// unstable about it.
    pub(crate) fn apply(self, command: &mut Command) {
        if self == Self::Unwind {
            command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_UNSTABLE_BUILD_STD", "std,panic_unwind");
            command.env("CARGO_PROFILE_EDGE_PANIC", "unwind");
        }
    }

    /// Compiler flags: the profile's word alone does not reach the standard library.
    pub(crate) const fn flags(self) -> &'static str {
        match self {
            Self::Unwind => "-Cpanic=unwind",
            Self::Abort => "",
        }
    }
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Unwinding where it can be had.
    Auto,
    Exactly(Panics),
}

/// Unwinding, with the library's source brought when it is missing, or else aborting.
///
/// # Errors
/// When unwinding is forced and cannot be had.
pub(super) fn ensure(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<(Panics, String)> {
    match wanted(env::var_os("LEDE_EDGE_PANIC").as_deref())? {
        Wanted::Exactly(Panics::Abort) => Ok((Panics::Abort, "end the isolate (LEDE_EDGE_PANIC)".to_owned())),
        Wanted::Exactly(Panics::Unwind) => {
            bring_source(workspace, toolchain)?;
            Ok((Panics::Unwind, "end their own request".to_owned()))
        }
        Wanted::Auto => Ok(match bring_source(workspace, toolchain) {
            Ok(()) => (Panics::Unwind, "end their own request".to_owned()),
            Err(error) => {
                progress::note(&format!("no unwinding: {}", error.to_string().lines().next().unwrap_or_default()));
                (Panics::Abort, "END THE ISOLATE, the source of Rust's standard library is not here".to_owned())
            }
        }),
    }
}

fn wanted(chosen: Option<&OsStr>) -> Result<Wanted> {
    match chosen.map(OsStr::to_string_lossy).as_deref() {
        None | Some("" | "auto") => Ok(Wanted::Auto),
        Some("abort") => Ok(Wanted::Exactly(Panics::Abort)),
        Some("unwind") => Ok(Wanted::Exactly(Panics::Unwind)),
        Some(other) => bail!("LEDE_EDGE_PANIC is {other}; it must be auto, unwind or abort"),
    }
}

fn bring_source(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<()> {
    if source_is_there(workspace, toolchain)? {
        return Ok(());
    }
    if *toolchain != WasmToolchain::Default || !command::exists("rustup") {
        bail!("install the source of Rust's standard library (rustup component add rust-src)");
    }
    progress::note("rustup component add rust-src");
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add", "rust-src"]).current_dir(&workspace.root);
    rustup.env("RUSTUP_DOWNLOAD_TIMEOUT", RUSTUP_TIMEOUT_S).env("RUSTUP_MAX_RETRIES", "1");
    command::quietly(&mut rustup).map(drop)
}

fn source_is_there(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    toolchain.apply(&mut rustc)?;
    rustc.args(["--print", "sysroot"]).current_dir(&workspace.root);
    let sysroot = command::quietly(&mut rustc).context("install Rust through https://rustup.rs")?;
    Ok(holds_source(Path::new(sysroot.trim())))
}

/// The lock is what cargo looks for to compile the library.
fn holds_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn unwinding_where_it_can_be_had_is_the_default_and_another_way_can_be_chosen() {
        let of = |text: &str| wanted(Some(OsStr::new(text)));
        assert_eq!(wanted(None).unwrap(), Wanted::Auto);
        assert_eq!(of("auto").unwrap(), Wanted::Auto);
        assert_eq!(of("unwind").unwrap(), Wanted::Exactly(Panics::Unwind));
        assert_eq!(of("abort").unwrap(), Wanted::Exactly(Panics::Abort));
        assert!(of("catch").is_err());
    }

    #[test]
    fn a_toolchain_without_the_library_s_source_does_not_count() {
        let sysroot = tempfile::tempdir().unwrap();
        assert!(!holds_source(sysroot.path()));
        let library = sysroot.path().join("lib/rustlib/src/rust/library");
        fs::create_dir_all(&library).unwrap();
        fs::write(library.join("Cargo.lock"), "").unwrap();
        assert!(holds_source(sysroot.path()));
    }

    #[test]
    fn only_a_build_that_unwinds_compiles_the_standard_library() {
        for (panics, expected) in [(Panics::Unwind, 3), (Panics::Abort, 0)] {
            let mut command = Command::new("true");
            panics.apply(&mut command);
            assert_eq!(command.get_envs().count(), expected, "{panics:?}");
            assert_eq!(panics.flags().is_empty(), panics == Panics::Abort);
        }
    }
}
