//! The origin: answers captions from a language model on ONNX Runtime or wgpu, behind a hot cache.

pub mod admission;
pub mod app;
pub mod backend;
pub mod backend_opening;
pub mod cache;
pub mod captions;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod error;
pub mod extract;
pub mod keys;
pub mod middleware;
pub mod model_registry;
pub mod models;
pub mod observe;
pub mod prediction;
pub mod process_memory;
pub mod redis_link;
pub mod remote;
pub mod router;
pub mod routes;
pub mod server;
