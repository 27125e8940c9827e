//! What the whole-system suites stand on: real processes on free ports, stopped by their own pid.
//!
//! `cargo xtask test` builds what is started here and says where it is through the environment; a suite that is
//! run without it fails with the name of what is missing rather than being skipped.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite that cannot set up its processes has failed")]

pub mod bad_input;
mod bad_origin;
mod bad_redis;
mod bench_report;
mod edge;
mod faulty_device;
mod hub;
mod keys_file;
mod model_store;
mod origin;
pub mod policies;
mod process;
mod provider;
mod redis;
mod tools;
pub mod traces;

pub use bad_origin::{BadOrigin, Conduct};
pub use bad_redis::{BadRedis, RedisWay, Way};
pub use bench_report::write_section;
pub use edge::{Edge, Surroundings};
pub use faulty_device::{ALWAYS, FaultyDevice};
pub use hub::{HUB_COMMIT, HUB_MODEL, HubFault, HubMirror, HubRequest};
pub use keys_file::KeysFile;
pub use model_store::{ModelStore, Outcome, model_files, model_fixture};
pub use origin::{Origin, OriginSettings, free_port};
pub use process::cpu_centiseconds;
pub use provider::{Provider, Reply};
pub use redis::{Redis, RedisCluster};
pub use tools::{in_repository, node, python};

use std::path::PathBuf;
use std::time::Duration;

use lede_shared::api_key::ApiKeyHash;
use lede_shared::headers::PROBLEM_JSON;
use lede_shared::problem::Problem;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

/// The API key that both sides let in.
pub const API_KEY: &str = "lede_test_0123456789abcdef0123456789abcdef";
/// Whose key it is.
pub const TENANT: &str = "suite";
/// The signing key that both sides hold.
pub const SIGNING_KEY: &str = "suite=0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The table of keys, as both sides are configured with it.
#[must_use]
pub fn api_key_hashes() -> String {
    format!("{TENANT}={}", ApiKeyHash::of(API_KEY))
}

/// A path that `cargo xtask test` announces.
#[must_use]
pub fn path_from_environment(name: &str) -> PathBuf {
    let value = std::env::var_os(name);
    PathBuf::from(value.unwrap_or_else(|| panic!("{name} is not set; run the suites with `cargo xtask test`")))
}

/// The repository's root.
#[must_use]
pub fn repository_root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("the tests lie in the repository").to_owned()
}

/// A client that never waits for ever and reuses no connection between tests.
#[must_use]
pub fn client() -> reqwest::Client {
    // Reqwest wants a provider of cryptography also where no TLS is spoken; one that is there already will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).no_proxy().tls_certs_only([]);
    builder.build().expect("a plain client can be built")
}

/// A POST of `body` with the suite's key.
pub fn post(url: &str, path: &str, body: &Value) -> RequestBuilder {
    client().post(format!("{url}{path}")).bearer_auth(API_KEY).json(body)
}

/// Sends and reads a JSON answer that must be a success.
///
/// # Panics
/// When the answer is anything else; the message has status and body.
pub async fn ok_json(request: RequestBuilder) -> (reqwest::header::HeaderMap, Value) {
    let response = request.send().await.expect("the server answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await.expect("the body arrives");
    assert!(status.is_success(), "{status}: {body}");
    (headers, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {body}")))
}

/// Reads an answer that must be a problem document: media type, status and request id agree with the body.
///
/// # Panics
/// When it is not.
pub async fn problem_of(response: Response) -> Problem {
    let status = response.status().as_u16();
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (media_type, request_id, retry_after) =
        (header("content-type"), header("x-request-id"), header("retry-after"));
    let body = response.text().await.expect("the body arrives");
    assert_eq!(media_type.as_deref(), Some(PROBLEM_JSON), "{status}: {body}");
    let problem: Problem = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {body}"));
    assert_eq!(problem.status, status, "{body}");
    assert!(request_id.is_some() && problem.request_id == request_id, "{request_id:?}: {body}");
    assert_eq!(problem.retry_after_s.map(|seconds| seconds.to_string()), retry_after, "{body}");
    problem
}

/// The README's first request.
#[must_use]
pub fn sunset() -> Value {
    json!({ "content_description": "Beautiful sunset over the ocean", "style": "inspirational", "hashtag_count": 5 })
}
