//! Ten times what the engine can do, through the door that the origin has before it: how fast it refuses, and whether whoever
//! is taken in has an answer, or a reason, by the deadline.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lede_origin::admission::{Admission, AdmissionLimits, ByEndpoint, Endpoint, Entrance, Permit};
use lede_origin::engine::sequence::SequenceError;
use lede_origin::engine::{AwaitedSequence, EngineHandle, EngineLimits};

use crate::asking::{Ask, Asking, answered, engine, quantile, runtime};
use crate::device::{ROWS_MAX, served_graph};
use crate::in_short;

const PROMPT: usize = 48;
const PIECES: usize = 24;
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after its deadline an answer may come: a step, and the time to notice.
const GRACE: Duration = Duration::from_millis(250);
const WAITING_MAX: usize = 32;
const TIMES: f64 = 10.0;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// How it ended.
#[derive(Default)]
struct Outcome {
    answered: usize,
    expired: usize,
    failed: usize,
    late: usize,
}

/// Measures and returns the table.
pub(crate) fn measure() -> String {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        usual(panic);
    }));
    let lasts = Duration::from_secs(in_short(60, 10));
    let asking = Asking::open();
    runtime().block_on(async {
        let limits = EngineLimits { waiting_sequences_max: WAITING_MAX, ..EngineLimits::default() };
        let engine = engine(&served_graph(), ROWS_MAX, limits).await;
        let per_s = capacity(&engine, &asking).await;
        let house = (&engine, door());
        let (refusals_s, accepted) = flood(&house, &asking, per_s * TIMES, lasts).await;
        let outcome = outcome(accepted).await;
        let of = |share| quantile(refusals_s.clone(), share) * 1e3;
        format!(
            "| {TIMES} × {per_s:.0} per second for {} s | taken in | answered | not by the deadline, told so | failed | told later than the deadline | refused | a refusal p50, ms | p99, ms | longest, ms | panics |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n\
             | {PIECES} pieces, int4, {} s of patience | {} | {} | {} | **{}** | **{}** | {} | {:.3} | {:.3} | **{:.3}** | **{}** |\n",
            lasts.as_secs(),
            PATIENCE.as_secs(),
            outcome.answered + outcome.expired + outcome.failed,
            outcome.answered,
            outcome.expired,
            outcome.failed,
            outcome.late,
            refusals_s.len(),
            of(0.5),
            of(0.99),
            of(1.0),
            PANICS.load(Ordering::Relaxed),
        )
    })
}

/// Answers per second when there is always somebody waiting.
async fn capacity(engine: &EngineHandle, asking: &Asking) -> f64 {
    let clients = u8::try_from(4 * ROWS_MAX).expect("a few");
    let begun = Instant::now();
    join_all((0..clients).map(|seed| answered(engine, asking.request(Ask::new(seed, PROMPT, PIECES))))).await;
    f64::from(clients) / begun.elapsed().as_secs_f64()
}

/// As the origin's: as many as may wait may be inside.
fn door() -> Admission {
    Admission::new(AdmissionLimits {
        sequences_max: WAITING_MAX,
        request_sequences_max: 1,
        rows: ROWS_MAX,
        requests_max: ByEndpoint { generate: WAITING_MAX, batch: WAITING_MAX, stream: WAITING_MAX },
    })
}

/// Asks at an even pace. Seconds that each refusal took, and those who were taken in, each with a task that waits.
async fn flood(
    (engine, door): &(&EngineHandle, Admission),
    asking: &Asking,
    per_s: f64,
    lasts: Duration,
) -> (Vec<f64>, Vec<tokio::task::JoinHandle<(Result<(), SequenceError>, bool)>>) {
    let (mut refusals_s, mut accepted) = (Vec::new(), Vec::new());
    let (begun, mut asked) = (Instant::now(), 0_u32);
    while begun.elapsed() < lasts {
        let ask = Ask { patience: PATIENCE, ..Ask::new(asked as u8, PROMPT, PIECES) };
        let request = asking.request(ask);
        let (at, deadline) = (Instant::now(), request.deadline);
        let entrance = Entrance { sequences: 1, priority: ask.priority, endpoint: Endpoint::Generate, deadline };
        match door.enter(entrance) {
            Ok(permit) => {
                let pending = engine.submit(request).unwrap_or_else(|error| panic!("{error}"));
                accepted.push(tokio::spawn(told(pending, permit, deadline)));
            }
            Err(_) => refusals_s.push(at.elapsed().as_secs_f64()),
        }
        asked += 1;
        let due = begun + Duration::from_secs_f64(f64::from(asked) / per_s);
        tokio::time::sleep_until(due.into()).await;
    }
    (refusals_s, accepted)
}

/// What came of one, and whether it came too late.
async fn told(pending: AwaitedSequence, permit: Permit, deadline: Instant) -> (Result<(), SequenceError>, bool) {
    let outcome = pending.await.unwrap_or(Err(SequenceError::BackendFailed));
    drop(permit);
    (outcome.map(drop), Instant::now() > deadline + GRACE)
}

async fn outcome(accepted: Vec<tokio::task::JoinHandle<(Result<(), SequenceError>, bool)>>) -> Outcome {
    let mut outcome = Outcome::default();
    for told in join_all(accepted).await {
        let (result, is_late) = told.expect("whoever waits does not fail");
        outcome.late += usize::from(is_late);
        match result {
            Ok(()) => outcome.answered += 1,
            Err(SequenceError::DeadlineExceeded) => outcome.expired += 1,
            Err(_) => outcome.failed += 1,
        }
    }
    outcome
}
