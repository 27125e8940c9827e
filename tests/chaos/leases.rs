//! Leases across origins.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lede_origin::cache::lease::{Leases, Turn};
use lede_shared::cache_key::CacheKey;
use lede_tests::{Origin, Redis, RedisWay, Way};

use crate::asking::{about, origin_over, right_answers, try_ask};
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
        assert!(matches!(leases.take(&KEY).await, Turn::Elsewhere));
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
    assert!(matches!(other.take(&KEY).await, Turn::Elsewhere), "the new one holds");
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

/// Callers at the origin that waits.
const FOLLOWERS: usize = 20;

/// Asks `leader`, then many times `waiting` while that works, and does harm after `harm_after`. All who ask `waiting` must
/// be answered, and right.
async fn assert_followers_are_answered(
    (leader, waiting): (&str, &Origin),
    subject: &str,
    harm_after: Duration,
    harm: impl AsyncFnOnce(),
) {
    let (client, body) = (lede_tests::client(), about(subject));
    let leading = tokio::spawn({
        let (client, body, url) = (client.clone(), body.clone(), leader.to_owned());
        async move { try_ask(&client, &url, &body).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let followers = join_all((0..FOLLOWERS).map(|_| try_ask(&client, &waiting.url, &body)));
    let harming = async {
        tokio::time::sleep(harm_after).await;
        harm().await;
    };
    let (said, ()) = tokio::join!(followers, harming);
    let right = right_answers(&[body]).await;
    for said in said {
        let said = said.unwrap_or_else(|error| panic!("{subject}: {error}\n{}", waiting.log()));
        assert_eq!(said.variants, right[0], "{subject}");
    }
    // Its own caller is lost with a leader that was killed.
    let _ = leading.await;
}

#[tokio::test]
async fn a_leader_killed_at_any_step_leaves_every_follower_its_answer() {
    let redis = Redis::start().await;
    let waiting = origin_over(&redis.url()).await;
    // From before its lease through prefill and decoding to after its answer.
    for harm_after_ms in [0, 10, 40, 90, 160, 250, 400, 700] {
        let mut leader = origin_over(&redis.url()).await;
        let url = leader.url.clone();
        let subject = format!("a lighthouse, {harm_after_ms} ms later");
        let harm_after = Duration::from_millis(harm_after_ms);
        assert_followers_are_answered((&url, &waiting), &subject, harm_after, async || leader.kill()).await;
    }
}

#[tokio::test]
async fn whatever_happens_to_redis_while_a_leader_works_every_follower_has_its_answer() {
    let redis = Redis::start().await;
    let way = RedisWay::to(redis.port()).await;
    let (leader, waiting) = (origin_over(&way.url).await, origin_over(&redis.url()).await);
    for harm_after_ms in [5, 60, 150] {
        for harm in ["leader cut off", "leader in a hole", "flushed", "hung"] {
            let subject = format!("a lighthouse, {harm} {harm_after_ms} ms later");
            let doing = async || match harm {
                "leader cut off" => way.is(Way::Cut),
                "leader in a hole" => way.is(Way::Hole),
                "flushed" => drop(redis.told::<String>(&["FLUSHALL"]).await),
                _ => redis.hang(),
            };
            let harm_after = Duration::from_millis(harm_after_ms);
            assert_followers_are_answered((&leader.url, &waiting), &subject, harm_after, doing).await;
            way.is(Way::Open);
            redis.go_on();
        }
    }
}
