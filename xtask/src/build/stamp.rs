//! Remembers what a bundle was made from, so that an unchanged one is not made again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The file that holds the hash of everything a bundle depends on, and the bundle's own.
#[derive(Debug)]
pub(super) struct Stamp {
    path: PathBuf,
}

impl Stamp {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// True when `outputs` are what was made from these very `inputs`.
    pub(super) fn matches(&self, inputs: &[&Path], settings: &str, outputs: &[PathBuf]) -> bool {
        let outputs: Vec<&Path> = outputs.iter().map(PathBuf::as_path).collect();
        match (fs::read_to_string(&self.path), hash(inputs, settings), hash(&outputs, "")) {
            (Ok(stamp), Ok(made_from), Ok(made)) => stamp == format!("{made_from}\n{made}\n"),
            _ => false,
        }
    }

    /// Remembers that `outputs` were made from `inputs`.
    pub(super) fn write(&self, inputs: &[&Path], settings: &str, outputs: &[PathBuf]) -> Result<()> {
        let outputs: Vec<&Path> = outputs.iter().map(PathBuf::as_path).collect();
        let stamp = format!("{}\n{}\n", hash(inputs, settings)?, hash(&outputs, "")?);
        fs::write(&self.path, stamp).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn hash(files: &[&Path], settings: &str) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(settings);
    for file in files {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    Ok(hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bundle {
        folder: tempfile::TempDir,
        stamp: Stamp,
    }

    impl Bundle {
        fn made() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let stamp = Stamp::at(folder.path().join("stamp"));
            let bundle = Self { folder, stamp };
            fs::write(bundle.path("in"), "a").unwrap();
            fs::write(bundle.path("out"), "b").unwrap();
            bundle.stamp.write(&[&bundle.path("in")], "1", &[bundle.path("out")]).unwrap();
            bundle
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn matches(&self, settings: &str) -> bool {
            self.stamp.matches(&[&self.path("in")], settings, &[self.path("out")])
        }
    }

    #[test]
    fn an_untouched_bundle_is_not_made_again() {
        assert!(Bundle::made().matches("1"));
    }

    #[test]
    fn a_changed_input_setting_or_output_is_noticed() {
        assert!(!Bundle::made().matches("2"));
        for file in ["in", "out", "stamp"] {
            let bundle = Bundle::made();
            fs::write(bundle.path(file), "changed").unwrap();
            assert!(!bundle.matches("1"), "{file} changed");
            fs::remove_file(bundle.path(file)).unwrap();
            assert!(!bundle.matches("1"), "{file} is missing");
        }
    }
}
