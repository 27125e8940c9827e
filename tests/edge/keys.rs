//! Keys of the origin's store, as they hold at the edge.

use std::time::{Duration, Instant};

use lede_shared::api_key::ApiKeyHash;
use lede_shared::problem::ProblemCode;
use lede_tests::{Edge, KeysFile, Origin, client, free_port, problem_of, sunset};
use reqwest::Response;
use serde_json::{Value, json};

const GENERATE: &str = "/api/v14/generate";
/// As long as a record is fresh in these deployments, and some time for slow machines.
const FRESH_S: &str = "2";
const STOPPED_WITHIN: Duration = Duration::from_secs(4);
/// Longer than a record is fresh.
const LATER: Duration = Duration::from_millis(2_500);

async fn ask(edge: &Edge, path: &str, api_key: &str, body: &Value) -> Response {
    let request = client().post(format!("{}{path}", edge.url)).bearer_auth(api_key).json(body);
    request.send().await.unwrap()
}

async fn start(keys: &KeysFile) -> (Origin, Edge) {
    let origin = Origin::start_with(free_port(), &[("LEDE_KEYS_FILE", &keys.path())]).await;
    let edge = Edge::start_with(&origin.url, &json!({ "KEY_FRESH_S": FRESH_S }));
    (origin, edge)
}

#[tokio::test]
async fn a_key_that_was_made_opens_the_edge_and_a_revoked_one_does_no_longer() {
    let keys = KeysFile::new();
    let api_key = keys.create(&["--tenant", "acme"]);
    let (_origin, edge) = start(&keys).await;
    assert_eq!(ask(&edge, GENERATE, &api_key, &sunset()).await.status(), 200);

    keys.run(&["revoke", &ApiKeyHash::of(&api_key).to_string()[..12]]).must_succeed();
    let revoked = Instant::now();
    while ask(&edge, GENERATE, &api_key, &sunset()).await.status() == 200 {
        assert!(revoked.elapsed() < STOPPED_WITHIN, "it goes on:\n{}", edge.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let problem = problem_of(ask(&edge, GENERATE, &api_key, &sunset()).await).await;
    assert_eq!(problem.code, ProblemCode::InvalidApiKey);
    assert!(!edge.log().contains(&api_key), "{}", edge.log());
}

#[tokio::test]
async fn a_key_is_let_in_for_its_scopes_and_goes_by_its_plan() {
    let keys = KeysFile::new()
        .plan("small", "batch_requests_max = 1")
        .key("key-s", "small", "plan = \"small\"")
        .key("key-a", "admins", "scopes = [\"admin\"]");
    let (_origin, edge) = start(&keys).await;
    let problem = problem_of(ask(&edge, GENERATE, "key-a", &sunset()).await).await;
    assert_eq!(problem.code, ProblemCode::Forbidden);
    let batch = json!({ "requests": [sunset(), sunset()] });
    let problem = problem_of(ask(&edge, "/api/v14/batch", "key-s", &batch).await).await;
    assert_eq!((problem.code, problem.errors[0].pointer.as_str()), (ProblemCode::InvalidFields, "/requests"));
    assert_eq!(ask(&edge, GENERATE, "key-s", &sunset()).await.status(), 200);
}

#[tokio::test]
async fn with_the_origin_gone_a_known_key_is_still_known_and_an_unknown_one_is_not_called_wrong() {
    let keys = KeysFile::new().key("key-k", "acme", "").key("key-n", "newcomer", "");
    let (mut origin, edge) = start(&keys).await;
    assert_eq!(ask(&edge, GENERATE, "key-k", &sunset()).await.status(), 200);
    // The caption is stored behind the answer.
    tokio::time::sleep(LATER).await;
    origin.kill();
    for _ in 0..3 {
        let answer = ask(&edge, GENERATE, "key-k", &sunset()).await;
        assert_eq!(answer.status(), 200, "{}", edge.log());
        assert!(answer.headers()["cache-status"].to_str().unwrap().contains("lede-edge; hit"));
    }
    let problem = problem_of(ask(&edge, GENERATE, "key-n", &sunset()).await).await;
    assert_eq!((problem.code, problem.status), (ProblemCode::OriginUnavailable, 503));
    assert!(problem.retry_after_s.is_some());
}
