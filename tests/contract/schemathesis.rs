//! Requests that a generator makes up from the description, sound ones and broken ones: every answer has to be one
//! that the description tells of.

use lede_tests::{
    API_KEY, Edge, KeysFile, Origin, client, free_port, path_from_environment, python, repository_root,
};
use serde_json::json;

use crate::succeed;

/// A key that may do everything as often as it likes: what is looked at is what the routes answer, not its quota.
fn keys_file() -> KeysFile {
    let plan = "cells_per_minute = 1_000_000\nburst_cells = 1_000_000\ndaily_cells = 100_000_000";
    let terms = "plan = \"suite\"\nscopes = [\"captions\", \"admin\"]";
    KeysFile::new().plan("suite", plan).key(API_KEY, "suite", terms)
}

async fn origin(keys: &KeysFile) -> Origin {
    let path = keys.path();
    Origin::start_with(
        free_port(),
        &[
            ("LEDE_API_KEY_HASHES", ""),
            ("LEDE_KEYS_FILE", &path),
            // Nor is it how often an admin may look.
            ("LEDE_ADMIN_REQUESTS_PER_MINUTE", "1000000"),
        ],
    )
    .await
}

fn schemathesis(url: &str) {
    let packages = path_from_environment("LEDE_SCHEMATHESIS");
    let description = format!("{url}/openapi.json");
    let arguments = ["-m", "schemathesis.cli", "run", &description, "--url", url, "--no-color"];
    let told = succeed(python("tests/contract", &packages, &arguments).env("LEDE_API_KEY", API_KEY));
    // Success without a request would be none.
    let cases = told.lines().find_map(|line| line.split_once(" generated,")?.0.trim().parse::<usize>().ok());
    assert!(cases.is_some_and(|cases| cases > 200), "{told}");
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

#[test]
fn every_example_of_the_description_is_one_of_its_schema() {
    let packages = path_from_environment("LEDE_SCHEMATHESIS");
    let description = repository_root().join("edge/assets/openapi.json");
    let told = succeed(&mut python("tests/contract", &packages, &["examples.py", description.to_str().unwrap()]));
    let count = told.split_whitespace().next().and_then(|count| count.parse::<usize>().ok());
    assert!(count.is_some_and(|count| count > 30), "{told}");
}

#[tokio::test]
async fn every_example_of_the_origin_s_description_is_one_of_its_schema() {
    let keys = keys_file();
    let origin = origin(&keys).await;
    let packages = path_from_environment("LEDE_SCHEMATHESIS");
    let served = client().get(format!("{}/openapi.json", origin.url)).send().await.unwrap().text().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let description = folder.path().join("openapi.json");
    std::fs::write(&description, served).unwrap();
    let told = succeed(&mut python("tests/contract", &packages, &["examples.py", description.to_str().unwrap()]));
    let count = told.split_whitespace().next().and_then(|count| count.parse::<usize>().ok());
    assert!(count.is_some_and(|count| count > 30), "{told}");
}
