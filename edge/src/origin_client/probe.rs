//! Asking origins for their health.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::attempt::{trace_headers, url_of};
use super::failure::{self, Lost, OriginFailure};
use super::pool::{Leave, Shown};
use crate::bindings::{FetchError, OutgoingRequest, within};
use crate::context::RequestContext;
use crate::http::Headers;

const READY_PATH: &str = "/health/ready";
const READY_TIMEOUT_MS: u64 = 2_000;

/// Does any origin say that it can generate?
///
/// # Errors
/// What the first one says that can be reached, or that none can.
pub(crate) async fn ask_ready(context: &RequestContext) -> Result<(), OriginFailure> {
    let ask_each = (0..context.config.origins.len()).map(|origin| ask_one(context, origin));
    let mut asked: FuturesUnordered<_> = ask_each.collect();
    let mut told = None;
    while let Some(outcome) = asked.next().await {
        match outcome {
            Ok(()) => return Ok(()),
            Err(lost) if matches!(lost.shown, Shown::NotReady(_)) => told = Some(lost.failure),
            Err(lost) => told = told.or(Some(lost.failure)),
        }
    }
    Err(told.unwrap_or_else(|| OriginFailure::all_away(context, 0)))
}

async fn ask_one(context: &RequestContext, origin: usize) -> Result<(), Lost> {
    let sent = context.bindings.fetch.send(ready_request(context, origin));
    let answered = within(context.bindings.clock.as_ref(), READY_TIMEOUT_MS, sent).await;
    let response = answered.unwrap_or(Err(FetchError::TimedOut));
    let response = response.map_err(|error| failure::from_fetch_error(context, &error))?;
    if (200..300).contains(&response.status) {
        return Ok(());
    }
    Err(failure::from_response(context, response).await)
}

fn ready_request(context: &RequestContext, origin: usize) -> OutgoingRequest {
    let (url, headers) = (url_of(context, origin, READY_PATH), Headers(trace_headers(context)));
    OutgoingRequest { method: "GET", url, headers, body: None, timeout_ms: READY_TIMEOUT_MS }
}

/// Asks a doubtful origin behind the answer, so that no caller has to find out whether it is back.
pub(super) fn send_behind(context: &RequestContext, leave: Leave) {
    let request = ready_request(context, leave.origin);
    let bindings = context.bindings.clone();
    context.behind(async move {
        let sent = bindings.fetch.send(request);
        let answered = within(bindings.clock.as_ref(), READY_TIMEOUT_MS, sent).await;
        let is_ready = matches!(answered, Some(Ok(response)) if (200..300).contains(&response.status));
        let shown = if is_ready { Shown::Ready } else { Shown::Failing };
        bindings.isolate.pool.report(leave, shown, bindings.clock.now());
    });
}
