//! 2. A panic in a handler becomes a problem like any other.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::{IntoResponse, Response};
use pin_project_lite::pin_project;

use crate::error::ApiError;

pin_project! {
    /// An answer under way; a panic of whoever makes it is an answer, too. It is made without a box of its own, which the
    /// body of each answer gets from the layer of `tower-http`.
    pub(super) struct Contained<F> {
        #[pin]
        answering: F,
    }
}

impl<F> Contained<F> {
    pub(super) const fn new(answering: F) -> Self {
        Self { answering }
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Contained<F> {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        // What the handler held is dropped with it after a panic, and what it shares is locked or atomic.
        match catch_unwind(AssertUnwindSafe(|| self.project().answering.poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(response))) => Poll::Ready(response),
            Err(panic) => Poll::Ready(to_problem(panic)),
        }
    }
}

/// The answer to a request whose handler panicked.
fn to_problem(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    ApiError::internal(format!("a handler panicked: {}", message.unwrap_or_default())).into_response()
}
