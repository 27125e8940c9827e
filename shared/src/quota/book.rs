//! The isolate's side: the leases it has of one tenant, and what it knows of the rest.

use super::{
    CLOCK_LAG_MS_MAX, CellsLeft, LEASE_GRACE_MS, LEASE_MS, LeaseAnswer, LeaseQuestion, LeaseRefusal, LeaseReport,
    Limit, Limits,
};
use crate::clock::UnixMillis;
use crate::gcra::{Quota, UnixNanos};

/// Most leases that an isolate keeps of one tenant; the oldest is forgotten and runs out at the ledger.
const LEASES_KEPT_MAX: usize = 8;
/// A lease should last this long at the pace of the last one.
const LEASE_TARGET_MS: u64 = 30_000;
/// A lease grows at most so many times over what was spent since the last question. An isolate that is asked once takes
/// what it needs and no more; one that is asked all the time has enough after a few questions.
const LEASE_GROWTH: u64 = 2;
/// A pace is not measured over less time.
const PACE_MS_MIN: u64 = 1_000;
/// A question to the ledger should serve so many requests.
const REQUESTS_PER_QUESTION: u64 = 64;
/// A lease for fewer requests is not renewed ahead of need: its isolate may never be asked again.
const RENEWED_REQUESTS_MIN: u64 = 16;
/// A lease is given back when less than this is left of its time.
const RETURN_BEFORE_END_MS: u64 = LEASE_MS / 4;
/// No refusal is remembered for longer, however long its wait: cells may be given back, the plan may change.
const REFUSAL_MS_MAX: u64 = 60_000;

#[derive(Clone, Copy, Debug)]
struct Lease {
    lease: u64,
    cells_unspent: u64,
    /// Spent by requests that are still under way and may give some back.
    cells_reserved: u64,
    /// By the isolate's clock. From then on it is only reported.
    ends: UnixMillis,
    last_spent: UnixMillis,
}

impl Lease {
    fn is_about_to_end(&self, now: UnixMillis) -> bool {
        self.ends.since(now) < RETURN_BEFORE_END_MS
    }

    /// The ledger may still be told of it.
    fn is_known(&self, now: UnixMillis) -> bool {
        self.ends.plus(LEASE_GRACE_MS) > now
    }

    /// Gives back what will not be spent any more.
    fn report(&mut self, now: UnixMillis) -> LeaseReport {
        let cells_returned = if self.is_about_to_end(now) { std::mem::take(&mut self.cells_unspent) } else { 0 };
        LeaseReport {
            lease: self.lease,
            cells_kept: self.cells_unspent + self.cells_reserved,
            cells_returned,
            spent_ago_ms: now.since(self.last_spent.plus(CLOCK_LAG_MS_MAX)),
        }
    }
}

/// A refusal that still holds.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    /// It holds for requests that cost as much or more.
    cells_needed: u64,
    limit: Limit,
    /// When the cells may be had, as the caller is told.
    wait_until: Option<UnixMillis>,
    /// Until when nobody asks again.
    kept_until: UnixMillis,
}

/// What was asked of the isolate since its last lease, whether it was admitted or refused.
#[derive(Clone, Copy, Debug)]
struct Demand {
    since: UnixMillis,
    cells: u64,
    requests: u64,
}

/// What the ledger said last.
#[derive(Clone, Copy, Debug)]
struct View {
    at: UnixMillis,
    limits: Limits,
    left: CellsLeft,
}

/// The leases that one isolate has of one tenant.
#[derive(Clone, Debug)]
pub struct LeaseBook {
    leases: Vec<Lease>,
    /// Cells of the newest lease when it was granted.
    newest_cells: u64,
    demand: Demand,
    /// Before the last lease; 1 when nothing is known yet.
    cells_per_request: u64,
    refusal: Option<Remembered>,
    /// Before its turn the isolate does not ask.
    turn: UnixMillis,
    view: Option<View>,
}

/// Cells that a request has been admitted with. Until it is settled they may be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "settle it, so that the ledger learns what was spent"]
pub struct Reservation(Vec<(u64, u64)>);

/// May a request be admitted?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may.
    Admitted(Reservation),
    /// It may not.
    Refused(LeaseRefusal),
    /// Nobody knows without asking the ledger.
    Ask,
}

impl LeaseBook {
    /// Without a lease.
    #[must_use]
    pub const fn new(now: UnixMillis) -> Self {
        Self {
            leases: Vec::new(),
            newest_cells: 0,
            demand: Demand { since: now, cells: 0, requests: 0 },
            cells_per_request: 1,
            refusal: None,
            turn: UnixMillis(0),
            view: None,
        }
    }

    /// Takes `cells` out of the leases, those that end first before the others.
    pub fn reserve(&mut self, now: UnixMillis, cells: u64, limits: &Limits) -> Outcome {
        self.leases.retain(|lease| lease.is_known(now));
        let outcome = if self.unspent(now) >= cells {
            Outcome::Admitted(self.take(now, cells))
        } else if let Some(refusal) = never_fits(cells, limits).or_else(|| self.refusal_now(now, cells, limits)) {
            Outcome::Refused(refusal)
        } else {
            return Outcome::Ask;
        };
        self.demand.cells = self.demand.cells.saturating_add(cells);
        self.demand.requests += 1;
        outcome
    }

    fn take(&mut self, now: UnixMillis, cells: u64) -> Reservation {
        let mut missing = cells;
        let mut parts = Vec::new();
        for lease in self.leases.iter_mut().filter(|lease| lease.ends > now) {
            let part = lease.cells_unspent.min(missing);
            if part > 0 {
                lease.cells_unspent -= part;
                lease.cells_reserved += part;
                lease.last_spent = now;
                missing -= part;
                parts.push((lease.lease, part));
            }
        }
        Reservation(parts)
    }

    /// The request has cost `cells_spent`, at most what it reserved. What is left is spent
    /// by the next request, or given back when the lease has ended meanwhile.
    pub fn settle(&mut self, reservation: Reservation, cells_spent: u64) {
        let mut spent_left = cells_spent;
        for (name, reserved) in reservation.0 {
            let spent = reserved.min(spent_left);
            spent_left -= spent;
            if let Some(lease) = self.leases.iter_mut().find(|lease| lease.lease == name) {
                lease.cells_reserved = lease.cells_reserved.saturating_sub(reserved);
                lease.cells_unspent += reserved - spent;
            }
        }
    }

    /// What the ledger said last about a request like this, as long as it holds for this plan.
    fn refusal_now(&self, now: UnixMillis, cells: u64, limits: &Limits) -> Option<LeaseRefusal> {
        let View { at, left, .. } = self.view.filter(|view| view.limits == *limits)?;
        let remembered = self.refusal.filter(|kept| kept.kept_until > now && cells >= kept.cells_needed);
        if let Some(kept) = remembered {
            return Some(LeaseRefusal {
                limit: kept.limit,
                wait_ms: kept.wait_until.map(|until| until.since(now)),
            });
        }
        if self.turn <= now {
            return None;
        }
        let missing = cells - self.unspent(now);
        if missing > left.daily {
            return Some(LeaseRefusal { limit: Limit::Daily, wait_ms: Some(now.day_ends_in_ms()) });
        }
        let back_in_ms = Quota::new(limits.cells_per_minute, limits.burst_cells)
            .refill_ms(missing.saturating_sub(left.burst))
            .saturating_add(CLOCK_LAG_MS_MAX);
        let wait_ms = at.plus(back_in_ms).max(self.turn).since(now);
        Some(LeaseRefusal { limit: Limit::Burst, wait_ms: Some(wait_ms) })
    }

    /// Should the ledger be asked before somebody needs it: because the leases run low, or because one is about to end
    /// and what is left of it would be lost?
    #[must_use]
    pub fn wants_renewal(&self, now: UnixMillis) -> bool {
        let mut known = self.leases.iter().filter(|lease| lease.is_known(now));
        if known.any(|lease| lease.cells_unspent > 0 && lease.is_about_to_end(now)) {
            return true;
        }
        let worth_it = self.newest_cells >= self.cells_per_request() * RENEWED_REQUESTS_MIN;
        worth_it && self.turn <= now && self.unspent(now) < self.newest_cells / 4
    }

    /// What to ask, and what to report by the way. Leases that are about to end are given back: from here on they are
    /// not spent any more, whatever becomes of the question.
    pub fn question(&mut self, now: UnixMillis, cells_needed: u64, limits: Limits) -> LeaseQuestion {
        let reports = self.leases.iter_mut().map(|lease| lease.report(now)).collect();
        self.leases.retain(|lease| lease.cells_unspent + lease.cells_reserved > 0);
        LeaseQuestion {
            limits,
            cells_needed,
            cells_wanted: self.cells_wanted(now),
            cells_worthwhile: self.cells_per_request().saturating_mul(REQUESTS_PER_QUESTION),
            reports,
        }
    }

    /// Writes the answer to a question that was sent at `sent` into the book.
    pub fn record(
        &mut self,
        (sent, now): (UnixMillis, UnixMillis),
        question: &LeaseQuestion,
        answer: &LeaseAnswer,
    ) {
        if let Some(granted) = answer.lease {
            let lease = Lease {
                lease: granted.lease,
                cells_unspent: granted.cells,
                cells_reserved: 0,
                ends: sent.plus(granted.duration_ms),
                last_spent: now,
            };
            self.newest_cells = granted.cells;
            self.cells_per_request = self.cells_per_request();
            self.demand = Demand { since: now, cells: 0, requests: 0 };
            if self.leases.len() >= LEASES_KEPT_MAX {
                self.leases.remove(0);
            }
            self.leases.push(lease);
        }
        self.refusal = answer.refusal.map(|refusal| Remembered {
            cells_needed: question.cells_needed,
            limit: refusal.limit,
            wait_until: refusal.wait_ms.map(|wait_ms| now.plus(wait_ms)),
            kept_until: now.plus(refusal.wait_ms.unwrap_or(REFUSAL_MS_MAX).min(REFUSAL_MS_MAX)),
        });
        self.turn = now.plus(answer.ask_again_ms);
        self.view = Some(View { at: now, limits: question.limits, left: answer.left });
    }

    /// What is left of both limits as far as this isolate knows: what it has leased, and what the ledger had left when it
    /// was asked last. `None` before the first answer.
    #[must_use]
    pub fn left(&self, now: UnixMillis, quota: &Quota) -> Option<CellsLeft> {
        let View { at, left, .. } = self.view?;
        let unspent = self.unspent(now);
        let back = UnixNanos::from_ms(now.since(at)).0 / quota.emission_interval_ns();
        Some(CellsLeft {
            burst: left.burst.saturating_add(back).saturating_add(unspent).min(quota.burst_cells()),
            daily: left.daily.saturating_add(unspent),
        })
    }

    /// Can cells of it still be spent?
    #[must_use]
    pub fn is_in_use(&self, now: UnixMillis) -> bool {
        self.leases.iter().any(|lease| lease.ends > now)
    }

    fn unspent(&self, now: UnixMillis) -> u64 {
        self.leases.iter().filter(|lease| lease.ends > now).map(|lease| lease.cells_unspent).sum()
    }

    fn cells_per_request(&self) -> u64 {
        let Demand { cells, requests, .. } = self.demand;
        if requests == 0 { self.cells_per_request } else { cells.div_ceil(requests).max(1) }
    }

    fn cells_wanted(&self, now: UnixMillis) -> u64 {
        let Demand { since, cells, .. } = self.demand;
        let pace_ms = now.since(since).max(PACE_MS_MIN);
        let at_this_pace = cells.saturating_mul(LEASE_TARGET_MS) / pace_ms;
        at_this_pace.min(cells.saturating_mul(LEASE_GROWTH))
    }
}

fn never_fits(cells: u64, limits: &Limits) -> Option<LeaseRefusal> {
    let limit = if cells > Quota::new(limits.cells_per_minute, limits.burst_cells).burst_cells() {
        Limit::Burst
    } else if cells > limits.daily_cells {
        Limit::Daily
    } else {
        return None;
    };
    Some(LeaseRefusal { limit, wait_ms: None })
}
