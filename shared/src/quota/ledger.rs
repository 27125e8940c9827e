//! The tenant's side: what was granted, to whom, and what of it may still be spent.

use serde::{Deserialize, Serialize};

use super::{
    CellsLeft, GrantedLease, LEASE_GRACE_MS, LEASE_MS, LEASES_MAX, LeaseAnswer, LeaseQuestion, LeaseRefusal,
    LeaseReport, Limit, Limits,
};
use crate::clock::{DAY_MS, UnixMillis};
use crate::gcra::{Quota, Refusal, UnixNanos};

const VERSION: u8 = 1;
/// Every counter of a ledger stays below.
const COUNTER_MAX: u64 = 1 << 62;
/// No isolate gets more of the burst than one part in this many at once, unless a single request needs more.
const LEASE_SHARES: u64 = 8;
/// When cells are scarce, turns to ask are at most this part of the burst apart.
const TURN_SHARES: u64 = 16;
/// No isolate is sent away for longer than this because others have their turn first.
const TURN_MS_MAX: u64 = 10_000;

/// A lease that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OpenLease {
    lease: u64,
    /// By the ledger's clock, the grace included.
    expires_ms: u64,
    /// What may still be spent of it.
    cells_held: u64,
}

/// Every cell of one tenant. Serialised as JSON with a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    version: u8,
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
            version: VERSION,
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
        let ledger: Self = serde_json::from_str(text).map_err(|_| LedgerError)?;
        let in_order = ledger.leases.is_sorted_by_key(|open| open.expires_ms);
        let named = ledger.leases.iter().all(|open| open.lease < ledger.next_lease);
        // No plan holds more than 2^32 cells at once, and no sum of the others wraps.
        let counters = [ledger.next_lease, ledger.day_cells, ledger.seen_ms, ledger.turns_until_ms];
        let bounded = ledger.leases.len() <= LEASES_MAX
            && ledger.leases.iter().all(|open| open.cells_held <= u64::from(u32::MAX))
            && counters.iter().all(|counter| *counter <= COUNTER_MAX);
        let sound = ledger.version == VERSION && ledger.emission_interval_ns > 0 && in_order && named && bounded;
        if sound { Ok(ledger) } else { Err(LedgerError) }
    }

    /// For the store.
    #[must_use]
    pub fn encode(&self) -> String {
        // Numbers only: nothing in it refuses to be written, and an empty text reads as a lost ledger.
        serde_json::to_string(self).unwrap_or_default()
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
        self.advance(now_ms);
        self.adopt(now_ms, &quota);
        for report in &question.reports {
            self.settle(report);
        }
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

    /// What a lease that has not ended gives back drains at once; what was spent of it drains from now on. A report
    /// that comes twice or out of order changes nothing, since what is kept never rises.
    fn settle(&mut self, report: &LeaseReport) {
        let Some(open) = self.leases.iter_mut().find(|open| open.lease == report.lease) else { return };
        let kept = report.cells_kept.min(open.cells_held);
        let returned = report.cells_returned.min(open.cells_held - kept);
        open.cells_held = kept;
        if kept == 0 {
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
    /// Otherwise each would ask for every cell.
    fn next_turn_ms(&mut self, now_ms: u64, quota: &Quota, question: &LeaseQuestion) -> u64 {
        let worthwhile = question.cells_worthwhile.min(quota.burst_cells() / TURN_SHARES).max(1);
        if self.room(now_ms, quota, &question.limits) >= worthwhile {
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
