//! The real origin binary, the real model, real HTTP.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a suite that cannot reach its own processes has failed")]

mod background;
mod bad_input;
mod captions;
mod gone;
mod keys;
mod lifecycle;
mod models;
mod pull;
mod remote;
mod several_models;
mod signature;
