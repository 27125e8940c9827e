//! What an isolate remembers of its tenants' quotas.

use std::cell::RefCell;

use lede_shared::api_key::TenantId;
use lede_shared::clock::UnixMillis;
use lede_shared::gcra::Quota;
use lede_shared::quota::{
    CellsLeft, LeaseAnswer, LeaseBook, LeaseQuestion, LeaseRefusal, Limits, Outcome, Reservation,
};

use super::{LIMITER_DOWN_MS, LIMITER_WAIT_MS};

/// Most tenants that an isolate keeps; a lease that is forgotten counts as spent.
const TENANTS_MAX: usize = 1_024;

/// What a request does next.
#[derive(Debug)]
pub(super) enum Step {
    Admitted(Reservation),
    Refused(LeaseRefusal),
    /// Ask the tenant's object.
    Ask,
    /// Another request does: look again.
    SomebodyAsks,
    /// The object did not answer a moment ago.
    LimiterIsDown,
}

#[derive(Debug)]
struct Tenant {
    name: TenantId,
    book: LeaseBook,
    /// A request that asks may be cancelled, so its asking ends by itself.
    asked_until: UnixMillis,
    down_until: UnixMillis,
    used: UnixMillis,
}

impl Tenant {
    fn new(name: &TenantId, now: UnixMillis) -> Self {
        let never = UnixMillis(0);
        Self { name: name.clone(), book: LeaseBook::new(now), asked_until: never, down_until: never, used: now }
    }
}

/// The leases of all tenants that this isolate serves, at most [`TENANTS_MAX`]: few, nearly always, and looked through in
/// less time than a hash of their name takes.
#[derive(Debug, Default)]
pub(crate) struct QuotaMemory(RefCell<Vec<Tenant>>);

impl QuotaMemory {
    pub(super) fn step(&self, tenant: &TenantId, now: UnixMillis, (cells, limits): (u64, &Limits)) -> Step {
        self.with(tenant, now, |tenant| match tenant.book.reserve(now, cells, limits) {
            Outcome::Admitted(reservation) => Step::Admitted(reservation),
            Outcome::Refused(refusal) => Step::Refused(refusal),
            Outcome::Ask if tenant.down_until > now => Step::LimiterIsDown,
            Outcome::Ask if tenant.asked_until > now => Step::SomebodyAsks,
            Outcome::Ask => Step::Ask,
        })
    }

    pub(super) fn wants_renewal(&self, tenant: &TenantId, now: UnixMillis) -> bool {
        self.with(tenant, now, |tenant| {
            let may_ask = tenant.asked_until <= now && tenant.down_until <= now;
            may_ask && tenant.book.wants_renewal(now)
        })
    }

    pub(super) fn question(
        &self,
        tenant: &TenantId,
        now: UnixMillis,
        cells: u64,
        limits: Limits,
    ) -> LeaseQuestion {
        self.with(tenant, now, |tenant| {
            tenant.asked_until = now.plus(LIMITER_WAIT_MS);
            tenant.book.question(now, cells, limits)
        })
    }

    pub(super) fn record(
        &self,
        tenant: &TenantId,
        (sent, now): (UnixMillis, UnixMillis),
        question: &LeaseQuestion,
        answer: &LeaseAnswer,
    ) {
        self.with(tenant, now, |tenant| {
            tenant.asked_until = now;
            tenant.down_until = now;
            tenant.book.record((sent, now), question, answer);
        });
    }

    pub(super) fn limiter_is_down(&self, tenant: &TenantId, now: UnixMillis) {
        self.with(tenant, now, |tenant| {
            tenant.asked_until = now;
            tenant.down_until = now.plus(LIMITER_DOWN_MS);
        });
    }

    pub(super) fn settle(&self, tenant: &TenantId, reservation: Reservation, cells_spent: u64) {
        if let Some(known) = self.0.borrow_mut().iter_mut().find(|known| known.name == *tenant) {
            known.book.settle(reservation, cells_spent);
        }
    }

    /// As far as this isolate knows; `None` before its first lease.
    pub(super) fn left(&self, tenant: &TenantId, now: UnixMillis, quota: &Quota) -> Option<CellsLeft> {
        self.0.borrow().iter().find(|known| known.name == *tenant)?.book.left(now, quota)
    }

    fn with<T>(&self, tenant: &TenantId, now: UnixMillis, act: impl FnOnce(&mut Tenant) -> T) -> T {
        let mut tenants = self.0.borrow_mut();
        let known = tenants.iter().position(|known| known.name == *tenant);
        let place = known.unwrap_or_else(|| {
            make_room(&mut tenants, now);
            tenants.push(Tenant::new(tenant, now));
            tenants.len() - 1
        });
        let tenant = &mut tenants[place];
        tenant.used = now;
        act(tenant)
    }
}

/// Forgets the tenants without a lease, or else the one that was served longest ago.
fn make_room(tenants: &mut Vec<Tenant>, now: UnixMillis) {
    if tenants.len() < TENANTS_MAX {
        return;
    }
    tenants.retain(|tenant| tenant.book.is_in_use(now));
    let oldest = tenants.iter().enumerate().min_by_key(|(_, tenant)| tenant.used).map(|(place, _)| place);
    if let Some(oldest) = oldest.filter(|_| tenants.len() >= TENANTS_MAX) {
        tenants.swap_remove(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_without_a_lease_are_forgotten_when_there_are_too_many() {
        let memory = QuotaMemory::default();
        let name = |index: usize| TenantId::parse(&format!("tenant-{index}")).unwrap();
        let limits = Limits { cells_per_minute: 60, burst_cells: 10, daily_cells: 100 };
        for index in 0..3 * TENANTS_MAX {
            memory.step(&name(index), UnixMillis(index as u64), (1, &limits));
            assert!(memory.0.borrow().len() <= TENANTS_MAX);
        }
        assert_eq!(memory.0.borrow().last().unwrap().name, name(3 * TENANTS_MAX - 1));
    }
}
