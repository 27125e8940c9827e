//! What the process says about itself.

mod json_line;
mod log_buffer;
pub mod tracing;
