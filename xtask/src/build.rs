//! Builds the two sides.

pub(crate) mod edge;
pub(crate) mod origin;
mod stamp;
