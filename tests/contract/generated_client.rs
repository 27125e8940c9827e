//! A client made by a public generator from the description that the edge serves.

use std::fs;

use lede_tests::{API_KEY, Edge, Origin, node, repository_root};

use crate::succeed;

const PROGRAM: &str = include_str!("client.ts");

#[tokio::test]
async fn a_client_generated_from_the_description_compiles_and_makes_a_call() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    // Inside the folder whose packages the client is made and compiled with.
    let modules = repository_root().join("tests/browser/node_modules");
    let folder = tempfile::Builder::new().prefix(".client-").tempdir_in(&modules).unwrap();
    fs::write(folder.path().join("client.ts"), PROGRAM).unwrap();
    fs::write(folder.path().join("package.json"), r#"{"type": "module"}"#).unwrap();
    let types = folder.path().join("lede.d.ts");
    let description = format!("{}/openapi.json", edge.url);
    let generator = "node_modules/openapi-typescript/bin/cli.js";
    // Without the option this generator asks callers for every field that has a default.
    let options = ["--default-non-nullable", "false", "--output", types.to_str().unwrap()];
    succeed(&mut node("tests/browser", &[&[generator, &description], &options[..]].concat()));

    let program = folder.path().join("client.ts");
    let compiler = ["node_modules/typescript/bin/tsc", "--strict", "--target", "es2022", "--module", "nodenext"];
    let options = ["--skipLibCheck"];
    let arguments: Vec<&str> =
        compiler.iter().chain(&options).copied().chain([program.to_str().unwrap()]).collect();
    succeed(&mut node("tests/browser", &arguments));

    let compiled = folder.path().join("client.js");
    let mut client = node("tests/browser", &[compiled.to_str().unwrap(), &edge.url, API_KEY]);
    let told = succeed(&mut client);
    assert!(told.contains("caption: ") && told.contains("refused: /variants"), "{told}");
}
