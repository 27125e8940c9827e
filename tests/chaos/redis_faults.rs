//! Redis with every fault there is: no answer is lost, none is wrong, and what is in memory is as quick as ever.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lede_tests::{BadRedis, Origin, Redis, RedisCluster, RedisWay, Way, free_port};
use serde_json::Value;

use crate::asking::{Said, about, ask, origin_over, right_answers, try_ask};

const CALLERS: usize = 1_000;
/// Hits come from memory. On a machine that does other things beside, any of them may be late, but not all.
const HIT_TOOK_MAX: Duration = Duration::from_millis(50);
const HITS: usize = 20;
const SOON: Duration = Duration::from_secs(20);

/// Waits until an origin finds in Redis what another has put there.
async fn until_shared(from: &Origin, to: &Origin, subject: &str) {
    let until = Instant::now() + SOON;
    for number in 0.. {
        let body = about(&format!("{subject} number {number}"));
        ask(from, &body).await;
        if ask(to, &body).await.is_hit() {
            return;
        }
        assert!(Instant::now() < until, "nothing is shared:\n{}\n{}", from.log(), to.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The known one is a hit, quick and right; a new one is written, and right.
async fn assert_serves(origin: &Origin, known: (&Value, &Value), new: (&Value, &Value), fault: &str) {
    let mut quickest = Duration::MAX;
    for _ in 0..HITS {
        let hit = ask(origin, known.0).await;
        assert!(hit.is_hit(), "{fault}: {hit:?}");
        assert_eq!(&hit.variants, known.1, "{fault}");
        quickest = quickest.min(hit.took);
    }
    assert!(quickest < HIT_TOOK_MAX, "{fault}: the quickest hit took {quickest:?}");
    assert_eq!(&ask(origin, new.0).await.variants, new.1, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_identical_misses_over_two_origins_and_one_redis_cause_one_inference() {
    let redis = Redis::start().await;
    let origins = [origin_over(&redis.url()).await, origin_over(&redis.url()).await];
    until_shared(&origins[0], &origins[1], "warming").await;
    let before = [origins[0].engine_work().await, origins[1].engine_work().await];
    let (client, body) = (lede_tests::client(), about("a lighthouse in the storm"));
    let callers = (0..CALLERS).map(|caller| try_ask(&client, &origins[caller % 2].url, &body));
    let said: Vec<Said> = join_all(callers)
        .await
        .into_iter()
        .map(|said| said.unwrap_or_else(|error| panic!("an answer is lost: {error}")))
        .collect();
    let right = right_answers(&[body]).await;
    assert!(said.iter().all(|said| said.variants == right[0]));
    let mut how: Vec<&str> = said.iter().map(|said| said.cache_status.as_str()).collect();
    how.sort_unstable();
    how.dedup();
    assert_eq!(said.iter().filter(|said| said.was_written()).count(), 1, "one caller caused it: {how:?}");
    let after = [origins[0].engine_work().await, origins[1].engine_work().await];
    let worked = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!(worked, 1, "one origin worked: {before:?} {after:?}");
}

#[tokio::test]
async fn a_restarted_origin_has_what_was_made_before() {
    let redis = Redis::start().await;
    let body = about("a lighthouse in the storm");
    let made = {
        let (one, other) = (origin_over(&redis.url()).await, origin_over(&redis.url()).await);
        until_shared(&one, &other, "warming").await;
        ask(&one, &body).await
    };
    assert!(made.was_written(), "{made:?}");
    // The connection may be up a moment later than the origin.
    let mut found = Vec::new();
    for _ in 0..5 {
        let said = ask(&origin_over(&redis.url()).await, &body).await;
        assert_eq!(said.variants, made.variants);
        let is_found = said.cache_status.contains("detail=cold");
        found.push(said.cache_status);
        if is_found {
            return;
        }
    }
    panic!("{found:?}");
}

#[tokio::test]
async fn an_origin_starts_and_serves_whatever_is_where_redis_should_be() {
    let bodies = [about("a lighthouse in the storm"), about("bread from the oven")];
    let right = right_answers(&bodies).await;
    let bad = [
        BadRedis::silent().await,
        BadRedis::never_accepts().await,
        BadRedis::garbage().await,
        BadRedis::yes_man().await,
    ];
    let refusing = format!("redis://127.0.0.1:{}", free_port());
    let urls = bad.iter().map(|bad| bad.url.clone()).chain([refusing]);
    for (fault, url) in ["silent", "never accepts", "garbage", "yes", "refusing"].into_iter().zip(urls) {
        let origin = origin_over(&url).await;
        assert_eq!(ask(&origin, &bodies[0]).await.variants, right[0], "{fault}");
        assert_serves(&origin, (&bodies[0], &right[0]), (&bodies[1], &right[1]), fault).await;
    }
}

#[tokio::test]
async fn whatever_happens_to_redis_no_answer_is_lost_or_wrong_and_hits_stay_quick() {
    let redis = Redis::start().await;
    let way = RedisWay::to(redis.port()).await;
    let faults = ["open", "slow", "hole", "cut", "hung", "flushed", "full", "garbage", "open again"];
    let bodies: Vec<Value> = faults.iter().map(|fault| about(&format!("a lighthouse, {fault}"))).collect();
    let (known, right) = (about("bread from the oven"), right_answers(&bodies).await);
    let right_known = right_answers(std::slice::from_ref(&known)).await;
    let origin = origin_over(&way.url).await;
    ask(&origin, &known).await;
    for ((fault, body), right) in faults.into_iter().zip(&bodies).zip(&right) {
        match fault {
            "slow" => way.is(Way::Slow(Duration::from_millis(300))),
            "hole" => way.is(Way::Hole),
            "cut" => way.is(Way::Cut),
            "hung" => {
                way.is(Way::Open);
                redis.hang();
            }
            "flushed" => {
                redis.go_on();
                redis.told::<String>(&["FLUSHALL"]).await;
            }
            "full" => {
                redis.told::<String>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
                redis.told::<String>(&["CONFIG", "SET", "maxmemory", "1"]).await;
            }
            "garbage" => {
                redis.told::<String>(&["CONFIG", "SET", "maxmemory", "0"]).await;
                for (name, value) in [("lede:r1:epochs", "x"), ("lede:r1:generation", "y")] {
                    redis.told::<String>(&["SET", name, value]).await;
                }
            }
            _ => {}
        }
        assert_serves(&origin, (&known, &right_known[0]), (body, right), fault).await;
    }
    // All of it over, it is as useful as before.
    let other = origin_over(&redis.url()).await;
    until_shared(&origin, &other, "afterwards").await;
}

#[tokio::test]
async fn garbage_under_our_names_is_a_miss_and_is_written_over() {
    let redis = Redis::start().await;
    let subjects: Vec<Value> = (0..6).map(|number| about(&format!("a lighthouse, number {number}"))).collect();
    let right = right_answers(&subjects).await;
    {
        let (one, other) = (origin_over(&redis.url()).await, origin_over(&redis.url()).await);
        until_shared(&one, &other, "warming").await;
        for body in &subjects {
            ask(&one, body).await;
        }
        // What is kept is kept behind the answer.
        let until = Instant::now() + SOON;
        while redis.told::<Vec<String>>(&["KEYS", "lede:r1:0:*"]).await.len() < subjects.len() {
            assert!(Instant::now() < until, "nothing is kept");
        }
    }
    let long = "x".repeat(2 << 20);
    let names: Vec<String> = redis.told(&["KEYS", "lede:r1:0:*"]).await;
    for (index, name) in names.iter().enumerate() {
        let cut_off = (name.as_str(), "-2");
        match index % 6 {
            0 => redis.told::<String>(&["SET", name, "not an entry"]).await,
            1 => redis.told::<String>(&["SET", name, &long]).await,
            2 => redis.told::<i64>(&["DEL", name]).await.to_string(),
            3 => {
                redis.told::<i64>(&["DEL", name]).await;
                redis.told::<i64>(&["LPUSH", name, "a", "list"]).await.to_string()
            }
            // Another's entry under this name would be a right answer to a wrong question; half of one is nothing.
            4 => {
                let value: Vec<u8> = redis.told(&["GETRANGE", cut_off.0, "0", cut_off.1]).await;
                assert!(!value.is_empty());
                redis.told::<i64>(&["SETRANGE", name, "0", "\u{7f}\u{7f}\u{7f}"]).await.to_string()
            }
            _ => redis.told::<i64>(&["APPEND", name, ""]).await.to_string(),
        };
    }
    let restarted = origin_over(&redis.url()).await;
    for (body, right) in subjects.iter().zip(&right) {
        assert_eq!(&ask(&restarted, body).await.variants, right);
    }
    let third = origin_over(&redis.url()).await;
    until_shared(&restarted, &third, "afterwards").await;
    for (body, right) in subjects.iter().zip(&right) {
        let found = ask(&third, body).await;
        assert!(found.is_hit() && &found.variants == right, "{body}: {found:?}");
    }
}

#[tokio::test]
async fn a_cluster_that_fails_over_loses_no_answer_and_is_shared_again() {
    let mut cluster = RedisCluster::start().await;
    let origins = [origin_over(&cluster.url()).await, origin_over(&cluster.url()).await];
    until_shared(&origins[0], &origins[1], "before").await;
    let bodies: Vec<Value> = (0..30).map(|number| about(&format!("a lighthouse, number {number}"))).collect();
    let right = right_answers(&bodies).await;
    for (index, (body, right)) in bodies.iter().zip(&right).enumerate() {
        if index == 5 {
            cluster.nodes[0].kill();
        }
        let said = join_all(origins.iter().map(|origin| ask(origin, body))).await;
        assert!(said.iter().all(|said| &said.variants == right), "{body}");
    }
    for turn in 0..5 {
        until_shared(&origins[0], &origins[1], &format!("after, turn {turn}")).await;
    }
}
