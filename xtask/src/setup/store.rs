//! The cache: one folder per thing and version, complete when it is there.
//!
//! A thing is made in `<name>.partial` and renamed when done, so an interrupted set-up leaves nothing that looks
//! finished; a file lock keeps two set-ups from making the same thing at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::progress;

/// What [`ensure`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) folder: PathBuf,
    pub(crate) made_now: bool,
}

impl Stored {
    /// `version 1.2.3`, or `installed version 1.2.3`.
    pub(crate) fn outcome(&self, version: &str) -> String {
        if self.made_now { format!("{version}, installed") } else { version.to_owned() }
    }
}

/// Returns `<cache>/<name>`, calling `make` with an empty folder to fill when it is not there yet.
pub(crate) fn ensure(cache: &Path, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<Stored> {
    let folder = cache.join(name);
    if folder.is_dir() {
        return Ok(Stored { folder, made_now: false });
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot create the cache {}", cache.display()))?;
    let _held = lock(cache, name)?;
    if folder.is_dir() {
        return Ok(Stored { folder, made_now: false });
    }
    let partial = cache.join(format!("{name}.partial"));
    remove(&partial)?;
    fs::create_dir(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    make(&partial)?;
    fs::rename(&partial, &folder).with_context(|| format!("cannot finish {}", folder.display()))?;
    Ok(Stored { folder, made_now: true })
}

/// Holds the lock of one thing until the returned file is dropped; the system frees it when we die.
pub(crate) fn lock(cache: &Path, name: &str) -> Result<File> {
    let path = cache.join(format!("{name}.lock"));
    fs::create_dir_all(cache).with_context(|| format!("cannot create the cache {}", cache.display()))?;
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        progress::note(&format!("another set-up is making {name}; waiting for it"));
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// Removes a folder with all that is in it, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_thing_is_made_once() {
        let cache = tempfile::tempdir().unwrap();
        let make = |folder: &Path| Ok(fs::write(folder.join("tool"), "x")?);
        assert!(ensure(cache.path(), "tool-1", make).unwrap().made_now);
        let again = ensure(cache.path(), "tool-1", |_| bail!("made twice")).unwrap();
        assert!(!again.made_now && again.folder.join("tool").is_file());
    }

    #[test]
    fn an_interrupted_set_up_heals_itself() {
        let cache = tempfile::tempdir().unwrap();
        let interrupted = ensure(cache.path(), "tool-1", |folder| {
            fs::write(folder.join("half"), "x")?;
            bail!("interrupted")
        });
        assert!(interrupted.is_err() && !cache.path().join("tool-1").exists());
        let healed = ensure(cache.path(), "tool-1", |folder| Ok(fs::write(folder.join("tool"), "x")?)).unwrap();
        assert!(healed.folder.join("tool").is_file() && !healed.folder.join("half").exists());
    }

    #[test]
    fn two_set_ups_at_once_make_it_once() {
        let cache = tempfile::tempdir().unwrap();
        let makers = std::thread::scope(|scope| {
            let make = || {
                ensure(cache.path(), "tool-1", |_| {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    Ok(())
                })
            };
            let all: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            all.into_iter().map(|maker| maker.join().unwrap().unwrap().made_now).collect::<Vec<_>>()
        });
        assert_eq!(makers.iter().filter(|made_now| **made_now).count(), 1);
    }
}
