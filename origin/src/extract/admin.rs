//! Who may look at and change how the service runs, and how often.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use lede_shared::api_key::TenantId;
use lede_shared::gcra::{Quota, Refusal, UnixNanos};
use lede_shared::plan::Scope;
use lede_shared::problem::{Problem, ProblemCode};

use super::Principal;
use crate::clock;
use crate::error::ApiError;

/// Tenants whose rate is remembered. With more, who has none of it used up is forgotten first.
const TENANTS_MAX: usize = 1_024;
/// The longest wait that a refused caller is told.
const RETRY_AFTER_MAX_S: u32 = 3_600;

/// The door to administration: for keys with the scope `admin`, so many times a minute for each tenant.
#[derive(Debug)]
pub struct AdminDoor {
    quota: Quota,
    /// Theoretical arrival times.
    tats: Mutex<HashMap<TenantId, UnixNanos>>,
}

impl AdminDoor {
    /// A door that each tenant passes so often a minute, and so often at once.
    #[must_use]
    pub fn new(requests_per_minute: u32) -> Self {
        Self { quota: Quota::new(requests_per_minute, requests_per_minute), tats: Mutex::default() }
    }

    /// Lets the caller in.
    ///
    /// # Errors
    /// 403 without the scope, 429 with a wait for who comes too often.
    pub fn pass(&self, principal: &Principal) -> Result<(), ApiError> {
        principal.require(Scope::Admin)?;
        self.count(&principal.claims.tenant, UnixNanos::from_ms(clock::now().0))
    }

    fn count(&self, tenant: &TenantId, now: UnixNanos) -> Result<(), ApiError> {
        let mut tats = self.tats.lock().unwrap_or_else(PoisonError::into_inner);
        if tats.len() >= TENANTS_MAX && !tats.contains_key(tenant) {
            tats.retain(|_, tat| *tat > now);
        }
        let has_room = tats.len() < TENANTS_MAX;
        let tat = tats.get(tenant).copied().unwrap_or_default();
        match self.quota.decide(now, tat, 1) {
            Ok(after) if has_room || tats.contains_key(tenant) => {
                tats.insert(tenant.clone(), after);
                Ok(())
            }
            Ok(_) => Err(too_often(1_000)),
            Err(Refusal::NotUntil { wait_ms }) => Err(too_often(wait_ms)),
            Err(Refusal::NeverFits) => Err(too_often(u64::MAX)),
        }
    }
}

fn too_often(wait_ms: u64) -> ApiError {
    let wait_s = u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(u32::MAX).clamp(1, RETRY_AFTER_MAX_S);
    Problem::new(ProblemCode::RateLimited, "administration is asked for too often").retry_after(wait_s).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[test]
    fn who_comes_too_often_is_told_when_to_come_again_and_nobody_else_is() {
        let door = AdminDoor::new(60);
        let now = UnixNanos::from_ms(1_000_000);
        for _ in 0..60 {
            door.count(&tenant("acme"), now).unwrap();
        }
        let refused = door.count(&tenant("acme"), now).unwrap_err().problem;
        assert_eq!((refused.code, refused.retry_after_s), (ProblemCode::RateLimited, Some(1)));
        assert!(door.count(&tenant("other"), now).is_ok());
        assert!(door.count(&tenant("acme"), UnixNanos::from_ms(1_001_000)).is_ok());
    }

    #[test]
    fn no_more_tenants_are_remembered_than_there_is_room_for() {
        let door = AdminDoor::new(60);
        let now = UnixNanos::from_ms(1_000_000);
        let come = |number: usize, now| door.count(&tenant(&format!("t{number}")), now);
        (0..TENANTS_MAX).for_each(|number| come(number, now).unwrap());
        assert!(come(TENANTS_MAX, now).is_err());
        assert!(come(TENANTS_MAX, UnixNanos::from_ms(1_002_000)).is_ok());
        assert!(door.tats.lock().unwrap().len() <= TENANTS_MAX);
    }
}
