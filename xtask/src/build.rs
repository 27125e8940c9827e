//! Builds the two sides.

pub(crate) mod configuration;
pub(crate) mod edge;
pub(crate) mod origin;
mod stamp;
