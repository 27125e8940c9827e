//! What a faulty Redis costs: hits beside misses, with Redis healthy and with each fault, in turns.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lede_origin::redis_link::{RedisAddress, RedisLink};
use lede_tests::{BadRedis, Origin, Redis, RedisWay, Way, free_port};
use reqwest::Client;
use serde_json::Value;

use crate::asking::{about, ask, origin_over, try_ask};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1_500);
/// Connections that ask for what is in memory.
const HITTERS: usize = 8;
/// Beside them somebody asks for something new so often: that is what comes to Redis at all.
const MISS_EVERY: Duration = Duration::from_millis(150);
/// As many as the judge writes at once.
const JUDGED_AT_ONCE: usize = 4;
/// Hangs of which the time is taken until nobody is asked to wait any more.
const HANGS: usize = 10;

/// What is wrong with the Redis of the origin under test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Way(Way),
    Hung,
    Flushed,
    Full,
}

/// An origin, its way to its Redis, and what it was asked so far.
struct Bench {
    client: Client,
    healthy: Origin,
    redis: Redis,
    way: RedisWay,
    known: (Value, Value),
    /// What was new, and what came.
    made: Vec<(Value, Result<Value, String>)>,
    wrong_hits: usize,
}

/// Latencies of one round in milliseconds.
struct Round {
    hits_ms: Vec<f64>,
    misses_ms: Vec<f64>,
}

/// The section's table.
pub(crate) fn measure() -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let costs = costs().await;
        let hangs = hangs().await;
        format!("{costs}\n{hangs}")
    })
}

async fn costs() -> String {
    let mut bench = Bench::start().await;
    let mut table = "| Redis | p50 of a hit, ms | p99, ms | p99 with Redis healthy, ms | added p99, ms | p50 of a miss, ms | with Redis healthy, ms |\n|---|---|---|---|---|---|---|\n".to_owned();
    let faults = [
        ("healthy (against itself)", Fault::Way(Way::Open)),
        ("300 ms slow", Fault::Way(Way::Slow(Duration::from_millis(300)))),
        ("black hole on open connections", Fault::Way(Way::Hole)),
        ("connections break at once", Fault::Way(Way::Cut)),
        ("hung (SIGSTOP)", Fault::Hung),
        ("flushed five times a second", Fault::Flushed),
        ("full (noeviction)", Fault::Full),
    ];
    for (name, fault) in faults {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let healthy = bench.round(None).await;
            bench.enter(fault).await;
            let faulty = bench.round_with(fault).await;
            bench.leave(fault).await;
            rounds.push((healthy, faulty));
        }
        table += &row(name, rounds);
    }
    let refusing = format!("redis://127.0.0.1:{}", free_port());
    let bad = [
        BadRedis::silent().await,
        BadRedis::never_accepts().await,
        BadRedis::garbage().await,
        BadRedis::yes_man().await,
    ];
    let urls = bad.iter().map(|bad| bad.url.clone()).chain([refusing]);
    let names = ["accepts and says nothing", "never accepts", "garbage", "+OK to everything", "refuses"];
    for (name, url) in names.into_iter().zip(urls) {
        let origin = origin_over(&url).await;
        ask(&origin, &bench.known.0).await;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push((bench.round(None).await, bench.round(Some(&origin)).await));
        }
        table += &row(name, rounds);
    }
    format!("{table}\n{}\n", bench.judged().await)
}

impl Bench {
    async fn start() -> Self {
        let redis = Redis::start().await;
        let way = RedisWay::to(redis.port()).await;
        let healthy = origin_over(&way.url).await;
        let body = about("bread from the oven");
        let known = (body.clone(), ask(&healthy, &body).await.variants);
        let client = lede_tests::client();
        Self { client, healthy, redis, way, known, made: Vec::new(), wrong_hits: 0 }
    }

    async fn enter(&self, fault: Fault) {
        match fault {
            Fault::Way(way) => self.way.is(way),
            Fault::Hung => self.redis.hang(),
            Fault::Flushed => {}
            Fault::Full => {
                self.redis.told::<String>(&["CONFIG", "SET", "maxmemory", "1"]).await;
            }
        }
    }

    async fn leave(&self, fault: Fault) {
        self.way.is(Way::Open);
        if fault == Fault::Hung {
            self.redis.go_on();
        }
        self.redis.told::<String>(&["CONFIG", "SET", "maxmemory", "0"]).await;
        // Until the way is in use again: the next round is one of a healthy Redis.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    }

    async fn round_with(&mut self, fault: Fault) -> Round {
        if fault != Fault::Flushed {
            return self.round(None).await;
        }
        let port = self.redis.port();
        let flushing = tokio::spawn(async move {
            let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("an address");
            let mut connection = client.get_multiplexed_async_connection().await.expect("Redis is there");
            loop {
                let _: String = redis::cmd("FLUSHALL").query_async(&mut connection).await.expect("it flushes");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let round = self.round(None).await;
        flushing.abort();
        round
    }

    /// Hits and misses for a while, of the origin under test or of another.
    async fn round(&mut self, other: Option<&Origin>) -> Round {
        let url = other.map_or(&self.healthy.url, |other| &other.url).clone();
        let until = Instant::now() + ROUND;
        let hitting = join_all((0..HITTERS).map(|_| hits(&self.client, &url, &self.known.0, until)));
        let missing = misses(&self.client, &url, self.made.len(), until);
        let (hits, misses) = tokio::join!(hitting, missing);
        let mut round = Round { hits_ms: Vec::new(), misses_ms: Vec::new() };
        for (took_ms, variants) in hits.into_iter().flatten() {
            round.hits_ms.push(took_ms);
            self.wrong_hits += usize::from(variants.as_ref() != Ok(&self.known.1));
        }
        for (took_ms, body, variants) in misses {
            round.misses_ms.push(took_ms);
            self.made.push((body, variants));
        }
        round
    }

    /// Compares every answer with what an origin writes that has no Redis.
    async fn judged(&self) -> String {
        let judge = Origin::start().await;
        let (mut lost, mut wrong) = (0, self.wrong_hits);
        for together in self.made.chunks(JUDGED_AT_ONCE) {
            let right = join_all(together.iter().map(|(body, _)| ask(&judge, body))).await;
            for ((_, variants), right) in together.iter().zip(right) {
                lost += usize::from(variants.is_err());
                wrong += usize::from(variants.as_ref().is_ok_and(|variants| *variants != right.variants));
            }
        }
        format!(
            "Of {} answers that were not in memory and of all hits: **{lost} lost, {wrong} wrong.**",
            self.made.len()
        )
    }
}

async fn hits(client: &Client, url: &str, body: &Value, until: Instant) -> Vec<(f64, Result<Value, String>)> {
    let mut hits = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let said = try_ask(client, url, body).await;
        hits.push((milliseconds(began.elapsed()), said.map(|said| said.variants)));
    }
    hits
}

async fn misses(
    client: &Client,
    url: &str,
    number: usize,
    until: Instant,
) -> Vec<(f64, Value, Result<Value, String>)> {
    let mut misses = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let body = about(&format!("a lighthouse, number {}", number + misses.len()));
        let said = try_ask(client, url, &body).await;
        misses.push((milliseconds(began.elapsed()), body, said.map(|said| said.variants)));
        tokio::time::sleep(MISS_EVERY.saturating_sub(began.elapsed())).await;
    }
    misses
}

/// Medians over the rounds, each of a healthy and a faulty one.
fn row(name: &str, rounds: Vec<(Round, Round)>) -> String {
    let of = |figure: &dyn Fn(&(Round, Round)) -> f64| percentile(rounds.iter().map(figure).collect(), 50);
    let p99 = |round: &Round| percentile(round.hits_ms.clone(), 99);
    let row = format!(
        "| {name} | {:.2} | {:.2} | {:.2} | **{:+.2}** | {:.0} | {:.0} |\n",
        of(&|(_, faulty)| percentile(faulty.hits_ms.clone(), 50)),
        of(&|(_, faulty)| p99(faulty)),
        of(&|(healthy, _)| p99(healthy)),
        of(&|(healthy, faulty)| p99(faulty) - p99(healthy)),
        of(&|(_, faulty)| percentile(faulty.misses_ms.clone(), 50)),
        of(&|(healthy, _)| percentile(healthy.misses_ms.clone(), 50)),
    );
    println!("{row}");
    row
}

/// How long after a hang somebody is still made to wait for Redis.
async fn hangs() -> String {
    let mut table =
        "| a Redis that hangs is left alone after | median, ms | longest, ms |\n|---|---|---|\n".to_owned();
    for (name, is_asked) in [("with nobody asking", false), ("with somebody asking all the time", true)] {
        let redis = Redis::start().await;
        let address = RedisAddress::parse(&redis.url()).expect("an address");
        let link = RedisLink::start(address, Box::new(|_| Box::pin(async { Ok(()) })));
        let mut took_ms = Vec::new();
        for _ in 0..HANGS {
            until_up(&link, true, is_asked).await;
            redis.hang();
            let began = Instant::now();
            until_up(&link, false, is_asked).await;
            took_ms.push(milliseconds(began.elapsed()));
            redis.go_on();
        }
        let longest = took_ms.iter().copied().fold(0.0, f64::max);
        table += &format!("| {name} | {:.0} | {longest:.0} |\n", percentile(took_ms, 50));
    }
    table
}

async fn until_up(link: &RedisLink, is_up: bool, is_asked: bool) {
    while link.is_up() != is_up {
        if is_asked {
            let _ = link.ask::<String>(redis::cmd("PING"), Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len().saturating_sub(1) * percent).div_ceil(100);
    values.get(index).copied().unwrap_or(f64::NAN)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
