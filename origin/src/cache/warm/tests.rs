use std::thread::sleep;

use bytes::Bytes;

use super::*;
use crate::cache::Entry;

const IDLE: Duration = Duration::from_secs(60);

fn key(index: u32) -> CacheKey {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&index.to_be_bytes());
    CacheKey(key)
}

fn encoded(useful_ms: u64, body_bytes: usize) -> Bytes {
    let freshness = FreshnessRecord {
        created_ms: clock::now(),
        fresh_for_ms: useful_ms,
        stale_while_revalidate_ms: 0,
        stale_if_error_ms: 0,
    };
    codec::encode(&Entry { body: vec![b'x'; body_bytes].into(), freshness, device_ms: 1 })
}

#[test]
fn what_was_put_is_there_byte_by_byte_until_it_is_removed() {
    let tier = WarmTier::new(1 << 20, IDLE);
    let (one, two) = (encoded(60_000, 10), encoded(60_000, 60));
    tier.put(key(1), &one);
    tier.put(key(2), &two);
    assert_eq!(tier.get(&key(1)).as_deref(), Some(&one[..]));
    assert_eq!(tier.get(&key(2)).as_deref(), Some(&two[..]));
    assert!(tier.get(&key(3)).is_none());
    tier.remove(&key(1));
    assert!(tier.get(&key(1)).is_none() && tier.get(&key(2)).is_some());
    tier.clear();
    assert_eq!(tier.stats(), WarmStats::default());
}

#[test]
fn the_bytes_are_bounded_and_what_makes_room_is_counted() {
    let tier = WarmTier::new(100_000, IDLE);
    for index in 0..10_000 {
        tier.put(key(index), &encoded(60_000, 60));
    }
    let stats = tier.stats();
    assert!(stats.bytes <= 100_000, "{stats:?}");
    assert!(stats.bytes > 80_000, "{stats:?}");
    assert_eq!(stats.entries + stats.evicted, 10_000);
    assert_eq!(stats.expired, 0);
}

#[test]
fn an_entry_is_gone_when_it_is_good_for_nothing() {
    let tier = WarmTier::new(1 << 20, IDLE);
    tier.put(key(1), &encoded(60_000, 10));
    tier.put(key(2), &encoded(1, 10));
    sleep(Duration::from_millis(20));
    assert!(tier.get(&key(1)).is_some() && tier.get(&key(2)).is_none());
    assert_eq!((tier.stats().entries, tier.stats().expired), (1, 1));
}

#[test]
fn an_entry_that_nobody_asks_for_is_swept_out_by_somebody_elses_write() {
    let tier = WarmTier::new(1 << 20, Duration::from_millis(200));
    for index in 0..100 {
        tier.put(key(index), &encoded(60_000, 10));
    }
    sleep(Duration::from_millis(300));
    tier.put(key(1_000), &encoded(60_000, 10));
    assert_eq!((tier.stats().entries, tier.stats().expired), (1, 100));
}

#[test]
fn an_entry_that_is_asked_for_stays() {
    let tier = WarmTier::new(1 << 20, Duration::from_millis(400));
    tier.put(key(1), &encoded(60_000, 10));
    for _ in 0..10 {
        sleep(Duration::from_millis(100));
        assert!(tier.get(&key(1)).is_some());
    }
}

#[test]
fn milliseconds_wrap_without_making_an_entry_old() {
    assert_eq!(modulo(u64::from(u32::MAX) + 5), 4);
    assert_eq!(modulo(u64::from(u32::MAX) + 5).wrapping_sub(modulo(u64::from(u32::MAX) - 5)), 10);
}

#[test]
fn what_is_no_entry_is_not_kept_for_long() {
    let tier = WarmTier::new(1 << 20, IDLE);
    tier.put(key(1), b"no entry at all");
    assert!(tier.get(&key(1)).is_none());
    assert_eq!(tier.stats().entries, 0);
}
