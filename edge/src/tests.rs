//! The whole pipeline on the bindings' twins: what a caller sees, by route and by fault.

mod bad_input;
mod batch;
mod caching;
mod cost;
pub(crate) mod deployment;
mod environments;
pub(crate) mod fixtures;
mod forwarding;
mod fuzz;
mod keys;
mod limits;
mod pool;
mod purging;
mod service;
mod streaming;
mod tiers;
mod warming;
