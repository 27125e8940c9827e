//! `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11), as structured fields.
//!
//! Two policies, both counted in cells: `burst`, whose window is the time in which a whole burst comes back, and `daily`.
//! `r` is what this isolate knows to be left: what it has leased, and what the tenant's ledger had left when it was asked
//! last. Other isolates spend from the same quota, so it is a hint, as the draft says, and not a promise. `t` is the time
//! until the quota is whole again; whoever spreads `r` over it stays within. `Retry-After` comes with the refusals
//! themselves. The draft's registry of quota units has no word for cells, so `qu` is left out.

use lede_shared::clock::{DAY_MS, UnixMillis};
use lede_shared::gcra::Quota;
use lede_shared::headers::{RATELIMIT, RATELIMIT_POLICY};
use lede_shared::plan::Plan;
use lede_shared::quota::CellsLeft;

use crate::context::RequestContext;
use crate::http::Headers;

/// Tells an authenticated caller what their plan is and what is left of it.
pub(crate) fn describe(context: &RequestContext, headers: &mut Headers) {
    let Some(record) = context.caller.get() else { return };
    let quota = Quota::of(&record.plan);
    let now = context.now();
    // Before it has asked, an isolate knows of nothing that was spent.
    let untouched = CellsLeft { burst: quota.burst_cells(), daily: record.plan.daily_cells };
    let left = context.bindings.isolate.quota.left(&record.tenant, now, &quota).unwrap_or(untouched);
    headers.push(RATELIMIT_POLICY, policy(&record.plan, &quota));
    headers.push(RATELIMIT, limits(&record.plan, &quota, left, now));
}

fn policy(plan: &Plan, quota: &Quota) -> String {
    let window_s = quota.refill_ms(quota.burst_cells()).div_ceil(1_000).max(1);
    let day_s = DAY_MS / 1_000;
    format!(r#""burst";q={};w={window_s}, "daily";q={};w={day_s}"#, quota.burst_cells(), plan.daily_cells)
}

fn limits(plan: &Plan, quota: &Quota, left: CellsLeft, now: UnixMillis) -> String {
    let (burst, daily) = (left.burst.min(quota.burst_cells()), left.daily.min(plan.daily_cells));
    let whole_in_s = quota.refill_ms(quota.burst_cells() - burst).div_ceil(1_000);
    let day_ends_in_s = now.day_ends_in_ms().div_ceil(1_000);
    format!(r#""burst";r={burst};t={whole_in_s}, "daily";r={daily};t={day_ends_in_s}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_policies_are_named_with_what_is_left_and_until_when() {
        let plan = Plan { cells_per_minute: 600, burst_cells: 1_000, daily_cells: 50_000, ..Plan::default() };
        let quota = Quota::of(&plan);
        assert_eq!(policy(&plan, &quota), r#""burst";q=1000;w=100, "daily";q=50000;w=86400"#);
        let left = CellsLeft { burst: 995, daily: 49_000 };
        let noon = UnixMillis(DAY_MS * 20_000 + DAY_MS / 2);
        assert_eq!(limits(&plan, &quota, left, noon), r#""burst";r=995;t=1, "daily";r=49000;t=43200"#);
    }

    #[test]
    fn a_plan_that_shrank_shows_no_more_than_it_holds() {
        let plan = Plan { cells_per_minute: 60, burst_cells: 10, daily_cells: 100, ..Plan::default() };
        let left = CellsLeft { burst: 5_000, daily: 5_000 };
        let fields = limits(&plan, &Quota::of(&plan), left, UnixMillis(0));
        assert_eq!(fields, r#""burst";r=10;t=0, "daily";r=100;t=86400"#);
    }
}
