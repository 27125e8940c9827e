//! `POST /api/v14/batch`: many requests, each answered on its own.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use futures_util::{StreamExt, stream};
use lede_shared::api::{
    BATCH_BODY_BYTES_MAX, BatchItem, BatchRequest, BatchResponse, CaptionResponse, ValidRequest,
};
use lede_shared::problem::Problem;
use lede_shared::signature::Claims;

use crate::app::AppState;
use crate::captions::Asking;
use crate::error::ApiError;
use crate::extract::{AuthorizedBody, asking};
use crate::middleware::RequestContext;

/// All requests of the batch, a few at a time, answered in their order. They share one deadline.
pub async fn post(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    authorized: AuthorizedBody<BATCH_BODY_BYTES_MAX>,
) -> Result<Json<BatchResponse>, ApiError> {
    let batch = BatchRequest::from_json(&authorized.body)?;
    let asking = asking(&headers, &context, app.config.server.request_timeout());
    let (app, claims) = (&app, &authorized.principal.claims);
    let answers = stream::iter(batch.items.into_iter().enumerate().map(|(index, item)| async move {
        let answer = match item {
            Ok(request) => one(app, &request, (claims, asking)).await.map_err(|error| logged(index, error)),
            Err(problem) => Err(problem),
        };
        BatchItem::new(index, answer)
    }));
    let results = answers.buffered(app.config.server.batch_concurrency_max).collect().await;
    Ok(Json(BatchResponse { results }))
}

async fn one(
    app: &AppState,
    request: &ValidRequest,
    (claims, asking): (&Claims, Asking),
) -> Result<CaptionResponse, ApiError> {
    let key = app.captions.key_of(request, claims);
    app.captions.count(request, key, claims);
    let answer = app.captions.answer(request, key, asking).await?;
    serde_json::from_slice(&answer.body).map_err(ApiError::internal)
}

/// An item's cause reaches no access log of its own.
fn logged(index: usize, error: ApiError) -> Problem {
    if let Some(cause) = &error.cause {
        tracing::warn!(index, code = error.problem.code.as_str(), cause, "a request of a batch failed");
    }
    error.problem
}
