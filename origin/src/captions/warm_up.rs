//! What was popular is written down, and after a restart brought back before anybody asks: from the cold tier at once, also
//! while the model is being loaded; what is not kept any more is made when there is time.
//!
//! The file holds descriptions, so it is as private as the cold tier beside it: it is its owner's alone and never logged.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lede_shared::api::ValidRequest;
use lede_shared::cache_key::CacheKey;
use lede_shared::freshness::Freshness;
use lede_shared::policy::POLICY;
use lede_shared::signature::Claims;
use serde::{Deserialize, Serialize};

use super::Captions;
use super::background::{Job, Why};
use super::learning::Wanted;
use crate::clock;
use crate::prediction::Rhythm;

/// The file's form. One of another version is not read.
const VERSION: u32 = 1;
/// Requests written down: those asked for most, and as many of those that come back on many days.
const REQUESTS_MAX: usize = 2_000;
/// What was asked for less often is not made anew.
const COUNT_TO_MAKE_MIN: u64 = 2;
/// How long it is waited for purges that were known before, and how often it is looked for them.
const EPOCHS_WAIT: Duration = Duration::from_secs(2);
const EPOCHS_POLL: Duration = Duration::from_millis(20);
/// A larger file is not ours.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is written down.
#[derive(Debug, Serialize, Deserialize)]
struct PopularFile {
    version: u32,
    model: String,
    policy_version: String,
    cache_epoch: u64,
    requests: Vec<PopularRequest>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PopularRequest {
    /// Canonical JSON.
    request: String,
    epoch: u64,
    own_epoch: u64,
    count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rhythm: Option<Rhythm>,
}

/// What a warm-up came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WarmUp {
    /// In memory already.
    pub held: usize,
    /// Brought from the cold tier.
    pub brought: usize,
    /// Not kept any more, to be made when there is time.
    pub queued: usize,
}

impl Captions {
    /// Brings what is asked for most from the cold tier into memory, the most popular first. What is kept nowhere is made
    /// when there is time, unless answers cost money.
    pub async fn warm_up(&self) -> WarmUp {
        self.catch_up();
        let mut done = WarmUp::default();
        for (key, count, wanted) in self.0.learner.popular().into_iter().take(REQUESTS_MAX) {
            // What was purged since has another key.
            if self.is_current(&wanted)
                && let Some(request) = wanted.request()
            {
                self.warm_up_one(request, (key, count), &mut done).await;
            }
        }
        done
    }

    async fn warm_up_one(&self, request: ValidRequest, (key, count): (CacheKey, u64), done: &mut WarmUp) {
        if self.0.cache.held(&key).is_some() {
            done.held += 1;
            return;
        }
        let found = self.0.cache.in_cold(&key).await;
        let is_useful = |at: Freshness| !matches!(at, Freshness::Expired);
        if found.is_some_and(|found| is_useful(found.entry.freshness.at(clock::now()))) {
            done.brought += 1;
        } else if self.0.guesses && count >= COUNT_TO_MAKE_MIN {
            done.queued += 1;
            self.0.background.put(Job { request, key, why: Why::WarmUp });
        }
    }

    /// Takes over what the last process has written down, and warms up if that was for the same model, policy and epoch.
    pub(super) async fn warm_up_from_file(self) {
        let Some(path) = self.0.popular_file.clone() else { return };
        let file = self.read_popular(path).await;
        let Some(file) = file else { return self.0.popular_is_read.store(true, Ordering::Relaxed) };
        let is_same = file.model == self.model_id()
            && file.policy_version == POLICY.version
            && file.cache_epoch == self.0.settings.cache_epoch;
        let requests = file.requests.len();
        self.epochs_are_known(&file).await;
        self.remember(file);
        // From now on it may be written over.
        self.0.popular_is_read.store(true, Ordering::Relaxed);
        if is_same {
            let WarmUp { held, brought, queued } = self.warm_up().await;
            tracing::info!(requests, held, brought, queued, "what was popular is brought back");
        }
    }

    async fn read_popular(&self, path: PathBuf) -> Option<PopularFile> {
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        read.ok()?.unwrap_or_else(|error| {
            tracing::warn!(error, "what was popular cannot be read; it is learnt anew");
            None
        })
    }

    /// The requests keep their histories, under the keys that they have now. What was purged since is as good as unpopular:
    /// it is not made anew.
    fn remember(&self, file: PopularFile) {
        for PopularRequest { request, epoch, own_epoch, count, rhythm } in file.requests {
            let mut wanted = Wanted { request, epoch, own_epoch };
            let Some(request) = wanted.request() else { continue };
            let (key, own_epoch) = (self.key_of(&request, &wanted.claims()), self.own_epoch(&wanted.claims()));
            let count = if own_epoch == wanted.own_epoch { count } else { 1 };
            wanted.own_epoch = own_epoch;
            self.0.learner.remember(key, wanted, count, rhythm);
        }
    }

    /// Purges that the last process knew of may have to be heard of from Redis first.
    async fn epochs_are_known(&self, file: &PopularFile) {
        let is_behind = |request: &PopularRequest| {
            let claims = Claims { cache_epoch: request.epoch, ..Claims::of_the_edge() };
            self.own_epoch(&claims) < request.own_epoch
        };
        let until = Instant::now() + EPOCHS_WAIT;
        while file.requests.iter().any(is_behind) && Instant::now() < until {
            tokio::time::sleep(EPOCHS_POLL).await;
        }
    }

    /// Writes down what is popular, in a thread that may wait.
    pub(super) async fn write_popular_behind(&self) {
        let captions = self.clone();
        // It says itself what went wrong.
        let _ = tokio::task::spawn_blocking(move || captions.write_popular()).await;
    }

    /// Writes down what is popular, if there is a file for it. The file is replaced as a whole or not at all.
    pub(super) fn write_popular(&self) {
        let Some(path) = &self.0.popular_file else { return };
        if !self.0.popular_is_read.load(Ordering::Relaxed) {
            return;
        }
        let requests = self.popular_requests();
        if requests.is_empty() {
            return;
        }
        let file = PopularFile {
            version: VERSION,
            model: self.model_id().to_owned(),
            policy_version: POLICY.version.to_owned(),
            cache_epoch: self.0.settings.cache_epoch,
            requests,
        };
        if let Err(error) = write(path, &file) {
            tracing::warn!(%error, "what is popular cannot be written down");
        }
    }

    fn popular_requests(&self) -> Vec<PopularRequest> {
        let mut rhythms: HashMap<CacheKey, _> = self
            .0
            .learner
            .rhythms(REQUESTS_MAX)
            .into_iter()
            .map(|(key, rhythm, wanted)| (key, (rhythm, wanted)))
            .collect();
        let popular = self.0.learner.popular().into_iter().take(REQUESTS_MAX);
        let mut requests: Vec<_> = popular
            .map(|(key, count, wanted)| {
                let rhythm = rhythms.remove(&key).map(|(rhythm, _)| rhythm);
                PopularRequest {
                    request: wanted.request.clone(),
                    epoch: wanted.epoch,
                    own_epoch: wanted.own_epoch,
                    count,
                    rhythm,
                }
            })
            .collect();
        requests.extend(rhythms.into_values().map(|(rhythm, wanted)| PopularRequest {
            request: wanted.request.clone(),
            epoch: wanted.epoch,
            own_epoch: wanted.own_epoch,
            count: 1,
            rhythm: Some(rhythm),
        }));
        requests
    }
}

/// None when there is no file, or one of another version.
fn read(path: &Path) -> Result<Option<PopularFile>, String> {
    let bytes = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err("the file is too large".to_owned()),
        Ok(_) => std::fs::read(path).map_err(|error| error.to_string())?,
    };
    // The parser's words may quote what is in the file.
    let file: PopularFile = serde_json::from_slice(&bytes).map_err(|_| "the file is damaged".to_owned())?;
    Ok((file.version == VERSION).then_some(file))
}

fn write(path: &Path, file: &PopularFile) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Its owner's alone from the beginning.
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(&serde_json::to_vec(file)?)?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper").join("popular.json");
        assert!(read(&path).unwrap().is_none());
        let request = PopularRequest { request: "{}".to_owned(), epoch: 3, own_epoch: 1, count: 7, rhythm: None };
        let (model, policy_version) = ("m".to_owned(), "p".to_owned());
        let mut file =
            PopularFile { version: VERSION, model, policy_version, cache_epoch: 1, requests: vec![request] };
        write(&path, &file).unwrap();
        let again = read(&path).unwrap().unwrap();
        assert_eq!((again.model.as_str(), again.requests[0].count, again.requests[0].epoch), ("m", 7, 3));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        file.version = VERSION + 1;
        write(&path, &file).unwrap();
        assert!(read(&path).unwrap().is_none());
        std::fs::write(&path, "{\"secret\": \"sunset").unwrap();
        assert_eq!(read(&path).unwrap_err(), "the file is damaged");
    }
}
