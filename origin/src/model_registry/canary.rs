//! Seeing that a loaded model that nobody uses still writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lede_shared::plan::Priority;

use super::ledger::Trial;
use super::{Inner, ModelLease};

/// How long one entry may take.
const TRIAL_MAX: Duration = Duration::from_secs(5);

impl Inner {
    /// Has a model that nobody has used for a while write one entry, behind all others. What is wrong is for its supervision
    /// to see to.
    pub(super) async fn try_idle_model(self: &Arc<Self>) {
        let Some(canary_every) = self.settings.canary_every else { return };
        let at = Instant::now();
        let Some((name, local)) = self.ledger().hold_idle(canary_every, at) else { return };
        let lease = ModelLease::new(self, &name, local, true);
        let deadline = at + TRIAL_MAX;
        let writing = lease.local().write_one_token(deadline, Priority::Low);
        let failure = match tokio::time::timeout_at(deadline.into(), writing).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("nothing was written in {} s", TRIAL_MAX.as_secs())),
        };
        match &failure {
            Some(reason) => tracing::warn!(model = name, reason, "a model that was idle does not write"),
            None => tracing::debug!(model = name, "a model that was idle writes"),
        }
        self.ledger().tried(&name, Trial { at, took: at.elapsed(), failure });
    }
}
