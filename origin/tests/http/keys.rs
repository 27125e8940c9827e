//! Keys with scopes and plans, as a caller of the origin meets them, and as the edge asks for them.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use lede_origin::clock;
use lede_shared::api_key::{ApiKeyHash, TenantId};
use lede_shared::clock::UnixMillis;
use lede_shared::plan::{KeyRecord, Priority, Scope};
use lede_shared::signature::{Claims, SignatureHeaders, SignedRequest, SigningKey};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{API_KEY, Answer, GENERATE, SIGNING_KEY, TestApp, letters};

const PLANS: &str = "[plans.pro]\ncells_per_minute = 6000\npriority = \"high\"\nbatch_requests_max = 1\n";

/// An app with a file of keys.
struct WithKeys {
    app: TestApp,
    folder: TempDir,
}

fn entry(api_key: &str, rest: &str) -> String {
    format!("[[keys]]\nhash = \"{}\"\ntenant = \"acme\"\ncreated_ms = 1\n{rest}\n", ApiKeyHash::of(api_key))
}

impl WithKeys {
    async fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        std::fs::write(&path, text).unwrap();
        let settings = [("keys_file", json!(path.to_str().unwrap()))];
        Self { app: TestApp::with(&settings, Duration::ZERO, letters()).await, folder }
    }

    async fn generate(&self, api_key: &str) -> Answer {
        let query = format!("{GENERATE}?content_description=sea&hashtag_count=0");
        self.get(&query, api_key).await
    }

    async fn get(&self, path: &str, api_key: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {api_key}"));
        self.app.send(request.body(Body::empty()).unwrap()).await
    }

    /// What the edge learns of a key.
    async fn asked(&self, hash: &str, claims: &Claims, nonce: u8) -> Answer {
        let path = format!("/internal/keys/{hash}");
        self.app.send(signed_get(&path, claims, nonce)).await
    }
}

fn signed_get(path: &str, claims: &Claims, nonce: u8) -> Request<Body> {
    let key = SigningKey::parse(SIGNING_KEY).unwrap();
    let signed = SignedRequest { method: "GET", path_and_query: path, body: b"" };
    let headers = SignatureHeaders::sign(&key, &signed, claims, clock::now(), [nonce; 16]);
    let request = Request::get(path);
    let signed = headers.pairs().into_iter().fold(request, |request, (name, value)| request.header(name, value));
    signed.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_key_of_the_file_has_captions_made_and_a_revoked_one_has_not() {
    let revoked = entry("key-b", &format!("revoked_ms = {}", clock::now().0));
    let keys = WithKeys::start(&format!("{}{revoked}", entry("key-a", ""))).await;
    assert_eq!(keys.generate("key-a").await.status, 200);
    keys.generate("key-b").await.assert_problem(401, "invalid_api_key", "revoked");
    keys.generate("key-c").await.assert_problem(401, "invalid_api_key", "unknown");
    assert_eq!(keys.generate(API_KEY).await.status, 200, "the table's keys go on");
}

#[tokio::test]
async fn a_change_of_the_file_holds_without_a_restart() {
    let keys = WithKeys::start(&entry("key-a", "")).await;
    assert_eq!(keys.generate("key-a").await.status, 200);
    std::fs::write(keys.folder.path().join("keys.toml"), entry("key-b", "")).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    keys.generate("key-a").await.assert_problem(401, "invalid_api_key", "taken out");
    assert_eq!(keys.generate("key-b").await.status, 200);
}

#[tokio::test]
async fn a_key_without_the_scope_is_forbidden_to_have_captions_made() {
    let keys = WithKeys::start(&entry("key-a", "scopes = [\"admin\"]")).await;
    keys.generate("key-a").await.assert_problem(403, "forbidden", "GET");
    for path in [GENERATE, "/api/v14/batch"] {
        let request = Request::post(path).header("authorization", "Bearer key-a");
        let request = request.header("content-type", "application/json").body(Body::from("{}")).unwrap();
        keys.app.send(request).await.assert_problem(403, "forbidden", path);
    }
}

#[tokio::test]
async fn a_batch_has_as_many_requests_as_the_plan_takes() {
    let keys = WithKeys::start(&format!("{PLANS}{}", entry("key-a", "plan = \"pro\""))).await;
    let item = json!({"content_description": "sea", "hashtag_count": 0});
    let send = |body: serde_json::Value| {
        let request = Request::post("/api/v14/batch").header("authorization", "Bearer key-a");
        keys.app
            .send(request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap())
    };
    let two = send(json!({"requests": [item, item]})).await;
    assert_eq!(two.assert_problem(422, "invalid_fields", "two"), ["/requests"]);
    assert_eq!(send(json!({"requests": [item]})).await.status, 200);
}

#[tokio::test]
async fn a_direct_caller_goes_by_the_plan_of_the_key() {
    let plan = "plan = { priority = \"critical\", cache_is_private = true }";
    let keys = WithKeys::start(&entry("key-a", plan)).await;
    let headers = [("authorization".parse().unwrap(), "Bearer key-a".parse().unwrap())].into_iter().collect();
    let principal = keys.app.state.authenticator.by_api_key(&headers).unwrap();
    assert_eq!((principal.claims.priority, principal.claims.cache_is_private), (Priority::Critical, true));
}

#[tokio::test]
async fn the_edge_learns_what_a_key_is_good_for_and_nothing_of_others() {
    let keys = WithKeys::start(&format!(
        "{PLANS}{}{}",
        entry("key-a", "plan = \"pro\"\nscopes = [\"captions\", \"admin\"]\nnote = \"n\""),
        entry("key-b", "revoked_ms = 1"),
    ))
    .await;
    let edge = Claims::of_the_edge();
    let known = keys.asked(&ApiKeyHash::of("key-a").to_string(), &edge, 1).await;
    let record: KeyRecord = serde_json::from_slice(&known.body).unwrap();
    assert_eq!(record.scopes, [Scope::Captions, Scope::Admin]);
    assert_eq!((record.plan.name.as_str(), record.plan.cells_per_minute), ("pro", 6_000));
    let of_the_table = keys.asked(&ApiKeyHash::of(API_KEY).to_string(), &edge, 2).await;
    assert_eq!(serde_json::from_slice::<KeyRecord>(&of_the_table.body).unwrap().plan.name, "standard");
    let revoked = keys.asked(&ApiKeyHash::of("key-b").to_string(), &edge, 3).await;
    let unknown = keys.asked(&ApiKeyHash::of("key-c").to_string(), &edge, 4).await;
    revoked.assert_problem(404, "not_found", "revoked");
    unknown.assert_problem(404, "not_found", "unknown");
    assert_eq!(revoked.json()["detail"], unknown.json()["detail"]);
    keys.asked(&ApiKeyHash::of("key-a").to_string().to_uppercase(), &edge, 5).await.assert_problem(
        404,
        "not_found",
        "another form",
    );
}

#[tokio::test]
async fn nobody_but_the_edge_itself_is_told_of_keys() {
    let keys = WithKeys::start(&entry("key-a", "scopes = [\"captions\", \"admin\"]")).await;
    let hash = ApiKeyHash::of("key-a").to_string();
    let on_behalf = Claims::of(TenantId::parse("acme").unwrap());
    keys.asked(&hash, &on_behalf, 6).await.assert_problem(403, "forbidden", "the edge for somebody");
    let path = format!("/internal/keys/{hash}");
    keys.get(&path, "key-a").await.assert_problem(403, "forbidden", "a key");
    let nobody = keys.app.send(Request::get(&path).body(Body::empty()).unwrap()).await;
    nobody.assert_problem(401, "missing_api_key", "nobody");
    let mut old = signed_get(&path, &Claims::of_the_edge(), 7);
    let long_ago = UnixMillis(1).0.to_string();
    old.headers_mut().insert("x-lede-timestamp-ms", long_ago.parse().unwrap());
    keys.app.send(old).await.assert_problem(401, "invalid_signature", "altered");
}
