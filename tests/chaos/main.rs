//! What breaks around the origin: every answer still comes, and comes right.
//!
//! What is written follows from its key alone, so an answer is right when it is the one that an origin gives that has
//! never heard of any of this.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite that cannot set up its processes has failed")]

mod asking;
mod devices;
mod disk;
mod leases;
mod link;
mod purge;
mod redis_faults;
