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
    /// It holds for requests that lack as many or more.
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
        let missing = cells - self.unspent(now);
        let remembered = self.refusal.filter(|kept| kept.kept_until > now && missing >= kept.cells_needed);
        if let Some(kept) = remembered {
            return Some(LeaseRefusal {
                limit: kept.limit,
                wait_ms: kept.wait_until.map(|until| until.since(now)),
            });
        }
        if self.turn <= now {
            return None;
        }
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
    /// not spent any more, whatever becomes of the question. `cells` is what the request at hand costs, 0 without one.
    pub fn question(&mut self, now: UnixMillis, cells: u64, limits: Limits) -> LeaseQuestion {
        let reports = self.leases.iter_mut().map(|lease| lease.report(now)).collect();
        self.leases.retain(|lease| lease.cells_unspent + lease.cells_reserved > 0);
        LeaseQuestion {
            limits,
            cells_needed: cells.saturating_sub(self.unspent(now)),
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

#[cfg(test)]
mod tests {
    use super::super::GrantedLease;
    use super::*;

    const LIMITS: Limits = Limits { cells_per_minute: 60, burst_cells: 1_000, daily_cells: 10_000 };

    fn granted(cells: u64) -> LeaseAnswer {
        let lease = Some(GrantedLease { lease: cells, cells, duration_ms: LEASE_MS });
        LeaseAnswer { lease, refusal: None, ask_again_ms: 0, left: CellsLeft { burst: 500, daily: 5_000 } }
    }

    fn refused(wait_ms: u64) -> LeaseAnswer {
        let refusal = Some(LeaseRefusal { limit: Limit::Burst, wait_ms: Some(wait_ms) });
        LeaseAnswer { lease: None, refusal, ..granted(0) }
    }

    /// Asks at `now_ms` and has the answer at once.
    fn ask(book: &mut LeaseBook, now_ms: u64, cells_needed: u64, answer: &LeaseAnswer) -> LeaseQuestion {
        let now = UnixMillis(now_ms);
        let question = book.question(now, cells_needed, LIMITS);
        book.record((now, now), &question, answer);
        question
    }

    fn admits(book: &mut LeaseBook, now_ms: u64, cells: u64) -> Reservation {
        match book.reserve(UnixMillis(now_ms), cells, &LIMITS) {
            Outcome::Admitted(reservation) => reservation,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_may_take_the_rest_of_one_lease_and_the_beginning_of_another() {
        let mut book = LeaseBook::new(UnixMillis(0));
        ask(&mut book, 0, 5, &granted(5));
        ask(&mut book, 0, 7, &granted(7));
        let reservation = admits(&mut book, 0, 9);
        assert_eq!(reservation, Reservation(vec![(5, 5), (7, 4)]));
        book.settle(reservation, 6);
        assert_eq!(admits(&mut book, 0, 6), Reservation(vec![(7, 6)]), "three came back to the second");
        assert_eq!(book.reserve(UnixMillis(0), 1, &LIMITS), Outcome::Ask);
    }

    #[test]
    fn a_lease_is_spent_for_its_time_counted_from_the_question() {
        let mut book = LeaseBook::new(UnixMillis(0));
        let question = book.question(UnixMillis(1_000), 5, LIMITS);
        book.record((UnixMillis(1_000), UnixMillis(1_400)), &question, &granted(5));
        admits(&mut book, 1_000 + LEASE_MS - 1, 1).0.clear();
        assert_eq!(book.reserve(UnixMillis(1_000 + LEASE_MS), 1, &LIMITS), Outcome::Ask);
    }

    #[test]
    fn what_is_left_of_a_lease_that_is_about_to_end_is_given_back_and_not_spent_any_more() {
        let mut book = LeaseBook::new(UnixMillis(0));
        ask(&mut book, 0, 10, &granted(10));
        let under_way = admits(&mut book, 1_000, 4);
        assert!(!book.wants_renewal(UnixMillis(LEASE_MS - RETURN_BEFORE_END_MS)));
        let now = UnixMillis(LEASE_MS - RETURN_BEFORE_END_MS + 1);
        assert!(book.wants_renewal(now));
        let reports = book.question(now, 0, LIMITS).reports;
        let spent_ago_ms = now.0 - 1_000 - CLOCK_LAG_MS_MAX;
        assert_eq!(reports, [LeaseReport { lease: 10, cells_kept: 4, cells_returned: 6, spent_ago_ms }]);
        assert_eq!(book.reserve(now, 1, &LIMITS), Outcome::Ask);
        book.settle(under_way, 1);
        let reports = book.question(now, 0, LIMITS).reports;
        assert_eq!((reports[0].cells_kept, reports[0].cells_returned), (0, 3), "one of the four was spent");
        assert_eq!(book.question(now, 0, LIMITS).reports, []);
    }

    #[test]
    fn a_refusal_is_remembered_for_requests_as_large_and_a_smaller_one_may_ask() {
        let mut book = LeaseBook::new(UnixMillis(0));
        ask(&mut book, 0, 80, &refused(9_000));
        let outcome = book.reserve(UnixMillis(2_000), 80, &LIMITS);
        assert_eq!(outcome, Outcome::Refused(LeaseRefusal { limit: Limit::Burst, wait_ms: Some(7_000) }));
        assert_eq!(book.reserve(UnixMillis(2_000), 10, &LIMITS), Outcome::Ask);
        assert_eq!(book.reserve(UnixMillis(9_000), 80, &LIMITS), Outcome::Ask);
        let larger_plan = Limits { burst_cells: 2_000, ..LIMITS };
        assert_eq!(book.reserve(UnixMillis(2_000), 80, &larger_plan), Outcome::Ask);
    }

    #[test]
    fn a_lease_is_wanted_for_what_was_asked_lately_and_grows_no_faster_than_that() {
        let mut book = LeaseBook::new(UnixMillis(0));
        assert_eq!(ask(&mut book, 0, 10, &granted(10)).cells_wanted, 0, "nothing is known yet");
        admits(&mut book, 0, 10).0.clear();
        assert_eq!(ask(&mut book, 2_000, 10, &granted(30)).cells_wanted, 20);
        for _ in 0..3 {
            admits(&mut book, 2_000, 10).0.clear();
        }
        let question = book.question(UnixMillis(2_000 + 45_000), 10, LIMITS);
        assert_eq!((question.cells_wanted, question.cells_worthwhile), (20, 640), "thirty cells in 45 s");
    }

    #[test]
    fn no_more_leases_are_kept_than_the_limit() {
        let mut book = LeaseBook::new(UnixMillis(0));
        for cells in 1..30 {
            ask(&mut book, cells, cells, &granted(cells));
            assert!(book.leases.len() <= LEASES_KEPT_MAX);
        }
    }
}
