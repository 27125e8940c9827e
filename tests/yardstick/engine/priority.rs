//! What those before whom nobody goes notice of those behind everybody: their time to an answer, alone and in a flood.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::{join, join_all};
use lede_origin::engine::{EngineHandle, EngineLimits};
use lede_shared::plan::Priority;

use crate::asking::{Ask, Asking, answered, engine, quantile, runtime};
use crate::device::{ROWS_MAX, served_graph};
use crate::in_short;
use crate::meter::median;

/// Requests of low priority that are always there.
const FLOOD: u8 = 24;
const PROMPT: usize = 48;
const PIECES: usize = 24;
const PAUSE: Duration = Duration::from_millis(50);

/// Measures and returns the table.
pub(crate) fn measure() -> String {
    let (rounds, asked) = in_short((5, 40), (1, 6));
    let asking = Asking::open();
    let turns: Vec<[f64; 4]> = runtime().block_on(async {
        let engine = engine(&served_graph(), ROWS_MAX, EngineLimits::default()).await;
        let mut turns = Vec::new();
        for _ in 0..rounds {
            let alone = critical(&engine, &asking, asked).await;
            let flooded = flooded(&engine, &asking, asked).await;
            let of = |values: &Vec<f64>, share| quantile(values.clone(), share) * 1e3;
            turns.push([of(&alone, 0.5), of(&alone, 0.95), of(&flooded, 0.5), of(&flooded, 0.95)]);
        }
        turns
    });
    let of = |column: usize| median(turns.iter().map(|turn| turn[column]).collect());
    let ratio = median(turns.iter().map(|turn| turn[3] / turn[1]).collect());
    format!(
        "| critical, int4 | alone p50, ms | alone p95, ms | flooded p50, ms | flooded p95, ms | p95 flooded ÷ alone |\n|---|---|---|---|---|---|\n\
         | {PIECES} pieces, {FLOOD} of low priority always there | {:.0} | {:.0} | {:.0} | {:.0} | **{ratio:.2}** |\n",
        of(0),
        of(1),
        of(2),
        of(3),
    )
}

/// Seconds to each answer, one asked after the other.
async fn critical(engine: &EngineHandle, asking: &Asking, asked: u8) -> Vec<f64> {
    let mut seconds = Vec::new();
    for seed in 0..asked {
        let ask = Ask { priority: Priority::Critical, ..Ask::new(seed, PROMPT, PIECES) };
        seconds.push(answered(engine, asking.request(ask)).await.whole_s);
        tokio::time::sleep(PAUSE).await;
    }
    seconds
}

async fn flooded(engine: &EngineHandle, asking: &Asking, asked: u8) -> Vec<f64> {
    let is_over = Cell::new(false);
    let flood = join_all((0..FLOOD).map(|client| {
        let is_over = &is_over;
        async move {
            while !is_over.get() {
                let ask = Ask { priority: Priority::Low, ..Ask::new(100 + client, PROMPT, 2 * PIECES) };
                answered(engine, asking.request(ask)).await;
            }
        }
    }));
    let asked = async {
        tokio::time::sleep(PAUSE * 4).await;
        let seconds = critical(engine, asking, asked).await;
        is_over.set(true);
        seconds
    };
    join(flood, asked).await.1
}
