//! The tenant's side: what was granted, to whom, and what of it may still be spent.

use super::wire::{Reader, Writer};
use super::{
    CellsLeft, GrantedLease, LEASE_GRACE_MS, LEASE_MS, LEASES_MAX, LeaseAnswer, LeaseQuestion, LeaseRefusal,
    LeaseReport, Limit, Limits,
};
use crate::clock::{DAY_MS, UnixMillis};
use crate::gcra::{Quota, Refusal, UnixNanos};

/// Every counter of a ledger stays below.
const COUNTER_MAX: u64 = 1 << 62;
/// No isolate gets more of the burst than one part in this many at once, unless a single request needs more.
const LEASE_SHARES: u64 = 8;
/// When cells are scarce, turns to ask are at most this part of the burst apart.
const TURN_SHARES: u64 = 16;
/// No isolate is sent away for longer than this because others have their turn first.
const TURN_MS_MAX: u64 = 10_000;

/// A lease that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenLease {
    lease: u64,
    /// By the ledger's clock, the grace included.
    expires_ms: u64,
    /// What may still be spent of it.
    cells_held: u64,
}

/// Every cell of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Of the plan that the TAT was counted by.
    emission_interval_ns: u64,
    tat: UnixNanos,
    /// In the order in which they end.
    leases: Vec<OpenLease>,
    next_lease: u64,
    /// Days since the epoch.
    day: u64,
    /// Cells granted and not given back on that day, and those that could be spent when it began.
    day_cells: u64,
    /// Latest point in time that was seen; a clock that steps back stands still here.
    seen_ms: u64,
    /// Until when turns to ask are given away.
    turns_until_ms: u64,
}

/// What is stored is not a ledger of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored ledger cannot be read")]
pub struct LedgerError;

impl Ledger {
    /// The ledger of a tenant that has never asked.
    #[must_use]
    pub fn new(now: UnixMillis) -> Self {
        Self {
            emission_interval_ns: 1,
            tat: UnixNanos(0),
            leases: Vec::new(),
            // Above every lease of a ledger that was lost, so that no report of an old lease names a new one.
            next_lease: now.0.saturating_mul(1 << 12),
            day: now.0 / DAY_MS,
            day_cells: 0,
            seen_ms: now.0,
            turns_until_ms: 0,
        }
    }

    /// The ledger to go on with when the stored one cannot be read: as if a whole burst had just been leased, and the
    /// day's cells with it. Unknown leases may be out there, and rather is a tenant refused for the rest of a day, with a
    /// line in the log, than the quota passed.
    #[must_use]
    pub fn after_loss(now: UnixMillis, limits: &Limits) -> Self {
        let mut ledger = Self::new(now);
        let quota = quota_of(limits);
        ledger.emission_interval_ns = quota.emission_interval_ns();
        ledger.open(now.0, quota.burst_cells());
        ledger.tat = UnixNanos::from_ms(now.0).plus(quota.refill_ns(quota.burst_cells()));
        ledger.day_cells = limits.daily_cells;
        ledger
    }

    /// Reads what [`Ledger::encode`] wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(text: &str) -> Result<Self, LedgerError> {
        let ledger = Self::read(&mut Reader::of(text).ok_or(LedgerError)?).ok_or(LedgerError)?;
        let in_order = ledger.leases.is_sorted_by_key(|open| open.expires_ms);
        let named = ledger.leases.iter().all(|open| open.lease < ledger.next_lease);
        // No plan holds more than 2^32 cells at once, and no sum of the others wraps.
        let counters = [ledger.next_lease, ledger.day_cells, ledger.seen_ms, ledger.turns_until_ms];
        let bounded = ledger.leases.iter().all(|open| open.cells_held <= u64::from(u32::MAX))
            && counters.iter().all(|counter| *counter <= COUNTER_MAX);
        if ledger.emission_interval_ns > 0 && in_order && named && bounded { Ok(ledger) } else { Err(LedgerError) }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [emission_interval_ns, tat, next_lease, day, day_cells, seen_ms, turns_until_ms] = reader.numbers()?;
        let open = |reader: &mut Reader<'_>| {
            let [lease, expires_ms, cells_held] = reader.numbers()?;
            Some(OpenLease { lease, expires_ms, cells_held })
        };
        let leases = reader.list(LEASES_MAX, open)?;
        let tat = UnixNanos(tat);
        let ledger =
            Self { emission_interval_ns, tat, leases, next_lease, day, day_cells, seen_ms, turns_until_ms };
        reader.is_at_end().then_some(ledger)
    }

    /// For the store.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { emission_interval_ns, tat, leases, next_lease, day, day_cells, seen_ms, turns_until_ms } = self;
        let mut writer = Writer::new();
        writer.numbers(&[*emission_interval_ns, tat.0, *next_lease, *day, *day_cells, *seen_ms, *turns_until_ms]);
        writer.list(leases, |OpenLease { lease, expires_ms, cells_held }| [*lease, *expires_ms, *cells_held]);
        writer.finish()
    }

    /// Cells that were granted and may still be spent.
    #[must_use]
    pub fn held_cells(&self) -> u64 {
        self.leases.iter().map(|open| open.cells_held).sum()
    }

    /// Takes the reports in, and grants what can be granted.
    pub fn answer(&mut self, now: UnixMillis, question: &LeaseQuestion) -> LeaseAnswer {
        let now_ms = now.0.max(self.seen_ms);
        let quota = quota_of(&question.limits);
        self.spend(now_ms, &question.reports);
        self.advance(now_ms);
        for report in &question.reports {
            self.take_back(report);
        }
        self.adopt(now_ms, &quota);
        let room = self.room(now_ms, &quota, &question.limits);
        match self.refusal(now_ms, &quota, question, room) {
            Some(refusal) => self.refuse(now_ms, &quota, question, refusal),
            None => self.grant(now_ms, &quota, question, room),
        }
    }

    /// Brings the ledger to `now_ms`: ends leases, begins the day.
    fn advance(&mut self, now_ms: u64) {
        let day = now_ms / DAY_MS;
        if day > self.day {
            self.expire(day * DAY_MS);
            self.day = day;
            // What can still be spent may be spent today, so it counts today too.
            self.day_cells = self.held_cells();
        }
        self.expire(now_ms);
        self.hold(now_ms);
        self.seen_ms = now_ms;
    }

    /// Counts as spent what is left of the leases that ended by `now_ms`, each at its own end.
    fn expire(&mut self, now_ms: u64) {
        let ended = self.leases.partition_point(|open| open.expires_ms <= now_ms);
        for _ in 0..ended {
            let end_ms = self.leases[0].expires_ms;
            self.hold(end_ms);
            self.leases.remove(0);
        }
    }

    /// Held cells do not drain: the level at `at_ms` is at least theirs.
    fn hold(&mut self, at_ms: u64) {
        let held_ns = self.emission_interval_ns.saturating_mul(self.held_cells());
        self.tat = self.tat.max(UnixNanos::from_ms(at_ms).plus(held_ns));
    }

    /// Another plan counts by another emission interval; the level in cells stays what it was.
    fn adopt(&mut self, now_ms: u64, quota: &Quota) {
        let (old_ns, new_ns) = (self.emission_interval_ns, quota.emission_interval_ns());
        if old_ns == new_ns {
            return;
        }
        let now = UnixNanos::from_ms(now_ms);
        let level_ns = u128::from(self.tat.since(now)) * u128::from(new_ns);
        self.tat = now.plus(u64::try_from(level_ns.div_ceil(u128::from(old_ns))).unwrap_or(u64::MAX));
        self.emission_interval_ns = new_ns;
    }

    /// What was spent is held no longer, from the time on at which the report says it was spent, or from what was
    /// last seen here, in another report too, when that is later: what has been answered cannot be changed. A report that comes twice or out of
    /// order changes nothing, since what is kept never rises.
    fn spend(&mut self, now_ms: u64, reports: &[LeaseReport]) {
        for report in reports {
            self.advance(now_ms.saturating_sub(report.spent_ago_ms).max(self.seen_ms));
            if let Some(open) = self.leases.iter_mut().find(|open| open.lease == report.lease) {
                let not_spent = report.cells_kept.saturating_add(report.cells_returned);
                open.cells_held = open.cells_held.min(not_spent);
            }
        }
    }

    /// What a lease that has not ended gives back was never spent.
    fn take_back(&mut self, report: &LeaseReport) {
        let Some(open) = self.leases.iter_mut().find(|open| open.lease == report.lease) else { return };
        let returned = open.cells_held.saturating_sub(report.cells_kept).min(report.cells_returned);
        open.cells_held -= returned;
        if open.cells_held == 0 {
            self.leases.retain(|open| open.lease != report.lease);
        }
        self.tat = self.tat.minus(self.emission_interval_ns.saturating_mul(returned));
        self.day_cells = self.day_cells.saturating_sub(returned);
    }

    /// What may be granted.
    fn room(&self, now_ms: u64, quota: &Quota, limits: &Limits) -> u64 {
        let of_day = limits.daily_cells.saturating_sub(self.day_cells);
        quota.available(UnixNanos::from_ms(now_ms), self.tat).min(of_day)
    }

    fn refusal(&self, now_ms: u64, quota: &Quota, question: &LeaseQuestion, room: u64) -> Option<LeaseRefusal> {
        let needed = question.cells_needed;
        let daily_cells = question.limits.daily_cells;
        if needed > daily_cells {
            return Some(LeaseRefusal { limit: Limit::Daily, wait_ms: None });
        }
        if let Err(refusal) = quota.decide(UnixNanos::from_ms(now_ms), self.tat, needed) {
            let wait_ms = match refusal {
                Refusal::NotUntil { wait_ms } => Some(wait_ms),
                Refusal::NeverFits => None,
            };
            return Some(LeaseRefusal { limit: Limit::Burst, wait_ms });
        }
        if room < needed {
            return Some(LeaseRefusal { limit: Limit::Daily, wait_ms: Some(UnixMillis(now_ms).day_ends_in_ms()) });
        }
        let first_end_ms = self.leases.first().map_or(now_ms, |open| open.expires_ms);
        let too_many = self.leases.len() >= LEASES_MAX && needed > 0;
        too_many.then(|| LeaseRefusal {
            limit: Limit::Burst,
            wait_ms: Some(first_end_ms.saturating_sub(now_ms).max(1)),
        })
    }

    fn refuse(
        &mut self,
        now_ms: u64,
        quota: &Quota,
        question: &LeaseQuestion,
        refusal: LeaseRefusal,
    ) -> LeaseAnswer {
        let ask_again_ms = self.next_turn_ms(now_ms, quota, question);
        let wait_ms = refusal.wait_ms.map(|wait_ms| wait_ms.max(ask_again_ms));
        let refusal = Some(LeaseRefusal { wait_ms, ..refusal });
        LeaseAnswer { lease: None, refusal, ask_again_ms, left: self.left(now_ms, quota, question) }
    }

    fn grant(&mut self, now_ms: u64, quota: &Quota, question: &LeaseQuestion, room: u64) -> LeaseAnswer {
        let share = quota.burst_cells() / LEASE_SHARES;
        let cells = question.cells_wanted.min(share).max(question.cells_needed).min(room);
        let lease = (cells > 0 && self.leases.len() < LEASES_MAX).then(|| {
            self.tat = self.tat.plus(quota.refill_ns(cells));
            self.day_cells += cells;
            GrantedLease { lease: self.open(now_ms, cells), cells, duration_ms: LEASE_MS }
        });
        let ask_again_ms = self.next_turn_ms(now_ms, quota, question);
        LeaseAnswer { lease, refusal: None, ask_again_ms, left: self.left(now_ms, quota, question) }
    }

    fn open(&mut self, now_ms: u64, cells_held: u64) -> u64 {
        let lease = self.next_lease;
        self.next_lease += 1;
        self.leases.push(OpenLease { lease, expires_ms: now_ms + LEASE_MS + LEASE_GRACE_MS, cells_held });
        lease
    }

    /// When cells are scarce, isolates ask one after the other, each when a lease worth its question has come back.
    /// Otherwise each would ask for every cell. A day's cells do not come back, so nobody need wait for a turn at them.
    fn next_turn_ms(&mut self, now_ms: u64, quota: &Quota, question: &LeaseQuestion) -> u64 {
        let worthwhile = question.cells_worthwhile.min(quota.burst_cells() / TURN_SHARES).max(1);
        if quota.available(UnixNanos::from_ms(now_ms), self.tat) >= worthwhile {
            return 0;
        }
        let after_ms = self.turns_until_ms.max(now_ms) + quota.refill_ms(worthwhile);
        self.turns_until_ms = after_ms.min(now_ms + TURN_MS_MAX);
        self.turns_until_ms - now_ms
    }

    fn left(&self, now_ms: u64, quota: &Quota, question: &LeaseQuestion) -> CellsLeft {
        CellsLeft {
            burst: quota.available(UnixNanos::from_ms(now_ms), self.tat),
            daily: question.limits.daily_cells.saturating_sub(self.day_cells),
        }
    }
}

fn quota_of(limits: &Limits) -> Quota {
    Quota::new(limits.cells_per_minute, limits.burst_cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One cell a second, ten at once.
    const LIMITS: Limits = Limits { cells_per_minute: 60, burst_cells: 10, daily_cells: 1_000 };
    const BEGIN_MS: u64 = 20_000 * DAY_MS;

    fn at_s(seconds: u64) -> UnixMillis {
        UnixMillis(BEGIN_MS + seconds * 1_000)
    }

    fn need(cells_needed: u64) -> LeaseQuestion {
        LeaseQuestion { limits: LIMITS, cells_needed, cells_wanted: 0, cells_worthwhile: 1, reports: Vec::new() }
    }

    fn report(lease: u64, cells_kept: u64, cells_returned: u64, spent_ago_ms: u64) -> LeaseReport {
        LeaseReport { lease, cells_kept, cells_returned, spent_ago_ms }
    }

    /// A ledger whose ten cells were leased at once, and the lease's name.
    fn all_leased() -> (Ledger, u64) {
        let mut ledger = Ledger::new(at_s(0));
        let granted = ledger.answer(at_s(0), &need(10)).lease.unwrap();
        assert_eq!(granted.cells, 10);
        (ledger, granted.lease)
    }

    fn cells_after(ledger: &mut Ledger, now: UnixMillis, reports: &[LeaseReport]) -> u64 {
        ledger.answer(now, &LeaseQuestion { reports: reports.to_vec(), ..need(0) }).left.burst
    }

    #[test]
    fn cells_that_may_still_be_spent_do_not_drain() {
        let (mut ledger, lease) = all_leased();
        assert_eq!(cells_after(&mut ledger, at_s(50), &[]), 0);
        assert_eq!(cells_after(&mut ledger, at_s(55), &[report(lease, 0, 0, 0)]), 0, "spent just now");
        assert_eq!(cells_after(&mut ledger, at_s(59), &[]), 4);
    }

    #[test]
    fn spent_cells_drain_from_when_they_were_spent_but_not_from_before_what_was_answered_meanwhile() {
        let (mut ledger, lease) = all_leased();
        assert_eq!(cells_after(&mut ledger.clone(), at_s(8), &[report(lease, 0, 0, 5_000)]), 5);
        assert_eq!(cells_after(&mut ledger, at_s(6), &[]), 0);
        assert_eq!(cells_after(&mut ledger, at_s(8), &[report(lease, 0, 0, 5_000)]), 2);
    }

    #[test]
    fn what_is_given_back_was_never_spent() {
        let (mut ledger, lease) = all_leased();
        let answer =
            ledger.answer(at_s(1), &LeaseQuestion { reports: vec![report(lease, 2, 7, 1_000)], ..need(0) });
        assert_eq!((ledger.held_cells(), answer.left), (2, CellsLeft { burst: 8, daily: 997 }));
    }

    #[test]
    fn reports_that_come_twice_or_out_of_order_give_nothing_back_a_second_time() {
        let (mut ledger, lease) = all_leased();
        for reports in
            [report(lease, 3, 4, 0), report(lease, 3, 4, 0), report(lease, 8, 0, 0), report(lease, 3, 7, 0)]
        {
            assert_eq!(cells_after(&mut ledger, at_s(0), &[reports]), 4);
            assert_eq!(ledger.held_cells(), 3);
        }
        assert_eq!(cells_after(&mut ledger, at_s(0), &[report(lease + 1, 0, 10, 0)]), 4, "nobody's lease");
    }

    #[test]
    fn a_lease_that_nobody_reports_is_spent_when_it_ends_and_late_returns_change_nothing() {
        let (mut ledger, lease) = all_leased();
        let end_s = (LEASE_MS + LEASE_GRACE_MS) / 1_000;
        assert_eq!(cells_after(&mut ledger, at_s(end_s - 1), &[]), 0);
        assert_eq!(cells_after(&mut ledger, at_s(end_s + 3), &[report(lease, 0, 10, 0)]), 3);
    }

    #[test]
    fn a_clock_that_steps_back_stands_still() {
        let (mut ledger, lease) = all_leased();
        cells_after(&mut ledger, at_s(9), &[report(lease, 0, 0, 9_000)]);
        assert_eq!(cells_after(&mut ledger, at_s(2), &[]), 9);
        assert_eq!(cells_after(&mut ledger, at_s(10), &[]), 10);
    }

    #[test]
    fn no_more_leases_are_granted_at_once_than_the_ledger_holds() {
        let mut ledger = Ledger::new(at_s(0));
        let roomy =
            |cells_needed| LeaseQuestion { limits: Limits { burst_cells: 1_000, ..LIMITS }, ..need(cells_needed) };
        for _ in 0..LEASES_MAX {
            assert!(ledger.answer(at_s(0), &roomy(1)).lease.is_some());
        }
        let refused = ledger.answer(at_s(5), &roomy(1));
        let wait_ms = Some(LEASE_MS + LEASE_GRACE_MS - 5_000);
        assert_eq!(refused.refusal, Some(LeaseRefusal { limit: Limit::Burst, wait_ms }));
        assert!(Ledger::decode(&ledger.encode()).is_ok());
    }

    #[test]
    fn after_a_loss_nothing_comes_back_before_every_unknown_lease_has_ended() {
        let mut ledger = Ledger::after_loss(at_s(0), &LIMITS);
        let end_s = (LEASE_MS + LEASE_GRACE_MS) / 1_000;
        assert_eq!(cells_after(&mut ledger, at_s(end_s), &[]), 0);
        assert_eq!(cells_after(&mut ledger, at_s(end_s + 4), &[]), 4);
        assert_eq!(ledger.answer(at_s(end_s + 4), &need(1)).refusal.unwrap().limit, Limit::Daily);
        assert!(ledger.answer(at_s(DAY_MS / 1_000), &need(1)).lease.is_some());
    }

    #[test]
    fn another_plan_keeps_what_was_spent() {
        let (mut ledger, lease) = all_leased();
        let faster = Limits { cells_per_minute: 600, burst_cells: 20, daily_cells: 1_000 };
        let question = LeaseQuestion { limits: faster, reports: vec![report(lease, 0, 0, 0)], ..need(0) };
        assert_eq!(ledger.answer(at_s(0), &question).left.burst, 10);
        assert_eq!(ledger.answer(at_s(1), &LeaseQuestion { limits: faster, ..need(0) }).left.burst, 20);
    }

    #[test]
    fn what_is_no_ledger_is_refused() {
        let (ledger, _) = all_leased();
        let sound = ledger.encode();
        assert_eq!(Ledger::decode(&sound), Ok(ledger));
        let shorter = &sound[..sound.rfind(' ').unwrap()];
        for garbage in ["", "garbage", "{}", shorter, &format!("{sound} 0"), &format!("2{}", &sound[1..])] {
            assert_eq!(Ledger::decode(garbage), Err(LedgerError), "{garbage}");
        }
    }
}
