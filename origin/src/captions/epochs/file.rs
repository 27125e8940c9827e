//! The file that purges outlive the process in, where what they purge does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::known::KnownEpochs;

const NAME: &str = "epochs.json";
const VERSION: u32 = 1;
/// Enough for as many scopes as are told apart, with the longest names.
const BYTES_MAX: u64 = 4 * 1_024 * 1_024;

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    epochs: BTreeMap<String, u64>,
}

/// `epochs.json` in a folder.
#[derive(Clone, Debug)]
pub(super) struct EpochFile(PathBuf);

impl EpochFile {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self(folder.join(NAME))
    }

    /// What was written last; nothing when there is no file.
    ///
    /// # Errors
    /// When there is one that cannot be read: then nobody knows what was purged.
    pub(super) fn read(&self) -> io::Result<KnownEpochs> {
        let size = match fs::metadata(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(KnownEpochs::default()),
            other => other?.len(),
        };
        if size > BYTES_MAX {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let written: Written = serde_json::from_slice(&fs::read(&self.0)?)?;
        let mut known = KnownEpochs::default();
        for (scope, epoch) in written.epochs.into_iter().filter(|_| written.version == VERSION) {
            let scope = scope.parse().map_err(|_| ErrorKind::InvalidData)?;
            known.learn(scope, epoch).ok_or(ErrorKind::InvalidData)?;
        }
        if written.version == VERSION { Ok(known) } else { Err(ErrorKind::InvalidData.into()) }
    }

    /// Writes all of it beside the old file and then in its place: whoever reads finds the one or the other.
    ///
    /// # Errors
    /// When it could not be written; then the old one stands.
    pub(super) fn write(&self, known: &KnownEpochs) -> io::Result<()> {
        let epochs = known.iter().map(|(scope, epoch)| (scope.to_string(), epoch)).collect();
        let folder = self.0.parent().ok_or(ErrorKind::NotFound)?;
        fs::create_dir_all(folder)?;
        let mut beside = tempfile::NamedTempFile::new_in(folder)?;
        beside.write_all(&serde_json::to_vec(&Written { version: VERSION, epochs })?)?;
        beside.as_file().sync_all()?;
        beside.persist(&self.0).map_err(|error| error.error)?;
        // The name, too, has to outlast a loss of power.
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use lede_shared::purge::PurgeScope;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_file_is_no_purge() {
        let folder = tempfile::tempdir().unwrap();
        let file = EpochFile::in_folder(&folder.path().join("cold"));
        assert_eq!(file.read().unwrap(), KnownEpochs::default());
        let mut known = KnownEpochs::default();
        known.purge(&PurgeScope::Model("hub/lede-nano:2".to_owned()), 7);
        file.write(&known).unwrap();
        known.purge(&PurgeScope::All, 8);
        file.write(&known).unwrap();
        assert_eq!(file.read().unwrap(), known);
        assert_eq!(fs::read_dir(folder.path().join("cold")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_an_error_and_not_a_cache_without_purges() {
        let folder = tempfile::tempdir().unwrap();
        let file = EpochFile::in_folder(folder.path());
        for content in
            ["", "{", "[]", r#"{"version":2,"epochs":{}}"#, r#"{"version":1,"epochs":{"everything":1}}"#]
        {
            fs::write(folder.path().join(NAME), content).unwrap();
            assert!(file.read().is_err(), "{content}");
        }
    }
}
