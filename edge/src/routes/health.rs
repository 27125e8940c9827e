//! `GET /health`, `/health/live`, `/health/ready`: is this edge alive, and can it have captions made?

use crate::context::RequestContext;
use crate::error::Failure;
use crate::http::{CACHE_CONTROL, Response};
use crate::origin_client;

/// Whoever can send this answer is alive.
pub(crate) fn live() -> Response {
    status("alive")
}

/// Ready when the origin is. Cached captions are answered even when it is not.
pub(crate) async fn ready(context: &RequestContext) -> Result<Response, Failure> {
    let asked = context.timed(&context.spans.origin_ms, origin_client::ask_ready(context)).await;
    asked.map_err(|failure| Failure::from(failure.problem))?;
    Ok(status("ready"))
}

fn status(word: &str) -> Response {
    let body = serde_json::json!({ "status": word, "side": "edge" });
    Response::json(body.to_string().into_bytes()).with(CACHE_CONTROL, "no-store")
}
