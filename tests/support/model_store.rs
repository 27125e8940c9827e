//! `lede-origin model …` as a real process with a store of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::{path_from_environment, repository_root};

/// A store that is deleted after its test.
pub struct ModelStore {
    folder: TempDir,
}

/// What a call came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit code 0.
    pub succeeded: bool,
    /// Standard output.
    pub said: String,
    /// Standard error.
    pub complained: String,
}

impl Outcome {
    /// The one line of a failure, which must hold `reason`.
    ///
    /// # Panics
    /// When it succeeded, said more than one line, or did not give that reason.
    pub fn must_fail_with(&self, reason: &str) {
        assert!(!self.succeeded, "it succeeded: {}", self.said);
        assert_eq!(self.complained.lines().count(), 1, "not one line: {}", self.complained);
        let has_reason = self.complained.starts_with("lede-origin: ") && self.complained.contains(reason);
        assert!(has_reason, "{reason:?} is not the reason: {}", self.complained);
    }

    /// What it said when all went well.
    ///
    /// # Panics
    /// When it did not.
    pub fn must_succeed(&self) -> &str {
        assert!(self.succeeded, "{}", self.complained);
        &self.said
    }
}

impl ModelStore {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no room for it.
    #[must_use]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// Where models lie.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    /// Where the hub's files are kept.
    #[must_use]
    pub fn hub_home(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    /// `lede-origin model ARGUMENTS` with more settings.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn run_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Outcome {
        let mut command = Command::new(path_from_environment("LEDE_ORIGIN_BIN"));
        command.arg("model").args(arguments);
        command.env_remove("LEDE_MODEL_DIR").env_remove("LEDE_MODEL").env_remove("HF_TOKEN");
        command
            .env("LEDE_MODELS_DIR", self.path())
            .env("LEDE_ORT_LIBRARY", path_from_environment("LEDE_ORT_LIBRARY"))
            .env("HF_HOME", self.hub_home())
            .envs(settings.iter().copied());
        let Output { status, stdout, stderr } = command.output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Outcome { succeeded: status.success(), said: text(stdout), complained: text(stderr) }
    }

    /// `lede-origin model ARGUMENTS`.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, &[])
    }

    /// Every file in the store with its length: what a failed call must not change.
    #[must_use]
    pub fn content(&self) -> BTreeMap<PathBuf, u64> {
        let mut files = BTreeMap::new();
        collect(&self.path(), &mut files);
        files
    }
}

impl Default for ModelStore {
    fn default() -> Self {
        Self::new()
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, u64>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let length = entry.metadata().map_or(0, |metadata| metadata.len());
        files.insert(entry.path(), length);
        if entry.path().is_dir() {
            collect(&entry.path(), files);
        }
    }
}

/// A model with random weights that is committed.
#[must_use]
pub fn model_fixture(name: &str) -> PathBuf {
    repository_root().join("tests").join("fixtures").join("models").join(name)
}

/// The files of such a model, by path.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn model_files(name: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = model_fixture(name);
    let mut paths = BTreeMap::new();
    collect(&folder, &mut paths);
    let files = paths.into_keys().filter(|path| path.is_file());
    files
        .map(|path| {
            let inner = path.strip_prefix(&folder).expect("it lies in the folder").to_string_lossy().into_owned();
            (inner, std::fs::read(&path).expect("a fixture can be read"))
        })
        .collect()
}
