//! The origin over its routes, in this process: real router, domain, cache and engine; a scripted device.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod background;
mod bad_input;
mod connections;
mod engine_administration;
mod flood;
mod golden;
mod keys;
mod model_folder;
mod near;
mod overload;
mod performance;
mod popular;
mod random;
mod streaming;
mod support;
mod survival;
