//! `GET /api/v14/info`: what this service is and takes.

use axum::Json;
use axum::extract::State;
use lede_shared::api::ServiceInfo;

use crate::app::AppState;

/// What this service is and takes.
pub async fn get(State(app): State<AppState>) -> Json<ServiceInfo> {
    Json(ServiceInfo::new("origin", env!("CARGO_PKG_VERSION"), app.captions.model_id()))
}
