//! Leases across origins.

use std::time::{Duration, Instant};

use lede_origin::cache::lease::{Leases, Turn};
use lede_shared::cache_key::CacheKey;
use lede_tests::{Redis, RedisWay, Way};

use crate::link::{link_to, until_up};

const KEY: CacheKey = CacheKey([7; 32]);
const SOON: Duration = Duration::from_secs(10);

async fn leases_of(url: &str) -> Leases {
    let link = link_to(url);
    until_up(&link, true).await;
    Leases::new(link)
}

#[tokio::test]
async fn of_many_who_ask_one_has_the_lease_and_the_others_hear_when_it_ends() {
    let redis = Redis::start().await;
    let (one, other) = (leases_of(&redis.url()).await, leases_of(&redis.url()).await);
    let Turn::Ours(lease) = one.take(&KEY).await else { panic!("nobody has it") };
    for leases in [&one, &other] {
        assert!(matches!(leases.take(&KEY).await, Turn::Anothers));
    }
    assert!(matches!(other.take(&CacheKey([8; 32])).await, Turn::Ours(_)), "another key is another lease");
    // It is renewed for as long as it is held, longer than it would last.
    assert!(!other.ended(&KEY, Instant::now() + Duration::from_secs(4)).await);
    let waiting = tokio::spawn(async move { (other.ended(&KEY, Instant::now() + SOON).await, other) });
    lease.release().await;
    let (has_ended, other) = waiting.await.expect("the waiting ends");
    assert!(has_ended && matches!(other.take(&KEY).await, Turn::Ours(_)));
}

#[tokio::test]
async fn who_drops_a_lease_or_leaves_while_asking_for_it_frees_it() {
    let redis = Redis::start().await;
    let leases = leases_of(&redis.url()).await;
    let Turn::Ours(lease) = leases.take(&KEY).await else { panic!("nobody has it") };
    drop(lease);
    assert!(leases.ended(&KEY, Instant::now() + Duration::from_millis(1_500)).await, "well before it would end");
    for after_us in [0, 50, 100, 200, 400, 800] {
        let left = tokio::time::timeout(Duration::from_micros(after_us), leases.take(&KEY)).await;
        drop(left);
        assert!(leases.ended(&KEY, Instant::now() + Duration::from_millis(1_500)).await, "{after_us} µs");
    }
}

#[tokio::test]
async fn a_lease_whose_holder_is_gone_ends_by_itself_and_the_old_holder_cannot_end_the_next_one() {
    let redis = Redis::start().await;
    let way = RedisWay::to(redis.port()).await;
    let (cut_off, other) = (leases_of(&way.url).await, leases_of(&redis.url()).await);
    let Turn::Ours(old) = cut_off.take(&KEY).await else { panic!("nobody has it") };
    way.is(Way::Hole);
    assert!(other.ended(&KEY, Instant::now() + SOON).await, "nobody renews it");
    let Turn::Ours(_new) = other.take(&KEY).await else { panic!("it is free") };
    way.is(Way::Open);
    old.release().await;
    assert!(matches!(other.take(&KEY).await, Turn::Anothers), "the new one holds");
}

#[tokio::test]
async fn without_redis_everybody_goes_on_alone_at_once() {
    let redis = Redis::start().await;
    let way = RedisWay::to(redis.port()).await;
    let leases = leases_of(&way.url).await;
    let Turn::Ours(_held) = leases.take(&KEY).await else { panic!("nobody has it") };
    for fault in [Way::Hole, Way::Cut] {
        way.is(fault);
        let began = Instant::now();
        assert!(matches!(leases.take(&KEY).await, Turn::Unknown), "{fault:?}");
        assert!(!leases.ended(&KEY, Instant::now() + SOON).await, "{fault:?}");
        assert!(began.elapsed() < Duration::from_secs(3), "{fault:?}");
    }
}
