//! `GET /internal/engine`: what the engine has done since it started, for the edge's operators and for the tests.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::app::AppState;
use crate::engine::EngineCounters;
use crate::extract::TheEdge;

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

/// The counters, for the edge itself only.
pub async fn get(State(app): State<AppState>, _edge: TheEdge) -> Json<EngineWork> {
    Json(EngineWork::of(app.engine.counters()))
}
