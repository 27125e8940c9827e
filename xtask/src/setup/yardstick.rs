//! What the engine's measurements compare: one set of weights in every form, made by `training/yardstick.py`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::setup::store;
use crate::workspace::Workspace;
use crate::{command, progress};

const REQUIREMENTS: &str = "training/requirements.txt";
/// The forms depend on these.
const SOURCES: [&str; 3] = ["training/yardstick.py", "training/quantise.py", "training/random_model.py"];

/// A Python that can train and export: that of `LEDE_TRAINING_PYTHON`, else one in the cache.
pub(super) fn python(workspace: &Workspace) -> Result<(PathBuf, String)> {
    if let Some(python) = env::var_os("LEDE_TRAINING_PYTHON").filter(|path| !path.is_empty()) {
        return Ok((python.into(), "from LEDE_TRAINING_PYTHON".to_owned()));
    }
    let requirements = workspace.root.join(REQUIREMENTS);
    let name = format!("training-{}", digest(&[&requirements])?);
    let stored = store::ensure(&workspace.cache, &name, |folder| {
        progress::note("fetching what training/requirements.txt names with pip; torch alone is some gigabytes");
        command::quietly(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        command::quietly(pip.arg(&requirements)).map(drop)
    })?;
    Ok((stored.folder.join("bin/python"), stored.outcome("of training/requirements.txt")))
}

/// The folder of the models.
pub(super) fn models(workspace: &Workspace, python: &Path, llama_cpp: &Path) -> Result<(PathBuf, String)> {
    let sources = SOURCES.map(|source| workspace.root.join(source));
    let name = format!("yardstick-models-{}", digest(&sources.each_ref())?);
    let stored = store::ensure(&workspace.cache, &name, |folder| {
        progress::note("making SmolLM2-135M's shape in every form; three to ten minutes and 1.6 GB");
        let mut make = Command::new(python);
        make.args(["-m", "training.yardstick", "--llama"]).arg(llama_cpp).arg("--out").arg(folder);
        command::quietly(make.current_dir(&workspace.root)).map(drop)
    })?;
    Ok((stored.folder.clone(), stored.outcome("SmolLM2-135M's shape")))
}

/// Enough of a digest of files to tell versions of them apart.
fn digest(files: &[&PathBuf]) -> Result<String> {
    let mut digest = Sha256::new();
    for file in files {
        digest.update(fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(hex::encode(digest.finalize())[..12].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_made_anew_when_what_makes_them_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "one").unwrap();
        fs::write(&b, "two").unwrap();
        let before = digest(&[&a, &b]).unwrap();
        assert_eq!(digest(&[&a, &b]).unwrap(), before);
        fs::write(&b, "three").unwrap();
        assert_ne!(digest(&[&a, &b]).unwrap(), before);
        assert!(digest(&[&folder.path().join("missing")]).is_err());
    }
}
