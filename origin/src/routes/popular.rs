//! `GET /internal/popular?limit=&epoch=`: the captions asked for most, for the edge alone.

use axum::Json;
use axum::extract::{RawQuery, State};
use lede_shared::api::{POPULAR_CAPTIONS_MAX, PopularCaptions};
use lede_shared::problem::ProblemCode;

use crate::app::AppState;
use crate::error::ApiError;
use crate::extract::Principal;

/// Those that are still held under the cache epoch that the edge names.
pub async fn get(
    State(app): State<AppState>,
    principal: Principal,
    RawQuery(query): RawQuery,
) -> Result<Json<PopularCaptions>, ApiError> {
    principal.require_the_edge_itself()?;
    let query = query.unwrap_or_default();
    let limit = usize::try_from(number(&query, "limit")?).unwrap_or(usize::MAX).min(POPULAR_CAPTIONS_MAX);
    let captions = app.captions.popular(limit, number(&query, "epoch")?);
    Ok(Json(PopularCaptions { captions }))
}

fn number(query: &str, name: &str) -> Result<u64, ApiError> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let number = value.and_then(|value| value.parse().ok());
    number.ok_or_else(|| ApiError::new(ProblemCode::MalformedRequest, format!("{name} must be a whole number")))
}
