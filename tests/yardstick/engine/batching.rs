//! Continuous batching: clients who arrive at random, against the same work one at a time.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lede_origin::engine::{EngineHandle, EngineLimits};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::asking::{Ask, Asking, answered, engine, quantile, runtime};
use crate::device::served_graph;
use crate::in_short;
use crate::meter::median;

/// Clients, and so rows.
const CLIENTS: u8 = 32;
/// Entries of each prompt and, at most, of each answer.
const PROMPT: usize = 48;
/// Enough for the first that is chosen: an answer begins with some that are not.
const FIRST: usize = 16;
/// Clients arrive evenly at random within this time.
const ARRIVALS: Duration = Duration::from_millis(1_500);

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
    let (rounds, pieces) = in_short((5, 64), (1, 16));
    let asking = Asking::open();
    let turns: Vec<Turn> = runtime().block_on(async {
        let mut turns = Vec::new();
        for round in 0..rounds {
            turns.push(turn(&asking, round, pieces).await);
        }
        turns
    });
    let of = |value: fn(&Turn) -> f64| median(turns.iter().map(value).collect());
    let ratio = of(|turn| turn.together_per_s / turn.alone_per_s);
    let steps = of(|turn| (turn.first_p95_ms - turn.own_prefill_ms) / turn.step_ms);
    format!(
        "| 32 clients, int4 | pieces per second | one at a time | ratio | first piece p50, ms | p95, ms | own prompt alone, ms | a step, ms | p95 less own prompt, in steps | rows of a step, mean |\n\
         |---|---|---|---|---|---|---|---|---|---|\n\
         | {CLIENTS} within {} ms | {:.0} | {:.0} | **{ratio:.2}** | {:.0} | {:.0} | {:.0} | {:.1} | **{steps:.1}** | {:.1} |\n",
        ARRIVALS.as_millis(),
        of(|turn| turn.together_per_s),
        of(|turn| turn.alone_per_s),
        of(|turn| turn.first_p50_ms),
        of(|turn| turn.first_p95_ms),
        of(|turn| turn.own_prefill_ms),
        of(|turn| turn.step_ms),
        of(|turn| turn.rows),
    )
}

/// Engines of their own for each way, so that their counters tell of it alone and nothing is kept from the other.
async fn turn(asking: &Asking, round: u64, pieces: usize) -> Turn {
    let limits = EngineLimits::default();
    let one = engine(&served_graph(), usize::from(CLIENTS), limits).await;
    let own_prefill_s = answered(&one, asking.request(Ask::new(200, PROMPT, FIRST))).await.first_s;
    let begun = Instant::now();
    let mut written = 0;
    for seed in 0..CLIENTS {
        written += answered(&one, asking.request(Ask::new(seed, PROMPT, pieces))).await.pieces;
    }
    let alone_per_s = written as f64 / begun.elapsed().as_secs_f64();
    drop(one);
    let many = engine(&served_graph(), usize::from(CLIENTS), limits).await;
    let (together_per_s, first_s) = together(&many, asking, round, pieces).await;
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

/// Pieces per second from the first arrival to the last answer, and seconds until each client's first.
async fn together(engine: &EngineHandle, asking: &Asking, round: u64, pieces: usize) -> (f64, Vec<f64>) {
    let mut random = ChaCha8Rng::seed_from_u64(round);
    let clients = (0..CLIENTS).map(|seed| {
        let request = asking.request(Ask::new(seed, PROMPT, pieces));
        let arrival = ARRIVALS.mul_f64(f64::from(random.next_u32()) / f64::from(u32::MAX));
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
