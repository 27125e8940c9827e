//! Which Rust compiles the edge to wasm32-unknown-unknown (docs/decisions/0001).
//!
//! The default toolchain when it has the target, or can get it through rustup; else a private one made from the
//! distribution's packages. `LEDE_WASM_TOOLCHAIN` = `auto`, `rustup` or `distribution` forces a way.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::distribution_toolchain;
use crate::workspace::Workspace;
use crate::{command, progress};

pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";
/// So that a machine without a way to the rustup servers falls through in seconds rather than minutes.
const RUSTUP_TIMEOUT_S: &str = "30";

/// The Rust that compiles the edge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WasmToolchain {
    /// The one that compiles everything else.
    Default,
    /// A private one, by the folder that holds its `rustc`.
    Private { programs: PathBuf },
}

impl WasmToolchain {
    /// Lets `cargo`, and whoever asks `rustc` on PATH, compile with this toolchain.
    pub(crate) fn apply(&self, command: &mut Command) -> Result<()> {
        let Self::Private { programs } = self else { return Ok(()) };
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(programs.clone()).chain(env::split_paths(&path));
        command.env("PATH", env::join_paths(folders).context("cannot extend PATH")?);
        command.env("RUSTC", programs.join("rustc"));
        Ok(())
    }
}

/// A way to come by the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nothing to do: the default toolchain has it.
    AlreadyThere,
    /// `rustup target add`.
    Rustup,
    /// The private toolchain; cheap when the cache holds it.
    Distribution,
}

/// What decides between the ways.
#[derive(Debug)]
struct Situation {
    target_is_there: bool,
    rustup_is_there: bool,
    private_is_made: bool,
}

/// The toolchain, brought up when it is missing.
pub(super) fn ensure(workspace: &Workspace) -> Result<(WasmToolchain, String)> {
    let situation = Situation {
        target_is_there: default_toolchain_has_target(workspace)?,
        rustup_is_there: command::exists("rustup"),
        private_is_made: distribution_toolchain::folder(workspace).is_dir(),
    };
    let ways = ways(env::var_os("LEDE_WASM_TOOLCHAIN"), &situation)?;
    let mut failures = Vec::new();
    for way in ways {
        match bring_up(workspace, way) {
            Ok(done) => return Ok(done),
            Err(error) => {
                progress::note(&format!("{way:?} cannot give {WASM_TARGET}: {}", first_line(&error)));
                failures.push(format!("{way:?}: {error:#}"));
            }
        }
    }
    bail!(
        "install Rust through https://rustup.rs and run `rustup target add {WASM_TARGET}`\n{}",
        failures.join("\n")
    )
}

/// The ways to try, in order.
fn ways(forced: Option<OsString>, situation: &Situation) -> Result<Vec<Way>> {
    let there = situation.target_is_there;
    match forced.as_deref().map(|value| value.to_string_lossy()).as_deref() {
        None | Some("" | "auto") => Ok(match (there, situation.private_is_made, situation.rustup_is_there) {
            (true, _, _) => vec![Way::AlreadyThere],
            (false, true, _) | (false, false, false) => vec![Way::Distribution],
            (false, false, true) => vec![Way::Rustup, Way::Distribution],
        }),
        Some("rustup") => Ok(vec![if there { Way::AlreadyThere } else { Way::Rustup }]),
        Some("distribution") => Ok(vec![Way::Distribution]),
        Some(other) => bail!("LEDE_WASM_TOOLCHAIN is {other}; it must be auto, rustup or distribution"),
    }
}

fn bring_up(workspace: &Workspace, way: Way) -> Result<(WasmToolchain, String)> {
    match way {
        Way::AlreadyThere => Ok((WasmToolchain::Default, "in the default toolchain".to_owned())),
        Way::Rustup => {
            progress::note("rustup target add");
            let mut rustup = Command::new("rustup");
            rustup.args(["target", "add", WASM_TARGET]).current_dir(&workspace.root);
            rustup.env("RUSTUP_DOWNLOAD_TIMEOUT", RUSTUP_TIMEOUT_S).env("RUSTUP_MAX_RETRIES", "1");
            command::quietly(&mut rustup)?;
            Ok((WasmToolchain::Default, "added to the default toolchain".to_owned()))
        }
        Way::Distribution => {
            let (folder, outcome) = distribution_toolchain::ensure(workspace)?;
            Ok((WasmToolchain::Private { programs: folder.join("bin") }, outcome))
        }
    }
}

fn default_toolchain_has_target(workspace: &Workspace) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--target", WASM_TARGET, "--print", "target-libdir"]).current_dir(&workspace.root);
    let folder = command::quietly(&mut rustc).context("install Rust through https://rustup.rs")?;
    Ok(holds_libraries(Path::new(folder.trim())))
}

fn holds_libraries(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries
        .filter_map(Result::ok)
        .any(|entry| entry.path().extension().is_some_and(|extension| extension == "rlib"))
}

fn first_line(error: &anyhow::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways_of(forced: &str, there: bool, rustup: bool, made: bool) -> Vec<Way> {
        let situation = Situation { target_is_there: there, rustup_is_there: rustup, private_is_made: made };
        ways(Some(forced.into()), &situation).unwrap()
    }

    #[test]
    fn the_default_toolchain_is_used_when_it_has_the_target() {
        assert_eq!(ways_of("auto", true, true, true), [Way::AlreadyThere]);
        assert_eq!(ways_of("rustup", true, true, true), [Way::AlreadyThere]);
    }

    #[test]
    fn rustup_is_asked_before_the_distribution() {
        assert_eq!(ways_of("auto", false, true, false), [Way::Rustup, Way::Distribution]);
        assert_eq!(ways_of("", false, false, false), [Way::Distribution]);
    }

    #[test]
    fn rustup_is_not_asked_again_once_the_private_toolchain_is_made() {
        assert_eq!(ways_of("auto", false, true, true), [Way::Distribution]);
    }

    #[test]
    fn a_way_can_be_forced() {
        assert_eq!(ways_of("distribution", true, true, false), [Way::Distribution]);
        assert_eq!(ways_of("rustup", false, true, true), [Way::Rustup]);
        let situation = Situation { target_is_there: true, rustup_is_there: true, private_is_made: true };
        assert!(ways(Some("nix".into()), &situation).is_err());
    }

    #[test]
    fn a_target_folder_without_libraries_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!holds_libraries(folder.path()) && !holds_libraries(&folder.path().join("missing")));
        fs::write(folder.path().join("libcore-1.rlib"), "").unwrap();
        assert!(holds_libraries(folder.path()));
    }

    #[test]
    fn a_private_toolchain_goes_first_on_path() {
        let mut command = Command::new("true");
        WasmToolchain::Private { programs: "/cache/wasm/bin".into() }.apply(&mut command).unwrap();
        let path = command.get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap();
        assert!(path.to_string_lossy().starts_with("/cache/wasm/bin:"));
    }
}
