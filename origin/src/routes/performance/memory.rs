//! Giving up memory that is kept for speed.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use lede_shared::problem::{FieldErrorCode, Problem};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::fields::{fault, object, only};
use super::{Unkept, log, unkept};
use crate::app::{App, AppState};
use crate::cache::Tier;
use crate::error::ApiError;
use crate::extract::AuthorizedBody;
use crate::middleware::RequestContext;

const BODY_BYTES_MAX: usize = 1_024;
/// The engine answers between steps; one that hangs does not.
const ENGINE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Where Linux says how much memory the process has, in pages.
const STATM: &str = "/proc/self/statm";
/// On every machine that Linux's default configuration is for.
const PAGE_BYTES: u64 = 4_096;

/// What is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemoryState {
    /// Memory of the whole process, where the system says it. What is given up may be kept by the allocator for a while.
    pub resident_bytes: Option<u64>,
    /// Blocks of attention memory in use on the device.
    pub kv_blocks_used: u64,
    /// Positions of prompts that are kept for others that begin alike.
    pub prefix_positions_kept: u64,
    /// Bytes of answers in the hot tier.
    pub hot_bytes: u64,
}

/// What came of a clean-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemoryCleaned {
    /// Was the hot tier emptied, too?
    pub force: bool,
    /// Did the engine give up what it keeps? Not while it has no backend or hangs.
    pub engine_answers: bool,
    /// Before.
    pub before: MemoryState,
    /// Afterwards.
    pub after: MemoryState,
}

/// `POST /performance/memory/cleanup`: gives up kept beginnings of prompts; with `force` the hot tier, too.
pub async fn cleanup(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    authorized: AuthorizedBody<BODY_BYTES_MAX>,
) -> Result<Unkept<MemoryCleaned>, ApiError> {
    app.admin_door.pass(&authorized.principal)?;
    let force = read(&authorized.body)?;
    log(&authorized.principal, &context, "memory cleanup");
    let before = MemoryState::of(&app).await;
    let door = app.engine.door();
    let given_up = tokio::time::timeout(ENGINE_ANSWERS_WITHIN, door.give_up_kept()).await;
    if force {
        app.captions.clear_tier(Tier::Hot).await;
    }
    let (engine_answers, after) = (given_up.unwrap_or(false), MemoryState::of(&app).await);
    Ok(unkept(MemoryCleaned { force, engine_answers, before, after }))
}

/// Reads `{}` or `{"force": true}`.
fn read(body: &[u8]) -> Result<bool, Problem> {
    let fields = object(body)?;
    only(&fields, &["force"])?;
    match fields.get("force") {
        None => Ok(false),
        Some(Value::Bool(force)) => Ok(*force),
        Some(_) => Err(fault("/force", FieldErrorCode::WrongType, "must be true or false")),
    }
}

impl MemoryState {
    async fn of(app: &App) -> Self {
        let engine = app.engine.counters().stats(std::time::Instant::now());
        Self {
            resident_bytes: std::fs::read_to_string(STATM).ok().and_then(|statm| resident_bytes(&statm)),
            kv_blocks_used: engine.kv_blocks_used,
            prefix_positions_kept: engine.prefix_positions_kept,
            hot_bytes: app.captions.cache_stats().await.hot.body_bytes,
        }
    }
}

fn resident_bytes(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_up_is_gentle_unless_it_is_told_otherwise() {
        assert_eq!(read(b"{}"), Ok(false));
        assert_eq!(read(br#"{"force": true}"#), Ok(true));
        for body in [r#"{"force": 1}"#, r#"{"all": true}"#, "7", ""] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn resident_memory_is_the_second_number() {
        assert_eq!(resident_bytes("300 25 7 1 0 9 0\n"), Some(25 * PAGE_BYTES));
        assert_eq!(resident_bytes(""), None);
    }
}
