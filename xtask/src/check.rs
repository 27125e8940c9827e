//! Everything that is judged without running it: format, lints, licences, advisories, spelling.

use std::process::Command;

use anyhow::{Result, bail};

use crate::setup::CheckTools;
use crate::workspace::Workspace;
use crate::{command, progress, setup};

/// Runs every check, also after one has failed, so that one report tells of all of them.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let tools = setup::check(workspace)?;
    let checks: [(&str, &dyn Fn() -> Result<String>); 5] = [
        ("format", &|| format(workspace)),
        ("clippy", &|| clippy(workspace)),
        ("licences, sources, bans", &|| deny(workspace, &tools, &["bans", "licenses", "sources"])),
        ("advisories", &|| advisories(workspace, &tools)),
        ("spelling", &|| spelling(workspace, &tools)),
    ];
    let mut failed = Vec::new();
    for (name, work) in checks {
        if let Err(error) = progress::step(name, work) {
            progress::failure(&error);
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join("; "));
    }
    Ok(())
}

fn format(workspace: &Workspace) -> Result<String> {
    command::streamed(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    Ok("as rustfmt writes it".to_owned())
}

/// `--locked` also proves that Cargo.lock is up to date.
fn clippy(workspace: &Workspace) -> Result<String> {
    let mut cargo = workspace.cargo();
    cargo.args(["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    command::streamed(&mut cargo)?;
    Ok("no warnings".to_owned())
}

fn deny(workspace: &Workspace, tools: &CheckTools, what: &[&str]) -> Result<String> {
    let mut deny = Command::new(&tools.deny);
    deny.args(["--log-level", "error", "--locked", "check", "--hide-inclusion-graph"]).args(what);
    command::quietly(deny.current_dir(&workspace.root))?;
    Ok("as deny.toml allows".to_owned())
}

/// The database of advisories lies on a server that not every machine reaches; then this check is skipped, aloud.
fn advisories(workspace: &Workspace, tools: &CheckTools) -> Result<String> {
    let mut fetch = Command::new(&tools.deny);
    fetch.args(["--log-level", "error", "fetch", "db"]).current_dir(&workspace.root);
    if command::quietly(&mut fetch).is_err() {
        return Ok(
            "SKIPPED, the advisory database (github.com/rustsec/advisory-db) cannot be fetched here".to_owned()
        );
    }
    deny(workspace, tools, &["advisories"])?;
    Ok("none known".to_owned())
}

fn spelling(workspace: &Workspace, tools: &CheckTools) -> Result<String> {
    command::quietly(Command::new(&tools.typos).current_dir(&workspace.root))?;
    Ok("no typos".to_owned())
}
