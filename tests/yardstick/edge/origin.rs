//! An origin that costs nothing: the same caption for whoever asks.

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};
use axum::{Json, Router};
use lede_shared::api::GENERATE_PATH;
use lede_shared::api_key::TenantId;
use lede_shared::headers::CACHE_STATUS;
use lede_shared::plan::{KeyRecord, Plan};
use lede_tests::TENANT;
use serde_json::Value;

/// What it says it serves; the Workers are told the same, so that its answers are storable.
pub(crate) const MODEL: &str = "lede-nano-1";
/// The golden answer, without its warning.
const ANSWER: &str = include_str!("../../fixtures/wire/response.json");

/// Listens on a free port until the process ends.
pub(crate) async fn start() -> String {
    let mut answer: Value = serde_json::from_str(ANSWER).expect("the golden answer is JSON");
    answer["warnings"] = Value::Array(Vec::new());
    answer["model"] = MODEL.into();
    let body = answer.to_string();
    // The body is read: an answer before its end would cost the connection.
    let answering = move |_: Bytes| {
        let headers =
            [(CONTENT_TYPE.as_str(), "application/json"), (CACHE_STATUS, "lede-origin; fwd=uri-miss; stored")];
        std::future::ready((headers, body.clone()))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it listens"));
    let record = Json(key_record());
    let answering_for_a_key = move || std::future::ready(record.clone());
    let app = Router::new()
        .route(GENERATE_PATH, post(answering))
        .route("/internal/keys/{hash}", get(answering_for_a_key));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// Every key is the suite's, on a plan that no load uses up.
fn key_record() -> KeyRecord {
    let mut record = KeyRecord::standard(TenantId::parse(TENANT).expect("a tenant id"));
    record.plan = Plan {
        cells_per_minute: 60_000_000,
        burst_cells: 10_000_000,
        daily_cells: 1_000_000_000,
        ..Plan::default()
    };
    record
}
