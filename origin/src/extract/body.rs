//! A bounded JSON body from somebody who is let in.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body_util::{BodyExt, Limited};
use lede_shared::headers::content_type_is_json;
use lede_shared::problem::ProblemCode;

use super::principal::signed_request;
use super::{Authenticator, Principal};
use crate::app::AppState;
use crate::error::ApiError;

/// How much of a refused body is still read and dropped, so that its sender gets to see the answer instead of a
/// reset connection.
const DISCARDED_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// For how long it is.
const DISCARDED_FOR: Duration = Duration::from_secs(2);

/// A body of at most `BYTES_MAX` bytes, announced as JSON, and who sent it.
#[derive(Clone, Debug)]
pub struct AuthorizedBody<const BYTES_MAX: usize> {
    /// Who sent it.
    pub principal: Principal,
    /// What it was sent with.
    pub headers: HeaderMap,
    /// The body, not yet parsed.
    pub body: Bytes,
}

impl<const BYTES_MAX: usize> FromRequest<AppState> for AuthorizedBody<BYTES_MAX> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let by_api_key = match before_reading::<BYTES_MAX>(&parts.headers, &body, &app.authenticator) {
            Ok(by_api_key) => by_api_key,
            Err(error) => {
                discard(&parts.headers, body);
                return Err(error);
            }
        };
        let body = read::<BYTES_MAX>(&parts.headers, body, app.config.server.body_read_timeout()).await?;
        let principal = match by_api_key {
            Some(principal) => principal,
            None => app.authenticator.by_signature(&parts.headers, &signed_request(&parts, &body))?,
        };
        Ok(Self { principal, headers: parts.headers, body })
    }
}

/// All that can be decided before a byte of the body is read: whose key it is, and whether the body may come.
/// `None` for a signed request: the signature covers the body and is checked after it.
fn before_reading<const BYTES_MAX: usize>(
    headers: &HeaderMap,
    body: &Body,
    authenticator: &Authenticator,
) -> Result<Option<Principal>, ApiError> {
    let is_signed = Authenticator::is_signed(headers);
    let by_api_key = if is_signed { None } else { Some(authenticator.by_api_key(headers)?) };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let announced = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > BYTES_MAX) {
        return Err(too_large::<BYTES_MAX>());
    }
    // An empty body has no type; what it lacks is said by the parser.
    if !body.is_end_stream() && !text(header::CONTENT_TYPE).is_some_and(content_type_is_json) {
        let detail = "send the body with Content-Type: application/json";
        return Err(ApiError::new(ProblemCode::UnsupportedMediaType, detail));
    }
    Ok(by_api_key)
}

fn too_large<const BYTES_MAX: usize>() -> ApiError {
    ApiError::new(ProblemCode::BodyTooLarge, format!("a body may have {BYTES_MAX} bytes"))
}

async fn read<const BYTES_MAX: usize>(
    headers: &HeaderMap,
    mut body: Body,
    timeout: Duration,
) -> Result<Bytes, ApiError> {
    let malformed = |detail: &str| ApiError::new(ProblemCode::MalformedRequest, detail);
    let give_up_at = tokio::time::Instant::now() + timeout;
    let mut collected = BytesMut::new();
    loop {
        // Mostly it came with the head, and then no timer is needed.
        let frame = match body.frame().now_or_never() {
            Some(frame) => Ok(frame),
            None => tokio::time::timeout_at(give_up_at, body.frame()).await,
        };
        let frame = match frame.map_err(|_| malformed("the body did not arrive in time"))? {
            None => return Ok(collected.freeze()),
            Some(frame) => {
                frame.map_err(|error| malformed("the body ended before it was complete").because(error))?
            }
        };
        let data = frame.into_data().unwrap_or_default();
        if collected.is_empty() && body.is_end_stream() && data.len() <= BYTES_MAX {
            // It came in one piece, as most do, and need not be copied.
            return Ok(data);
        }
        collected.extend_from_slice(&data);
        if collected.len() > BYTES_MAX {
            discard(headers, body);
            return Err(too_large::<BYTES_MAX>());
        }
    }
}

/// Reads a refused body to its end, within limits, beside the answer.
fn discard(headers: &HeaderMap, body: Body) {
    if headers.contains_key(header::EXPECT) {
        // Its sender waits to be asked for it, and will not be.
        return;
    }
    tokio::spawn(tokio::time::timeout(DISCARDED_FOR, async move {
        let mut body = Limited::new(body, DISCARDED_BYTES_MAX);
        while let Some(Ok(_)) = body.frame().await {}
    }));
}
