//! Asking the origin: sign, send with a deadline, read within a limit, and tell what went wrong.

mod failure;

use lede_shared::api::{BATCH_PATH, GENERATE_PATH};
use lede_shared::clock::UnixMillis;
use lede_shared::headers::{CACHE_STATUS, TRACEPARENT, X_DEADLINE_MS, X_REQUEST_ID};
use lede_shared::signature::{Claims, SignatureHeaders, SignedRequest};
use serde::de::DeserializeOwned;

use crate::auth::Principal;
use crate::bindings::{FetchError, IncomingResponse, OutgoingRequest};
use crate::body::read_bounded;
use crate::context::RequestContext;
use crate::http::{AGE, CACHE_CONTROL, CONTENT_TYPE, Headers, JSON};
use crate::response_cache;

pub(crate) use failure::{OriginFailure, unreadable};

/// First attempt and one more, when no connection came about. Nothing was generated then.
const ATTEMPTS_MAX: u32 = 2;
/// Less time than this is not worth a second attempt.
const ATTEMPT_MS_MIN: u64 = 100;
const READY_PATH: &str = "/health/ready";
const READY_TIMEOUT_MS: u64 = 2_000;
/// Eight variants of the longest post text with room around them.
const GENERATE_ANSWER_BYTES_MAX: usize = 256 * 1_024;
/// A hundred of them would be 25 MiB of the isolate's 128; a real batch stays far below.
const BATCH_ANSWER_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// A question to the origin.
#[derive(Debug)]
pub(crate) struct OriginRequest {
    method: &'static str,
    path_and_query: String,
    /// Empty for a `GET`.
    body: Vec<u8>,
    answer_bytes_max: usize,
}

impl OriginRequest {
    /// One caption. `body` is the canonical JSON.
    pub(crate) fn generate(body: String) -> Self {
        let answer_bytes_max = GENERATE_ANSWER_BYTES_MAX;
        Self {
            method: "POST",
            path_and_query: GENERATE_PATH.to_owned(),
            body: body.into_bytes(),
            answer_bytes_max,
        }
    }

    /// Many captions. `body` is the canonical JSON.
    pub(crate) fn batch(body: String) -> Self {
        let answer_bytes_max = BATCH_ANSWER_BYTES_MAX;
        Self { method: "POST", path_and_query: BATCH_PATH.to_owned(), body: body.into_bytes(), answer_bytes_max }
    }

    /// A `GET` of one of the routes that are for the edge alone.
    fn internal(path_and_query: String, answer_bytes_max: usize) -> Self {
        Self { method: "GET", path_and_query, body: Vec::new(), answer_bytes_max }
    }
}

/// When an answer was asked for and when it has to be there.
#[derive(Clone, Copy, Debug)]
struct Window {
    opened: UnixMillis,
    deadline: UnixMillis,
}

/// What the origin answered.
#[derive(Debug)]
pub(crate) struct OriginAnswer<T> {
    pub(crate) content: T,
    /// The same as it came, to be passed on.
    pub(crate) body: Vec<u8>,
    pub(crate) cache_status: Option<String>,
    /// When the content was generated, as far as the origin says.
    pub(crate) created: UnixMillis,
}

/// Sends `request` for the caller of `claims`, signed, and reads an answer of the contract.
///
/// # Errors
/// A problem that the caller may be told.
pub(crate) async fn ask<T: DeserializeOwned>(
    context: &RequestContext,
    claims: &Claims,
    request: &OriginRequest,
) -> Result<OriginAnswer<T>, OriginFailure> {
    let window = Window { opened: context.now(), deadline: context.origin_deadline() };
    let response = send_with_retry(context, claims, request, window.deadline).await?;
    read_answer(context, response, request.answer_bytes_max, window).await
}

/// `GET`s one of the origin's routes that are for the edge alone, on nobody's behalf.
///
/// # Errors
/// Those of [`ask`]; the origin's own problem, such as a 404, keeps its code.
pub(crate) async fn ask_internal<T: DeserializeOwned>(
    context: &RequestContext,
    path_and_query: String,
    answer_bytes_max: usize,
) -> Result<OriginAnswer<T>, OriginFailure> {
    ask(context, &Claims::of_the_edge(), &OriginRequest::internal(path_and_query, answer_bytes_max)).await
}

/// Does the origin say that it can generate?
///
/// # Errors
/// The origin's own problem, or that it cannot be reached.
pub(crate) async fn ask_ready(context: &RequestContext) -> Result<(), OriginFailure> {
    let headers = Headers(trace_headers(context));
    let url = format!("{}{READY_PATH}", context.config.origin_url);
    let request = OutgoingRequest { method: "GET", url, headers, body: None, timeout_ms: READY_TIMEOUT_MS };
    let sent = context.bindings.fetch.send(request).await;
    let response = sent.map_err(|error| failure::from_fetch_error(context, &error))?;
    if (200..300).contains(&response.status) {
        return Ok(());
    }
    Err(failure::from_response(context, response).await)
}

async fn send_with_retry(
    context: &RequestContext,
    claims: &Claims,
    request: &OriginRequest,
    deadline: UnixMillis,
) -> Result<IncomingResponse, OriginFailure> {
    let mut attempts_left = ATTEMPTS_MAX;
    loop {
        attempts_left -= 1;
        // A nonce is used once, so each attempt is signed anew.
        let outgoing = signed_request(context, claims, request, deadline)?;
        let error = match context.bindings.fetch.send(outgoing).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let may_retry = matches!(error, FetchError::NotConnected(_))
            && attempts_left > 0
            && deadline.since(context.now()) >= ATTEMPT_MS_MIN;
        if !may_retry {
            return Err(failure::from_fetch_error(context, &error));
        }
        context.warn("origin_attempt_failed", &error.to_string());
    }
}

fn signed_request(
    context: &RequestContext,
    claims: &Claims,
    request: &OriginRequest,
    deadline: UnixMillis,
) -> Result<OutgoingRequest, OriginFailure> {
    let nonce = context.bindings.entropy.bytes16().map_err(|error| failure::cannot_sign(context, &error))?;
    let signed =
        SignedRequest { method: request.method, path_and_query: &request.path_and_query, body: &request.body };
    let now = context.now();
    let key = &context.config.signing_key;
    let mut headers = SignatureHeaders::sign(key, &signed, claims, now, nonce).pairs().to_vec();
    if !request.body.is_empty() {
        headers.push((CONTENT_TYPE, JSON.to_owned()));
    }
    headers.push((X_DEADLINE_MS, deadline.0.to_string()));
    headers.extend(trace_headers(context));
    if let Some(cache_control) = &context.cache_control {
        headers.push((CACHE_CONTROL, cache_control.clone()));
    }
    Ok(OutgoingRequest {
        method: request.method,
        url: format!("{}{}", context.config.origin_url, request.path_and_query),
        headers: Headers(headers),
        body: (!request.body.is_empty()).then(|| request.body.clone()),
        timeout_ms: deadline.since(now),
    })
}

/// What the origin is told of the caller.
pub(crate) fn claims(context: &RequestContext, principal: &Principal) -> Claims {
    let record = &principal.record;
    Claims {
        tenant: record.tenant.clone(),
        priority: record.plan.priority,
        cache_epoch: response_cache::epoch_in_use(context, principal),
        cache_is_private: record.plan.cache_is_private,
    }
}

fn trace_headers(context: &RequestContext) -> Vec<(&'static str, String)> {
    let trace = &context.trace;
    vec![(X_REQUEST_ID, trace.request_id.to_string()), (TRACEPARENT, trace.traceparent.clone())]
}

async fn read_answer<T: DeserializeOwned>(
    context: &RequestContext,
    mut response: IncomingResponse,
    bytes_max: usize,
    window: Window,
) -> Result<OriginAnswer<T>, OriginFailure> {
    if response.status != 200 {
        return Err(failure::from_response(context, response).await);
    }
    let declared = response.headers.content_length();
    let body = match response.body.as_mut() {
        Some(source) => read_bounded(source.as_mut(), declared, bytes_max).await,
        None => Ok(Vec::new()),
    };
    let body = body.map_err(|error| {
        // The time to answer ends the reading too, and that is seen here as a body that broke off.
        if context.now() >= window.deadline {
            return failure::from_fetch_error(context, &FetchError::TimedOut);
        }
        failure::unreadable(context, &error.cause_chain())
    })?;
    let content = serde_json::from_slice(&body).map_err(|error| {
        let place = format!("not of the contract at line {}, column {}", error.line(), error.column());
        failure::unreadable(context, &place)
    })?;
    let age_s: u64 = response.headers.get(AGE).and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    let created = UnixMillis(window.opened.0.saturating_sub(age_s.saturating_mul(1_000)));
    let cache_status = response.headers.get(CACHE_STATUS).map(str::to_owned);
    Ok(OriginAnswer { content, body, cache_status, created })
}
