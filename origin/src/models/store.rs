//! The store: a folder of model folders, each complete, checked and listed file by file with its hash.
//!
//! A model comes in through a temporary folder beside the others and is renamed into place when all is well; so it is
//! there whole or not at all, and a server that runs another one never notices.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use lede_shared::clock::UnixMillis;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::date;
use super::weight_files::is_weights;
use crate::clock;

const MANIFEST_FILE: &str = "lede-store.json";
const MANIFEST_FORMAT: u32 = 1;
const STAGING_PREFIX: &str = ".adding-";
/// A temporary folder that old belongs to nobody: whoever made it was killed.
const STAGING_LEFT_AFTER: Duration = Duration::from_secs(24 * 3_600);
const NAME_CHARS_MAX: usize = 96;
/// Files of one model; a real one has about ten.
const FILES_MAX: usize = 64;
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;
/// A tokenizer of 256,000 entries has 35 MB; everything but weights is read into memory.
pub(super) const TEXT_FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Left free on the disk for everybody else.
const SPARE_BYTES: u64 = 64 * 1024 * 1024;
const COPY_BYTES: usize = 1024 * 1024;

/// Something about the store or a model in it. One line, for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(String);

impl StoreError {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    fn io(path: &Path, error: &io::Error) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

/// A file to be taken in.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path inside the model's folder, with `/`.
    pub path: String,
    /// Where it is now.
    pub from: PathBuf,
}

/// What is known of a model besides its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// The family, as `config.json` names it.
    pub architecture: String,
    /// Parameters, where they can be worked out.
    pub parameters: Option<u64>,
    /// Path of the graph, whose name tells its precision; without one, of the safetensors or their index.
    pub graph: String,
}

/// One file of a stored model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its length.
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// What the store knows of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredModel {
    format: u32,
    /// Its name, which is its folder's.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// What it is.
    pub facts: ModelFacts,
    /// When it was added.
    pub added_at: UnixMillis,
    /// When all hashes were last found right; `None` after they were not.
    pub verified_at: Option<UnixMillis>,
    /// By path.
    pub files: BTreeMap<String, FileRecord>,
}

impl StoredModel {
    /// All files together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }

    /// The day of the last good verification.
    #[must_use]
    pub fn verified_on(&self) -> Option<String> {
        self.verified_at.map(date::iso)
    }
}

/// A model to be added.
#[derive(Clone, Debug)]
pub struct Addition {
    /// Its name in the store.
    pub name: String,
    /// Where it comes from, for the record.
    pub source: String,
    /// Its files.
    pub files: Vec<SourceFile>,
}

/// A folder of models.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    bytes_max: u64,
}

impl Store {
    /// The store in `folder`, which need not exist, for models of at most `bytes_max`.
    #[must_use]
    pub const fn new(folder: PathBuf, bytes_max: u64) -> Self {
        Self { folder, bytes_max }
    }

    /// All models, by name.
    ///
    /// # Errors
    /// When the folder or a manifest cannot be read.
    pub fn list(&self) -> Result<Vec<StoredModel>, StoreError> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&self.folder).map_err(|error| StoreError::io(&self.folder, &error))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter(|name| self.path_of(name).join(MANIFEST_FILE).exists()).collect();
        names.sort_unstable();
        names.iter().filter(|name| check_name(name).is_ok()).map(|name| self.get(name)).collect()
    }

    /// One model.
    ///
    /// # Errors
    /// When there is none of that name or its manifest is broken.
    pub fn get(&self, name: &str) -> Result<StoredModel, StoreError> {
        check_name(name)?;
        let path = self.path_of(name).join(MANIFEST_FILE);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                StoreError::new(format!("there is no model {name:?} in {}", self.folder.display()))
            }
            _ => StoreError::io(&path, &error),
        })?;
        let mut json = Vec::new();
        file.take(MANIFEST_BYTES_MAX).read_to_end(&mut json).map_err(|error| StoreError::io(&path, &error))?;
        let model: StoredModel = serde_json::from_slice(&json)
            .map_err(|error| StoreError::new(format!("{} is broken: {error}", path.display())))?;
        let paths_are_sound = model.files.keys().all(|path| is_sound(path));
        if model.format != MANIFEST_FORMAT || model.name != name || !paths_are_sound {
            return Err(StoreError::new(format!("{} is broken: it describes something else", path.display())));
        }
        Ok(model)
    }

    /// Where a model lies.
    #[must_use]
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Refuses a name that cannot be added, before any work is done for it.
    ///
    /// # Errors
    /// When the name cannot be used or is taken.
    pub fn check_free(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        if self.path_of(name).exists() {
            return Err(StoreError::new(format!(
                "there is a model {name:?} already; remove it or choose another --name"
            )));
        }
        Ok(())
    }

    /// Refuses more bytes than a model may have or the disk has room for.
    ///
    /// # Errors
    /// Says how many there are and how many may be.
    pub fn check_bytes(&self, bytes: u64) -> Result<(), StoreError> {
        if bytes > self.bytes_max {
            let most = self.bytes_max;
            return Err(StoreError::new(format!(
                "the model has {bytes} bytes; LEDE_MODEL_BYTES_MAX allows {most}"
            )));
        }
        fs::create_dir_all(&self.folder).map_err(|error| StoreError::io(&self.folder, &error))?;
        let disk = nix::sys::statvfs::statvfs(&self.folder)
            .map_err(|error| StoreError::new(format!("{}: {error}", self.folder.display())))?;
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        if bytes.saturating_add(SPARE_BYTES) > free {
            let folder = self.folder.display();
            return Err(StoreError::new(format!("the model has {bytes} bytes; {free} are free at {folder}")));
        }
        Ok(())
    }

    /// Copies the files, has `check` look at the copy, and takes it in when that is content.
    ///
    /// # Errors
    /// Says what is wrong; the store is then as it was.
    pub fn add(
        &self,
        addition: &Addition,
        check: impl FnOnce(&Path) -> Result<ModelFacts, String>,
    ) -> Result<StoredModel, StoreError> {
        self.check_free(&addition.name)?;
        self.check_bytes(self.measured(&addition.files)?)?;
        self.remove_leftovers();
        let staging = tempfile::Builder::new().prefix(STAGING_PREFIX).tempdir_in(&self.folder);
        let staging = staging.map_err(|error| StoreError::io(&self.folder, &error))?;
        // The model's id is its folder's name, so the check must see it under its own.
        let copy = staging.path().join(&addition.name);
        let files: Result<BTreeMap<String, FileRecord>, StoreError> =
            addition.files.iter().map(|file| Ok((file.path.clone(), copy_file(file, &copy)?))).collect();
        let files = files?;
        let facts = check(&copy)
            .map_err(|reason| StoreError(reason.replace(&format!("{}/", staging.path().display()), "")))?;
        let now = clock::now();
        let model = StoredModel {
            format: MANIFEST_FORMAT,
            name: addition.name.clone(),
            source: addition.source.clone(),
            facts,
            added_at: now,
            verified_at: Some(now),
            files,
        };
        write_manifest(&copy, &model)?;
        self.take_in(&staging, &copy, &addition.name)?;
        Ok(model)
    }

    /// Hashes a model's files anew and writes down the outcome.
    ///
    /// # Errors
    /// Names the first file that is missing or not what it was.
    pub fn verify(&self, name: &str) -> Result<StoredModel, StoreError> {
        let mut model = self.get(name)?;
        let folder = self.path_of(name);
        let fault = model.files.iter().find_map(|(path, record)| {
            let reason = match hash_file(&folder.join(path)) {
                Ok(found) if found == *record => return None,
                Ok(found) if found.bytes != record.bytes => {
                    format!("has {} bytes instead of {}", found.bytes, record.bytes)
                }
                Ok(_) => "has changed".to_owned(),
                Err(error) => error.to_string(),
            };
            Some(format!("{name}: {path}: {reason}"))
        });
        model.verified_at = if fault.is_none() { Some(clock::now()) } else { None };
        write_manifest(&folder, &model)?;
        fault.map_or(Ok(model), |fault| Err(StoreError(fault)))
    }

    /// Takes a model out of the store. It is gone at once; deleting its files comes after.
    ///
    /// # Errors
    /// When there is none of that name or it cannot be moved.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        let path = self.path_of(name);
        if !path.is_dir() {
            return Err(StoreError::new(format!("there is no model {name:?} in {}", self.folder.display())));
        }
        let grave = tempfile::Builder::new().prefix(STAGING_PREFIX).tempdir_in(&self.folder);
        let grave = grave.map_err(|error| StoreError::io(&self.folder, &error))?;
        fs::rename(&path, grave.path().join(name)).map_err(|error| StoreError::io(&path, &error))?;
        grave.close().map_err(|error| StoreError::io(&path, &error))
    }

    fn measured(&self, files: &[SourceFile]) -> Result<u64, StoreError> {
        if files.len() > FILES_MAX {
            return Err(StoreError::new(format!(
                "the model has {} files; at most {FILES_MAX} are taken",
                files.len()
            )));
        }
        let mut bytes = 0u64;
        for file in files {
            if !is_sound(&file.path) {
                return Err(StoreError::new(format!("{:?} is not a path inside a folder", file.path)));
            }
            let found = fs::metadata(&file.from).map_err(|error| StoreError::io(&file.from, &error))?;
            if !is_weights(&file.path) && found.len() > TEXT_FILE_BYTES_MAX {
                let (path, length) = (&file.path, found.len());
                return Err(StoreError::new(format!(
                    "{path} has {length} bytes; {TEXT_FILE_BYTES_MAX} are allowed"
                )));
            }
            bytes = bytes.saturating_add(found.len());
        }
        Ok(bytes)
    }

    /// Renaming onto a folder with content fails, so of two who add the same name one is told.
    fn take_in(&self, staging: &TempDir, copy: &Path, name: &str) -> Result<(), StoreError> {
        let target = self.path_of(name);
        let synced = File::open(copy).and_then(|folder| folder.sync_all());
        synced.and_then(|()| fs::rename(copy, &target)).map_err(|error| StoreError::io(&target, &error))?;
        tracing::debug!(from = %staging.path().display(), to = %target.display(), "model taken in");
        Ok(())
    }

    /// Deletes temporary folders of processes that were killed.
    fn remove_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let is_staging = entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX);
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
            if is_staging && age.is_some_and(|age| age > STAGING_LEFT_AFTER) {
                // What cannot be deleted is tried again the next time.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
///
/// # Errors
/// Says what a name looks like.
pub fn check_name(name: &str) -> Result<(), StoreError> {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if begins_well && name.len() <= NAME_CHARS_MAX && name.bytes().all(is_allowed) {
        return Ok(());
    }
    let rule = "lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit";
    Err(StoreError::new(format!("{name:?} cannot be a model's name: it has {rule}, at most {NAME_CHARS_MAX}")))
}

/// The nearest name that can be used.
#[must_use]
pub fn name_from(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let kept = lower.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' });
    let kept: String = kept.collect();
    kept.trim_start_matches(['.', '_', '-']).chars().take(NAME_CHARS_MAX).collect()
}

/// Stays inside the folder that it is joined to.
fn is_sound(path: &str) -> bool {
    let components = Path::new(path).components();
    !path.is_empty()
        && !path.contains('\\')
        && components.into_iter().all(|part| matches!(part, Component::Normal(_)))
}

fn copy_file(file: &SourceFile, folder: &Path) -> Result<FileRecord, StoreError> {
    let target = folder.join(&file.path);
    let fault = |error: io::Error| StoreError::io(&file.from, &error);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(fault)?;
    }
    let mut to = File::create_new(&target).map_err(fault)?;
    let record = hashed(&mut File::open(&file.from).map_err(fault)?, &mut to).map_err(fault)?;
    to.sync_all().map_err(fault)?;
    Ok(record)
}

/// Length and hash of a file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn hash_file(path: &Path) -> io::Result<FileRecord> {
    hashed(&mut File::open(path)?, &mut io::sink())
}

fn hashed(from: &mut impl Read, to: &mut impl Write) -> io::Result<FileRecord> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(FileRecord { bytes, sha256 });
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
}

/// Through a temporary file, so that nobody ever reads half of it.
fn write_manifest(folder: &Path, model: &StoredModel) -> Result<(), StoreError> {
    let path = folder.join(MANIFEST_FILE);
    let json = serde_json::to_vec_pretty(model).map_err(|error| StoreError::new(error.to_string()))?;
    // Readable for a server that runs as somebody else.
    let readable = Permissions::from_mode(0o644);
    let written = tempfile::Builder::new().permissions(readable).tempfile_in(folder).and_then(|mut file| {
        file.write_all(&json)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)
    });
    written.map(drop).map_err(|error| StoreError::io(&path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_folder_and_nothing_else() {
        for good in ["smollm2-135m", "qwen2.5_0.5b", "7b"] {
            check_name(good).unwrap();
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "A", "a b", "-a", &"a".repeat(97)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(name_from("Qwen2.5 0.5B (ONNX)"), "qwen2.5-0.5b--onnx-");
        assert_eq!(name_from("../../etc"), "etc".to_owned());
    }

    #[test]
    fn a_path_stays_inside_its_folder() {
        assert!(is_sound("onnx/model.onnx"));
        for bad in ["", "/etc/passwd", "../a", "onnx/../../a", "a\\b"] {
            assert!(!is_sound(bad), "{bad:?}");
        }
    }
}
