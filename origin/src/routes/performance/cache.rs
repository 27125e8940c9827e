//! The response cache: what it does, and what can be done to it.

use axum::Extension;
use axum::extract::State;

use super::manage::{Manage, Managed};
use super::summary::CacheSummary;
use super::{Unkept, log, unkept};
use crate::app::AppState;
use crate::cache::CacheStats;
use crate::error::ApiError;
use crate::extract::{AuthorizedBody, Principal};
use crate::middleware::RequestContext;

/// A caption request and an action's name.
const BODY_BYTES_MAX: usize = 64 * 1_024;

/// `GET /performance/cache`: hit rates by tier, and what other sizes would give.
pub async fn summary(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    principal: Principal,
) -> Result<Unkept<CacheSummary>, ApiError> {
    app.admin_door.pass(&principal)?;
    log(&principal, &context, "cache summary");
    Ok(unkept(CacheSummary::of(&app.captions.cache_stats().await, &app.config.cache)))
}

/// `GET /performance/cache/stats`: everything that is counted.
pub async fn stats(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    principal: Principal,
) -> Result<Unkept<CacheStats>, ApiError> {
    app.admin_door.pass(&principal)?;
    log(&principal, &context, "cache stats");
    Ok(unkept(app.captions.cache_stats().await))
}

/// `POST /performance/cache/manage`: does what the body says, and says what came of it.
pub async fn manage(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    authorized: AuthorizedBody<BODY_BYTES_MAX>,
) -> Result<Unkept<Managed>, ApiError> {
    app.admin_door.pass(&authorized.principal)?;
    let manage = Manage::from_json(&authorized.body)?;
    log(&authorized.principal, &context, manage.name());
    let managed = manage.done(&app.captions, &authorized.principal.claims).await?;
    Ok(unkept(managed))
}
