//! The handlers. Each translates between HTTP and the domain and decides nothing else.

pub mod batch;
pub mod fallback;
pub mod generate;
pub mod health;
pub mod info;
pub mod internal;
pub mod openapi;
pub mod performance;
pub mod popular;
pub mod stream;
