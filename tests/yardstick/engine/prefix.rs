//! Time to the first piece when the beginning of a prompt was read before, against reading all of it.

use std::sync::Arc;

use lede_origin::engine::EngineLimits;

use crate::asking::{Ask, Asking, answered, engine, runtime};
use crate::device::{self, ROWS_MAX, served_graph};
use crate::in_short;
use crate::meter::median;

/// Entries that all prompts begin with, and that each has of its own.
const SHARED: usize = 200;
const OWN: usize = 16;
/// Enough for the first that is chosen: an answer begins with some that are not.
const PIECES: usize = 16;

/// Measures and returns the table.
pub(crate) fn measure() -> String {
    let rounds = in_short(41, 5);
    let asking = Asking::open();
    let pairs: Vec<(f64, f64)> = runtime().block_on(async {
        let limits = EngineLimits::default();
        let keeping = engine(&served_graph(), ROWS_MAX, limits).await;
        let plain = engine(&served_graph(), ROWS_MAX, EngineLimits { prefix_positions_max: 0, ..limits }).await;
        let mut pairs = Vec::new();
        for round in 0..=rounds {
            let ask = Ask::new(round, SHARED + OWN, PIECES);
            let with_s = answered(&keeping, asking.request_for(ask, prompt(round))).await.first_s;
            let without_s = answered(&plain, asking.request_for(ask, prompt(round))).await.first_s;
            // The first of all reads the beginning for the others.
            if round > 0 {
                pairs.push((with_s * 1e3, without_s * 1e3));
            }
        }
        pairs
    });
    let of = |value: fn(&(f64, f64)) -> f64| median(pairs.iter().map(value).collect());
    format!(
        "| time to the first piece, int4 | shared beginning kept, ms | without, ms | ratio |\n|---|---|---|---|\n\
         | {SHARED} shared entries, {OWN} of its own | {:.1} | {:.1} | **{:.2}** |\n",
        of(|pair| pair.0),
        of(|pair| pair.1),
        of(|pair| pair.0 / pair.1),
    )
}

fn prompt(round: u8) -> Arc<[u32]> {
    let own = device::prompt(OWN).into_iter().map(|id| id + 1 + u32::from(round));
    device::prompt(SHARED).into_iter().chain(own).collect()
}
