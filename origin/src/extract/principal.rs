//! Who asks.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lede_shared::api_key::TenantId;
use lede_shared::plan::{KeyRecord, Scope};
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
    /// The key's record, where the key was shown here. The edge has judged by it already when it signs.
    pub key: Option<Arc<KeyRecord>>,
}

impl Principal {
    /// Is the caller let in for `scope`?
    ///
    /// # Errors
    /// 403 when the key is not.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        match &self.key {
            Some(record) if !record.allows(scope) => {
                let scope: &str = scope.into();
                Err(ApiError::new(ProblemCode::Forbidden, format!("this takes a key with the scope {scope}")))
            }
            _ => Ok(()),
        }
    }

    /// May the caller send a batch of that many requests?
    ///
    /// # Errors
    /// 422 when the key's plan does not take so many.
    pub fn may_send_batch_of(&self, requests_count: usize) -> Result<(), ApiError> {
        self.key.as_ref().map_or(Ok(()), |record| record.plan.takes_batch_of(requests_count)).map_err(Into::into)
    }

    /// Is it the edge, asking on nobody's behalf?
    ///
    /// # Errors
    /// 403 for everybody else.
    pub fn require_the_edge_itself(&self) -> Result<(), ApiError> {
        if self.via == Via::Edge && self.claims.tenant == TenantId::edge() {
            return Ok(());
        }
        Err(ApiError::new(ProblemCode::Forbidden, "this is for the edge alone"))
    }
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

/// What a signature covers.
pub(super) fn signed_request<'a>(parts: &'a Parts, body: &'a [u8]) -> SignedRequest<'a> {
    let path_and_query = parts.uri.path_and_query().map_or("/", |path_and_query| path_and_query.as_str());
    SignedRequest { method: parts.method.as_str(), path_and_query, body }
}
