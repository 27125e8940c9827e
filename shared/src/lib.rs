//! The contract between Lede's edge and its origin.
//!
//! Pure by rule: no I/O, no async, no clock and no randomness. Time and entropy are arguments, so every
//! decision made here can be replayed in a test, and the same code runs as wasm in a Worker and natively
//! in the origin. A type enters only when both sides name it.

pub mod api;
pub mod api_key;
pub mod breaker;
pub mod cache_key;
pub mod cache_status;
pub mod clock;
pub mod freshness;
pub mod gcra;
pub mod headers;
pub mod key_standing;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod plan;
pub mod policy;
pub mod popularity;
pub mod problem;
pub mod purge;
pub mod quota;
pub mod rendezvous;
pub mod request_cache_control;
pub mod request_id;
pub mod served_models;
pub mod signature;
