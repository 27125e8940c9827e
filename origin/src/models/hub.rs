//! The hub: which files a model has there, and getting those that are needed.
//!
//! hf-hub knows addresses, settings and the cache's layout; the bytes are moved here, because its own download neither
//! checks what it got nor stops at what was announced (`docs/decisions/0009-models.md`).

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;

use super::architecture::Architecture;
use super::hub_transfer::{RemoteFile, Transfer};
use super::store::{SourceFile, TEXT_FILE_BYTES_MAX};
use super::weight_files::{FilesWanted, WeightFiles, is_weights};
use crate::backend::wgpu;

/// What is taken of a repository besides the weights. What says which model it is comes first.
pub(crate) const TEXT_FILES: [&str; 8] = [
    CONFIG_FILE,
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "lede.json",
    "lexicon.json",
];
const CONFIG_FILE: &str = "config.json";
const LISTING_BYTES_MAX: u64 = 16 * 1024 * 1024;
const LISTING_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that says nothing for so long is broken.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
const PART_CHARS_MAX: usize = 96;
const REVISION_CHARS_MAX: usize = 200;

/// The hub cannot give what is asked for. One line, for the operator; never shows the hub's key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HubError(pub(super) String);

impl HubError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A model on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubModel {
    /// `OWNER/NAME`
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl HubModel {
    /// Reads `OWNER/NAME`.
    ///
    /// # Errors
    /// Says what is expected.
    pub fn new(id: &str, revision: &str) -> Result<Self, HubError> {
        let is_part = |part: &str| is_plain(part) && part.len() <= PART_CHARS_MAX;
        let is_id = id.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name));
        if !is_id {
            return Err(HubError::new(format!("{id:?} is not OWNER/NAME")));
        }
        if revision.len() > REVISION_CHARS_MAX || !revision.split('/').all(is_plain) {
            return Err(HubError::new(format!("{revision:?} is not a branch, tag or commit")));
        }
        Ok(Self { id: id.to_owned(), revision: revision.to_owned() })
    }

    /// The part after the owner.
    #[must_use]
    pub fn name(&self) -> &str {
        self.id.split_once('/').map_or(&self.id, |(_, name)| name)
    }
}

/// What has been fetched.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The commit that the revision stood for.
    pub commit: String,
    /// The files, in the cache that Hugging Face's own tools share.
    pub files: Vec<SourceFile>,
}

/// The way to a hub.
pub struct Hub {
    api: Api,
    cache: Cache,
    agent: Agent,
    /// `Bearer …`; only ever sent to the hub itself.
    authorization: Option<String>,
}

#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Hub {
    /// The hub that `HF_ENDPOINT` names, with the key of `HF_TOKEN` (or the one that Hugging Face's tools keep in
    /// `HF_HOME`) and the cache in `HF_HOME`.
    ///
    /// # Errors
    /// When the settings make no client.
    pub fn from_environment() -> Result<Self, HubError> {
        let cache = Cache::from_env();
        let named = std::env::var("HF_TOKEN").ok().map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        let key = named.or_else(|| cache.token());
        let api = ApiBuilder::from_env().with_token(key.clone()).with_progress(false).build();
        let api = api.map_err(|_| HubError::new("no client for the hub can be made"))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // The files themselves come from other hosts, which the key is not meant for.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .build();
        let authorization = key.map(|key| format!("Bearer {key}"));
        Ok(Self { api, cache, agent: agent.into(), authorization })
    }

    /// Fetches what is needed to run `model`: texts, then weights, unless `config.json` says that they could not be run. What
    /// an earlier call left half done is gone on with. `check` is asked about what holds the weights and about all bytes before
    /// anything is fetched.
    ///
    /// # Errors
    /// When the hub refuses, is out of reach, or gives something else than it announced, and when the model is none that
    /// can be run.
    pub fn pull(
        &self,
        model: &HubModel,
        wanted: FilesWanted,
        check: impl FnOnce(&WeightFiles, u64) -> Result<(), String>,
    ) -> Result<Pulled, HubError> {
        let listing = self.listing(model)?;
        let (weights, files) = needed(&listing.siblings, wanted)?;
        let bytes = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.bytes));
        check(&weights, bytes).map_err(HubError)?;
        // The commit, so that a push in between mixes no two versions.
        let repository = Repo::with_revision(model.id.clone(), RepoType::Model, listing.sha.clone());
        let blobs = self.cache.repo(repository.clone());
        let repository = self.api.repo(repository);
        let fetched: Result<Vec<SourceFile>, HubError> = files
            .iter()
            .map(|file| {
                let from = blobs.blob_path(&file.blob);
                self.fetch(&repository, file, &from)?;
                if file.path == CONFIG_FILE {
                    check_config(&from, &weights)?;
                }
                Ok(SourceFile { path: file.path.clone(), from })
            })
            .collect();
        Ok(Pulled { commit: listing.sha, files: fetched? })
    }

    fn fetch(&self, repository: &ApiRepo, file: &RemoteFile, target: &Path) -> Result<PathBuf, HubError> {
        let url = repository.url(&file.path);
        let transfer =
            Transfer { agent: &self.agent, authorization: self.authorization.as_deref(), url: &url, file };
        transfer.run(target)?;
        Ok(target.to_owned())
    }

    fn listing(&self, model: &HubModel) -> Result<Listing, HubError> {
        let repository =
            self.api.repo(Repo::with_revision(model.id.clone(), RepoType::Model, model.revision.clone()));
        let request = repository.info_request().query("blobs", "true").config();
        let request = request.http_status_as_error(false).timeout_global(Some(LISTING_TIMEOUT)).build();
        let mut answer = request.call().map_err(|error| out_of_reach(&error))?;
        let what = format!("{} at revision {}", model.id, model.revision);
        if let Some(refusal) = refusal(answer.status().as_u16(), &what) {
            return Err(refusal);
        }
        let mut json = Vec::new();
        let mut body = answer.body_mut().as_reader().take(LISTING_BYTES_MAX);
        body.read_to_end(&mut json).map_err(|_| HubError::new(format!("the hub broke off its list of {what}")))?;
        let listing: Listing = serde_json::from_slice(&json)
            .map_err(|_| HubError::new(format!("what the hub says of {what} is not a list of files")))?;
        if !is_hex(&listing.sha) {
            return Err(HubError::new(format!("what the hub says of {what} names no commit")));
        }
        Ok(listing)
    }
}

/// Is this the configuration of a model that can be run, and from these weights?
fn check_config(path: &Path, weights: &WeightFiles) -> Result<(), HubError> {
    let named = |reason: &str| HubError(reason.replace(&path.display().to_string(), CONFIG_FILE));
    Architecture::open(path).map_err(|error| named(&error.to_string()))?;
    if weights.safetensors.is_none() {
        return Ok(());
    }
    wgpu::check_config(path).map_err(|error| named(&error.to_string()))
}

/// What holds the weights, and which files are needed: small ones first. Their names are chosen from what is known here, never
/// taken over from the hub.
fn needed(siblings: &[Sibling], wanted: FilesWanted) -> Result<(WeightFiles, Vec<RemoteFile>), HubError> {
    let paths: Vec<String> = siblings.iter().map(|sibling| sibling.rfilename.clone()).collect();
    let weights = WeightFiles::among(&paths, wanted.precision).taken(wanted).map_err(HubError)?;
    let order = |path: &str| match TEXT_FILES.iter().position(|text| *text == path) {
        None if weights.hold(path) => Some(TEXT_FILES.len() + usize::from(is_weights(path))),
        place => place,
    };
    let ordered = siblings.iter().filter_map(|sibling| Some((order(&sibling.rfilename)?, sibling)));
    let mut ordered: Vec<(usize, &Sibling)> = ordered.collect();
    ordered.sort_by_key(|(place, _)| *place);
    let files: Result<Vec<RemoteFile>, HubError> = ordered
        .into_iter()
        .map(|(_, sibling)| {
            let path = &sibling.rfilename;
            let lost = || HubError::new(format!("the hub does not say how long {path} is"));
            let bytes = sibling.lfs.as_ref().map(|lfs| lfs.size).or(sibling.size).ok_or_else(lost)?;
            if !is_weights(path) && bytes > TEXT_FILE_BYTES_MAX {
                return Err(HubError::new(format!("{path} has {bytes} bytes; {TEXT_FILE_BYTES_MAX} are allowed")));
            }
            let sha256 = sibling.lfs.as_ref().map(|lfs| lfs.sha256.to_ascii_lowercase());
            let blob = sha256.clone().or_else(|| sibling.blob_id.clone()).filter(|blob| is_hex(blob));
            let blob =
                blob.ok_or_else(|| HubError::new(format!("the hub does not say which version of {path} it has")))?;
            Ok(RemoteFile { path: path.clone(), bytes, sha256, blob })
        })
        .collect();
    Ok((weights, files?))
}

/// What an answer that is no success means.
pub(super) fn refusal(status: u16, what: &str) -> Option<HubError> {
    let reason = match status {
        200 | 206 => return None,
        401 | 403 => format!("the hub shows {what} only to those who may read it; set HF_TOKEN to a key that may"),
        404 => format!("the hub has no {what}"),
        429 => "the hub has had too many requests; try again later".to_owned(),
        _ => format!("the hub answered {status} for {what}"),
    };
    Some(HubError(reason))
}

/// Without the address, which may hold a password.
pub(super) fn out_of_reach(error: &ureq::Error) -> HubError {
    let reason = match error {
        ureq::Error::Timeout(_) => "it does not answer in time".to_owned(),
        ureq::Error::HostNotFound => "its name is not known".to_owned(),
        ureq::Error::Io(error) => error.kind().to_string(),
        ureq::Error::BadUri(_) => "HF_ENDPOINT is not an address".to_owned(),
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => "its certificate is not accepted".to_owned(),
        _ => "the connection failed".to_owned(),
    };
    HubError(format!("the hub cannot be reached: {reason}"))
}

fn is_plain(part: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !part.is_empty() && !part.starts_with('.') && !part.contains("..") && part.bytes().all(is_allowed)
}

fn is_hex(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::WeightsWanted;

    #[test]
    fn only_what_can_be_a_models_address_is_one() {
        HubModel::new("HuggingFaceTB/SmolLM2-135M-Instruct", "refs/pr/5").unwrap();
        for (id, revision) in [
            ("SmolLM2", "main"),
            ("a/b/c", "main"),
            ("../b", "main"),
            ("a/..", "main"),
            ("a/b?x=1", "main"),
            ("a/b", "../main"),
            ("a/b", ""),
            ("a/b", "main#x"),
        ] {
            assert!(HubModel::new(id, revision).is_err(), "{id} {revision}");
        }
    }

    #[test]
    fn of_a_repository_only_texts_and_one_graph_are_wanted_and_no_path_of_the_hubs() {
        let sibling = |path: &str| Sibling {
            rfilename: path.to_owned(),
            size: Some(10),
            blob_id: Some("0123456789abcdef".to_owned()),
            lfs: None,
        };
        let paths = [
            "config.json",
            "../config.json",
            "/etc/passwd",
            "onnx/model.onnx",
            "onnx/model.onnx_data",
            "onnx/../../model.onnx",
            "onnx/model_fp16.onnx",
            "model.safetensors",
            "onnx/model.onnx_data/../x",
        ];
        let needed_with = |weights| {
            let wanted = FilesWanted { weights, ..FilesWanted::default() };
            let files = needed(&paths.map(sibling), wanted).unwrap().1;
            files.into_iter().map(|file| file.path).collect::<Vec<String>>()
        };
        let of_graph = ["config.json", "onnx/model.onnx", "onnx/model.onnx_data"];
        assert_eq!(needed_with(WeightsWanted::Either), of_graph);
        assert_eq!(needed_with(WeightsWanted::Safetensors), ["config.json", "model.safetensors"]);
        let mut bad = sibling("onnx/model.onnx");
        bad.blob_id = Some("../../../x".to_owned());
        assert!(needed(&[bad], FilesWanted::default()).is_err());
    }
}
