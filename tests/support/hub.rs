//! A hub on this machine: what Hugging Face's answers to hf-hub, and what a bad day there looks like.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

/// The one model of the hub.
pub const HUB_MODEL: &str = "Lede-Tests/Tiny_Model";
/// The commit that its branch stands for.
pub const HUB_COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

const BREAK_AFTER: Duration = Duration::from_millis(100);

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubFault {
    /// The connection breaks after so many bytes of the file, once.
    BreaksOffOnceAt(usize),
    /// The announced hash is another file's.
    WrongHash,
    /// It ends early, as if that were all.
    Truncated,
    /// It goes on after its announced end.
    Oversized,
    /// Ranges are ignored, and the connection breaks once at half.
    IgnoresRanges,
}

/// A request that the hub saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubRequest {
    /// Without the query.
    pub path: String,
    /// Its `Range`.
    pub range: Option<String>,
}

/// A running hub; it ends with the test's runtime.
#[derive(Clone)]
pub struct HubMirror {
    /// For `HF_ENDPOINT`.
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    files: BTreeMap<String, Bytes>,
    key: Option<String>,
    faults: Mutex<HashMap<String, HubFault>>,
    requests: Mutex<Vec<HubRequest>>,
}

impl HubMirror {
    /// Serves `files`, by path, to those who show `key`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(files: BTreeMap<String, Bytes>, key: Option<&str>) -> Self {
        let shared =
            Shared { files, key: key.map(str::to_owned), faults: Mutex::default(), requests: Mutex::default() };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// Spoils a file.
    pub fn spoil(&self, path: &str, fault: HubFault) {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), fault);
    }

    /// What has been asked since the last call.
    pub fn requests(&self) -> Vec<HubRequest> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    fn fault(&self, path: &str) -> Option<HubFault> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied()
    }

    /// As the hub lists them: large files with their hash, small ones with git's.
    fn listing(&self) -> Value {
        let siblings = self.files.iter().map(|(path, content)| {
            let wrong = self.fault(path) == Some(HubFault::WrongHash);
            let hash = if wrong { sha256(b"another file") } else { sha256(content) };
            let mut sibling =
                json!({ "rfilename": path, "size": content.len(), "blobId": &sha256(content)[..40] });
            if path.contains(".onnx") || path.ends_with(".safetensors") {
                sibling["lfs"] = json!({ "sha256": hash, "size": content.len(), "pointerSize": 127 });
            }
            sibling
        });
        let siblings: Vec<Value> = siblings.chain([json!({ "rfilename": "../escape.json", "size": 1 })]).collect();
        json!({ "id": HUB_MODEL, "sha": HUB_COMMIT, "siblings": siblings })
    }

    fn file(&self, path: &str, range: Option<&str>) -> Response {
        let Some(content) = self.files.get(path) else { return StatusCode::NOT_FOUND.into_response() };
        let fault = self.fault(path);
        let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let start = start.filter(|_| fault != Some(HubFault::IgnoresRanges));
        if start.is_some_and(|start| start >= content.len()) {
            return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
        }
        let from = start.unwrap_or(0);
        let mut sent = content.slice(from..);
        let mut breaks_off = false;
        match fault {
            Some(HubFault::BreaksOffOnceAt(at)) if from < at => {
                (sent, breaks_off) = (content.slice(from..at), true)
            }
            Some(HubFault::IgnoresRanges) if range.is_none() => {
                (sent, breaks_off) = (content.slice(..content.len() / 2), true);
            }
            Some(HubFault::Truncated) => sent = content.slice(from..(content.len() - 10).max(from)),
            Some(HubFault::Oversized) => sent = [content.slice(from..), content.clone()].concat().into(),
            _ => {}
        }
        let length = if breaks_off { content.len() - from } else { sent.len() };
        let last = content.len() - 1;
        let builder = match start {
            Some(start) => Response::builder()
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {start}-{last}/{}", content.len())),
            None => Response::builder(),
        };
        // Later than what was sent, so that it is on its way when the connection breaks.
        let end = async {
            tokio::time::sleep(BREAK_AFTER).await;
            Err(std::io::Error::other("the hub breaks off"))
        };
        let sent = stream::once(std::future::ready(Ok(sent)));
        let body =
            if breaks_off { Body::from_stream(sent.chain(stream::once(end))) } else { Body::from_stream(sent) };
        builder.header(header::CONTENT_LENGTH, length).body(body).expect("the answer is well formed")
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (path, range) = (request.uri().path().to_owned(), header(header::RANGE));
    let seen = HubRequest { path: path.clone(), range: range.clone() };
    shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    let shown = header(header::AUTHORIZATION);
    if shared.key.as_ref().is_some_and(|key| shown != Some(format!("Bearer {key}"))) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if path == format!("/api/models/{HUB_MODEL}/revision/main") {
        return axum::Json(shared.listing()).into_response();
    }
    match path.strip_prefix(&format!("/{HUB_MODEL}/resolve/{HUB_COMMIT}/")) {
        Some(file) => shared.file(file, range.as_deref()),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}
