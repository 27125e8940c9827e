//! One quota for a tenant all over the world, of which isolates take short leases.
//!
//! The tenant's [`Ledger`] lives in one place. An isolate that is asked for captions takes a lease of cells from it and
//! admits requests out of the lease, without asking again until it runs low; its [`LeaseBook`] keeps the leases.
//!
//! Why the sum of what is admitted in a window never passes burst + rate × window, however messages are late, doubled or
//! lost: every admission comes out of a leased cell, and a leased cell that may still be spent (a *held* one) does not
//! drain from the bucket. Let `L` be the bucket's level, the held cells `H` in it, at the window's two ends. In between
//! the level rises by what is granted, falls by what is given back unspent, and drains at most at the rate. What is
//! admitted is at most what was held at the beginning and what was granted, less what was given back:
//! `admitted <= H(begin) + granted - returned = H(begin) + L(end) - L(begin) + drained`, and since `H <= L <= burst`
//! always, that is `<= burst + rate × window`. A spent cell ends to be held not when it was spent but when the ledger
//! learns of it, or when the report says that it was spent, as far as nothing else has happened in between.
//!
//! An isolate measures a lease from when it *sent* its question, the ledger from when it granted it, and a while longer:
//! so clocks need not agree, only run at the same speed.

mod book;
mod ledger;
#[cfg(test)]
mod simulation;
mod wire;

use crate::plan::Plan;

pub use book::{LeaseBook, Outcome, Reservation};
pub use ledger::{Ledger, LedgerError};
pub use wire::WireError;

/// How long an isolate may spend a lease.
pub const LEASE_MS: u64 = 60_000;
/// How much longer the ledger waits before it counts what is left of a lease as spent.
pub const LEASE_GRACE_MS: u64 = 15_000;
/// How far an isolate's clock may be behind when cells are spent: in a Worker it stands still while code runs.
pub const CLOCK_LAG_MS_MAX: u64 = 250;
/// Most leases of one tenant at once. An isolate has one or two.
pub const LEASES_MAX: usize = 256;

/// What an isolate asks of the ledger, and what it reports by the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseQuestion {
    /// The plan's rate and limits travel along, so that the ledger needs no settings.
    pub limits: Limits,
    /// What the request at hand costs beyond what the isolate has; 0 when a lease is renewed ahead of need.
    pub cells_needed: u64,
    /// What the isolate would like, from what it spent lately.
    pub cells_wanted: u64,
    /// A lease that is worth a question: when cells are scarce, nobody need ask before so many have come back.
    pub cells_worthwhile: u64,
    /// Every lease that the isolate still has.
    pub reports: Vec<LeaseReport>,
}

/// The parts of a [`Plan`] that a ledger counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Cells that come back each minute.
    pub cells_per_minute: u32,
    /// Most cells at once.
    pub burst_cells: u32,
    /// Most cells in a day (UTC).
    pub daily_cells: u64,
}

impl Limits {
    /// Those of a plan.
    #[must_use]
    pub const fn of(plan: &Plan) -> Self {
        Self {
            cells_per_minute: plan.cells_per_minute,
            burst_cells: plan.burst_cells,
            daily_cells: plan.daily_cells,
        }
    }
}

/// What is left of a lease. Whatever was granted and is neither of the two was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseReport {
    /// Which one.
    pub lease: u64,
    /// Cells that the isolate may still spend. Never rises from one report to the next.
    pub cells_kept: u64,
    /// Cells that it gives back with this report. It has forgotten them before it sends it.
    pub cells_returned: u64,
    /// The others were spent by so long before the report was sent, and drain since.
    pub spent_ago_ms: u64,
}

/// The ledger's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseAnswer {
    /// Cells to spend.
    pub lease: Option<GrantedLease>,
    /// Why the cells that were needed are not in it.
    pub refusal: Option<LeaseRefusal>,
    /// Cells are scarce: the isolate's turn to ask again comes after so long.
    pub ask_again_ms: u64,
    /// What nobody has leased.
    pub left: CellsLeft,
}

/// Cells that an isolate may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantedLease {
    /// Its name in reports.
    pub lease: u64,
    /// How many.
    pub cells: u64,
    /// From when the question was sent.
    pub duration_ms: u64,
}

/// Which of a plan's two limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Rate and burst.
    Burst,
    /// Cells of a day.
    Daily,
}

/// The needed cells are not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRefusal {
    /// Which limit stands against it.
    pub limit: Limit,
    /// When they may be; `None` for more cells than the limit ever holds.
    pub wait_ms: Option<u64>,
}

/// What is left of both limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellsLeft {
    /// Of the burst, now.
    pub burst: u64,
    /// Of the day.
    pub daily: u64,
}
