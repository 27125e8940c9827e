//! One question to one origin: sign, send, read, and say what the outcome shows of the origin.

use lede_shared::clock::UnixMillis;
use lede_shared::headers::{TRACEPARENT, X_DEADLINE_MS, X_REQUEST_ID};
use lede_shared::signature::{Claims, SignatureHeaders, SignedRequest};

use super::OriginRequest;
use super::failure::{self, Lost};
use super::pool::Leave;
use crate::bindings::{FetchError, IncomingResponse, OutgoingRequest};
use crate::body::read_bounded;
use crate::context::RequestContext;
use crate::http::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, Headers, JSON};

/// What is asked, for whom, and until when; the same for every origin that is asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) context: &'a RequestContext,
    pub(super) claims: &'a Claims,
    pub(super) request: &'a OriginRequest,
    pub(super) deadline: UnixMillis,
    /// How much of an answer has to be there for it to be good.
    pub(super) extent: Extent,
}

/// How much of an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Status and headers; the body is left to be read.
    Head,
    /// The body, too.
    Whole,
}

/// An answer with status 200 and the media type that was asked for.
pub(super) struct Arrived {
    pub(super) response: IncomingResponse,
    /// Empty for [`Extent::Head`].
    pub(super) body: Vec<u8>,
}

/// An attempt that has come to its end.
pub(super) struct Ended {
    pub(super) leave: Leave,
    pub(super) outcome: Result<Arrived, Lost>,
}

/// Asks the origin that `leave` is for.
pub(super) async fn attempt(question: Question<'_>, leave: Leave) -> Ended {
    Ended { leave, outcome: ask(question, leave.origin).await }
}

async fn ask(question: Question<'_>, origin: usize) -> Result<Arrived, Lost> {
    let Question { context, request, .. } = question;
    let outgoing = signed_request(question, origin)?;
    let sent = context.bindings.fetch.send(outgoing).await;
    let mut response = sent.map_err(|error| failure::from_fetch_error(context, &error))?;
    if response.status != 200 {
        return Err(failure::from_response(context, response).await);
    }
    if !response.headers.get(CONTENT_TYPE).is_some_and(|sent| sent.trim().starts_with(request.media_type)) {
        return Err(failure::unreadable(context, "the answer has another media type").into());
    }
    let body = match question.extent {
        Extent::Head => Vec::new(),
        Extent::Whole => read_whole(question, &mut response).await?,
    };
    Ok(Arrived { response, body })
}

async fn read_whole(question: Question<'_>, response: &mut IncomingResponse) -> Result<Vec<u8>, Lost> {
    let Question { context, request, deadline, .. } = question;
    let declared = response.headers.content_length();
    let Some(source) = response.body.as_mut() else { return Ok(Vec::new()) };
    let read = read_bounded(source.as_mut(), declared, request.answer_bytes_max).await;
    read.map_err(|error| {
        // The time to answer ends the reading too, and that is seen here as a body that broke off.
        if context.now() >= deadline {
            return failure::from_fetch_error(context, &FetchError::TimedOut);
        }
        failure::broken_off(context, &error.cause_chain())
    })
}

/// A nonce is used once, so each attempt is signed anew.
fn signed_request(question: Question<'_>, origin: usize) -> Result<OutgoingRequest, Lost> {
    let Question { context, claims, request, deadline, .. } = question;
    let nonce = context.bindings.entropy.bytes16().map_err(|error| failure::cannot_sign(context, &error))?;
    let signed =
        SignedRequest { method: request.method, path_and_query: &request.path_and_query, body: &request.body };
    let now = context.now();
    let key = &context.config.signing_key;
    let mut headers = SignatureHeaders::sign(key, &signed, claims, now, nonce).pairs().to_vec();
    headers.push((ACCEPT, request.media_type.to_owned()));
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
        url: url_of(context, origin, &request.path_and_query),
        headers: Headers(headers),
        body: (!request.body.is_empty()).then(|| request.body.clone()),
        timeout_ms: deadline.since(now),
    })
}

/// The address of `path_and_query` at the origin of this position.
pub(super) fn url_of(context: &RequestContext, origin: usize, path_and_query: &str) -> String {
    let mut url = context.config.origins.get(origin).map(|origin| origin.url.clone()).unwrap_or_default();
    url.push_str(path_and_query);
    url
}

pub(super) fn trace_headers(context: &RequestContext) -> Vec<(&'static str, String)> {
    let trace = &context.trace;
    vec![(X_REQUEST_ID, trace.request_id.to_string()), (TRACEPARENT, trace.traceparent.clone())]
}
