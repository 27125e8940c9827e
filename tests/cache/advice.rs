//! What the ghosts say of other sizes, against the cache in these sizes.

use lede_origin::cache::stats::SizeAdvice;
use lede_origin::cache::{CacheStats, MemorySettings, TieredCache};
use lede_tests::traces::{self, Trace};

use crate::cached_trace::{CachedTrace, DEFAULT_SIZE, weighed};

/// Tiers that are too small for the traces, so that sizes matter.
const SMALL: MemorySettings =
    MemorySettings { hot_entries_max: 2_000, warm_bytes_max: 2 * 1_024 * 1_024, ..DEFAULT_SIZE };
const REQUESTS: usize = 150_000;
/// How far from the truth the ghosts may be.
const POINTS_OFF_MAX: f64 = 1.5;

struct Trial {
    trace: Trace,
    cached: CachedTrace,
}

impl Trial {
    fn new(mut trace: Trace) -> Self {
        trace.requests.truncate(REQUESTS);
        let trace = weighed(trace);
        Self { cached: CachedTrace::new(&trace), trace }
    }

    async fn stats(&self, memory: MemorySettings) -> CacheStats {
        let cache = TieredCache::new(memory, None);
        self.cached.replayed(&self.trace, &cache);
        cache.stats().await
    }

    /// Asserts what is said of both tiers; what it is worth at all has to be there to be seen.
    async fn holds(&self) {
        let small = self.stats(SMALL).await;
        for advice in &small.ghosts.hot {
            let other =
                MemorySettings { hot_entries_max: SMALL.hot_entries_max * advice.size_percent / 100, ..SMALL };
            let gained = points(|stats| stats.hot.tier.hits, &small, &self.stats(other).await);
            is_near(*advice, gained);
        }
        for advice in &small.ghosts.warm {
            let other =
                MemorySettings { warm_bytes_max: SMALL.warm_bytes_max / 100 * advice.size_percent, ..SMALL };
            let in_memory = |stats: &CacheStats| stats.hot.tier.hits + stats.warm.tier.hits;
            is_near(*advice, points(in_memory, &small, &self.stats(other).await));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousand requests")]
fn points(hits: impl Fn(&CacheStats) -> u64, small: &CacheStats, other: &CacheStats) -> f64 {
    (hits(other) as f64 - hits(small) as f64) / small.look_ups as f64 * 100.0
}

fn is_near(advice: SizeAdvice, gained: f64) {
    assert!((advice.points - gained).abs() <= POINTS_OFF_MAX, "{advice:?}, and it is {gained}");
}

#[tokio::test]
async fn under_a_steady_load_ghosts_say_what_other_sizes_give() {
    Trial::new(traces::zipf()).holds().await;
}

#[tokio::test]
async fn while_popularity_drifts_ghosts_say_what_other_sizes_give() {
    Trial::new(traces::drifting()).holds().await;
}

#[tokio::test]
async fn beside_scans_ghosts_say_what_other_sizes_give() {
    Trial::new(traces::scanned()).holds().await;
}
