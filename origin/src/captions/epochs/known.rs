//! What is known of purges: for each thing that can be purged, the time of its last purge.

use std::collections::BTreeMap;

use lede_shared::api_key::TenantId;
use lede_shared::purge::PurgeScope;

/// Things whose purges are told apart. A purge that there is no more room for is one of everything.
pub(super) const SCOPES_MAX: usize = 10_000;
/// Any greater number was written by somebody else: it is the year 144,680. Sums of a few stay numbers.
const EPOCH_MAX: u64 = 1 << 52;

/// Epochs by what they are of. None ever falls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownEpochs(BTreeMap<PurgeScope, u64>);

impl KnownEpochs {
    /// What is known of `scope` alone; 0 before its first purge.
    pub(super) fn of(&self, scope: &PurgeScope) -> u64 {
        self.0.get(scope).copied().unwrap_or(0)
    }

    /// What goes into keys that all of `shared` concern: for `tenant` alone, or for all that share.
    pub(super) fn sum(&self, shared: &[PurgeScope], tenant: Option<&TenantId>) -> u64 {
        let own = tenant.map_or(0, |tenant| self.of(&PurgeScope::Tenant(tenant.clone())));
        shared.iter().fold(own, |sum, scope| sum + self.of(scope))
    }

    /// Takes over what somebody else knows. Says what it is that has risen, if anything has.
    pub(super) fn learn(&mut self, scope: PurgeScope, epoch: u64) -> Option<(PurgeScope, u64)> {
        if epoch > EPOCH_MAX {
            return None;
        }
        let scope = self.with_room_for(scope);
        let known = self.0.entry(scope.clone()).or_default();
        (epoch > *known).then(|| {
            *known = epoch;
            (scope, epoch)
        })
    }

    /// Purges `scope` at `now_ms`. Says what was purged, and under which epoch it goes on.
    pub(super) fn purge(&mut self, scope: &PurgeScope, now_ms: u64) -> (PurgeScope, u64) {
        let scope = self.with_room_for(scope.clone());
        let known = self.0.entry(scope.clone()).or_default();
        // A clock that stepped back must not undo a purge, nor two purges within a millisecond be one.
        *known = now_ms.min(EPOCH_MAX).max(known.saturating_add(1));
        (scope, *known)
    }

    /// Everything that is known.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PurgeScope, u64)> {
        self.0.iter().map(|(scope, epoch)| (scope, *epoch))
    }

    fn with_room_for(&self, scope: PurgeScope) -> PurgeScope {
        let has_room = self.0.len() < SCOPES_MAX || self.0.contains_key(&scope);
        if has_room { scope } else { PurgeScope::All }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shared() -> [PurgeScope; 3] {
        [PurgeScope::All, PurgeScope::Model("m".to_owned()), PurgeScope::Policy("p".to_owned())]
    }

    fn tenant(number: usize) -> TenantId {
        TenantId::parse(&format!("t{number}")).unwrap()
    }

    fn any_scope() -> impl Strategy<Value = PurgeScope> {
        prop::sample::select(vec!["all", "tenant:t0", "tenant:t1", "model:m", "model:other", "policy:p"])
            .prop_map(|text| text.parse().unwrap())
    }

    proptest! {
        #[test]
        fn no_purge_is_lost_whatever_the_clock_does_and_in_whichever_order_it_is_told(
            purges in prop::collection::vec((any_scope(), 0u64..50), 1..20), order in any::<prop::sample::Index>(),
        ) {
            let (mut here, mut told) = (KnownEpochs::default(), Vec::new());
            for (scope, now_ms) in purges {
                let before = [None, Some(tenant(0))].map(|tenant| here.sum(&shared(), tenant.as_ref()));
                let is_of = [
                    matches!(&scope, PurgeScope::All) || shared().contains(&scope),
                    scope == PurgeScope::Tenant(tenant(0)) || shared().contains(&scope),
                ];
                told.push(here.purge(&scope, now_ms));
                let after = [None, Some(tenant(0))].map(|tenant| here.sum(&shared(), tenant.as_ref()));
                for ((before, after), is_of) in before.into_iter().zip(after).zip(is_of) {
                    let holds = if is_of { after > before } else { after == before };
                    prop_assert!(holds, "from {} to {}", before, after);
                }
            }
            let middle = order.index(told.len());
            told.rotate_left(middle);
            told.extend(told.clone());
            let mut there = KnownEpochs::default();
            for (scope, epoch) in told {
                there.learn(scope, epoch);
            }
            prop_assert_eq!(there, here);
        }
    }

    #[test]
    fn a_purge_that_there_is_no_room_for_is_one_of_everything() {
        let mut known = KnownEpochs::default();
        for number in 0..=SCOPES_MAX {
            known.purge(&PurgeScope::Tenant(tenant(number)), 5);
        }
        assert!(known.iter().count() <= SCOPES_MAX + 1);
        assert_eq!((known.of(&PurgeScope::Tenant(tenant(3))), known.of(&PurgeScope::All)), (5, 5));
        let before = known.sum(&shared(), Some(&tenant(SCOPES_MAX + 7)));
        known.learn(PurgeScope::Tenant(tenant(SCOPES_MAX + 7)), 9);
        assert!(known.sum(&shared(), Some(&tenant(SCOPES_MAX + 7))) > before);
    }

    #[test]
    fn a_number_that_nobody_of_us_wrote_makes_no_epoch() {
        let mut known = KnownEpochs::default();
        assert_eq!(known.learn(PurgeScope::All, u64::MAX), None);
        assert!(known.purge(&PurgeScope::All, 7).1 == 7 && known.purge(&PurgeScope::All, 7).1 == 8);
    }
}
