//! Requests that a generator makes up from the description, sound ones and broken ones: every answer has to be one
//! that the description tells of.

use lede_tests::{API_KEY, Edge, Origin, path_from_environment, python};

use crate::succeed;

fn schemathesis(url: &str) -> String {
    let packages = path_from_environment("LEDE_SCHEMATHESIS");
    let description = format!("{url}/openapi.json");
    let arguments = ["-m", "schemathesis.cli", "run", &description, "--url", url, "--no-color"];
    succeed(python("tests/contract", &packages, &arguments).env("LEDE_API_KEY", API_KEY))
}

#[tokio::test]
async fn the_edge_answers_as_its_description_says() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    schemathesis(&edge.url);
}

#[tokio::test]
async fn the_origin_answers_as_its_description_says() {
    let origin = Origin::start().await;
    schemathesis(&origin.url);
}
