//! One failure, two readers: the problem is for the caller, the cause for the log.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lede_shared::problem::{Problem, ProblemCode};

use crate::captions::CaptionError;

/// A failed request.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// What the caller is told.
    pub problem: Problem,
    /// What only the log is told. Never a caption, a description or a key.
    pub cause: Option<String>,
}

/// Why a request failed, on its way from the handler to the access log.
#[derive(Clone, Debug)]
pub struct Cause(pub String);

impl ApiError {
    /// A failure with a detail for the caller.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// The same with a cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self { problem, cause: None }
    }
}

impl From<CaptionError> for ApiError {
    fn from(error: CaptionError) -> Self {
        match error {
            CaptionError::NotReady { retry_after_s } => {
                let detail = "captions cannot be written at the moment; try again later";
                Problem::new(ProblemCode::NotReady, detail).retry_after(retry_after_s).into()
            }
            CaptionError::Overloaded { retry_after_s } => {
                let detail = "all places are taken; try again later";
                Problem::new(ProblemCode::Overloaded, detail).retry_after(retry_after_s).into()
            }
            CaptionError::DeadlineExceeded => {
                Self::new(ProblemCode::DeadlineExceeded, "the caption was not ready in time")
            }
            CaptionError::NotCached => {
                Self::new(ProblemCode::NotCached, "ask without only-if-cached to have a caption generated")
            }
            CaptionError::GenerationFailed => {
                Self::new(ProblemCode::GenerationFailed, "try another seed or another description")
            }
            CaptionError::Internal(cause) => Self::internal(cause),
        }
    }
}

impl ApiError {
    /// A fault of ours.
    pub fn internal(cause: impl ToString) -> Self {
        Self::new(ProblemCode::InternalError, "this is not your fault; the log has the cause").because(cause)
    }
}

/// The response carries the problem itself; the outermost middleware, which knows the request's id, writes it out.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.problem.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(Cause(cause));
        }
        response.extensions_mut().insert(self.problem);
        response
    }
}
