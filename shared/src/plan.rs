//! What a key may do and how much of it: the record that the origin keeps, the edge asks for and both act on.

use serde::{Deserialize, Serialize};

use crate::api_key::TenantId;
use crate::problem::{FieldError, FieldErrorCode, Problem};

/// What an answer out of a cache costs. Quota is counted in cells, the unit of GCRA.
pub const CELLS_PER_HIT: u32 = 1;
/// What each variant of a generated caption costs.
pub const CELLS_PER_GENERATED_VARIANT: u32 = 10;

/// What a key is let in for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Have captions made.
    Captions,
    /// Purge caches and see how the service does.
    Admin,
}

/// Who goes first when the device is busy.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Priority {
    /// Behind everybody: refreshes, prefetches, bulk work.
    Low,
    /// Ordinary callers.
    #[default]
    Normal,
    /// Callers who pay for it.
    High,
    /// Nobody goes before.
    Critical,
}

impl Priority {
    /// The same, or less where a caller `asked` for less ([`crate::headers::X_PRIORITY`]): what is bought may be left
    /// unused, and nothing more can be had by asking.
    #[must_use]
    pub fn lowered_to(self, asked: Option<&str>) -> Self {
        asked.and_then(|asked| asked.trim().parse().ok()).map_or(self, |asked| self.min(asked))
    }
}

/// How much a tenant may ask for. All keys of a tenant share one quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it is called, for people.
    pub name: String,
    /// Cells that come back each minute.
    pub cells_per_minute: u32,
    /// Most cells at once.
    pub burst_cells: u32,
    /// Most cells in a day (UTC).
    pub daily_cells: u64,
    /// Who goes first when the device is busy.
    pub priority: Priority,
    /// Most requests in one batch; never more than [`crate::api::BATCH_REQUESTS_MAX`].
    pub batch_requests_max: u16,
    /// Entries of the response cache are the tenant's own: nobody else is served them, and it is served nobody else's.
    pub cache_is_private: bool,
}

impl Default for Plan {
    /// The plan of a key for which nothing else was said: 60 generated captions a minute, 1,000 at once.
    fn default() -> Self {
        Self {
            name: "standard".to_owned(),
            cells_per_minute: 600,
            burst_cells: 10_000,
            daily_cells: 1_000_000,
            priority: Priority::Normal,
            batch_requests_max: 100,
            cache_is_private: false,
        }
    }
}

impl Plan {
    /// Does the plan take a batch of that many requests?
    ///
    /// # Errors
    /// 422 that says how many it takes.
    pub fn takes_batch_of(&self, requests_count: usize) -> Result<(), Problem> {
        let requests_max = usize::from(self.batch_requests_max);
        if requests_count <= requests_max {
            return Ok(());
        }
        let detail = format!("may have {requests_max} requests on the plan of this key");
        let error = FieldError { pointer: "/requests".to_owned(), code: FieldErrorCode::OutOfRange, detail };
        Err(Problem::invalid_fields(vec![error]))
    }
}

/// What is known of a key: the answer to `GET /internal/keys/{hash}`. A key that is revoked has no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Whose key it is.
    pub tenant: TenantId,
    /// What it is let in for.
    pub scopes: Vec<Scope>,
    /// How much of it.
    pub plan: Plan,
}

impl KeyRecord {
    /// A key for captions on the default plan.
    #[must_use]
    pub fn standard(tenant: TenantId) -> Self {
        Self { tenant, scopes: vec![Scope::Captions], plan: Plan::default() }
    }

    /// Is the key let in for `scope`?
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_ask_for_less_than_the_plan_has_and_never_for_more() {
        for (asked, given) in [
            (None, Priority::High),
            (Some("low"), Priority::Low),
            (Some(" normal "), Priority::Normal),
            (Some("critical"), Priority::High),
            (Some("u=0"), Priority::High),
            (Some(""), Priority::High),
        ] {
            assert_eq!(Priority::High.lowered_to(asked), given, "{asked:?}");
        }
    }

    #[test]
    fn a_plan_takes_batches_up_to_its_own_size() {
        let plan = Plan { batch_requests_max: 2, ..Plan::default() };
        assert_eq!(plan.takes_batch_of(2), Ok(()));
        assert_eq!(plan.takes_batch_of(3).unwrap_err().errors[0].pointer, "/requests");
    }
}
