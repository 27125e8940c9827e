//! `/performance/…`: how the service runs, for keys with the scope `admin`. The edge does not know these routes.

pub mod cache;
pub mod description;
mod manage;
mod summary;

/// What the cache does, on one screen.
pub const CACHE_PATH: &str = "/performance/cache";
/// Everything that is counted of it.
pub const CACHE_STATS_PATH: &str = "/performance/cache/stats";
/// Clears, purges, warms, invalidates.
pub const CACHE_MANAGE_PATH: &str = "/performance/cache/manage";
