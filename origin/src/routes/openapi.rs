//! `GET /openapi.json`: the description of the API.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use lede_shared::openapi::{Side, document};

use super::performance::description;

/// The same for as long as the process lives.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| description::added_to(&document(Side::Origin)));

/// The description, made from the types.
pub async fn get() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, DOCUMENT.as_str()).into_response()
}
