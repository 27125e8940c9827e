//! The twins of what limits callers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, pending, ready};
use lede_shared::api_key::TenantId;

use super::{ClockInMemory, StoreHealth};
use crate::bindings::{BindingError, Clock, FloodLimiter, QuotaObjects};
use crate::quota::object::QuotaKeeper;

/// A tenant's object and its storage.
#[derive(Default)]
struct TenantObject {
    keeper: QuotaKeeper,
    stored: Option<String>,
}

/// Durable Objects that can be evicted, each with the real ledger.
pub(crate) struct QuotaObjectsInMemory {
    objects: RefCell<BTreeMap<TenantId, TenantObject>>,
    clock: Rc<ClockInMemory>,
    pub(crate) health: Cell<StoreHealth>,
    pub(crate) calls: Cell<u64>,
}

impl QuotaObjectsInMemory {
    pub(crate) fn new(clock: &Rc<ClockInMemory>) -> Self {
        let clock = Rc::clone(clock);
        Self { objects: RefCell::default(), clock, health: Cell::default(), calls: Cell::default() }
    }

    /// Takes every object out of memory, as the platform does with those that nobody asks.
    pub(crate) fn evict(&self) {
        self.objects.borrow_mut().values_mut().for_each(|object| object.keeper = QuotaKeeper::default());
    }

    /// Puts something else in the place of every stored ledger.
    pub(crate) fn overwrite(&self, text: &str) {
        self.objects.borrow_mut().values_mut().for_each(|object| object.stored = Some(text.to_owned()));
    }

    fn answer(&self, tenant: &TenantId, question: &str) -> Result<String, BindingError> {
        let mut objects = self.objects.borrow_mut();
        let object = objects.entry(tenant.clone()).or_default();
        let kept = object.keeper.answer(self.clock.now(), object.stored.as_deref(), question);
        let kept = kept.map_err(|error| failing(&error.to_string()))?;
        object.stored = Some(kept.ledger);
        Ok(kept.answer)
    }
}

impl QuotaObjects for QuotaObjectsInMemory {
    fn ask<'a>(
        &'a self,
        tenant: &'a TenantId,
        question: String,
    ) -> LocalBoxFuture<'a, Result<String, BindingError>> {
        self.calls.set(self.calls.get() + 1);
        match self.health.get() {
            StoreHealth::Sound => ready(self.answer(tenant, &question)).boxed_local(),
            StoreHealth::Failing => ready(Err(failing("switched off"))).boxed_local(),
            StoreHealth::Hanging => pending().boxed_local(),
        }
    }
}

fn failing(cause: &str) -> BindingError {
    BindingError { operation: "asking a Durable Object", cause: cause.to_owned() }
}

/// A limiter that counts exactly and whose period never ends.
pub(crate) struct FloodLimiterInMemory {
    pub(crate) requests_max: Cell<u64>,
    pub(crate) counts: RefCell<BTreeMap<String, u64>>,
    pub(crate) health: Cell<StoreHealth>,
}

impl Default for FloodLimiterInMemory {
    fn default() -> Self {
        Self { requests_max: Cell::new(u64::MAX), counts: RefCell::default(), health: Cell::default() }
    }
}

impl FloodLimiter for FloodLimiterInMemory {
    fn allows<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<bool, BindingError>> {
        match self.health.get() {
            StoreHealth::Sound => {
                let mut counts = self.counts.borrow_mut();
                let count = counts.entry(key.to_owned()).or_default();
                *count += 1;
                ready(Ok(*count <= self.requests_max.get())).boxed_local()
            }
            StoreHealth::Failing => {
                let cause = "switched off".to_owned();
                ready(Err(BindingError { operation: "asking the rate limiter", cause })).boxed_local()
            }
            StoreHealth::Hanging => pending().boxed_local(),
        }
    }
}
