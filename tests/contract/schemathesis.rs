//! Requests that a generator makes up from the description, sound ones and broken ones: every answer has to be one
//! that the description tells of.

use std::io::Write;

use lede_shared::api_key::ApiKeyHash;
use lede_tests::{API_KEY, Edge, Origin, free_port, path_from_environment, python};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::succeed;

/// A key that may do everything as often as it likes: what is looked at is what the routes answer, not its quota.
fn keys_file() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    let hash = ApiKeyHash::of(API_KEY);
    let keys = format!(
        "[plans.suite]\ncells_per_minute = 1_000_000\nburst_cells = 1_000_000\ndaily_cells = 100_000_000\n\
         [[keys]]\nhash = \"{hash}\"\ntenant = \"suite\"\nplan = \"suite\"\nscopes = [\"captions\", \"admin\"]\ncreated_ms = 0\n"
    );
    file.write_all(keys.as_bytes()).unwrap();
    file
}

async fn origin(keys: &NamedTempFile) -> Origin {
    let path = keys.path().to_str().unwrap();
    Origin::start_with(free_port(), &[("LEDE_API_KEY_HASHES", ""), ("LEDE_KEYS_FILE", path)]).await
}

fn schemathesis(url: &str) {
    let packages = path_from_environment("LEDE_SCHEMATHESIS");
    let description = format!("{url}/openapi.json");
    let arguments = ["-m", "schemathesis.cli", "run", &description, "--url", url, "--no-color"];
    let told = succeed(python("tests/contract", &packages, &arguments).env("LEDE_API_KEY", API_KEY));
    // Success without a request would be none.
    let cases =
        told.lines().find_map(|line| line.trim().strip_suffix(" passed")?.split_whitespace().next()?.parse().ok());
    assert!(cases.is_some_and(|cases: usize| cases > 200), "{told}");
}

#[tokio::test]
async fn the_edge_answers_as_its_description_says() {
    let keys = keys_file();
    let origin = origin(&keys).await;
    let edge = Edge::start_with(&origin.url, &json!({ "API_KEY_HASHES": "" }));
    schemathesis(&edge.url);
}

#[tokio::test]
async fn the_origin_answers_as_its_description_says() {
    let keys = keys_file();
    let origin = origin(&keys).await;
    schemathesis(&origin.url);
}
