//! `POST /api/v14/batch`: many requests, each answered on its own.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::{Stream, StreamExt, stream};
use lede_shared::api::{
    BATCH_BODY_BYTES_MAX, BatchItem, BatchRequest, BatchResponse, CaptionResponse, ValidRequest,
};
use lede_shared::headers::{NDJSON, accept_names};
use lede_shared::plan::Scope;
use lede_shared::problem::Problem;
use lede_shared::signature::Claims;

use crate::admission::Endpoint;
use crate::app::AppState;
use crate::captions::Asking;
use crate::error::ApiError;
use crate::extract::{AuthorizedBody, asking};
use crate::middleware::RequestContext;

/// All requests of the batch, a few at a time; they share one deadline. One JSON document has the answers in the order of
/// the requests. For `Accept: application/x-ndjson` there is a line for each answer as soon as it is ready, whichever that
/// is, with its `index`; who leaves before the end has the rest given up.
pub async fn post(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    authorized: AuthorizedBody<BATCH_BODY_BYTES_MAX>,
) -> Result<Response, ApiError> {
    authorized.principal.require(Scope::Captions)?;
    let batch = BatchRequest::from_json(&authorized.body)?;
    authorized.principal.may_send_batch_of(batch.items.len())?;
    let came = (&authorized.principal.claims, Endpoint::Batch);
    let asking = asking(&authorized.headers, &context, app.config.server.request_timeout(), came);
    let asking = app.captions.with_near(asking, &authorized.principal.claims);
    let at_once_max = app.config.server.batch_concurrency_max;
    let answers = answers(app, batch, (authorized.principal.claims, asking));
    let accepted = authorized.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accepted.is_some_and(|accepted| accept_names(accepted, NDJSON)) {
        return Ok(as_lines(answers.buffer_unordered(at_once_max)));
    }
    let results = answers.buffered(at_once_max).collect().await;
    Ok(Json(BatchResponse { results }).into_response())
}

/// The answers to be, each to be waited for on its own.
fn answers(
    app: AppState,
    batch: BatchRequest,
    (claims, asking): (Claims, Asking),
) -> impl Stream<Item = impl Future<Output = BatchItem> + Send> + Send {
    stream::iter(batch.items.into_iter().enumerate()).map(move |(index, item)| {
        let (app, claims) = (app.clone(), claims.clone());
        async move {
            let answer = match item {
                Ok(request) => one(&app, &request, (&claims, asking)).await.map_err(|error| logged(index, error)),
                Err(problem) => Err(problem),
            };
            BatchItem::new(index, answer)
        }
    })
}

fn as_lines(items: impl Stream<Item = BatchItem> + Send + 'static) -> Response {
    let lines = items.map(|item| Ok::<_, Infallible>(line(&item)));
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response
}

/// One of the contract's types is always written; if it were not, the reader would miss an item and ask again.
fn line(item: &BatchItem) -> Bytes {
    let mut line = serde_json::to_vec(item).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

async fn one(
    app: &AppState,
    request: &ValidRequest,
    (claims, asking): (&Claims, Asking),
) -> Result<CaptionResponse, ApiError> {
    let key = app.captions.key_of(request, claims);
    app.captions.count(request, key, (claims, &asking));
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
