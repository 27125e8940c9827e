//! Keys with plans and scopes for an origin, and `lede-origin keys …` as a real process on the same file.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

use lede_shared::api_key::ApiKeyHash;
use tempfile::TempDir;

use crate::model_store::Outcome;
use crate::path_from_environment;

/// A file of keys that is deleted after its test. An origin reads it when it is started with
/// `("LEDE_KEYS_FILE", keys.path())`; the edge learns of its keys from there.
pub struct KeysFile {
    folder: TempDir,
    text: String,
}

impl KeysFile {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no room for it.
    #[must_use]
    pub fn new() -> Self {
        let file =
            Self { folder: tempfile::tempdir().expect("a temporary folder can be made"), text: String::new() };
        file.write(&file.text);
        file
    }

    /// One more plan; `settings` are lines of TOML, such as `cells_per_minute = 60`.
    #[must_use]
    pub fn plan(self, name: &str, settings: &str) -> Self {
        self.with(&format!("[plans.{name}]\n{settings}\n"))
    }

    /// One more key for `tenant`; `terms` are lines of TOML, such as `plan = "pro"` and `scopes = ["captions", "admin"]`.
    /// Without any it is for captions on the default plan.
    #[must_use]
    pub fn key(self, api_key: &str, tenant: &str, terms: &str) -> Self {
        let hash = ApiKeyHash::of(api_key);
        self.with(&format!("[[keys]]\nhash = \"{hash}\"\ntenant = \"{tenant}\"\ncreated_ms = 0\n{terms}\n"))
    }

    fn with(mut self, text: &str) -> Self {
        self.text.write_str(text).expect("text can be appended to text");
        self.write(&self.text);
        self
    }

    /// Replaces the whole file.
    ///
    /// # Panics
    /// When that is not possible.
    pub fn write(&self, text: &str) {
        std::fs::write(self.file(), text).expect("a temporary file can be written");
    }

    /// What the file holds now.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn read(&self) -> String {
        std::fs::read_to_string(self.file()).expect("the file can be read")
    }

    /// Where it lies.
    ///
    /// # Panics
    /// When the temporary folder has a name that is not text.
    #[must_use]
    pub fn path(&self) -> String {
        self.file().into_os_string().into_string().expect("a temporary folder's name is text")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("keys.toml")
    }

    /// `lede-origin keys ARGUMENTS`.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(path_from_environment("LEDE_ORIGIN_BIN"));
        command.arg("keys").args(arguments).env("LEDE_KEYS_FILE", self.path());
        let Output { status, stdout, stderr } = command.output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Outcome { succeeded: status.success(), said: text(stdout), complained: text(stderr) }
    }

    /// A key made by `lede-origin keys create ARGUMENTS`.
    #[must_use]
    pub fn create(&self, arguments: &[&str]) -> String {
        self.run(&[&["create"], arguments].concat()).must_succeed().trim().to_owned()
    }
}

impl Default for KeysFile {
    fn default() -> Self {
        Self::new()
    }
}
