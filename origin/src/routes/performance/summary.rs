//! The cache on one screen.

use serde::Serialize;
use utoipa::ToSchema;

use crate::cache::CacheStats;
use crate::cache::stats::SizeAdvice;
use crate::config::CacheConfig;

/// With fewer look-ups nothing is advised.
const LOOK_UPS_MIN: u64 = 10_000;
/// Twice a tier is worth a word when it gives so many points.
const POINTS_WORTH_GROWING: f64 = 1.0;
/// Half of it when it costs no more than so many.
const POINTS_NOT_MISSED: f64 = -0.1;

/// What the cache does, in a few numbers.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CacheSummary {
    /// Look-ups since the process began.
    pub look_ups: u64,
    /// Those that any tier answered, 0 to 1.
    pub hit_rate: f64,
    /// The share of all look-ups that each tier answered, 0 to 1.
    pub by_tier: HitsByTier,
    /// Entries of the hot tier.
    pub hot_entries: u64,
    /// Bytes of the warm tier.
    pub warm_bytes: u64,
    /// What another size of the hot tier would give: hits in it.
    pub hot_sizes: Vec<SizeAdvice>,
    /// What another size of the warm tier would give: hits in memory.
    pub warm_sizes: Vec<SizeAdvice>,
    /// What follows from it, in words; empty when the sizes are right or nothing can be said yet.
    pub advice: Vec<String>,
}

/// Shares of all look-ups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct HitsByTier {
    /// In memory as it is served.
    pub hot: f64,
    /// In memory, compressed.
    pub warm: f64,
    /// On disk or in Redis.
    pub cold: f64,
}

/// A tier's size as it is set, and by which setting.
#[derive(Clone, Copy)]
struct Setting {
    name: &'static str,
    value: u64,
    gains: &'static str,
}

impl CacheSummary {
    pub(super) fn of(stats: &CacheStats, config: &CacheConfig) -> Self {
        let share = |hits: u64| {
            #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
            let share = hits as f64 / stats.look_ups.max(1) as f64;
            (share * 10_000.0).round() / 10_000.0
        };
        let hot =
            Setting { name: "LEDE_HOT_ENTRIES_MAX", value: config.hot_entries_max, gains: "from the hot tier" };
        let warm = Setting { name: "LEDE_WARM_BYTES_MAX", value: config.warm_bytes_max, gains: "from memory" };
        let advice = [(hot, &stats.ghosts.hot), (warm, &stats.ghosts.warm)];
        let advice = advice.into_iter().filter_map(|(setting, sizes)| advised(setting, sizes));
        Self {
            look_ups: stats.look_ups,
            hit_rate: stats.hit_rate,
            by_tier: HitsByTier {
                hot: share(stats.hot.tier.hits),
                warm: share(stats.warm.tier.hits),
                cold: share(stats.cold.as_ref().map_or(0, |cold| cold.tier.hits)),
            },
            hot_entries: stats.hot.entries,
            warm_bytes: stats.warm.bytes,
            hot_sizes: stats.ghosts.hot.clone(),
            warm_sizes: stats.ghosts.warm.clone(),
            advice: if stats.look_ups < LOOK_UPS_MIN { Vec::new() } else { advice.collect() },
        }
    }
}

fn advised(setting: Setting, sizes: &[SizeAdvice]) -> Option<String> {
    let points = |percent: u64| sizes.iter().find(|size| size.size_percent == percent).map(|size| size.points);
    let Setting { name, value, gains } = setting;
    if let Some(points) = points(200).filter(|points| *points >= POINTS_WORTH_GROWING) {
        return Some(format!(
            "{name}={} would answer {points:.1} % of all look-ups more {gains}",
            value.saturating_mul(2)
        ));
    }
    points(50).filter(|points| *points >= POINTS_NOT_MISSED)?;
    Some(format!("{name}={} would do as well: half of it is hardly used", value / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOT: Setting = Setting { name: "LEDE_HOT_ENTRIES_MAX", value: 100, gains: "from the hot tier" };

    fn sizes(half: f64, twice: f64) -> Vec<SizeAdvice> {
        let advice = |size_percent, points| SizeAdvice { size_percent, points };
        vec![advice(50, half), advice(200, twice), advice(400, twice)]
    }

    #[test]
    fn a_tier_that_is_too_small_is_told_what_twice_of_it_gives() {
        let advice = advised(HOT, &sizes(-5.0, 2.34)).unwrap();
        assert_eq!(advice, "LEDE_HOT_ENTRIES_MAX=200 would answer 2.3 % of all look-ups more from the hot tier");
    }

    #[test]
    fn a_tier_that_is_too_large_may_shrink_and_one_that_is_right_is_left_alone() {
        assert_eq!(
            advised(HOT, &sizes(-0.05, 0.0)).unwrap(),
            "LEDE_HOT_ENTRIES_MAX=50 would do as well: half of it is hardly used"
        );
        assert_eq!(advised(HOT, &sizes(-3.0, 0.4)), None);
    }
}
