//! `/health`: is the process there, can it generate, does a generation work?

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use lede_shared::problem::{Problem, ProblemCode};
use serde::Serialize;

use crate::app::AppState;
use crate::error::ApiError;

/// How long a deep check may take.
const DEEP_CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// What is told to those who come while a deep check runs or the model loads.
const RETRY_AFTER_S: u32 = 1;

/// The state of the process.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// `loading`, `ready`, `draining`, `failed` or `stopped`.
    status: &'static str,
    /// Which side answers.
    side: &'static str,
    /// Version of the software.
    version: &'static str,
    /// The model's id.
    model: String,
}

/// One word for a probe.
#[derive(Debug, Serialize)]
pub struct Probe {
    status: &'static str,
    /// How long a canary took.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary_ms: Option<f64>,
}

const fn probe(status: &'static str) -> Json<Probe> {
    Json(Probe { status, canary_ms: None })
}

/// `GET /health`: always 200 while the process answers.
pub async fn summary(State(app): State<AppState>) -> Json<Summary> {
    let version = env!("CARGO_PKG_VERSION");
    Json(Summary { status: app.state(), side: "origin", version, model: app.captions.model_id().to_owned() })
}

/// `GET /health/live`: the process answers.
pub async fn live() -> Json<Probe> {
    probe("live")
}

/// `GET /health/ready`: captions can be generated.
pub async fn ready(State(app): State<AppState>) -> Result<Json<Probe>, ApiError> {
    if app.is_ready() { Ok(probe("ready")) } else { Err(not_ready(app.state())) }
}

/// `GET /health/deep`: one token through the engine.
pub async fn deep(State(app): State<AppState>) -> Result<Json<Probe>, ApiError> {
    if !app.is_ready() {
        return Err(not_ready(app.state()));
    }
    let Ok(_only) = app.deep_checks.try_acquire() else {
        let problem = Problem::new(ProblemCode::Overloaded, "another deep check is running");
        return Err(problem.retry_after(RETRY_AFTER_S).into());
    };
    let started_at = Instant::now();
    app.captions.canary(started_at + DEEP_CHECK_TIMEOUT).await?;
    Ok(Json(Probe { status: "deep", canary_ms: Some(started_at.elapsed().as_secs_f64() * 1_000.0) }))
}

fn not_ready(state: &str) -> ApiError {
    Problem::new(ProblemCode::NotReady, format!("the process is {state}")).retry_after(RETRY_AFTER_S).into()
}
