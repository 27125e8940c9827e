//! What it costs to count: a hit in the hot tier with statistics and ghosts, and without.

use std::hint::black_box;
use std::time::Instant;

use lede_origin::cache::TieredCache;
use lede_shared::cache_key::CacheKey;
use lede_tests::traces::{self, Trace};
use sha2::{Digest, Sha256};

use crate::cached_trace::{CachedTrace, DEFAULT_SIZE, weighed};

const ROUNDS: usize = 15;
/// Different keys, all of them hot.
const KEYS: u32 = 4_096;
const LOOK_UPS: usize = 1_000_000;

/// The table.
pub(crate) fn table() -> String {
    let mut trace = weighed(traces::zipf());
    trace.requests.truncate(300_000);
    let cache = TieredCache::new(DEFAULT_SIZE, None);
    CachedTrace::new(&trace).replayed(&trace, &cache);
    let keys = keys(&trace);
    keys.iter().for_each(|key| _ = black_box(cache.in_memory(key)));
    let mut pairs = Vec::new();
    for _ in 0..ROUNDS {
        let uncounted = ns_of(&keys, |key| cache.held(key).is_some());
        let counted = ns_of(&keys, |key| cache.in_memory(key).is_some());
        pairs.push((uncounted, counted));
    }
    let (uncounted, counted) = (median(pairs.iter().map(|pair| pair.0)), median(pairs.iter().map(|pair| pair.1)));
    let ratio = median(pairs.iter().map(|(uncounted, counted)| counted / uncounted));
    format!(
        "| a hot hit, one thread | without counting | counted | ratio |\n|---|---|---|---|\n\
         | ns | {uncounted:.0} | {counted:.0} | **{ratio:.3}** |\n"
    )
}

/// Keys of the trace that are asked for most.
fn keys(trace: &Trace) -> Vec<CacheKey> {
    let mut counts = vec![0_u32; trace.keys()];
    trace.requests.iter().for_each(|request| counts[request.key as usize] += 1);
    let mut keys: Vec<u32> = (0..).take(trace.keys()).collect();
    keys.sort_by_key(|key| std::cmp::Reverse(counts[*key as usize]));
    keys[..KEYS as usize].iter().map(|key| CacheKey(Sha256::digest(key.to_be_bytes()).into())).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a million look-ups")]
fn ns_of(keys: &[CacheKey], is_hit: impl Fn(&CacheKey) -> bool) -> f64 {
    let began = Instant::now();
    let hits = keys.iter().cycle().take(LOOK_UPS).filter(|key| is_hit(key)).count();
    let ns = began.elapsed().as_nanos() as f64 / LOOK_UPS as f64;
    assert_eq!(black_box(hits), LOOK_UPS);
    ns
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
