//! Every route on one screen.

use axum::Router;
use axum::routing::{get, post};
use lede_shared::api::{BATCH_PATH, GENERATE_PATH, INFO_PATH, POPULAR_PATH};
use lede_shared::openapi::OPENAPI_PATH;

use crate::app::AppState;
use crate::middleware;
use crate::routes::{batch, fallback, generate, health, info, internal, openapi, performance, popular};

/// All routes with their middleware.
pub fn router(app: AppState) -> Router {
    let routes = Router::new()
        .route(GENERATE_PATH, post(generate::post).get(generate::get))
        .route(BATCH_PATH, post(batch::post))
        .route(INFO_PATH, get(info::get))
        .route(POPULAR_PATH, get(popular::get))
        .route(OPENAPI_PATH, get(openapi::get))
        .route("/internal/engine", get(internal::engine_work))
        .route("/health", get(health::summary))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/deep", get(health::deep))
        .route("/internal/keys/{hash}", get(internal::key_record))
        .route(performance::AI_PATH, get(performance::ai::summary))
        .route(performance::TASKS_STATS_PATH, get(performance::tasks::stats))
        .route(performance::TASKS_MANAGE_PATH, post(performance::tasks::manage))
        .route(performance::MODELS_MANAGE_PATH, post(performance::models::manage))
        .route(performance::MEMORY_CLEANUP_PATH, post(performance::memory::cleanup))
        .route(performance::CACHE_PATH, get(performance::cache::summary))
        .route(performance::CACHE_STATS_PATH, get(performance::cache::stats))
        .route(performance::CACHE_MANAGE_PATH, post(performance::cache::manage))
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .with_state(app);
    middleware::apply(routes)
}
