//! `/api/v14/generate` for those who want to see the caption being written: server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use lede_shared::api::ValidRequest;
use lede_shared::api::stream::{KEEP_ALIVE, StreamEvent};
use lede_shared::cache_key::CacheKey;
use lede_shared::cache_status::CacheStatus;
use lede_shared::headers::{CACHE_STATUS, EVENT_STREAM, EVENT_STREAM_ESSENCE, X_ACCEL_BUFFERING, accept_names};
use lede_shared::problem::ProblemCode;
use lede_shared::request_id::RequestId;

use super::generate::{CACHE_NAME, insert};
use crate::app::AppState;
use crate::captions::{AnswerStream, Asking, CaptionError};
use crate::error::ApiError;
use crate::middleware::RequestContext;

/// Is a stream asked for?
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let names_it =
        |accept: &HeaderValue| accept.to_str().is_ok_and(|accept| accept_names(accept, EVENT_STREAM_ESSENCE));
    headers.get_all(header::ACCEPT).iter().any(names_it)
}

/// Answers event by event. What fails before the first event is an answer like any other.
pub(super) async fn answer(
    app: &AppState,
    request: ValidRequest,
    key: CacheKey,
    (asking, context): (Asking, &RequestContext),
) -> Result<Response, ApiError> {
    let answer = app.captions.answer_streaming(request, key, asking).await?;
    let status = CacheStatus { cache: CACHE_NAME, outcome: answer.cache, detail: answer.cache_detail };
    let (status, age_s) = (status.to_string(), answer.age_ms / 1_000);
    let keep_alive = app.config.server.stream_keep_alive();
    let telling = Telling { answer, request_id: context.request_id, keep_alive, has_ended: false };
    let mut response = Response::new(Body::from_stream(unfold(telling, Telling::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static(X_ACCEL_BUFFERING), HeaderValue::from_static("no"));
    headers.insert(header::AGE, age_s.into());
    insert(headers, HeaderName::from_static(CACHE_STATUS), &status);
    Ok(response)
}

/// An answer on its way to its caller.
struct Telling {
    answer: AnswerStream,
    request_id: RequestId,
    /// Signs of life come this often where nothing else does.
    keep_alive: Duration,
    has_ended: bool,
}

impl Telling {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let events = match tokio::time::timeout(self.keep_alive, self.answer.next()).await {
            Err(_) => Bytes::from_static(KEEP_ALIVE.as_bytes()),
            Ok(Some(Ok(events))) => events,
            Ok(Some(Err(error))) => self.error(error),
            Ok(None) => {
                self.has_ended = true;
                return None;
            }
        };
        Some((Ok(events), self))
    }

    /// The status has been sent, so the log line about it knows nothing of this.
    fn error(&self, error: CaptionError) -> Bytes {
        let ApiError { problem, cause } = error.into();
        let (request_id, code) = (self.request_id.as_str(), problem.code.as_str());
        if problem.code == ProblemCode::InternalError {
            tracing::error!(request_id, code, cause, "a stream ended with a problem");
        } else {
            tracing::warn!(request_id, code, cause, "a stream ended with a problem");
        }
        StreamEvent::Error(problem.for_request(request_id)).to_sse().into()
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if !self.has_ended {
            tracing::info!(request_id = self.request_id.as_str(), "a caller left a stream before its end");
        }
    }
}
