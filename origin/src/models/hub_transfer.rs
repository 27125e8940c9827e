//! Moving one file from the hub into the cache: resumed where it broke off, measured and hashed before it counts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::Progress;
use indicatif::ProgressBar;
use ureq::Agent;
use ureq::Body;
use ureq::http::Response;

use super::hub::{HubError, out_of_reach, refusal};
use super::store::hash_file;

/// Requests in a row that bring no byte before it is given up.
const FRUITLESS_ATTEMPTS_MAX: u32 = 4;
/// Requests for one file, however little each brings.
const ATTEMPTS_MAX: u32 = 1_000;
const WAIT_FIRST: Duration = Duration::from_millis(200);
const READ_BYTES: usize = 256 * 1024;

/// A file as the hub announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) path: String,
    pub(super) bytes: u64,
    /// Known of large files.
    pub(super) sha256: Option<String>,
    /// Its name in the cache: the hash, or git's.
    pub(super) blob: String,
}

/// How to get it.
pub(super) struct Transfer<'a> {
    pub(super) agent: &'a Agent,
    pub(super) authorization: Option<&'a str>,
    pub(super) url: &'a str,
    pub(super) file: &'a RemoteFile,
}

/// Why an attempt ended early.
enum Broken {
    /// Trying again may help.
    Off(HubError),
    /// It will not.
    ForGood(HubError),
}

impl Transfer<'_> {
    /// Brings the file to `target`, unless it is there.
    pub(super) fn run(&self, target: &Path) -> Result<(), HubError> {
        if target.is_file() && self.check(target).is_ok() {
            return Ok(());
        }
        let part = part_of(target);
        let made = target.parent().map_or(Ok(()), fs::create_dir_all);
        made.map_err(|error| self.local(&error))?;
        self.fill(&part)?;
        if let Err(error) = self.check(&part) {
            // Going on from wrong bytes would never end well.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
        fs::rename(&part, target).map_err(|error| self.local(&error))
    }

    /// Appends to `part` until it is as long as announced.
    fn fill(&self, part: &Path) -> Result<(), HubError> {
        let mut progress = ProgressBar::new(0);
        Progress::init(&mut progress, usize::try_from(self.file.bytes).unwrap_or(usize::MAX), &self.file.path);
        // Held until the end; two who append to one file would spoil it.
        let held = OpenOptions::new().create(true).append(true).open(part).map_err(|error| self.local(&error))?;
        if held.try_lock().is_err() {
            return Err(HubError(format!("another process is fetching {} at this moment", self.file.path)));
        }
        let mut fruitless = 0;
        for _ in 0..ATTEMPTS_MAX {
            let before = length_of(part);
            if before == self.file.bytes {
                Progress::finish(&mut progress);
                return Ok(());
            }
            let broken = match self.attempt(part, &mut progress) {
                Ok(()) => continue,
                Err(broken) => broken,
            };
            fruitless = if length_of(part) > before { 0 } else { fruitless + 1 };
            match broken {
                Broken::Off(_) if fruitless < FRUITLESS_ATTEMPTS_MAX => {
                    std::thread::sleep(WAIT_FIRST * 2u32.pow(fruitless));
                }
                Broken::Off(error) | Broken::ForGood(error) => {
                    progress.abandon();
                    return Err(error);
                }
            }
        }
        Err(HubError::new(format!("{} did not arrive in {ATTEMPTS_MAX} requests", self.file.path)))
    }

    /// One request for what is missing.
    fn attempt(&self, part: &Path, progress: &mut ProgressBar) -> Result<(), Broken> {
        let mut start = length_of(part);
        if start > self.file.bytes {
            start = 0;
        }
        let mut request = self.agent.get(self.url);
        if let Some(authorization) = self.authorization {
            request = request.header("Authorization", authorization);
        }
        if start > 0 {
            request = request.header("Range", format!("bytes={start}-"));
        }
        let answer = request.call().map_err(|error| Broken::Off(out_of_reach(&error)))?;
        let status = answer.status().as_u16();
        if let Some(error) = refusal(status, &self.file.path) {
            return Err(if status == 429 || status >= 500 { Broken::Off(error) } else { Broken::ForGood(error) });
        }
        if status == 200 || !continues(&answer, start) {
            // The whole file, whatever was asked for.
            start = 0;
        }
        progress.set_position(start);
        self.append(answer, part, start, progress)
    }

    fn append(
        &self,
        mut answer: Response<Body>,
        part: &Path,
        start: u64,
        progress: &mut ProgressBar,
    ) -> Result<(), Broken> {
        let local = |error: io::Error| Broken::ForGood(self.local(&error));
        let mut file = OpenOptions::new().create(true).append(true).open(part).map_err(local)?;
        file.set_len(start).map_err(local)?;
        let mut missing = self.file.bytes - start;
        let mut buffer = vec![0; READ_BYTES];
        let mut body = answer.body_mut().as_reader();
        loop {
            let read = body.read(&mut buffer);
            let read = read.map_err(|_| Broken::Off(self.short()))?;
            if read as u64 > missing {
                let (path, bytes) = (&self.file.path, self.file.bytes);
                let _ = fs::remove_file(part);
                return Err(Broken::ForGood(HubError(format!(
                    "the hub sends more of {path} than the {bytes} bytes it announced"
                ))));
            }
            if read == 0 {
                return if missing == 0 { Ok(()) } else { Err(Broken::Off(self.short())) };
            }
            file.write_all(&buffer[..read]).map_err(local)?;
            missing -= read as u64;
            Progress::update(progress, read);
        }
    }

    /// Is this the file that was announced?
    fn check(&self, path: &Path) -> Result<(), HubError> {
        let found = hash_file(path).map_err(|error| self.local(&error))?;
        let name = &self.file.path;
        match &self.file.sha256 {
            _ if found.bytes != self.file.bytes => Err(HubError(format!(
                "{name} has {} bytes, not the {} that the hub announced",
                found.bytes, self.file.bytes
            ))),
            Some(sha256) if *sha256 != found.sha256 => Err(HubError(format!(
                "{name} is not what the hub announced: its SHA-256 is {}, not {sha256}",
                found.sha256
            ))),
            _ => Ok(()),
        }
    }

    fn short(&self) -> HubError {
        HubError(format!("the hub broke off {} before its {} bytes were there", self.file.path, self.file.bytes))
    }

    fn local(&self, error: &io::Error) -> HubError {
        HubError(format!("{} cannot be kept: {error}", self.file.path))
    }
}

/// Does the answer begin where it was asked to?
fn continues(answer: &Response<Body>, start: u64) -> bool {
    let range = answer.headers().get("content-range").and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

fn length_of(path: &Path) -> u64 {
    File::open(path).and_then(|file| file.metadata()).map_or(0, |metadata| metadata.len())
}

/// As hf-hub names what is not complete.
fn part_of(target: &Path) -> PathBuf {
    target.with_extension("part")
}
