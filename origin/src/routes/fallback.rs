//! Requests that match no route.

use lede_shared::problem::ProblemCode;

use crate::error::ApiError;

/// No such route.
pub async fn not_found() -> ApiError {
    ApiError::new(ProblemCode::NotFound, "the API's routes begin with /api/v14")
}

/// The route takes other methods; axum adds `Allow`.
pub async fn method_not_allowed() -> ApiError {
    ApiError::new(ProblemCode::MethodNotAllowed, "see the Allow header")
}
