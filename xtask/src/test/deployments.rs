//! Every environment of `wrangler.toml`, packed as `wrangler deploy` would send it, but not sent.
//!
//! Needs no login. The folder of the result is thrown away by the next run.

use std::process::Command;

use anyhow::{Context, Result};

use crate::build::configuration::{DEPLOYED, DEVELOPMENT, PLACEHOLDERS};
use crate::workspace::Workspace;
use crate::{command, progress};

/// A dry run for each environment; what is still to be filled in is allowed here.
///
/// # Errors
/// When wrangler refuses one, or the build that it calls does.
pub(super) fn dry_runs(workspace: &Workspace) -> Result<()> {
    for environment in [DEVELOPMENT].into_iter().chain(DEPLOYED) {
        progress::step(&format!("deployment of {environment}, dry"), || {
            let said = command::quietly(&mut dry_run(workspace, environment))?;
            upload(&said).map(str::to_owned).context("wrangler did not say what it would upload")
        })?;
    }
    Ok(())
}

fn dry_run(workspace: &Workspace, environment: &str) -> Command {
    let mut wrangler = command::that_calls_cargo(workspace.node_program("wrangler"));
    wrangler
        .current_dir(&workspace.root)
        .args(["deploy", "--config", "wrangler.toml", "--dry-run", "--outdir"])
        .arg(workspace.target.join("deployments").join(environment))
        // Development is the top of the file, which wrangler calls by the empty name.
        .args(["--env", if environment == DEVELOPMENT { "" } else { environment }])
        .env(PLACEHOLDERS, "allowed")
        .env("WRANGLER_SEND_METRICS", "false")
        .env("FORCE_COLOR", "0")
        .env("CI", "true");
    wrangler
}

/// `672.58 KiB / gzip: 276.13 KiB`
fn upload(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.strip_prefix("Total Upload: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_an_upload_is_found_in_what_wrangler_says() {
        let said = "[custom build] done\nTotal Upload: 672.58 KiB / gzip: 276.13 KiB\nYour Worker has access to\n";
        assert_eq!(upload(said), Some("672.58 KiB / gzip: 276.13 KiB"));
        assert_eq!(upload("nothing"), None);
    }
}
