//! `/performance/…`: how the service runs, for keys with the scope `admin`. The edge does not know these routes.

pub mod ai;
pub mod cache;
pub mod description;
mod fields;
mod manage;
pub mod memory;
pub mod models;
mod summary;
pub mod tasks;

use axum::Json;
use axum::http::{HeaderName, header};
use serde::Serialize;

use crate::extract::Principal;
use crate::middleware::RequestContext;

/// What the cache does, on one screen.
pub const CACHE_PATH: &str = "/performance/cache";
/// Everything that is counted of it.
pub const CACHE_STATS_PATH: &str = "/performance/cache/stats";
/// Clears, purges, warms, invalidates.
pub const CACHE_MANAGE_PATH: &str = "/performance/cache/manage";
/// What the engine does.
pub const AI_PATH: &str = "/performance/ai";
/// Who waits for it and who is on it.
pub const TASKS_STATS_PATH: &str = "/performance/tasks/stats";
/// Ends sequences.
pub const TASKS_MANAGE_PATH: &str = "/performance/tasks/manage";
/// Loads, unloads, pins and unpins models.
pub const MODELS_MANAGE_PATH: &str = "/performance/models/manage";
/// Gives up memory that is kept for speed.
pub const MEMORY_CLEANUP_PATH: &str = "/performance/memory/cleanup";

/// An answer that nobody keeps.
type Unkept<T> = ([(HeaderName, &'static str); 1], Json<T>);

fn unkept<T: Serialize>(answer: T) -> Unkept<T> {
    ([(header::CACHE_CONTROL, "no-store")], Json(answer))
}

/// Who did what. Nothing of what was asked for: a description is nobody's business.
fn log(principal: &Principal, context: &RequestContext, action: &str) {
    let (tenant, request_id) = (principal.claims.tenant.as_str(), context.request_id.as_str());
    tracing::info!(target: "lede_origin::audit", tenant, action, request_id, "administration");
}
