//! What a million requests cost: the real pipeline in several data centres with several isolates each, asked for
//! captions as popular as Zipf's law has it, and every call that is billed counted by the twins. `docs/COST.md` has the
//! prices. To see the figures: `cargo test -p lede-edge --lib cost -- --nocapture --include-ignored`.

use std::collections::BTreeMap;
use std::rc::Rc;

use lede_shared::api::CaptionRequest;
use lede_shared::api_key::{ApiKeyHash, TenantId};
use lede_shared::plan::{KeyRecord, Plan};

use super::deployment::{Deployment, NOW_MS, binding, generate, json, with};
use super::fixtures::{answer, caption_for};
use crate::bindings::in_memory::{ColoCacheInMemory, WorkersKvFromAfar, WorkersKvInMemory, settled};
use crate::bindings::{Bindings, FetchError, IncomingResponse, OutgoingRequest};
use crate::config::Config;
use crate::http::{AUTHORIZATION, JSON, Response};
use crate::isolate::Isolate;
use crate::router;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
struct Trace {
    requests: u32,
    colos: usize,
    isolates_per_colo: usize,
    /// Each with one key, and asking as often as the others.
    tenants: usize,
    /// All data centres together.
    requests_per_s: u64,
    /// Different captions that may be asked for, the n-th with a weight of 1 / n^exponent.
    captions: u32,
    exponent: f64,
    /// After so many requests to a data centre one of its isolates is replaced by a new one.
    requests_per_isolate_life: u32,
    popular_after_lookups: u64,
    /// The Cache API does nothing on `*.workers.dev`.
    has_colo_cache: bool,
}

const USUAL: Trace = Trace {
    requests: 100_000,
    colos: 5,
    isolates_per_colo: 4,
    tenants: 10,
    requests_per_s: 100,
    captions: 40_000,
    exponent: 1.47,
    requests_per_isolate_life: 2_500,
    popular_after_lookups: 2,
    has_colo_cache: true,
};

/// What came of it.
#[derive(Debug, Default)]
struct Counted {
    requests: u64,
    caption_reads: u64,
    caption_writes: u64,
    key_reads: u64,
    key_writes: u64,
    quota_calls: u64,
    colo_reads: u64,
    colo_writes: u64,
    origin_calls: u64,
    /// Answers by tier; `origin` for those of none.
    answers: BTreeMap<String, u64>,
}

impl Counted {
    fn hit_share(&self) -> f64 {
        1.0 - self.answers.get("origin").copied().unwrap_or(0) as f64 / self.requests as f64
    }

    fn per_million(&self, count: u64) -> u64 {
        count * 1_000_000 / self.requests
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// One of the captions whose cumulated weights these are.
    fn weighted(&mut self, cumulated: &[f64]) -> usize {
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        let at = share * cumulated.last().unwrap();
        cumulated.partition_point(|weight| *weight < at)
    }
}

/// One data centre: its own cache, its own view of Workers KV, its isolates.
struct Colo {
    isolates: Vec<Bindings>,
    cache: Rc<ColoCacheInMemory>,
    requests: u32,
}

impl Colo {
    fn new(deployment: &Deployment, trace: &Trace) -> Self {
        let here = deployment.elsewhere();
        here.colo.is_absent.set(!trace.has_colo_cache);
        let view =
            |store: &Rc<WorkersKvInMemory>| Rc::new(WorkersKvFromAfar::new(store.clone(), here.clock.clone()));
        let (captions, keys) = (view(&here.captions), view(&here.keys));
        let isolate = |_| Bindings {
            isolate: Rc::default(),
            captions: captions.clone(),
            keys: keys.clone(),
            ..here.bindings()
        };
        let isolates = (0..trace.isolates_per_colo).map(isolate).collect();
        Self { isolates, cache: here.colo.clone(), requests: 0 }
    }

    /// The isolate that takes the next request.
    fn isolate(&mut self, number: usize, trace: &Trace) -> Bindings {
        self.requests += 1;
        if self.requests.is_multiple_of(trace.requests_per_isolate_life) {
            self.isolates[number].isolate = Rc::new(Isolate::default());
        }
        self.isolates[number].clone()
    }
}

fn simulate(trace: &Trace) -> Counted {
    let deployment = Deployment::with_origin(origin(trace));
    let config = Rc::new(
        Config::read(|name| match name {
            "POPULAR_AFTER_LOOKUPS" => Some(trace.popular_after_lookups.to_string()),
            "CACHE_FRESH_S" => Some("86400".to_owned()),
            "API_KEY_HASHES" => None,
            other => binding(other),
        })
        .unwrap(),
    );
    let mut colos: Vec<Colo> = (0..trace.colos).map(|_| Colo::new(&deployment, trace)).collect();
    let weights = (1..=trace.captions).scan(0.0, |sum, rank| {
        *sum += f64::from(rank).powf(-trace.exponent);
        Some(*sum)
    });
    let cumulated: Vec<f64> = weights.collect();
    let (mut numbers, mut counted) = (Numbers(4), Counted::default());
    for request in 0..u64::from(trace.requests) {
        deployment.clock.0.set(NOW_MS + request * 1_000 / trace.requests_per_s);
        let caption = numbers.weighted(&cumulated);
        let colo = numbers.below(trace.colos);
        let isolate = numbers.below(trace.isolates_per_colo);
        let bindings = colos[colo].isolate(isolate, trace);
        let body = format!(r#"{{"content_description": "Subject number {caption}"}}"#);
        let key = format!("Bearer {}", key_of(numbers.below(trace.tenants)));
        let request = with(generate(&body), AUTHORIZATION, &key);
        let response = settled(router::answer(Ok(Rc::clone(&config)), bindings, request));
        let response = response.expect("twins do not wait");
        *counted.answers.entry(tier(&response)).or_default() += 1;
        deployment.background.finish();
    }
    counted.requests = u64::from(trace.requests);
    counted.caption_reads = deployment.captions.reads.get();
    counted.caption_writes = deployment.captions.writes.get();
    counted.key_reads = deployment.keys.reads.get();
    counted.key_writes = deployment.keys.writes.get();
    counted.quota_calls = deployment.quota_objects.calls.get();
    counted.colo_reads = colos.iter().map(|colo| colo.cache.reads.get()).sum();
    counted.colo_writes = colos.iter().map(|colo| colo.cache.writes.get()).sum();
    counted.origin_calls = deployment.origin_requests() as u64;
    counted
}

fn key_of(tenant: usize) -> String {
    format!("lede_test_key_{tenant}")
}

/// Knows every tenant's key; their plans are wide enough for the trace.
fn origin(trace: &Trace) -> impl Fn(&OutgoingRequest) -> Result<IncomingResponse, FetchError> + 'static {
    let record = |number| {
        let tenant = TenantId::parse(&format!("tenant-{number}")).unwrap();
        let plan =
            Plan { cells_per_minute: 6_000, burst_cells: 20_000, daily_cells: 100_000_000, ..Plan::default() };
        let record = KeyRecord { plan, ..KeyRecord::standard(tenant) };
        (ApiKeyHash::of(&key_of(number)).to_string(), serde_json::json!(record).to_string())
    };
    let records: BTreeMap<String, String> = (0..trace.tenants).map(record).collect();
    move |request| match request.url.split_once("/internal/keys/") {
        Some((_, hash)) => Ok(answer(200, JSON, &records[hash])),
        None => {
            let body = request.body.as_ref().expect("a question has a body");
            let wanted =
                CaptionRequest::from_json(body).and_then(|request| request.validate()).expect("canonical");
            Ok(answer(200, JSON, &serde_json::json!(caption_for(&wanted)).to_string()))
        }
    }
}

fn tier(response: &Response) -> String {
    assert_eq!(response.status, 200);
    let tier = json(response)["performance_metrics"]["cache_tier"].as_str().map(str::to_owned);
    tier.unwrap_or_else(|| "origin".to_owned())
}

/// One row of figures.
fn print(name: &str, counted: &Counted) {
    let per_million = |count| counted.per_million(count);
    let share =
        |tier: &str| 100.0 * counted.answers.get(tier).copied().unwrap_or(0) as f64 / counted.requests as f64;
    println!(
        "{name}: hits {:.2} % (isolate {:.2}, colo {:.2}, workers_kv {:.2}); per million requests: \
         captions read {}, written {}; keys read {}, written {}; quota calls {}; colo reads {}, writes {}; \
         calls to the origin {}",
        100.0 * counted.hit_share(),
        share("isolate"),
        share("colo"),
        share("workers_kv"),
        per_million(counted.caption_reads),
        per_million(counted.caption_writes),
        per_million(counted.key_reads),
        per_million(counted.key_writes),
        per_million(counted.quota_calls),
        per_million(counted.colo_reads),
        per_million(counted.colo_writes),
        per_million(counted.origin_calls),
    );
}

#[test]
fn most_hits_cost_nothing_but_the_request() {
    let counted = simulate(&Trace { requests: 10_000, ..USUAL });
    let hits = counted.requests - counted.answers["origin"];
    assert!(hits * 100 > counted.requests * 80, "{counted:?}");
    assert!(counted.answers["isolate"] * 10 > hits * 7, "{counted:?}");
    assert!(counted.caption_writes * 20 < counted.requests, "{counted:?}");
    // Looking for what neither isolate nor colo holds, looking before writing, and the records of purges.
    assert!(counted.caption_reads * 2 < counted.requests, "{counted:?}");
}

#[test]
#[ignore = "a measurement: prints the figures of docs/COST.md"]
fn billable_operations_per_million_requests() {
    print("usual", &simulate(&USUAL));
    for popular_after_lookups in [1, 3, 4] {
        let trace = Trace { popular_after_lookups, ..USUAL };
        print(&format!("popular after {popular_after_lookups}"), &simulate(&trace));
    }
    print("without colo caches", &simulate(&Trace { has_colo_cache: false, ..USUAL }));
    print("10 requests/s", &simulate(&Trace { requests_per_s: 10, ..USUAL }));
    print("20 colos", &simulate(&Trace { colos: 20, ..USUAL }));
}
