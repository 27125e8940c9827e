//! Many more entries than there is room for: what stays is bounded by what is configured, however long it goes on.

use std::time::Duration;

use bytes::Bytes;
use lede_origin::cache::{Entry, HotTier, WarmTier, codec};
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::FreshnessRecord;

const HOT_ENTRIES_MAX: u64 = 1_000;
const WARM_BYTES_MAX: u64 = 16 << 20;
const IDLE: Duration = Duration::from_secs(3_600);
const ENTRIES: u64 = 300_000;
/// What an answer of one caption takes, hot.
const BODY_BYTES: usize = 1_000;
/// moka's books, what waits to be booked, and the allocator's share, for each hot entry.
const HOT_OVERHEAD_BYTES: u64 = 1_000;

/// As the kernel counts it; nextest gives every test a process of its own.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}

/// Does not shrink, as a caption would to a quarter, so that each takes what it says.
fn entry(number: u64) -> Entry {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        bits.to_le_bytes()[0]
    };
    let body: Vec<u8> = (0..BODY_BYTES).map(|_| byte()).collect();
    let freshness = FreshnessRecord {
        created_ms: UnixMillis(u64::MAX / 2),
        fresh_for_ms: 86_400_000,
        stale_while_revalidate_ms: 0,
        stale_if_error_ms: 0,
    };
    Entry { body: body.into(), freshness, device_ms: 400 }
}

fn key(number: u64) -> CacheKey {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    CacheKey(key)
}

#[test]
fn three_hundred_thousand_entries_leave_no_more_behind_than_is_configured_and_as_many_again_leave_no_more() {
    let (hot, warm) = (HotTier::new(HOT_ENTRIES_MAX, IDLE), WarmTier::new(WARM_BYTES_MAX, IDLE));
    // A few bodies are written over and over, each in its own memory.
    let entries: Vec<(Entry, Bytes)> =
        (0..100).map(entry).map(|entry| (entry.clone(), codec::encode(&entry))).collect();
    let before = resident_bytes();
    let pass = |first: u64| {
        for number in first..first + ENTRIES {
            let (entry, encoded) = &entries[usize::try_from(number % 100).unwrap()];
            hot.put(key(number), Entry { body: Bytes::copy_from_slice(&entry.body), ..entry.clone() });
            warm.put(key(number), encoded);
        }
        let stats = warm.stats();
        assert!(stats.bytes <= WARM_BYTES_MAX && stats.bytes > WARM_BYTES_MAX / 2, "{stats:?}");
        resident_bytes().saturating_sub(before)
    };
    let configured = WARM_BYTES_MAX + HOT_ENTRIES_MAX * (BODY_BYTES as u64 + HOT_OVERHEAD_BYTES);
    let (once, twice) = (pass(0), pass(ENTRIES));
    assert!(once <= configured * 12 / 10, "{once} bytes resident of {configured} configured");
    assert!(twice <= once * 11 / 10, "{once} bytes resident, then {twice}");
}
