//! The whole pipeline on the bindings' twins: what a caller sees, by route and by fault.

mod bad_input;
mod batch;
mod caching;
mod cost;
mod deployment;
pub(crate) mod fixtures;
mod forwarding;
mod keys;
mod pool;
mod purging;
mod service;
mod tiers;
mod warming;
