//! What breaks around the origin: every answer still comes, and comes right.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite that cannot set up its processes has failed")]

mod leases;
mod link;
