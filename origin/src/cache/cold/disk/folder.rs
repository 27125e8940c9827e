//! The folder: who may use it, what lies in it, how much room there is.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// What the folder says about itself. Another text is another format, whose generations cannot be read.
const FORMAT: &str = "lede cold tier 1\n";
const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";
const GENERATION_PREFIX: &str = "generation-";
/// Left free on the disk for everybody else.
const SPARE_BYTES: u64 = 64 * 1024 * 1024;

/// The folder, for as long as it is ours alone.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where there is none and keeps every other process out. Generations in another format are deleted.
    /// Nothing else that may lie there is touched.
    ///
    /// # Errors
    /// When another process has it, or it cannot be written.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK_FILE))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::WouldBlock, "another process uses it"),
            TryLockError::Error(error) => error,
        })?;
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.check_format()?;
        Ok(folder)
    }

    fn check_format(&self) -> io::Result<()> {
        let file = self.path.join(FORMAT_FILE);
        if fs::read(&file).is_ok_and(|text| text == FORMAT.as_bytes()) {
            return Ok(());
        }
        let others = self.generations()?;
        for (_, generation) in &others {
            fs::remove_dir_all(generation)?;
        }
        if !others.is_empty() {
            tracing::warn!(folder = %self.path.display(), "the cold tier was in another format and begins empty");
        }
        fs::write(&file, FORMAT)
    }

    /// All generations, the oldest first.
    pub(super) fn generations(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut generations = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(GENERATION_PREFIX)?.parse().ok());
            generations.extend(number.map(|number| (number, entry.path())));
        }
        generations.sort_unstable();
        Ok(generations)
    }

    /// Where the generation of this number lies.
    pub(super) fn generation(&self, number: u64) -> PathBuf {
        self.path.join(format!("{GENERATION_PREFIX}{number}"))
    }

    /// Is there room for more, with something left for others?
    pub(super) fn has_room(&self) -> bool {
        // A file system that does not say is written to until it refuses.
        statvfs(&self.path)
            .map_or(true, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()) >= SPARE_BYTES)
    }
}
