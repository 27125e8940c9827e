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
/// The same while popularity drifts: in so few entries, how soon a newcomer gets in is a matter of luck.
const POINTS_OFF_WHILE_DRIFTING_MAX: f64 = 2.5;
/// What is tried for real; four times the size would show no more and cost two more replays.
const SIZE_PERCENT_MAX: u64 = 200;

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
    async fn holds(&self, points_off_max: f64) {
        let small = self.stats(SMALL).await;
        let tried = |advice: &&SizeAdvice| advice.size_percent <= SIZE_PERCENT_MAX;
        for advice in small.ghosts.hot.iter().filter(tried) {
            let other =
                MemorySettings { hot_entries_max: SMALL.hot_entries_max * advice.size_percent / 100, ..SMALL };
            let gained = points(|stats| stats.hot.tier.hits, &small, &self.stats(other).await);
            is_near(*advice, gained, points_off_max);
        }
        for advice in small.ghosts.warm.iter().filter(tried) {
            let other =
                MemorySettings { warm_bytes_max: SMALL.warm_bytes_max / 100 * advice.size_percent, ..SMALL };
            let in_memory = |stats: &CacheStats| stats.hot.tier.hits + stats.warm.tier.hits;
            is_near(*advice, points(in_memory, &small, &self.stats(other).await), points_off_max);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousand requests")]
fn points(hits: impl Fn(&CacheStats) -> u64, small: &CacheStats, other: &CacheStats) -> f64 {
    (hits(other) as f64 - hits(small) as f64) / small.look_ups as f64 * 100.0
}

fn is_near(advice: SizeAdvice, gained: f64, points_off_max: f64) {
    assert!((advice.points - gained).abs() <= points_off_max, "{advice:?}, and it is {gained}");
}

#[tokio::test]
async fn under_a_steady_load_ghosts_say_what_other_sizes_give() {
    Trial::new(traces::zipf()).holds(POINTS_OFF_MAX).await;
}

#[tokio::test]
async fn while_popularity_drifts_ghosts_say_what_other_sizes_give() {
    Trial::new(traces::drifting()).holds(POINTS_OFF_WHILE_DRIFTING_MAX).await;
}

#[tokio::test]
async fn beside_scans_ghosts_say_what_other_sizes_give() {
    Trial::new(traces::scanned()).holds(POINTS_OFF_MAX).await;
}
