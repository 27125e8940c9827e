//! What a request has been admitted with.

use std::fmt;
use std::rc::Rc;

use lede_shared::api_key::TenantId;
use lede_shared::plan::KeyRecord;
use lede_shared::quota::Reservation;

use crate::isolate::Isolate;

/// Cells taken out of a lease. Dropped, all of them are spent: also when the caller leaves.
#[must_use = "dropped, it spends all it was charged with"]
pub(crate) struct Charge {
    isolate: Rc<Isolate>,
    tenant: TenantId,
    /// `None` when the quota could not be counted, and after settling.
    reservation: Option<Reservation>,
    cells: u64,
}

impl Charge {
    pub(super) fn new(isolate: &Rc<Isolate>, record: &KeyRecord, reservation: Reservation, cells: u64) -> Self {
        let (isolate, tenant) = (Rc::clone(isolate), record.tenant.clone());
        Self { isolate, tenant, reservation: Some(reservation), cells }
    }

    /// Nothing was taken.
    pub(super) fn free(isolate: &Rc<Isolate>, record: &KeyRecord) -> Self {
        Self { isolate: Rc::clone(isolate), tenant: record.tenant.clone(), reservation: None, cells: 0 }
    }

    /// Spends it, all of it.
    pub(crate) fn spend(self) {}

    /// Spends what the answer was worth after all, and gives the rest back to the lease it was taken from.
    pub(crate) fn settle(mut self, cells_spent: u64) {
        self.cells = self.cells.min(cells_spent);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.isolate.quota.settle(&self.tenant, reservation, self.cells);
        }
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Charge({} cells)", self.cells)
    }
}
