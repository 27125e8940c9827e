//! `/internal/…`: what the edge asks on nobody's behalf.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::{Path, State};
use lede_shared::api_key::ApiKeyHash;
use lede_shared::plan::KeyRecord;
use lede_shared::problem::ProblemCode;
use serde::Serialize;

use crate::app::AppState;
use crate::engine::EngineCounters;
use crate::error::ApiError;
use crate::extract::Principal;

/// `GET /internal/keys/{hash}`: what a key is good for. Unknown and revoked keys have no record, and are not told apart.
pub async fn key_record(
    State(app): State<AppState>,
    principal: Principal,
    Path(hash): Path<String>,
) -> Result<Json<KeyRecord>, ApiError> {
    principal.require_the_edge_itself()?;
    let record = ApiKeyHash::parse(&hash).and_then(|hash| app.authenticator.key_record(&hash));
    let unknown = || ApiError::new(ProblemCode::NotFound, "no key has this hash");
    record.map(|record| Json(record.as_ref().clone())).ok_or_else(unknown)
}

/// The engine's counters. They begin at 0 with the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EngineWork {
    /// Sequences that came to their end.
    sequences_finished: u64,
    /// Running sequences that were dropped because nobody waited any more.
    sequences_dropped: u64,
    /// Prompt entries read.
    tokens_prefilled: u64,
    /// Entries fed back in decode steps.
    tokens_decoded: u64,
    /// Decode steps.
    decode_steps: u64,
}

impl EngineWork {
    fn of(counters: &EngineCounters) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            sequences_finished: read(&counters.finished),
            sequences_dropped: read(&counters.dropped),
            tokens_prefilled: read(&counters.prefilled_tokens),
            tokens_decoded: read(&counters.decoded_tokens),
            decode_steps: read(&counters.decode_steps),
        }
    }
}

/// `GET /internal/engine`: what the engine has done since it started.
pub async fn engine_work(State(app): State<AppState>, principal: Principal) -> Result<Json<EngineWork>, ApiError> {
    principal.require_the_edge_itself()?;
    Ok(Json(EngineWork::of(app.engine.counters())))
}
