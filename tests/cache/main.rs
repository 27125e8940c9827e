//! The response cache in this process, on whole traces: what it keeps, and what it knows of itself.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod advice;
mod cached_trace;
mod hit_rates;
