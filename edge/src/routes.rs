//! The routes, one file each, and what they share.

pub(crate) mod batch;
pub(crate) mod captions;
pub(crate) mod health;
pub(crate) mod info;
pub(crate) mod purge;
pub(crate) mod stream;
