//! A histogram of atomics: each power of two in quarters, so a quantile is off by less than a fifth.

use std::sync::atomic::{AtomicU64, Ordering};

/// Parts of a power of two.
const PARTS: u64 = 4;
/// Values from 2^40 on are one bucket: 12 days in microseconds.
const BUCKETS: usize = 4 * 40;

/// Counts values by size. One thread writes.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    max: AtomicU64,
}

/// What values were like.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half were at most this.
    pub p50: f64,
    /// 95 in 100 were at most this.
    pub p95: f64,
    /// 99 in 100 were at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = std::array::from_fn(|_| AtomicU64::new(0));
        Self { buckets, sum: AtomicU64::new(0), max: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts a value.
    pub fn note(&self, value: u64) {
        self.note_many(value, 1);
    }

    /// Counts a value several times.
    pub fn note_many(&self, value: u64, times: u64) {
        self.buckets[bucket_of(value)].fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
        self.max.fetch_max(value, Ordering::Relaxed);
    }

    /// What the values were like.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        self.scaled(1.0)
    }

    /// The same with a thousand as the unit: microseconds in milliseconds.
    #[must_use]
    pub fn in_thousands(&self) -> Distribution {
        self.scaled(1e-3)
    }

    fn scaled(&self, scale: f64) -> Distribution {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        if count == 0 {
            return Distribution::default();
        }
        let max = self.max.load(Ordering::Relaxed);
        let quantile = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            let mut before = 0;
            let bucket = counts.iter().position(|in_bucket| {
                before += in_bucket;
                before >= rank
            });
            bucket.map_or(max, last_of).min(max) as f64 * scale
        };
        let mean = self.sum.load(Ordering::Relaxed) as f64 / count as f64 * scale;
        let [p50, p95, p99] = [50, 95, 99].map(quantile);
        Distribution { count, mean, p50, p95, p99, max: max as f64 * scale }
    }
}

/// Values below [`PARTS`] have a bucket each.
fn bucket_of(value: u64) -> usize {
    if value < PARTS {
        return value as usize;
    }
    let power = u64::from(value.ilog2());
    let part = (value >> (power - PARTS.ilog2() as u64)) - PARTS;
    ((power - 1) * PARTS + part).min(BUCKETS as u64 - 1) as usize
}

/// The largest value of a bucket.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let (power, part) = (bucket / PARTS + 1, bucket % PARTS);
    ((PARTS + part + 1) << (power - u64::from(PARTS.ilog2()))) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_those_of_the_values_but_for_a_fifth() {
        let histogram = Histogram::default();
        (1..=1_000).for_each(|value| histogram.note(value * 1_000));
        let Distribution { count, mean, p50, p95, p99, max } = histogram.in_thousands();
        assert_eq!((count, mean, max), (1_000, 500.5, 1_000.0));
        for (quantile, expected) in [(p50, 500.0), (p95, 950.0), (p99, 990.0)] {
            assert!((expected..expected * 1.25).contains(&quantile), "{quantile} instead of {expected}");
        }
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_buckets_are_narrow(value in 0u64..1 << 40) {
            let bucket = bucket_of(value);
            prop_assert!(value <= last_of(bucket));
            prop_assert!(bucket == 0 || value > last_of(bucket - 1));
            prop_assert!(last_of(bucket) as f64 <= value as f64 * 1.25);
        }
    }
}
