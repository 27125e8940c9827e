//! Where things are: the repository, cargo's target folder and the cache of set-up artefacts.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::command;

/// Folders that every command needs; all absolute.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's, shared by every build of the repository.
    pub(crate) target: PathBuf,
    /// Tools and libraries that are not in the repository, one folder per version.
    pub(crate) cache: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks cargo, from the folder of this crate when cargo runs it and else from the current one.
    pub(crate) fn find() -> Result<Self> {
        let mut cargo = Self::cargo_program();
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        if let Some(xtask) = env::var_os("CARGO_MANIFEST_DIR") {
            cargo.current_dir(xtask);
        }
        let metadata = command::quietly(&mut cargo).context("cannot find the workspace")?;
        let metadata: Metadata = serde_json::from_str(&metadata).context("cannot read cargo's metadata")?;
        let cache = cache_folder(env::var_os("LEDE_CACHE").map(PathBuf::from), env::home_dir())?;
        Ok(Self { root: metadata.workspace_root, target: metadata.target_directory, cache })
    }

    /// The cargo that runs this, started in the repository's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Self::cargo_program();
        cargo.current_dir(&self.root);
        cargo
    }

    pub(crate) fn edge(&self) -> PathBuf {
        self.root.join("edge")
    }

    /// A program that npm installed for the edge.
    pub(crate) fn node_program(&self, name: &str) -> PathBuf {
        self.edge().join("node_modules/.bin").join(name)
    }

    /// Local state that survives a restart: development keys, local Workers KV. Git-ignored.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join(".lede")
    }

    /// The model that the origin serves: `LEDE_MODEL_DIR` when it is set, else the embedded one.
    pub(crate) fn model(&self) -> PathBuf {
        env::var_os("LEDE_MODEL_DIR").map_or_else(|| self.root.join("models/lede-nano"), PathBuf::from)
    }

    /// A path as it is shown to people: relative to the repository where it lies inside.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    fn cargo_program() -> Command {
        command::that_calls_cargo(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }
}

fn cache_folder(chosen: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf> {
    match (chosen.filter(|path| !path.as_os_str().is_empty()), home) {
        (Some(path), _) if path.is_absolute() => Ok(path),
        (Some(path), _) => bail!("LEDE_CACHE must be an absolute path, not {}", path.display()),
        (None, Some(home)) => Ok(home.join(".cache/lede")),
        (None, None) => bail!("no home folder to keep the cache in: set LEDE_CACHE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_environment_says_and_else_at_home() {
        let home = Some(PathBuf::from("/home/someone"));
        assert_eq!(cache_folder(None, home.clone()).unwrap(), Path::new("/home/someone/.cache/lede"));
        assert_eq!(cache_folder(Some("".into()), home.clone()).unwrap(), Path::new("/home/someone/.cache/lede"));
        assert_eq!(cache_folder(Some("/big/disk".into()), home.clone()).unwrap(), Path::new("/big/disk"));
        assert!(cache_folder(Some("relative".into()), home).is_err());
        assert!(cache_folder(None, None).is_err());
    }
}
