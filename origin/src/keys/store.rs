//! Whose key is it: the file of keys and the table of the environment, looked up by hash.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lede_shared::api_key::{ApiKeyHash, ApiKeyTable};
use lede_shared::clock::UnixMillis;
use lede_shared::key_standing::ORIGIN_NOTICES_WITHIN_MS;
use lede_shared::plan::KeyRecord;

use super::{KeySet, KeysError};

/// A file of [`super::file::KEYS_MAX`] keys with notes stays below.
const FILE_BYTES_MAX: u64 = 8 * 1_024 * 1_024;

/// All keys that open the door.
#[derive(Debug)]
pub struct KeyStore {
    table: ApiKeyTable,
    file: Option<WatchedFile>,
}

impl KeyStore {
    /// The keys of `table` and those of the file, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read now. Later that is a log line, and what was read last holds.
    pub fn open(table: ApiKeyTable, file: Option<&Path>) -> Result<Self, KeysError> {
        Ok(Self { table, file: file.map(WatchedFile::open).transpose()? })
    }

    /// What the key with this hash is good for; `None` for one that is unknown or revoked. The table's keys have the
    /// default plan, unless the file knows better.
    #[must_use]
    pub fn record(&self, hash: &ApiKeyHash, now: UnixMillis) -> Option<Arc<KeyRecord>> {
        if let Some(keys) = self.file.as_ref().map(|file| file.keys(now))
            && let Some(key) = keys.get(hash)
        {
            return key.is_valid_at(now).then(|| Arc::clone(&key.record));
        }
        self.table.tenant_of(hash).map(|tenant| Arc::new(KeyRecord::standard(tenant.clone())))
    }
}

/// A file that is read again when it has changed.
#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    state: Mutex<FileState>,
}

#[derive(Debug)]
struct FileState {
    keys: Arc<KeySet>,
    /// What the file looked like when it was last read, well or not; `None` when it could not be found.
    seen: Option<Marks>,
    looked_at: UnixMillis,
}

/// A file that is written or replaced changes at least one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marks {
    device_and_inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Marks {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device_and_inode: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl WatchedFile {
    fn open(path: &Path) -> Result<Self, KeysError> {
        // Before the reading: what is written meanwhile is seen at the next look.
        let seen = Marks::of(path);
        let keys = Arc::new(read(path)?);
        tracing::info!(keys = keys.keys().len(), "the file of keys is read");
        let state = Mutex::new(FileState { keys, seen, looked_at: UnixMillis(0) });
        Ok(Self { path: path.to_owned(), state })
    }

    /// The keys as of a second ago at most.
    fn keys(&self, now: UnixMillis) -> Arc<KeySet> {
        let mut state = self.lock();
        // A clock that stepped back must not stop the looking.
        if now.since(state.looked_at) >= ORIGIN_NOTICES_WITHIN_MS || now < state.looked_at {
            state.looked_at = now;
            let marks = Marks::of(&self.path);
            if marks != state.seen {
                state.seen = marks;
                self.read_again(&mut state);
            }
        }
        Arc::clone(&state.keys)
    }

    fn read_again(&self, state: &mut FileState) {
        match read(&self.path) {
            Ok(keys) => {
                tracing::info!(keys = keys.keys().len(), "the file of keys has changed and is read again");
                state.keys = Arc::new(keys);
            }
            Err(error) => {
                tracing::error!(cause = %error, "the file of keys cannot be read; what it said before still holds");
            }
        }
    }

    /// Every state in between is a sound one, so one that a panic left is, too.
    fn lock(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a whole file of keys.
pub(super) fn read(path: &Path) -> Result<KeySet, KeysError> {
    let text = read_text(path)?;
    KeySet::parse(&text).map_err(|KeysError(fault)| KeysError(format!("{}: {fault}", path.display())))
}

/// Reads its text.
pub(super) fn read_text(path: &Path) -> Result<String, KeysError> {
    let file = fs::File::open(path).map_err(|error| KeysError::io(path, &error))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| KeysError::io(path, &error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(KeysError(format!("{}: larger than {FILE_BYTES_MAX} bytes", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn entry(api_key: &str, tenant: &str) -> String {
        format!("[[keys]]\nhash = \"{}\"\ntenant = \"{tenant}\"\ncreated_ms = 1\n", ApiKeyHash::of(api_key))
    }

    struct Opened {
        store: KeyStore,
        path: PathBuf,
        _folder: tempfile::TempDir,
    }

    impl Opened {
        fn with(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("keys.toml");
            fs::write(&path, text).unwrap();
            let table = ApiKeyTable::parse(&format!("table={}", ApiKeyHash::of("key-t"))).unwrap();
            Self { store: KeyStore::open(table, Some(&path)).unwrap(), path, _folder: folder }
        }

        fn tenant(&self, api_key: &str, after_ms: u64) -> Option<String> {
            let record = self.store.record(&ApiKeyHash::of(api_key), NOW.plus(after_ms));
            record.map(|record| record.tenant.as_str().to_owned())
        }
    }

    #[test]
    fn both_the_file_and_the_table_open_the_door() {
        let opened = Opened::with(&entry("key-a", "acme"));
        assert_eq!(opened.tenant("key-a", 0).as_deref(), Some("acme"));
        assert_eq!(opened.tenant("key-t", 0).as_deref(), Some("table"));
        assert_eq!(opened.tenant("key-x", 0), None);
    }

    #[test]
    fn what_the_file_says_of_a_key_comes_before_the_table() {
        let opened = Opened::with(&format!("{}revoked_ms = 5\n", entry("key-t", "acme")));
        assert_eq!(opened.tenant("key-t", 0), None);
    }

    #[test]
    fn a_change_is_seen_within_a_second_and_not_looked_for_more_often() {
        let opened = Opened::with(&entry("key-a", "acme"));
        assert!(opened.tenant("key-a", 0).is_some());
        fs::write(&opened.path, entry("key-b", "beta")).unwrap();
        assert!(opened.tenant("key-a", 999).is_some());
        assert_eq!(opened.tenant("key-a", 1_000), None);
        assert_eq!(opened.tenant("key-b", 1_000).as_deref(), Some("beta"));
    }

    #[test]
    fn a_damaged_or_missing_file_leaves_what_was_known_until_it_is_mended() {
        let opened = Opened::with(&entry("key-a", "acme"));
        fs::write(&opened.path, "[[keys]]\nhash = 5").unwrap();
        assert!(opened.tenant("key-a", 1_000).is_some());
        fs::remove_file(&opened.path).unwrap();
        assert!(opened.tenant("key-a", 2_000).is_some());
        fs::write(&opened.path, entry("key-b", "beta")).unwrap();
        assert_eq!(opened.tenant("key-a", 3_000), None);
        assert!(opened.tenant("key-b", 3_000).is_some());
    }

    #[test]
    fn a_clock_that_steps_back_does_not_stop_the_looking() {
        let opened = Opened::with(&entry("key-a", "acme"));
        assert!(opened.tenant("key-a", 60_000).is_some());
        fs::write(&opened.path, entry("key-b", "beta")).unwrap();
        assert_eq!(opened.tenant("key-a", 0), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_at_the_start_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("keys.toml");
        assert!(KeyStore::open(ApiKeyTable::default(), Some(&missing)).is_err());
        fs::write(&missing, "keys = 5").unwrap();
        let error = KeyStore::open(ApiKeyTable::default(), Some(&missing)).unwrap_err();
        assert!(error.to_string().contains("keys.toml: line 1"), "{error}");
    }
}
