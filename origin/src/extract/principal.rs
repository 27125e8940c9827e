//! Who asks.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lede_shared::api_key::TenantId;
use lede_shared::problem::ProblemCode;
use lede_shared::signature::{Claims, SignedRequest};

use super::Authenticator;
use crate::app::AppState;
use crate::error::ApiError;

/// How somebody got in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Through the edge, which has checked the key and signed.
    Edge,
    /// With an API key, at the origin itself.
    ApiKey,
}

/// Who asks. As an extractor it is for requests without a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whose request it is, and how it is to be treated.
    pub claims: Claims,
    /// How it came in.
    pub via: Via,
}

impl FromRequestParts<AppState> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        if Authenticator::is_signed(&parts.headers) {
            app.authenticator.by_signature(&parts.headers, &signed_request(parts, b""))
        } else {
            app.authenticator.by_api_key(&parts.headers)
        }
    }
}

/// The edge, asking on nobody's behalf: who the routes under `/internal/` are for.
#[derive(Clone, Copy, Debug)]
pub struct TheEdge;

impl FromRequestParts<AppState> for TheEdge {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let principal = Principal::from_request_parts(parts, app).await?;
        if principal.via == Via::Edge && principal.claims.tenant == TenantId::edge() {
            Ok(Self)
        } else {
            Err(ApiError::new(ProblemCode::Forbidden, "this route is for the edge itself"))
        }
    }
}

/// What a signature covers.
pub(super) fn signed_request<'a>(parts: &'a Parts, body: &'a [u8]) -> SignedRequest<'a> {
    let path_and_query = parts.uri.path_and_query().map_or("/", |path_and_query| path_and_query.as_str());
    SignedRequest { method: parts.method.as_str(), path_and_query, body }
}
