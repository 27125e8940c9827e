//! However isolates, copies in Workers KV, outages and work behind answers fall together: a revoked key stops.

use std::collections::BTreeMap;
use std::rc::Rc;

use lede_shared::key_standing::ORIGIN_NOTICES_WITHIN_MS;
use proptest::prelude::*;

use super::{LET_IN, OneKey, deployment, knock};
use crate::isolate::Isolate;
use crate::tests::deployment::{Deployment, problem};

const ISOLATES: usize = 4;
const MINUTE_MS: u64 = 60_000;
/// For that long after a try that failed, what is known is relied on without another one.
const AWAY_MS: u64 = 5_000;

#[derive(Clone, Debug)]
enum Step {
    /// Time passes.
    Wait {
        ms: u64,
    },
    /// A request reaches one of the isolates, which sees Workers KV as it was so many writes ago.
    Knock {
        isolate: usize,
        writes_ago: usize,
    },
    /// What was left behind answers gets done.
    FinishWork,
    Revoke,
    /// The origin goes away or comes back.
    Switch,
}

fn step() -> impl Strategy<Value = Step> {
    let knock = (0..ISOLATES, 0..4_usize).prop_map(|(isolate, writes_ago)| Step::Knock { isolate, writes_ago });
    prop_oneof![
        6 => wait().prop_map(|ms| Step::Wait { ms }),
        12 => knock,
        4 => Just(Step::FinishWork),
        1 => Just(Step::Revoke),
        1 => Just(Step::Switch),
    ]
}

/// Any time, and more often those at which something changes.
fn wait() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..1_500_u64, 1 => 0..50_000_u64, 1 => 43_000..46_000_u64, 2 => 57_500..60_500_u64, 1 => 0..4_000_000_u64]
}

/// Everything in one place, with what has to be known to judge an answer.
struct World {
    deployment: Deployment,
    one_key: Rc<OneKey>,
    isolates: Vec<Rc<Isolate>>,
    /// Workers KV after each write.
    versions: Vec<BTreeMap<String, (Vec<u8>, u64)>>,
    revoked_at: Option<u64>,
    /// The last moment at which the origin could not be asked.
    away_at: Option<u64>,
}

impl World {
    fn new() -> Self {
        let (deployment, one_key) = deployment();
        let isolates = (0..ISOLATES).map(|_| Rc::default()).collect();
        let versions = vec![BTreeMap::new()];
        Self { deployment, one_key, isolates, versions, revoked_at: None, away_at: None }
    }

    fn now(&self) -> u64 {
        self.deployment.clock.0.get()
    }

    /// The origin may notice a revocation as late as it is allowed to.
    fn pass_time(&mut self, ms: u64) {
        self.deployment.clock.0.set(self.now() + ms);
        if self.revoked_at.is_some_and(|at| self.now() - at >= ORIGIN_NOTICES_WITHIN_MS) {
            *self.one_key.record.borrow_mut() = None;
        }
        if self.one_key.away.get() {
            self.away_at = Some(self.now());
        }
    }

    fn note_writes(&mut self) {
        let entries = self.deployment.keys.entries.borrow().clone();
        if self.versions.last() != Some(&entries) {
            self.versions.push(entries);
        }
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Wait { ms } => self.pass_time(ms),
            Step::Revoke => self.revoked_at = self.revoked_at.or(Some(self.now())),
            Step::Switch => {
                self.away_at = Some(self.now());
                self.one_key.away.set(!self.one_key.away.get());
            }
            Step::FinishWork => {
                self.deployment.background.finish();
                self.note_writes();
            }
            Step::Knock { isolate, writes_ago } => {
                let version = self.versions.len().saturating_sub(1 + writes_ago);
                *self.deployment.keys.entries.borrow_mut() = self.versions[version].clone();
                self.deployment.isolate = Rc::clone(&self.isolates[isolate]);
                let code = problem(&self.deployment.send(knock())).code;
                return self.judge(code == LET_IN);
            }
        }
        Ok(())
    }

    fn judge(&self, let_in: bool) -> Result<(), TestCaseError> {
        let could_not_be_asked =
            self.away_at.is_some_and(|at| self.now() - at < AWAY_MS) || self.one_key.away.get();
        if let Some(revoked_at) = self.revoked_at {
            let since_ms = self.now() - revoked_at;
            prop_assert!(!let_in || since_ms < MINUTE_MS || could_not_be_asked, "let in {since_ms} ms after");
        } else if !could_not_be_asked {
            prop_assert!(let_in, "a good key was refused");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nobody_is_let_in_a_minute_after_the_revocation_while_the_origin_can_be_asked(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step)?;
        }
    }
}
