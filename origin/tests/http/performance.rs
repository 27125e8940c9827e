//! `/performance/cache…`: who gets in, what is told and what is done.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use lede_origin::backend::scripted::{Script, ScriptedBackend};
use lede_origin::backend::{Backend, BackendShape};
use lede_origin::engine::EngineStatus;
use lede_shared::problem::{Problem, ProblemCode};
use lede_shared::signature::{Claims, SignatureHeaders, SignedRequest, SigningKey};
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{API_KEY, Answer, GENERATE, SIGNING_KEY, TestApp, letters};

const MANAGE: &str = "/performance/cache/manage";
pub(crate) const ADMIN_KEY: &str = "a-key-for-administration";

/// An app that knows an ordinary key and one for administration.
pub(crate) struct WithAdmin {
    pub(crate) app: TestApp,
    _folder: tempfile::TempDir,
}

impl WithAdmin {
    pub(crate) async fn start(settings: &[(&str, Value)]) -> Self {
        Self::with(settings, Duration::ZERO, letters()).await
    }

    pub(crate) async fn with(settings: &[(&str, Value)], step_time: Duration, script: Script) -> Self {
        Self::loading(settings, move |shape| Ok(Box::new(ScriptedBackend::new(shape, step_time, script)))).await
    }

    /// The same on a backend that `load` makes.
    pub(crate) async fn loading(
        settings: &[(&str, Value)],
        load: impl FnOnce(BackendShape) -> Result<Box<dyn Backend>, String> + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let hash = lede_shared::api_key::ApiKeyHash::of(ADMIN_KEY);
        let keys = format!(
            "[[keys]]\nhash = \"{hash}\"\ntenant = \"operator\"\ncreated_ms = 1\nscopes = [\"captions\", \"admin\"]\n"
        );
        std::fs::write(&path, keys).unwrap();
        let mut all = vec![("keys_file", json!(path.to_str().unwrap()))];
        all.extend_from_slice(settings);
        let app = TestApp::loading(&all, load);
        assert!(matches!(app.state.engine.loaded().await, EngineStatus::Ready(_)));
        Self { app, _folder: folder }
    }

    pub(crate) async fn get(&self, path: &str, api_key: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {api_key}"));
        self.app.send(request.body(Body::empty()).unwrap()).await
    }

    async fn manage(&self, body: &Value) -> Answer {
        self.act(MANAGE, body).await
    }

    pub(crate) async fn act(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {ADMIN_KEY}"))
            .header("content-type", "application/json");
        self.app.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Which cache answered.
    async fn generate(&self) -> String {
        let answer = self.get(&format!("{GENERATE}?content_description=sea"), ADMIN_KEY).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.headers["cache-status"].to_str().unwrap().to_owned()
    }
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn code_of(answer: &Answer) -> ProblemCode {
    serde_json::from_slice::<Problem>(&answer.body).unwrap().code
}

#[tokio::test]
async fn only_keys_for_administration_get_in() {
    let app = WithAdmin::start(&[]).await;
    for path in ["/performance/cache", "/performance/cache/stats"] {
        assert_eq!(app.get(path, ADMIN_KEY).await.status, StatusCode::OK, "{path}");
        assert_eq!(code_of(&app.get(path, API_KEY).await), ProblemCode::Forbidden, "{path}");
        assert_eq!(code_of(&app.get(path, "another").await), ProblemCode::InvalidApiKey, "{path}");
    }
}

#[tokio::test]
async fn whom_the_edge_sends_on_has_been_judged_by_it() {
    let app = WithAdmin::start(&[]).await;
    let path = "/performance/cache";
    let key = SigningKey::parse(SIGNING_KEY).unwrap();
    let signed = SignedRequest { method: "GET", path_and_query: path, body: b"" };
    let claims = Claims::of(lede_shared::api_key::TenantId::parse("operator").unwrap());
    let headers = SignatureHeaders::sign(&key, &signed, &claims, lede_origin::clock::now(), [9; 16]);
    let request =
        headers.pairs().into_iter().fold(Request::get(path), |request, (name, value)| request.header(name, value));
    assert_eq!(app.app.send(request.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let app = WithAdmin::start(&[("admin_requests_per_minute", json!(2))]).await;
    for _ in 0..2 {
        assert_eq!(app.get("/performance/cache", ADMIN_KEY).await.status, StatusCode::OK);
    }
    let refused = app.get("/performance/cache", ADMIN_KEY).await;
    assert_eq!(
        (code_of(&refused), refused.headers["retry-after"].to_str().unwrap()),
        (ProblemCode::RateLimited, "30")
    );
}

#[tokio::test]
async fn what_the_tiers_do_is_counted() {
    let app = WithAdmin::start(&[]).await;
    assert!(app.generate().await.contains("stored"));
    assert!(app.generate().await.contains("detail=hot"));
    assert_eq!(app.manage(&json!({ "action": "clear", "cache_type": "hot" })).await.status, StatusCode::OK);
    assert!(app.generate().await.contains("detail=warm"));
    let stats = json_of(&app.get("/performance/cache/stats", ADMIN_KEY).await);
    assert_eq!(
        (&stats["look_ups"], &stats["hot"]["hits"], &stats["warm"]["hits"]),
        (&json!(3), &json!(1), &json!(1))
    );
    assert_eq!((&stats["warm"]["insertions"], &stats["cold"]), (&json!(1), &Value::Null));
    let summary = json_of(&app.get("/performance/cache", ADMIN_KEY).await);
    assert_eq!((&summary["hit_rate"], &summary["by_tier"]["hot"]), (&json!(0.6667), &json!(0.3333)));
}

#[tokio::test]
async fn what_is_cleared_or_invalidated_is_made_again() {
    let app = WithAdmin::start(&[]).await;
    for body in [
        json!({ "action": "clear", "cache_type": "all" }),
        json!({ "action": "invalidate", "request": { "content_description": "sea" } }),
        json!({ "action": "purge", "scope": "all" }),
    ] {
        app.generate().await;
        assert!(app.generate().await.contains("; hit"));
        let managed = app.manage(&body).await;
        assert_eq!((managed.status, &json_of(&managed)["action"]), (StatusCode::OK, &body["action"]));
        assert_eq!(managed.headers["cache-control"], "no-store");
        assert!(app.generate().await.contains("stored"), "{body}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_pointed_at() {
    let app = WithAdmin::start(&[]).await;
    let refused = app.manage(&json!({ "action": "clear", "cache_type": "hot", "force": true })).await;
    let problem: Problem = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((problem.code, problem.errors[0].pointer.as_str()), (ProblemCode::InvalidFields, "/force"));
}
