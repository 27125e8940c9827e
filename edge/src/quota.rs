//! What a tenant may ask for, counted in cells: an answer out of a cache costs little, a generated one ten times as much.
//!
//! 1. Most requests are admitted out of a lease that this isolate has of the tenant's quota, without asking anyone.
//! 2. When the lease does not reach, the tenant's Durable Object is asked for another, also ahead of need behind an
//!    answer. While one request asks, others of the same tenant wait for what comes of it by looking again: nobody ever
//!    waits for another request's future.
//! 3. Who was refused is refused again from memory until its wait is over.
//! 4. When the object does not answer, what is cached is answered all the same, and what would have to be generated is
//!    refused with 503; for a while nobody tries again.
//!
//! `shared::quota` says why the sum never passes the plan.

mod charge;
mod fields;
mod memory;
pub(crate) mod object;

use std::rc::Rc;

use lede_shared::plan::{CELLS_PER_GENERATED_VARIANT, CELLS_PER_HIT, KeyRecord};
use lede_shared::problem::{Problem, ProblemCode};
use lede_shared::quota::{LeaseAnswer, LeaseQuestion, LeaseRefusal, Limit, Limits};

use crate::auth::Principal;
use crate::bindings::within;
use crate::context::RequestContext;
use crate::error::Failure;

pub(crate) use charge::Charge;
pub(crate) use fields::describe;
pub(crate) use memory::QuotaMemory;
use memory::Step;

/// How long a request waits for the tenant's object.
const LIMITER_WAIT_MS: u64 = 500;
/// How long nobody asks an object that did not answer.
const LIMITER_DOWN_MS: u64 = 2_000;
/// How often a request looks whether another one of its isolate has got a lease.
const LOOK_AGAIN_MS: u64 = 25;
/// Looks and questions of one request, a little more than fit into [`LIMITER_WAIT_MS`].
const STEPS_MAX: u64 = LIMITER_WAIT_MS / LOOK_AGAIN_MS + 4;

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// So many answers out of a cache.
    Hits(u32),
    /// So many variants to be generated.
    GeneratedVariants(u32),
}

impl Cost {
    pub(crate) fn cells(self) -> u64 {
        match self {
            Self::Hits(hits) => u64::from(hits) * u64::from(CELLS_PER_HIT),
            Self::GeneratedVariants(variants) => u64::from(variants) * u64::from(CELLS_PER_GENERATED_VARIANT),
        }
    }
}

/// Takes what a request costs out of the caller's quota. The charge can be settled for less until it is dropped.
///
/// # Errors
/// 429 when the quota is used up, with the wait; 503 when it cannot be counted and something is to be generated.
pub(crate) async fn charge(
    context: &Rc<RequestContext>,
    principal: &Principal,
    cost: Cost,
) -> Result<Charge, Failure> {
    let record = &principal.record;
    let (cells, limits) = (cost.cells(), Limits::of(&record.plan));
    for _ in 0..STEPS_MAX {
        match context.bindings.isolate.quota.step(&record.tenant, context.now(), (cells, &limits)) {
            Step::Admitted(reservation) => {
                renew_behind(context, record);
                return Ok(Charge::new(&context.bindings.isolate, record, reservation, cells));
            }
            Step::Refused(refusal) => return Err(refused(record, cells, refusal)),
            Step::LimiterIsDown => break,
            Step::SomebodyAsks => context.bindings.clock.sleep(LOOK_AGAIN_MS).await,
            Step::Ask => ask(context, record, cells).await,
        }
    }
    match cost {
        Cost::Hits(_) => Ok(Charge::free(&context.bindings.isolate, record)),
        Cost::GeneratedVariants(_) => Err(cannot_be_counted()),
    }
}

/// Asks the tenant's object and writes the answer, or that there is none, into the isolate's memory.
async fn ask(context: &RequestContext, record: &KeyRecord, cells: u64) {
    let memory = &context.bindings.isolate.quota;
    let sent = context.now();
    let question = memory.question(&record.tenant, sent, cells, Limits::of(&record.plan));
    let asking = question_object(context, record, &question);
    let answer = within(context.bindings.clock.as_ref(), LIMITER_WAIT_MS, asking).await;
    match answer.unwrap_or_else(|| Err("no answer in time".to_owned())) {
        Ok(answer) => memory.record(&record.tenant, (sent, context.now()), &question, &answer),
        Err(cause) => {
            context.warn("quota_object_failed", &cause);
            memory.limiter_is_down(&record.tenant, context.now());
        }
    }
}

async fn question_object(
    context: &RequestContext,
    record: &KeyRecord,
    question: &LeaseQuestion,
) -> Result<LeaseAnswer, String> {
    let answered = context.bindings.quota_objects.ask(&record.tenant, question.encode()).await;
    LeaseAnswer::decode(&answered.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

/// Asks for another lease before somebody has to wait for it.
fn renew_behind(context: &Rc<RequestContext>, record: &Rc<KeyRecord>) {
    if !context.bindings.isolate.quota.wants_renewal(&record.tenant, context.now()) {
        return;
    }
    let (behind, record) = (Rc::clone(context), Rc::clone(record));
    context.behind(async move { ask(&behind, &record, 0).await });
}

fn refused(record: &KeyRecord, cells: u64, refusal: LeaseRefusal) -> Failure {
    let plan = &record.plan;
    let quota = match refusal.limit {
        Limit::Burst => format!("{} cells a minute, {} at once", plan.cells_per_minute, plan.burst_cells),
        Limit::Daily => format!("{} cells a day (UTC)", plan.daily_cells),
    };
    let Some(wait_ms) = refusal.wait_ms else {
        let detail = format!("this request costs {cells} cells, more than the plan ever holds: {quota}");
        let problem = Problem { retryable: false, ..Problem::new(ProblemCode::RateLimited, detail) };
        return problem.into();
    };
    let wait_s = u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
    let detail =
        format!("this request costs {cells} cells, and the quota is used up: {quota}; try again in {wait_s} s");
    Problem::new(ProblemCode::RateLimited, detail).retry_after(wait_s).into()
}

fn cannot_be_counted() -> Failure {
    let detail = "the quota cannot be counted at the moment; what is cached is answered, try the rest again";
    let wait_s = u32::try_from(LIMITER_DOWN_MS.div_ceil(1_000)).unwrap_or(u32::MAX);
    Problem::new(ProblemCode::Overloaded, detail).retry_after(wait_s).into()
}
