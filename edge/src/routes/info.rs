//! `GET /api/v14/info`: what this service is and takes.

use lede_shared::api::ServiceInfo;

use crate::context::RequestContext;
use crate::http::{CACHE_CONTROL, Response, to_json};

/// The same for every caller until the next deployment.
pub(crate) fn info(context: &RequestContext) -> Response {
    let info = ServiceInfo::new("edge", env!("CARGO_PKG_VERSION"), context.config.models.as_str());
    Response::json(to_json(&info)).with(CACHE_CONTROL, "public, max-age=60")
}
