//! What prediction brings on traces with habits, what it costs without them, and what learning costs the hot path.

#[path = "../../../origin/tests/prediction/simulation.rs"]
mod simulation;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use lede_origin::cache::TieredCache;
use lede_origin::captions::{Asking, BackgroundSettings, CaptionSources, Captions, Epochs, Sharing};
use lede_origin::config::Config;
use lede_origin::model_registry::ModelRegistry;
use lede_shared::api::{CaptionRequest, ValidRequest};
use lede_shared::api_key::TenantId;
use lede_shared::cache_key::CacheKey;
use lede_shared::popularity::TopTable;
use lede_shared::signature::Claims;
use simulation::{DEFAULT, Kind, Outcome, Prefetch, play, trace};

/// With and without prediction on each kind of trace.
pub(crate) fn measure() -> String {
    let credulous = Prefetch { probability_min: 0.001, ..DEFAULT };
    let without_gate = |prefetch: Prefetch| Prefetch { used_share_min: 0.0, ..prefetch };
    let rows = [
        ("habits, 28 days", Kind::Habits, 28, vec![("off", None), ("on", Some(DEFAULT))]),
        (
            "habits that end after 21 of 42 days",
            Kind::HabitsThatEnd,
            42,
            vec![("off", None), ("on", Some(DEFAULT)), ("on, no gate", Some(without_gate(DEFAULT)))],
        ),
        (
            "noise, 28 days",
            Kind::Noise,
            28,
            vec![
                ("off", None),
                ("on", Some(DEFAULT)),
                ("on, believes everything", Some(credulous)),
                ("on, believes everything, no gate", Some(without_gate(credulous))),
            ],
        ),
    ];
    let mut table = String::from(
        "| trace | prefetching | look-ups | fresh hits | made | used | wasted | device s: callers + guesses (wasted) | closed in the end |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, kind, days, ways) in rows {
        let trace = trace(kind, days);
        for (way, prefetch) in ways {
            table.push_str(&row((name, way), &play(&trace, prefetch)));
        }
    }
    table + &cost_of_noting()
}

fn row((name, way): (&str, &str), outcome: &Outcome) -> String {
    let ((made, used, wasted), (callers, guesses, on_wasted)) = (outcome.guesses, outcome.device_ms);
    let used_percent = used * 100 / made.max(1);
    let closed: Vec<String> = outcome.closed.iter().map(|source| format!("{source:?}").to_lowercase()).collect();
    format!(
        "| {name} | {way} | {} | {:.1} % | {made} | {used} ({used_percent} %) | {wasted} | {} + {} ({}) | {} |\n",
        outcome.look_ups,
        outcome.hit_percent(),
        callers / 1_000,
        guesses / 1_000,
        on_wasted / 1_000,
        closed.join(", ")
    )
}

/// What noting a look-up costs the one who asks, against a lock around the table that counts; alternated.
fn cost_of_noting() -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let noting = Noting::new();
    let table = Mutex::new(TopTable::<u64>::new(2_000));
    let count = |at: usize| {
        let mut table = table.lock().expect("nobody panics");
        table.record(noting.requests[at % REQUESTS].1, || 0);
    };
    let (mut learnt_ns, mut eight_ns, mut locked_ns, mut eight_locked_ns) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        learnt_ns.push(noting.nanoseconds_each_learnt());
        locked_ns.push(nanoseconds_each(1, count));
        eight_ns.push(nanoseconds_each(8, |at| noting.note(at)));
        eight_locked_ns.push(nanoseconds_each(8, count));
    }
    format!(
        "\n| a look-up costs who asks | noted, learnt from behind | counted under a lock |\n|---|---|---|\n\
         | one thread, all learnt from | {:.0} ns | {:.0} ns |\n\
         | eight threads without pause, a sample learnt from | {:.0} ns | {:.0} ns |\n",
        median(learnt_ns),
        median(locked_ns),
        median(eight_ns),
        median(eight_locked_ns)
    )
}

/// Different requests, and look-ups of each thread in one round.
const REQUESTS: usize = 500;
const CALLS_EACH: usize = 200_000;
const ROUNDS: usize = 5;

/// The domain without anybody who writes: it notes what is asked for all the same.
struct Noting {
    captions: Captions,
    requests: Vec<(ValidRequest, CacheKey)>,
    claims: Claims,
    asking: Asking,
}

impl Noting {
    fn new() -> Self {
        let config = Config::read(&Default::default()).expect("nothing set is a sound configuration");
        let cache = TieredCache::new(config.cache.memory_settings(), None);
        let behind = BackgroundSettings { popular_file: None, ..config.background.settings(&config.cache) };
        let nobody = CaptionSources { registry: ModelRegistry::empty(), remote: None };
        let sharing = Sharing::alone(Epochs::open(&nobody.served(), None));
        let captions = Captions::new(nobody, (cache, sharing), config.cache.caption_settings(), behind);
        let claims = Claims::of(TenantId::parse("acme").expect("a tenant"));
        let request = |number: usize| {
            let body = format!("{{\"content_description\": \"Beautiful sunset over the ocean, part {number}\"}}");
            let request = CaptionRequest::from_json(body.as_bytes()).and_then(|request| request.validate());
            let request = request.expect("a valid request");
            let key = captions.key_of(&request, &claims);
            (request, key)
        };
        let requests = (0..REQUESTS).map(request).collect();
        let now = Instant::now();
        let asking = Asking {
            cache_control: Default::default(),
            started_at: now,
            deadline: now,
            priority: Default::default(),
            endpoint: Default::default(),
            is_behind: false,
            near_in: None,
        };
        Self { captions, requests, claims, asking }
    }

    /// As many at a time as find room, and then they are learnt from, which is not counted.
    fn nanoseconds_each_learnt(&self) -> f64 {
        const TIMES: usize = 1_000;
        const AT_A_TIME: usize = 100;
        let mut spent = Duration::ZERO;
        for time in 0..TIMES {
            let started = Instant::now();
            (0..AT_A_TIME).for_each(|at| self.note(time * AT_A_TIME + at));
            spent += started.elapsed();
            let _ = self.captions.popular(1, 0);
        }
        spent.as_secs_f64() * 1e9 / (TIMES * AT_A_TIME) as f64
    }

    fn note(&self, at: usize) {
        let (request, key) = &self.requests[at % REQUESTS];
        self.captions.count(request, *key, (&self.claims, &self.asking));
    }
}

/// Time of one call on each of so many threads at once.
fn nanoseconds_each(threads: usize, call: impl Fn(usize) + Sync) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let call = &call;
            scope.spawn(move || (0..CALLS_EACH).for_each(|at| call(at * 7 + thread)));
        }
    });
    started.elapsed().as_secs_f64() * 1e9 / (threads * CALLS_EACH) as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
