//! How an answer is wanted: cache directives, deadline and priority.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use lede_shared::headers::{X_DEADLINE_MS, X_PRIORITY};
use lede_shared::request_cache_control::RequestCacheControl;
use lede_shared::signature::Claims;

use crate::admission::Endpoint;
use crate::captions::Asking;
use crate::clock;
use crate::middleware::RequestContext;

/// Reads `Cache-Control`, `x-deadline-ms` and `x-priority`. The deadline is never later than `timeout` from the start, and
/// the priority never above that of `claims`.
#[must_use]
pub fn asking(
    headers: &HeaderMap,
    context: &RequestContext,
    timeout: Duration,
    (claims, endpoint): (&Claims, Endpoint),
) -> Asking {
    let directives: Vec<&str> =
        headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).collect();
    let deadline_ms = headers.get(X_DEADLINE_MS).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let asked_for =
        deadline_ms.map(|deadline_ms| Duration::from_millis(deadline_ms.saturating_sub(clock::now().0)));
    Asking {
        cache_control: RequestCacheControl::parse(&directives.join(",")),
        started_at: context.started_at,
        deadline: context.started_at + asked_for.map_or(timeout, |asked_for| asked_for.min(timeout)),
        near_in: None,
        priority: claims.priority.lowered_to(headers.get(X_PRIORITY).and_then(|value| value.to_str().ok())),
        endpoint,
        is_behind: false,
    }
}
