//! The counts as they are told. All begin at nought with the process.

use serde::Serialize;
use utoipa::ToSchema;

use super::lanes::Counter;
use super::{AGES, AGES_ONE_IN, AGES_UP_TO, Counts, Departures};
use crate::cache::cold::ColdState;
use crate::cache::entry::Tier;
use crate::cache::ghost::GhostAdvice;
use crate::cache::warm;

/// What the cache has done since the process began, and what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CacheStats {
    /// Look-ups. Each asks the tiers in memory; who finds nothing there may go on to the cold tier.
    pub look_ups: u64,
    /// Those that any tier answered, 0 to 1. What was found stale counts, too.
    pub hit_rate: f64,
    /// In memory as it is served.
    pub hot: HotStats,
    /// In memory, compressed.
    pub warm: WarmStats,
    /// On disk or in Redis; absent where there is no cold tier.
    pub cold: Option<ColdStats>,
    /// What other sizes would give.
    pub ghosts: GhostStats,
}

/// Look-ups that reached a tier.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TierStats {
    /// Look-ups that it answered.
    pub hits: u64,
    /// Look-ups that it had nothing for.
    pub misses: u64,
    /// Hits among the look-ups that reached it, 0 to 1.
    pub hit_rate: f64,
    /// How old what it answered with was, of one hit in 16.
    pub hit_ages: Vec<AgeBucket>,
}

/// The hot tier.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct HotStats {
    /// Look-ups.
    #[serde(flatten)]
    pub tier: TierStats,
    /// Entries that it holds, approximately.
    pub entries: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Why entries left it.
    pub evictions: Evictions,
    /// How old those were that had to make room or had expired.
    pub evicted_ages: Vec<AgeBucket>,
}

/// The warm tier.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WarmStats {
    /// Look-ups that the hot tier had nothing for.
    #[serde(flatten)]
    pub tier: TierStats,
    /// Entries that it holds.
    pub entries: u64,
    /// Bytes that it takes, with its books about each entry.
    pub bytes: u64,
    /// Answers put into the cache.
    pub insertions: u64,
    /// Bytes as kept for each byte of those answers; 0 before the first.
    pub compression_ratio: f64,
    /// Entries that had to make room.
    pub evicted_for_room: u64,
    /// Entries that nobody asked for, or that were good for nothing any more.
    pub expired: u64,
}

/// The cold tier.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ColdStats {
    /// Look-ups that the tiers in memory had nothing for, one for all who ask for the same at a time.
    #[serde(flatten)]
    pub tier: TierStats,
    /// Entries, where the store can tell.
    pub entries: Option<u64>,
    /// Bytes, where the store can tell.
    pub bytes: Option<u64>,
    /// Calls that failed or were not answered in time.
    pub failures: u64,
    /// Is it left alone for a while because it failed?
    pub is_left_alone: bool,
    /// Writes that were dropped because too many waited.
    pub writes_dropped: u64,
}

/// Why entries left a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Evictions {
    /// To make room, or because what was there was worth more.
    pub for_room: u64,
    /// Nobody had asked for them, or they were good for nothing any more.
    pub expired: u64,
    /// Invalidated or cleared.
    pub removed: u64,
    /// Another answer took their place.
    pub replaced: u64,
}

/// How many were that old: as old as the bucket before says, or older, and younger than this one says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgeBucket {
    /// Seconds since the answer was made; absent in the last bucket, which has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub younger_than_s: Option<u64>,
    /// How many.
    pub count: u64,
}

/// What other sizes of the tiers in memory would have given since the process began.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct GhostStats {
    /// Of the hot tier: more or fewer hits in it, which cost less than those of the warm tier.
    pub hot: Vec<SizeAdvice>,
    /// Of the warm tier: more or fewer hits in memory at all.
    pub warm: Vec<SizeAdvice>,
    /// Memory that this knowledge takes.
    pub bytes: u64,
}

/// What another size would give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct SizeAdvice {
    /// The size in percent of what is set.
    pub size_percent: u64,
    /// Percentage points of all look-ups, more or fewer.
    pub points: f64,
}

impl Counts {
    /// Puts together what the tiers count themselves and what is counted of look-ups.
    pub(in crate::cache) fn report(
        &self,
        (hot_entries, departures): (u64, &Departures),
        warm: warm::WarmStats,
        cold: Option<ColdState>,
    ) -> CacheStats {
        let sum = |counter| self.lanes.sum(counter);
        let (hot_hits, warm_hits) = (sum(Counter::HotHits), sum(Counter::WarmHits));
        let (memory_misses, cold_hits) = (sum(Counter::MemoryMisses), sum(Counter::ColdHits));
        let look_ups = hot_hits + warm_hits + memory_misses;
        let tier = |tier, hits, misses| TierStats {
            hits,
            misses,
            hit_rate: share(hits, hits + misses),
            hit_ages: age_buckets(&self.lanes.ages(tier).map(|count| count * AGES_ONE_IN)),
        };
        CacheStats {
            look_ups,
            hit_rate: share((hot_hits + warm_hits + cold_hits).min(look_ups), look_ups),
            hot: HotStats {
                tier: tier(Tier::Hot, hot_hits, warm_hits + memory_misses),
                entries: hot_entries,
                body_bytes: departures.bytes(),
                evictions: departures.evictions(),
                evicted_ages: departures.ages(),
            },
            warm: WarmStats {
                tier: tier(Tier::Warm, warm_hits, memory_misses),
                entries: warm.entries,
                bytes: warm.bytes,
                insertions: sum(Counter::Puts),
                compression_ratio: share(sum(Counter::EncodedBytes), sum(Counter::BodyBytes)),
                evicted_for_room: warm.evicted,
                expired: warm.expired,
            },
            cold: cold.map(|state| ColdStats {
                tier: tier(Tier::Cold, cold_hits, sum(Counter::ColdMisses)),
                entries: state.size.entries,
                bytes: state.size.bytes,
                failures: state.failures,
                is_left_alone: state.is_left_alone,
                writes_dropped: state.writes_dropped,
            }),
            ghosts: self.ghost_stats(look_ups),
        }
    }

    fn ghost_stats(&self, look_ups: u64) -> GhostStats {
        let told = |advice: Vec<GhostAdvice>| {
            let rounded = |points: f64| (points * 100.0).round() / 100.0;
            let one = |advice: GhostAdvice| SizeAdvice {
                size_percent: advice.size_percent,
                points: rounded(advice.points),
            };
            advice.into_iter().map(one).collect()
        };
        GhostStats {
            hot: told(self.ghosts.hot_advice(look_ups)),
            warm: told(self.ghosts.warm_advice(look_ups)),
            bytes: self.ghosts.bytes() as u64,
        }
    }
}

pub(super) fn age_buckets(counts: &[u64; AGES]) -> Vec<AgeBucket> {
    let up_to = AGES_UP_TO.iter().map(|up_to| Some(up_to.as_secs())).chain([None]);
    up_to.zip(counts).map(|(younger_than_s, count)| AgeBucket { younger_than_s, count: *count }).collect()
}

/// Rounded to four places; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0 }
}
