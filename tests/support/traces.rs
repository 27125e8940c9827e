//! Requests as caches see them: three traces, each the same on every machine and in every run.
//!
//! How often what is asked for is the traces' point; how many bytes an answer takes and how long the device works for it
//! follow from its key. One answer in five has several variants, and some are picked out of several tries, so that
//! bytes differ by a factor of two and device time by one of sixty.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceRequest {
    /// What is asked for. Keys are numbered without gaps.
    pub key: u32,
    /// What the answer takes where it is kept compressed.
    pub bytes: u32,
    /// Device time that a hit saves.
    pub device_ms: u32,
}

/// Requests in order.
#[derive(Clone, Debug)]
pub struct Trace {
    /// For people.
    pub name: &'static str,
    /// In the order in which they come.
    pub requests: Vec<TraceRequest>,
}

/// Keys of the first two traces at any time.
const KEYS: u32 = 100_000;
/// So often each answer is asked for, in the mean, before another takes its place in the drifting trace.
const REQUESTS_OF_A_TREND: u32 = 50;
/// Keys that the scans run through in between.
const WORKING_SET: u32 = 20_000;
/// Requests between two scans.
const BETWEEN_SCANS: usize = 40_000;
/// Keys of one scan; none of them is asked for again.
const SCAN: u32 = 20_000;

/// 100,000 captions whose popularity follows Zipf's law with exponent 1 and never changes: 3 M requests, of which 97,900
/// or so are the first for their key.
#[must_use]
pub fn zipf() -> Trace {
    let (mut random, ranks) = (seeded(1), Ranks::new(KEYS));
    let requests = (0..3_000_000).map(|_| scattered(ranks.draw(&mut random), KEYS)).map(request).collect();
    Trace { name: "Zipf", requests }
}

/// The same law, but who is popular changes: one request in 50 is the first for a new caption, which takes the rank that
/// was drawn from whoever had it. Who is driven out falls to some rank below and drives out another, for good. 1.5 M
/// requests.
#[must_use]
pub fn drifting() -> Trace {
    let (mut random, ranks) = (seeded(2), Ranks::new(KEYS));
    let mut ranked: Vec<u32> = (0..KEYS).collect();
    let mut keys = KEYS;
    let requests = (0..1_500_000).map(|_| {
        let rank = ranks.draw(&mut random);
        if below(&mut random, REQUESTS_OF_A_TREND) == 0 {
            let fallen_to = rank + below(&mut random, KEYS - rank);
            ranked[index(fallen_to)] = std::mem::replace(&mut ranked[index(rank)], keys);
            ranked[index(rank)] = keys;
            keys += 1;
        }
        request(ranked[index(rank)])
    });
    Trace { name: "drifting", requests: requests.collect() }
}

/// Zipf over 20,000 captions; after each 40,000 requests somebody has 20,000 others written, one after the other and each
/// once, while the rest goes on. A quarter of 1.2 M requests belongs to such scans.
#[must_use]
pub fn scanned() -> Trace {
    let (mut random, ranks) = (seeded(3), Ranks::new(WORKING_SET));
    let mut keys = WORKING_SET;
    let mut requests = Vec::with_capacity(1_200_000);
    while requests.len() < 1_200_000 {
        let mut usual = || request(scattered(ranks.draw(&mut random), WORKING_SET));
        requests.extend(std::iter::repeat_with(&mut usual).take(BETWEEN_SCANS));
        for key in keys..keys + SCAN {
            requests.extend([request(key), usual()]);
        }
        keys += SCAN;
    }
    Trace { name: "scans", requests }
}

/// All three.
#[must_use]
pub fn all() -> [Trace; 3] {
    [zipf(), drifting(), scanned()]
}

impl Trace {
    /// Bytes of all that is ever asked for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let mut seen = vec![false; self.keys()];
        let first = |request: &&TraceRequest| !std::mem::replace(&mut seen[index(request.key)], true);
        self.requests.iter().filter(first).map(|request| u64::from(request.bytes)).sum()
    }

    /// One more than the highest key.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.requests.iter().map(|request| index(request.key) + 1).max().unwrap_or(0)
    }
}

/// Ranks drawn by Zipf's law with exponent 1: the rank `n`, counted from 1, is as likely as `1 / n`.
struct Ranks {
    /// Up to and with each rank.
    cumulated: Vec<f64>,
}

impl Ranks {
    fn new(count: u32) -> Self {
        let mut sum = 0.0;
        let cumulated = (1..=count).map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        Self { cumulated: cumulated.collect() }
    }

    /// Counted from 0.
    fn draw(&self, random: &mut ChaCha8Rng) -> u32 {
        let all = self.cumulated.last().copied().unwrap_or_default();
        let drawn = f64::from(random.next_u32()) / (f64::from(u32::MAX) + 1.0) * all;
        u32::try_from(self.cumulated.partition_point(|sum| *sum <= drawn)).unwrap_or(0)
    }
}

fn seeded(seed: u8) -> ChaCha8Rng {
    ChaCha8Rng::from_seed([seed; 32])
}

/// Evenly less than `limit`, but for a millionth.
fn below(random: &mut ChaCha8Rng, limit: u32) -> u32 {
    let product = u64::from(random.next_u32()) * u64::from(limit);
    u32::try_from(product >> 32).unwrap_or(0)
}

/// Which key has a rank: neighbours in rank are none in number. 7,919 is prime to every number of keys here.
fn scattered(rank: u32, keys: u32) -> u32 {
    u32::try_from(u64::from(rank) * 7_919 % u64::from(keys)).unwrap_or(0)
}

fn request(key: u32) -> TraceRequest {
    let mixed = mixed(key);
    let variants = if mixed.is_multiple_of(5) { 2 + (mixed >> 8) % 3 } else { 1 };
    let bytes = 130 + 110 * variants + (mixed >> 16) % 80;
    // Greedy, sampled once, or the best of four.
    let effort = [1, 2, 2, 8][((mixed >> 24) % 4) as usize];
    let device_ms = (60 + (mixed >> 12) % 60) * variants * effort;
    TraceRequest { key, bytes, device_ms }
}

/// Bits that tell nothing of popularity (the finaliser of `MurmurHash3`).
fn mixed(key: u32) -> u32 {
    let first = (key ^ (key >> 16)).wrapping_mul(0x85eb_ca6b);
    let second = (first ^ (first >> 13)).wrapping_mul(0xc2b2_ae35);
    second ^ (second >> 16)
}

const fn index(key: u32) -> usize {
    key as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_the_same_each_time() {
        assert_eq!(scanned().requests, scanned().requests);
    }

    #[test]
    fn the_first_rank_has_its_share_and_all_keys_are_there() {
        let trace = zipf();
        let first = trace.requests.iter().filter(|request| request.key == 0).count();
        // 1 / H(100,000) = 8.27 %
        assert!((240_000..256_000).contains(&first), "{first}");
        let bytes = trace.bytes();
        assert!((20_000_000..40_000_000).contains(&bytes) && trace.keys() == 100_000, "{bytes}");
    }

    #[test]
    fn one_request_in_fifty_of_the_drifting_trace_is_for_a_new_caption() {
        let new = drifting().keys() - KEYS as usize;
        assert!((29_000..31_000).contains(&new), "{new}");
    }

    #[test]
    fn a_quarter_of_the_scanned_trace_is_scans() {
        let trace = scanned();
        let scanned = trace.requests.iter().filter(|request| request.key >= WORKING_SET).count();
        assert_eq!(scanned * 4, trace.requests.len());
    }
}
