//! What the cache would do if a tier had another size: ghosts of the tiers that hold keys and no answers, for a fixed
//! sample of all keys, each scaled down as the sample is (SHARDS and miniature simulation; Waldspurger and others, 2015 and
//! 2017).
//!
//! Whether a key belongs to the sample is decided by its bits, so all look-ups of a key belong to it or none does. A few
//! popular keys more or fewer than their share in the sample would shift every hit rate by whole points, but all sizes by
//! the same: only differences between sizes are told.

mod compact;
mod frequency;
mod shadow;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lede_shared::cache_key::CacheKey;

use self::compact::CompactShadow;
use self::shadow::Shadow;
use super::MemorySettings;

/// Sizes that are tried, as multiples of the real one, in percent.
pub const GHOST_SIZES_PERCENT: [u64; 4] = [50, 100, 200, 400];
/// Where in [`GHOST_SIZES_PERCENT`] the real size is.
const REAL_SIZE: usize = 1;
/// So many entries, or more, has the ghost of a tier's real size: with fewer the sample says little.
const GHOST_ENTRIES_MIN: u64 = 512;
/// Of how many keys at most one is looked at.
const ONE_IN_MAX: u64 = 4_096;
/// What an entry of the warm tier is taken to have before the first one is known.
const WARM_BYTES_EXPECTED: u64 = 512;

/// What another size would give: percentage points of all look-ups, more or fewer than now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GhostAdvice {
    /// The size, in percent of the real one.
    pub size_percent: u64,
    /// Hits of the tier itself (hot) or of the memory tiers together (warm).
    pub points: f64,
}

/// Ghosts of the hot and of the warm tier.
#[derive(Debug)]
pub struct Ghosts {
    hot: Sample<HotSizes>,
    warm: Sample<WarmSizes>,
    started_at: Instant,
}

/// A tier in all sizes, for one key in so many.
#[derive(Debug)]
struct Sample<S> {
    one_in: u64,
    sizes: Mutex<S>,
}

#[derive(Debug)]
struct HotSizes {
    shadows: [Shadow; 4],
    hits: [u64; 4],
}

#[derive(Debug)]
struct WarmSizes {
    /// The hot tier in its real size: what it has is not asked for further on.
    front: Shadow,
    shadows: [CompactShadow; 4],
    hits: [u64; 4],
    /// Bytes in the tier for each byte of a body, as last seen.
    weight_ratio: f64,
}

impl Ghosts {
    /// Ghosts of such tiers, all empty.
    #[must_use]
    pub fn new(settings: &MemorySettings) -> Self {
        let hot_one_in = one_in(settings.hot_entries_max);
        let hot = |percent: u64, one_in: u64| {
            let entries = (settings.hot_entries_max * percent / 100).div_ceil(one_in);
            Shadow::new(entries, whole_s(settings.hot_idle), count(entries))
        };
        let warm_one_in = one_in(settings.warm_bytes_max / WARM_BYTES_EXPECTED);
        let warm = |percent: u64| {
            let bytes = (settings.warm_bytes_max / 100 * percent).div_ceil(warm_one_in);
            CompactShadow::new(bytes, whole_s(settings.warm_idle), count(bytes / WARM_BYTES_EXPECTED))
        };
        let hot_sizes =
            HotSizes { shadows: GHOST_SIZES_PERCENT.map(|percent| hot(percent, hot_one_in)), hits: [0; 4] };
        let warm_sizes = WarmSizes {
            front: hot(100, warm_one_in),
            shadows: GHOST_SIZES_PERCENT.map(warm),
            hits: [0; 4],
            weight_ratio: 0.5,
        };
        Self {
            hot: Sample { one_in: hot_one_in, sizes: Mutex::new(hot_sizes) },
            warm: Sample { one_in: warm_one_in, sizes: Mutex::new(warm_sizes) },
            started_at: Instant::now(),
        }
    }

    /// A look-up in memory, and how many bytes the body had if it was there.
    pub fn looked_up(&self, key: &CacheKey, found_bytes: Option<usize>) {
        let bits = sampling_bits(key);
        if self.hot.has(bits) {
            self.hot.sizes().look_up(hash(key), found_bytes.is_some(), self.now_s());
        }
        if self.warm.has(bits) {
            self.warm.sizes().look_up(hash(key), found_bytes, self.now_s());
        }
    }

    /// Something is kept: a body of so many bytes that has so many in the warm tier.
    pub fn put(&self, key: &CacheKey, body_bytes: usize, warm_bytes: usize) {
        let bits = sampling_bits(key);
        if self.hot.has(bits) {
            self.hot.sizes().put(hash(key), self.now_s());
        }
        if self.warm.has(bits) {
            self.warm.sizes().put(hash(key), (body_bytes, warm_bytes), self.now_s());
        }
    }

    /// The hot tier is empty again, in every size.
    pub fn clear_hot(&self) {
        self.hot.sizes().shadows.iter_mut().for_each(Shadow::clear);
        self.warm.sizes().front.clear();
    }

    /// The warm tier is.
    pub fn clear_warm(&self) {
        self.warm.sizes().shadows.iter_mut().for_each(CompactShadow::clear);
    }

    /// What other sizes of the hot tier would give, after so many look-ups.
    #[must_use]
    pub fn hot_advice(&self, look_ups: u64) -> Vec<GhostAdvice> {
        let hits = self.hot.sizes().hits;
        advice(&hits, look_ups, self.hot.one_in)
    }

    /// What other sizes of the warm tier would give.
    #[must_use]
    pub fn warm_advice(&self, look_ups: u64) -> Vec<GhostAdvice> {
        let hits = self.warm.sizes().hits;
        advice(&hits, look_ups, self.warm.one_in)
    }

    /// Memory that the ghosts take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.hot.sizes().bytes() + self.warm.sizes().bytes()
    }

    fn now_s(&self) -> u32 {
        u32::try_from(self.started_at.elapsed().as_secs()).unwrap_or(u32::MAX)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn advice(hits: &[u64; 4], look_ups: u64, one_in: u64) -> Vec<GhostAdvice> {
    // By the share that the sample should have had of all look-ups: what it has is a matter of which keys are in it.
    let expected = (look_ups as f64 / one_in as f64).max(1.0);
    let points = |hits_there: u64| (hits_there as f64 - hits[REAL_SIZE] as f64) / expected * 100.0;
    let sizes = GHOST_SIZES_PERCENT.into_iter().zip(hits);
    let others = sizes.filter(|(size_percent, _)| *size_percent != GHOST_SIZES_PERCENT[REAL_SIZE]);
    others.map(|(size_percent, hits)| GhostAdvice { size_percent, points: points(*hits) }).collect()
}

impl<S> Sample<S> {
    /// Powers of two only, so the lowest bits decide.
    const fn has(&self, bits: u64) -> bool {
        bits & (self.one_in - 1) == 0
    }

    fn sizes(&self) -> MutexGuard<'_, S> {
        // A half-done change can make an estimate wrong by one entry, and nothing else.
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HotSizes {
    fn look_up(&mut self, hash: u64, was_found: bool, now_s: u32) {
        for (shadow, hits) in self.shadows.iter_mut().zip(&mut self.hits) {
            if shadow.look_up(hash, now_s) {
                *hits += 1;
            } else if was_found {
                shadow.put(hash, 1, now_s);
            }
        }
    }

    fn put(&mut self, hash: u64, now_s: u32) {
        self.shadows.iter_mut().for_each(|shadow| shadow.put(hash, 1, now_s));
    }

    fn bytes(&self) -> usize {
        self.shadows.iter().map(Shadow::bytes).sum()
    }
}

impl WarmSizes {
    /// As the real cache goes about it: the hot tier first, and what is found further on is kept there too.
    fn look_up(&mut self, hash: u64, found_bytes: Option<usize>, now_s: u32) {
        if self.front.look_up(hash, now_s) {
            self.hits.iter_mut().for_each(|hits| *hits += 1);
            return;
        }
        if found_bytes.is_some() {
            self.front.put(hash, 1, now_s);
        }
        let weight = found_bytes.map(|bytes| weight(bytes, self.weight_ratio));
        for (shadow, hits) in self.shadows.iter_mut().zip(&mut self.hits) {
            if shadow.look_up(hash, now_s) {
                *hits += 1;
            } else if let Some(weight) = weight {
                shadow.put(hash, weight, now_s);
            }
        }
    }

    fn put(&mut self, hash: u64, (body_bytes, warm_bytes): (usize, usize), now_s: u32) {
        self.weight_ratio += (ratio(warm_bytes, body_bytes) - self.weight_ratio) / 16.0;
        let weight = u32::try_from(warm_bytes).unwrap_or(u32::MAX);
        self.front.put(hash, 1, now_s);
        self.shadows.iter_mut().for_each(|shadow| shadow.put(hash, weight, now_s));
    }

    fn bytes(&self) -> usize {
        self.front.bytes() + self.shadows.iter().map(CompactShadow::bytes).sum::<usize>()
    }
}

/// The largest sample step, a power of two, that leaves the ghost of the real size enough entries.
fn one_in(entries: u64) -> u64 {
    let most = (entries / GHOST_ENTRIES_MIN).clamp(1, ONE_IN_MAX);
    1 << most.ilog2()
}

/// Bits that no table of the cache takes its places from.
fn sampling_bits(key: &CacheKey) -> u64 {
    u64::from(u16::from_le_bytes([key.0[30], key.0[31]]))
}

fn hash(key: &CacheKey) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&key.0[..8]);
    u64::from_le_bytes(bytes)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a body's bytes"
)]
fn weight(body_bytes: usize, ratio: f64) -> u32 {
    (body_bytes as f64 * ratio) as u32
}

#[expect(clippy::cast_precision_loss, reason = "a body's bytes")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn count(entries: u64) -> usize {
    usize::try_from(entries).unwrap_or(usize::MAX)
}

fn whole_s(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    const SETTINGS: MemorySettings = MemorySettings {
        hot_entries_max: 10_000,
        hot_idle: Duration::from_secs(300),
        warm_bytes_max: 64 * 1_024 * 1_024,
        warm_idle: Duration::from_secs(3_600),
    };

    fn key(number: u32) -> CacheKey {
        CacheKey(Sha256::digest(number.to_be_bytes()).into())
    }

    /// Asks for `keys` keys in turn, again and again.
    fn asked_in_turn(ghosts: &Ghosts, keys: u32, times: u32) -> u64 {
        let mut look_ups = 0;
        for number in (0..keys).cycle().take((keys * times) as usize) {
            look_ups += 1;
            let key = key(number);
            ghosts.looked_up(&key, None);
            ghosts.put(&key, 1_000, 500);
        }
        look_ups
    }

    #[test]
    fn twice_the_hot_tier_would_hold_what_the_real_one_cannot() {
        let ghosts = Ghosts::new(&SETTINGS);
        // 16,000 keys fit into 20,000 entries and not into 10,000: each turn but the first would be hits.
        let look_ups = asked_in_turn(&ghosts, 16_000, 10);
        let advice = ghosts.hot_advice(look_ups);
        assert!(advice[1].points > 20.0 && (advice[1].points - advice[2].points).abs() < 0.1, "{advice:?}");
        assert!(advice[0].points < 0.0, "{advice:?}");
        // All of it fits into the warm tier, and into half of it.
        assert!(ghosts.warm_advice(look_ups).iter().all(|advice| advice.points.abs() < 0.1));
    }

    #[test]
    fn ghosts_of_the_default_sizes_take_less_than_a_hundredth_of_the_tiers() {
        let ghosts = Ghosts::new(&SETTINGS);
        asked_in_turn(&ghosts, 600_000, 1);
        // Hot entries count with the thousand bytes that they are made of here.
        let tiers_bytes = 64 * 1_024 * 1_024 + 10_000 * 1_000;
        assert!(ghosts.bytes() * 100 < tiers_bytes, "{}", ghosts.bytes());
    }

    #[test]
    fn a_cleared_tier_is_empty_in_every_size() {
        let ghosts = Ghosts::new(&SETTINGS);
        let look_ups = asked_in_turn(&ghosts, 1_000, 1);
        ghosts.clear_hot();
        ghosts.clear_warm();
        (0..1_000).for_each(|number| ghosts.looked_up(&key(number), None));
        let advice = [ghosts.hot_advice(look_ups), ghosts.warm_advice(look_ups)].concat();
        assert!(advice.iter().all(|advice| advice.points == 0.0), "{advice:?}");
    }

    #[test]
    fn a_small_tier_is_sampled_whole_and_a_large_one_in_part() {
        assert_eq!([1, 512, 10_000, 131_072, u64::MAX].map(one_in), [1, 1, 16, 256, ONE_IN_MAX]);
    }
}
