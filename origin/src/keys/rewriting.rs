//! Changing the file: one at a time, and whole or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{KeySet, KeysError, store};

/// Somebody else's change takes milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(20);
/// Hashes are no secrets, but whoever could write here could let himself in.
const MODE: u32 = 0o600;

/// Replaces the file's text by what `change` makes of it, and makes the file if there is none. Readers see the old text
/// or the new one. A text that would not be read back is not written.
pub(super) fn rewrite<T>(
    path: &Path,
    change: impl FnOnce(&str) -> Result<(String, T), KeysError>,
) -> Result<T, KeysError> {
    // Where the path is a link, the file that it leads to is the one to replace.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let _lock = lock(&path)?;
    let present = path.try_exists().map_err(|error| KeysError::io(&path, &error))?;
    let text = if present { store::read_text(&path)? } else { String::new() };
    let (text, outcome) = change(&text)?;
    KeySet::parse(&text)?;
    replace(&path, &text, present).map_err(|error| KeysError::io(&path, &error))?;
    Ok(outcome)
}

/// Beside the file, because the file itself is another one after each change.
fn lock(path: &Path) -> Result<File, KeysError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let file = File::options().create(true).truncate(false).write(true).mode(MODE).open(&beside);
    let file = file.map_err(|error| KeysError::io(&beside, &error))?;
    let give_up_at = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up_at => thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => {
                return Err(KeysError(format!("{}: somebody else holds it", beside.display())));
            }
            Err(TryLockError::Error(error)) => return Err(KeysError::io(&beside, &error)),
        }
    }
}

/// Written beside it and renamed. The new file belongs to whom the old one belonged to: the service must still read it.
fn replace(path: &Path, text: &str, present: bool) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().prefix(".keys-").tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    let mode = if present {
        let old = fs::metadata(path)?;
        let own = new.as_file().metadata()?;
        if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
            fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
        old.mode() & 0o7777
    } else {
        MODE
    };
    new.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(path: &Path, line: &str) -> Result<(), KeysError> {
        rewrite(path, |text| Ok((format!("{text}{line}\n"), ())))
    }

    #[test]
    fn a_new_file_is_its_owner_s_alone_and_a_changed_one_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        append(&path, "# one").unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        append(&path, "# two").unwrap();
        assert_eq!((mode(), fs::read_to_string(&path).unwrap().as_str()), (0o640, "# one\n# two\n"));
    }

    #[test]
    fn what_would_not_be_read_back_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        append(&path, "# one").unwrap();
        assert!(append(&path, "oops").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "# one\n");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("keys.toml"), folder.path().join("link.toml"));
        append(&path, "# one").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        append(&link, "# two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "# one\n# two\n");
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || append(path, &format!("# {writer}")).unwrap());
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 8);
    }
}
