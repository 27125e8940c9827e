//! Continuous batching: clients who arrive at random, against the same work one at a time.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lede_origin::engine::sequence::SequenceRequest;
use lede_origin::engine::{EngineHandle, EngineLimits};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::asking::{Ask, Asking, answered, engine, quantile, runtime};
use crate::device::{self, graph};
use crate::in_short;
use crate::meter::median;

/// Clients, and so rows.
const CLIENTS: u8 = 32;
/// Entries of each prompt and, at most, of each answer.
const PROMPT: usize = 48;
/// Enough for the first that is chosen: an answer begins with some that are not.
const FIRST: usize = 16;
/// What is measured.
struct Case {
    graph: &'static str,
    /// Entries that all prompts begin with.
    shared: usize,
    /// Clients arrive evenly at random within this time.
    arrivals: Duration,
}

const CASES: [Case; 4] = [
    Case { graph: "int4", shared: 0, arrivals: AT_ONCE },
    Case { graph: "int8", shared: 0, arrivals: AT_ONCE },
    Case { graph: "int8", shared: 32, arrivals: AT_ONCE },
    Case { graph: "int8", shared: 32, arrivals: ONE_BY_ONE },
];
/// In less time than their prompts alone take: all rows are taken soon.
const AT_ONCE: Duration = Duration::from_millis(1_500);
/// So that the device is about two thirds busy.
const ONE_BY_ONE: Duration = Duration::from_secs(7);

/// One turn of each way.
struct Turn {
    together_per_s: f64,
    alone_per_s: f64,
    first_p50_ms: f64,
    first_p95_ms: f64,
    own_prefill_ms: f64,
    step_ms: f64,
    rows: f64,
}

/// Measures and returns the table.
pub(crate) fn measure() -> String {
    let (rounds, pieces) = in_short((3, 64), (1, 16));
    let asking = Asking::open();
    let mut table = String::from(
        "| 32 clients, prompts of 48 | pieces per second | one at a time | ratio | first piece p50, ms | p95, ms | own prompt alone, ms | a step, ms | p95 less own prompt, in steps | rows of a step, mean |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for case in CASES {
        let turns: Vec<Turn> = runtime().block_on(async {
            let mut turns = Vec::new();
            for round in 0..rounds {
                turns.push(turn(&asking, &case, (round, pieces)).await);
            }
            turns
        });
        write_row(&mut table, &case, &turns);
    }
    table
}

fn write_row(table: &mut String, case: &Case, turns: &[Turn]) {
    let of = |value: fn(&Turn) -> f64| median(turns.iter().map(value).collect());
    let _ = writeln!(
        table,
        "| {}, {} of them alike, within {:.1} s | {:.0} | {:.0} | **{:.2}** | {:.0} | {:.0} | {:.0} | {:.1} | **{:.1}** | {:.1} |",
        case.graph,
        case.shared,
        case.arrivals.as_secs_f64(),
        of(|turn| turn.together_per_s),
        of(|turn| turn.alone_per_s),
        of(|turn| turn.together_per_s / turn.alone_per_s),
        of(|turn| turn.first_p50_ms),
        of(|turn| turn.first_p95_ms),
        of(|turn| turn.own_prefill_ms),
        of(|turn| turn.step_ms),
        of(|turn| (turn.first_p95_ms - turn.own_prefill_ms) / turn.step_ms),
        of(|turn| turn.rows),
    );
}

/// Engines of their own for each way, so that their counters tell of it alone and nothing is kept from the other.
async fn turn(asking: &Asking, case: &Case, (round, pieces): (u64, usize)) -> Turn {
    let limits = EngineLimits::default();
    let one = engine(&graph(case.graph), usize::from(CLIENTS), limits).await;
    // The second has what the first has left, as all but the first of many have.
    answered(&one, request(asking, case, 200, FIRST)).await;
    let own_prefill_s = answered(&one, request(asking, case, 201, FIRST)).await.first_s;
    let begun = Instant::now();
    let mut written = 0;
    for seed in 0..CLIENTS {
        written += answered(&one, request(asking, case, seed, pieces)).await.pieces;
    }
    let alone_per_s = written as f64 / begun.elapsed().as_secs_f64();
    drop(one);
    let many = engine(&graph(case.graph), usize::from(CLIENTS), limits).await;
    let (together_per_s, first_s) = together(&many, asking, case, (round, pieces)).await;
    let stats = many.counters().stats(Instant::now());
    Turn {
        together_per_s,
        alone_per_s,
        first_p50_ms: quantile(first_s.clone(), 0.5) * 1e3,
        first_p95_ms: quantile(first_s, 0.95) * 1e3,
        own_prefill_ms: own_prefill_s * 1e3,
        step_ms: stats.step_ms.p50,
        rows: stats.batch_rows.mean,
    }
}

fn request(asking: &Asking, case: &Case, seed: u8, pieces: usize) -> SequenceRequest {
    let own = |(index, id): (usize, u32)| if index < case.shared { id } else { id + u32::from(seed) };
    let prompt_ids = device::prompt(PROMPT).into_iter().enumerate().map(own).collect();
    asking.request_for(Ask::new(seed, PROMPT, pieces), prompt_ids)
}

/// Pieces per second from the first arrival to the last answer, and seconds until each client's first.
async fn together(
    engine: &EngineHandle,
    asking: &Asking,
    case: &Case,
    (round, pieces): (u64, usize),
) -> (f64, Vec<f64>) {
    let mut random = ChaCha8Rng::seed_from_u64(round);
    let clients = (0..CLIENTS).map(|seed| {
        let request = request(asking, case, seed, pieces);
        let arrival = case.arrivals.mul_f64(f64::from(random.next_u32()) / f64::from(u32::MAX));
        async move {
            tokio::time::sleep(arrival).await;
            answered(engine, request).await
        }
    });
    let clients: Vec<_> = clients.collect();
    let begun = Instant::now();
    let all = join_all(clients).await;
    let written: usize = all.iter().map(|answered| answered.pieces).sum();
    (written as f64 / begun.elapsed().as_secs_f64(), all.into_iter().map(|answered| answered.first_s).collect())
}
