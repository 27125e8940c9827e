//! The way to Redis, whatever Redis does: who asks is answered or told so, soon.

use std::time::{Duration, Instant};

use lede_origin::redis_link::{RedisAddress, RedisFault, RedisLink};
use lede_tests::{BadRedis, Redis, RedisCluster, RedisWay, Way};

/// Longer than any wait inside; a machine that does other things beside gets ten times as much.
const SOON: Duration = Duration::from_secs(10);
const ASK: Duration = Duration::from_millis(100);

pub(crate) fn link_to(url: &str) -> RedisLink {
    let address = RedisAddress::parse(url).expect("an address");
    RedisLink::start(address, Box::new(|_| Box::pin(async { Ok(()) })))
}

pub(crate) async fn until_up(link: &RedisLink, is_up: bool) {
    let until = Instant::now() + SOON;
    while link.is_up() != is_up {
        assert!(Instant::now() < until, "the link should be up: {is_up}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn ping(link: &RedisLink) -> Result<String, RedisFault> {
    link.ask(redis::cmd("PING"), ASK).await
}

#[tokio::test]
async fn a_redis_that_comes_later_is_found_and_one_that_comes_back_is_found_again() {
    let port = lede_tests::free_port();
    let link = link_to(&format!("redis://127.0.0.1:{port}"));
    assert_eq!(ping(&link).await, Err(RedisFault::Down));
    let mut redis = Redis::start_with(port, &[]).await;
    until_up(&link, true).await;
    assert_eq!(ping(&link).await.as_deref(), Ok("PONG"));
    redis.kill();
    until_up(&link, false).await;
    let _redis = Redis::start_with(port, &[]).await;
    until_up(&link, true).await;
}

#[tokio::test]
async fn nobody_waits_for_what_is_no_redis() {
    for bad in [
        BadRedis::silent().await,
        BadRedis::garbage().await,
        BadRedis::yes_man().await,
        BadRedis::never_accepts().await,
    ] {
        let link = link_to(&bad.url);
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            assert_eq!(ping(&link).await, Err(RedisFault::Down), "{}", bad.url);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn one_that_hangs_is_left_alone_and_taken_up_again_when_it_goes_on() {
    let redis = Redis::start().await;
    let link = link_to(&redis.url());
    until_up(&link, true).await;
    redis.hang();
    until_up(&link, false).await;
    let began = Instant::now();
    assert!(ping(&link).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(1));
    redis.go_on();
    until_up(&link, true).await;
    assert_eq!(ping(&link).await.as_deref(), Ok("PONG"));
}

#[tokio::test]
async fn one_that_is_too_slow_is_asked_by_few_until_it_is_quicker() {
    let redis = Redis::start().await;
    let way = RedisWay::to(redis.port()).await;
    let link = link_to(&way.url);
    until_up(&link, true).await;
    way.is(Way::Slow(Duration::from_millis(250)));
    let mut faults = Vec::new();
    for _ in 0..30 {
        faults.extend(ping(&link).await.err());
    }
    let waited = faults.iter().filter(|fault| **fault == RedisFault::TimedOut).count();
    assert!(faults.len() == 30 && waited < 10, "{faults:?}");
    way.is(Way::Open);
    until_up(&link, true).await;
    let until = Instant::now() + SOON;
    while ping(&link).await.is_err() {
        assert!(Instant::now() < until, "it is still left alone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_hole_on_the_way_and_a_cut_way_are_noticed_and_outlasted() {
    let redis = Redis::start().await;
    let way = RedisWay::to(redis.port()).await;
    let link = link_to(&way.url);
    for fault in [Way::Hole, Way::Cut] {
        way.is(Way::Open);
        until_up(&link, true).await;
        way.is(fault);
        until_up(&link, false).await;
    }
    way.is(Way::Open);
    until_up(&link, true).await;
}

#[tokio::test]
async fn a_cluster_whose_master_dies_is_used_again_once_the_replica_has_taken_over() {
    let mut cluster = RedisCluster::start().await;
    let link = link_to(&cluster.url());
    until_up(&link, true).await;
    // One key in each third of the slots, whoever has it.
    let keys: Vec<String> = (0..30).map(|number| format!("lede:r1:probe:{number}")).collect();
    for key in &keys {
        let set = redis::cmd("SET").arg(key).arg("1").to_owned();
        link.ask::<String>(set, SOON).await.expect("a whole cluster takes it");
    }
    cluster.nodes[0].kill();
    let until = Instant::now() + Duration::from_secs(60);
    for key in &keys {
        let get = redis::cmd("GET").arg(key).to_owned();
        while link.ask::<Option<String>>(get.clone(), ASK).await != Ok(Some("1".to_owned())) {
            assert!(Instant::now() < until, "{key} is not to be had");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
