//! The built Worker in the real workerd, in front of the real origin.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a suite that cannot reach its own processes has failed")]

mod bad_input;
mod captions;
mod keys;
mod limits;
mod origin_down;
mod pool;
mod stampede;
mod stream;
