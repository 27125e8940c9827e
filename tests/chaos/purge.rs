//! Purges: what one origin purges no origin serves any more, whenever it hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lede_origin::captions::Epochs;
use lede_origin::redis_link::{RedisAddress, RedisLink};
use lede_shared::api_key::TenantId;
use lede_shared::cache_key::CacheKey;
use lede_shared::purge::PurgeScope;
use lede_shared::served_models::ServedModels;
use lede_shared::signature::Claims;
use lede_tests::{Redis, RedisWay, Way};

use crate::asking::{about, ask, origin_over};
use crate::link::until_up;

const MODEL: &str = "lede-nano-2";
/// Longer than the ten seconds after which it is read what nobody told.
const SOON: Duration = Duration::from_secs(20);

/// What an origin knows of purges, and its way to Redis.
struct Knower {
    epochs: Epochs,
    link: RedisLink,
    dropped: Arc<AtomicUsize>,
    hearing: tokio::task::AbortHandle,
}

impl Knower {
    async fn over(url: &str) -> Self {
        let epochs = Epochs::open(&ServedModels::one(MODEL), None);
        let address = RedisAddress::parse(url).expect("an address");
        let link = RedisLink::start(address, epochs.greeting());
        let dropped = Arc::<AtomicUsize>::default();
        let (heard, counted, way) = (epochs.clone(), Arc::clone(&dropped), link.clone());
        let listen = async move {
            heard
                .listen(way, |_| {
                    counted.fetch_add(1, Ordering::SeqCst);
                })
                .await;
        };
        let hearing = tokio::spawn(listen).abort_handle();
        until_up(&link, true).await;
        Self { epochs, link, dropped, hearing }
    }

    fn epoch(&self, tenant: Option<&str>) -> u64 {
        let mut claims = Claims::of_the_edge();
        if let Some(tenant) = tenant {
            claims.tenant = TenantId::parse(tenant).expect("a tenant");
            claims.cache_is_private = true;
        }
        self.epochs.of(&claims)
    }

    async fn purge(&self, scope: &str) -> bool {
        let scope: PurgeScope = scope.parse().expect("a scope");
        self.epochs.purge(&scope, Some(&self.link)).await.is_told
    }

    async fn until_knows_what(&self, other: &Self) {
        let until = Instant::now() + SOON;
        while [None, Some("acme")].iter().any(|tenant| self.epoch(*tenant) != other.epoch(*tenant)) {
            assert!(Instant::now() < until, "{:?} {:?}", self.epochs, other.epochs);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Knower {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

#[tokio::test]
async fn every_purge_is_known_to_all_and_reaches_only_what_it_is_about() {
    let redis = Redis::start().await;
    let (one, other) = (Knower::over(&redis.url()).await, Knower::over(&redis.url()).await);
    for (scope, is_of_all, is_of_tenant) in [
        ("all", true, true),
        ("model:lede-nano-2", true, true),
        ("policy:2025-12", true, true),
        ("tenant:acme", false, true),
        ("tenant:other", false, false),
        ("model:another", false, false),
        ("all", true, true),
    ] {
        let before = [None, Some("acme")].map(|tenant| one.epoch(tenant));
        assert!(one.purge(scope).await);
        let after = [None, Some("acme")].map(|tenant| one.epoch(tenant));
        assert_eq!([after[0] > before[0], after[1] > before[1]], [is_of_all, is_of_tenant], "{scope}");
        other.until_knows_what(&one).await;
    }
    let late = Knower::over(&redis.url()).await;
    assert_eq!(late.epoch(Some("acme")), one.epoch(Some("acme")), "whoever comes later is greeted with it");
}

#[tokio::test]
async fn who_was_away_when_it_was_told_knows_before_anything_from_redis_is_believed() {
    let redis = Redis::start().await;
    let way = RedisWay::to(redis.port()).await;
    let (one, away) = (Knower::over(&redis.url()).await, Knower::over(&way.url).await);
    for scope in ["all", "tenant:acme", "policy:2025-12"] {
        way.is(Way::Cut);
        until_up(&away.link, false).await;
        assert!(one.purge(scope).await);
        way.is(Way::Open);
        until_up(&away.link, true).await;
        assert_eq!(away.epoch(Some("acme")), one.epoch(Some("acme")), "{scope}");
    }
}

#[tokio::test]
async fn what_could_not_be_told_holds_here_at_once_and_is_told_when_redis_is_back() {
    let redis = Redis::start().await;
    let way = RedisWay::to(redis.port()).await;
    let (one, other) = (Knower::over(&way.url).await, Knower::over(&redis.url()).await);
    way.is(Way::Hole);
    let before = one.epoch(None);
    let is_told = one.purge("all").await;
    assert!(!is_told && one.epoch(None) > before);
    way.is(Way::Open);
    other.until_knows_what(&one).await;
}

#[tokio::test]
async fn what_redis_has_forgotten_is_told_to_it_again_and_nothing_is_purged_twice() {
    let redis = Redis::start().await;
    let way = RedisWay::to(redis.port()).await;
    let one = Knower::over(&way.url).await;
    assert!(one.purge("all").await && one.purge("tenant:acme").await);
    let known = [one.epoch(None), one.epoch(Some("acme"))];
    redis.told::<String>(&["FLUSHALL"]).await;
    way.is(Way::Cut);
    until_up(&one.link, false).await;
    way.is(Way::Open);
    until_up(&one.link, true).await;
    let late = Knower::over(&redis.url()).await;
    assert_eq!([late.epoch(None), late.epoch(Some("acme"))], known);
    assert_eq!([one.epoch(None), one.epoch(Some("acme"))], known);
}

#[tokio::test]
async fn garbage_where_purges_are_kept_and_told_purges_nothing_and_hinders_no_purge() {
    let redis = Redis::start().await;
    let (one, other) = (Knower::over(&redis.url()).await, Knower::over(&redis.url()).await);
    for message in ["", "epoch", "epoch x all", "epoch 99999999999999999999 all", "drop 12", "\u{0}"] {
        redis.told::<i64>(&["PUBLISH", "lede:r1:purges", message]).await;
    }
    for epoch in ["x", "-1", "1e300", "nan", "99999999999999999999"] {
        redis.told::<i64>(&["HSET", "lede:r1:epochs", "all", epoch]).await;
        redis.told::<i64>(&["HSET", "lede:r1:epochs", "no scope", epoch]).await;
        assert!(one.purge("all").await, "{epoch}");
        other.until_knows_what(&one).await;
        assert!(one.epoch(None) < 1 << 52, "{epoch}");
    }
    redis.told::<String>(&["SET", "lede:r1:epochs", "no hash"]).await;
    let late = Knower::over(&redis.url()).await;
    assert!(late.purge("all").await);
    other.until_knows_what(&late).await;
}

#[tokio::test]
async fn one_entry_is_dropped_everywhere() {
    let redis = Redis::start().await;
    let (one, other) = (Knower::over(&redis.url()).await, Knower::over(&redis.url()).await);
    let key = CacheKey([7; 32]);
    let until = Instant::now() + SOON;
    // Whoever listens may have begun a moment ago.
    while other.dropped.load(Ordering::SeqCst) == 0 {
        one.epochs.tell_to_drop(key, &one.link).await.expect("Redis is there");
        assert!(Instant::now() < until, "nothing was dropped");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_was_away_when_one_entry_was_dropped_drops_it_on_coming_back() {
    let redis = Redis::start().await;
    let way = RedisWay::to(redis.port()).await;
    let (one, away) = (Knower::over(&redis.url()).await, Knower::over(&way.url).await);
    redis.told::<String>(&["SET", "lede:r1:dropped", "garbage"]).await;
    for number in 1..=2 {
        way.is(Way::Cut);
        until_up(&away.link, false).await;
        let before = away.dropped.load(Ordering::SeqCst);
        let key = CacheKey([number; 32]);
        one.epochs.tell_to_drop(key, &one.link).await.expect("Redis is there");
        way.is(Way::Open);
        let until = Instant::now() + SOON;
        while away.dropped.load(Ordering::SeqCst) == before {
            assert!(Instant::now() < until, "nothing was dropped");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn two_origins_that_are_told_of_a_purge_serve_nothing_made_before() {
    let redis = Redis::start().await;
    let origins = [origin_over(&redis.url()).await, origin_over(&redis.url()).await];
    let body = about("a lighthouse in the storm");
    for origin in &origins {
        ask(origin, &body).await;
        assert!(ask(origin, &body).await.is_hit());
    }
    // As another origin would.
    let third = Knower::over(&redis.url()).await;
    assert!(third.purge("all").await);
    let until = Instant::now() + SOON;
    let mut written = 0;
    for origin in &origins {
        // Told within a moment; from the first answer that is new none is old.
        let mut said = ask(origin, &body).await;
        while said.cache_status.contains("detail=HOT") || said.cache_status.contains("detail=hot") {
            assert!(Instant::now() < until, "it is still served");
            said = ask(origin, &body).await;
        }
        written += usize::from(said.was_written());
        for _ in 0..20 {
            assert!(ask(origin, &body).await.is_hit());
        }
    }
    assert_eq!(written, 1, "one wrote it anew, and the other found it");
}
