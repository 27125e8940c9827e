//! What the cache makes of the traces, against what others make of them.

use std::fmt::Write as _;

use lede_origin::cache::{MemorySettings, TieredCache};
use lede_tests::policies::{Fared, bound, greedy_dual, least_recently_used, optimum, replay, saving_bound};
use lede_tests::traces::{self, Trace, TraceRequest};
use moka::sync::Cache;

use crate::cached_trace::{CachedTrace, DEFAULT_SIZE, bytes_in_all, weighed};

/// Tight sizes: hot entries, and for the warm tier one part in so many of the trace's bytes.
const TIGHT: [(u64, u64); 2] = [(1_000, 10), (1_000, 50)];

/// The table.
pub(crate) fn table() -> String {
    let mut table = String::from(
        "| trace | hot entries + warm bytes | LRU | moka alone | Lede | optimum | bound | Lede ÷ optimum | device time saved: LRU | moka alone | \
         Lede | GDSF | bound |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for trace in traces::all().map(weighed) {
        for memory in sizes(&trace) {
            row(&mut table, &trace, memory);
        }
    }
    table
}

fn sizes(trace: &Trace) -> Vec<MemorySettings> {
    let tight = TIGHT.iter().map(|(hot_entries_max, part)| MemorySettings {
        hot_entries_max: *hot_entries_max,
        warm_bytes_max: trace.bytes() / part,
        ..DEFAULT_SIZE
    });
    [DEFAULT_SIZE].into_iter().chain(tight).collect()
}

fn row(table: &mut String, trace: &Trace, memory: MemorySettings) {
    let bytes = bytes_in_all(trace, &memory);
    let ours = CachedTrace::new(trace).replayed(trace, &TieredCache::new(memory, None));
    let (lru, plain, best) = (least_recently_used(trace, bytes), moka_alone(trace, bytes), optimum(trace, bytes));
    let hits = [lru, plain, ours, best, bound(trace, bytes)].map(|fared| percent(fared.hit_rate()));
    let saved = [lru, plain, ours, greedy_dual(trace, bytes, true), saving_bound(trace, bytes)];
    let saved = saved.map(|fared| percent(fared.saved_rate()));
    let ratio = ours.hit_rate() / best.hit_rate();
    let size = format!("{} + {:.1} MiB", memory.hot_entries_max, mebibytes(memory.warm_bytes_max));
    let (name, hits, saved) = (trace.name, hits.join(" | "), saved.join(" | "));
    let _ = writeln!(table, "| {name} | {size} | {hits} | **{ratio:.3}** | {saved} |");
}

/// One tier with all the bytes.
fn moka_alone(trace: &Trace, bytes_max: u64) -> Fared {
    let weigh = |_: &u32, request: &TraceRequest| request.bytes;
    let cache = Cache::builder().max_capacity(bytes_max).weigher(weigh).build();
    replay(trace, |request| {
        let is_hit = cache.get(&request.key).is_some();
        if !is_hit {
            cache.insert(request.key, *request);
        }
        is_hit
    })
}

fn percent(rate: f64) -> String {
    format!("{:.1} %", rate * 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "some million bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1_024.0 * 1_024.0)
}
