//! The golden wire vectors (`tests/fixtures/wire`) through the origin's own routes.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, GENERATE, TestApp, json_request, letters};

fn vectors(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Sends a vector's body, or its query.
async fn send(app: &TestApp, vector: &Value) -> Answer {
    match (vector["body"].as_str(), vector["query"].as_str()) {
        (Some(body), _) => app.send(json_request("POST", GENERATE, body.to_owned())).await,
        (None, Some(query)) => app.get(&format!("{GENERATE}?{query}"), &[]).await,
        (None, None) => panic!("a vector without body and query: {vector}"),
    }
}

#[tokio::test]
async fn what_the_contract_refuses_is_refused_as_it_says() {
    let app = TestApp::start().await;
    for vector in vectors("refusals.json") {
        let status = u16::try_from(vector["status"].as_u64().unwrap()).unwrap();
        let what = vector["name"].as_str().unwrap();
        let pointers = send(&app, &vector).await.assert_problem(status, vector["code"].as_str().unwrap(), what);
        assert_eq!(json!(pointers), vector["pointers"], "{what}");
    }
}

#[tokio::test]
async fn what_the_contract_accepts_is_answered_under_the_key_it_says() {
    let mut compared = 0;
    for vector in vectors("requests.json") {
        let namespace = &vector["namespace"];
        let app = TestApp::with(&[("cache_epoch", namespace["epoch"].clone())], Duration::ZERO, letters()).await;
        let answer = send(&app, &vector).await;
        assert_eq!(answer.status, 200, "{}", vector["name"]);
        let key = vector["cache_key"].as_str().unwrap();
        // The origin shares its entries among tenants, so keys of one tenant are not its own.
        if namespace["tenant"].is_null() && namespace["model"] == app.state.captions.model_id() {
            assert_eq!(answer.header("etag"), format!("W/\"{key}\""), "{}", vector["name"]);
            assert_eq!(answer.json()["id"], format!("cap_{}", &key[..24]), "{}", vector["name"]);
            compared += 1;
        }
    }
    assert!(compared >= 3, "only {compared} keys were compared");
}
