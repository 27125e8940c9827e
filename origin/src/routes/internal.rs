//! `/internal/…`: what the edge asks on nobody's behalf.

use axum::Json;
use axum::extract::{Path, State};
use lede_shared::api_key::ApiKeyHash;
use lede_shared::plan::KeyRecord;
use lede_shared::problem::ProblemCode;

use crate::app::AppState;
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
