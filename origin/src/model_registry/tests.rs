use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lede_shared::api::OptimizationLevel::{Balanced, Quality, UltraFast};

use super::*;
use crate::admission::{Admission, AdmissionLimits};
use crate::backend::scripted::ScriptedBackend;
use crate::backend::{Backend, BackendShape};
use crate::engine::{EngineHandle, EngineLimits};
use crate::models::OpeningModel;

/// So large that what the test's process grows by does not matter.
const GIB: u64 = 1 << 30;
const SHAPE: BackendShape = BackendShape { vocabulary_entries: 320, context_tokens_max: 64, rows_max: 2 };
const WAIT: Duration = Duration::from_secs(20);

/// What the sources of a test have in common.
#[derive(Clone, Default)]
struct World {
    /// Backends that are open.
    open: Arc<AtomicUsize>,
    /// Most that ever were.
    open_most: Arc<AtomicUsize>,
    /// Opening fails.
    fails: Arc<AtomicBool>,
    /// Opening waits.
    held: Arc<AtomicBool>,
}

/// A backend that is counted as long as it is there.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl World {
    fn local(&self) -> Result<LocalModel, String> {
        if self.fails.load(Ordering::SeqCst) {
            return Err("the tokenizer is broken".to_owned());
        }
        let world = self.clone();
        let load = move || -> Result<Box<dyn Backend>, String> {
            while world.held.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let open = world.open.fetch_add(1, Ordering::SeqCst) + 1;
            world.open_most.fetch_max(open, Ordering::SeqCst);
            let counted = Counted(Arc::clone(&world.open));
            let script = Box::new(move |_: &[u32], logits: &mut [f32]| {
                let _ = &counted;
                logits.fill(0.0);
            });
            Ok(Box::new(ScriptedBackend::new(SHAPE, Duration::ZERO, script)))
        };
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/tiny-llama");
        let model = OpeningModel::named_in(&folder).unwrap();
        model.open(&folder, &Default::default()).unwrap();
        let admission = Admission::new(AdmissionLimits {
            sequences_max: 64,
            request_sequences_max: 48,
            rows: 2,
            requests_max: Default::default(),
        });
        let engine = EngineHandle::start(EngineLimits::default(), load).unwrap();
        Ok(LocalModel { model, engine, admission })
    }

    fn source(&self, name: &str, levels: &[OptimizationLevel]) -> ModelSource {
        let world = self.clone();
        ModelSource {
            name: name.to_owned(),
            id: format!("{name}-1"),
            levels: levels.to_vec(),
            bytes: GIB,
            is_pinned: false,
            open: Arc::new(move || world.local()),
        }
    }

    /// A primary model and those of `sources`, on a device for `models_max`. Nothing is done in idle time.
    fn registry(&self, models_max: u64, sources: Vec<ModelSource>) -> ModelRegistry {
        self.registry_with(settings(models_max), sources)
    }

    fn registry_with(&self, settings: RegistrySettings, sources: Vec<ModelSource>) -> ModelRegistry {
        let local = World::default().local().unwrap();
        let primary = PrimaryModel { name: "primary".to_owned(), bytes: GIB, local };
        ModelRegistry::start(settings, Some(primary), sources)
    }
}

const fn settings(models_max: u64) -> RegistrySettings {
    // A little more, for what the process grows by while the primary is loaded.
    let bytes_max = models_max * GIB + GIB / 2;
    RegistrySettings { bytes_max, canary_every: None, idle_before_loading: Duration::from_secs(3_600) }
}

async fn eventually(is_so: impl Fn() -> bool) -> bool {
    let until = Instant::now() + WAIT;
    while !is_so() {
        if Instant::now() > until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

fn report_of(registry: &ModelRegistry, name: &str) -> ModelReport {
    registry.report().models.into_iter().find(|model| model.name == name).unwrap()
}

fn state_of(registry: &ModelRegistry, name: &str) -> &'static str {
    report_of(registry, name).state
}

async fn reaches(registry: &ModelRegistry, name: &str, state: &'static str) {
    assert!(eventually(|| state_of(registry, name) == state).await, "{:?}", report_of(registry, name));
}

/// Asks at a level until its own model answers.
async fn own(registry: &ModelRegistry, level: OptimizationLevel) -> ModelLease {
    let until = Instant::now() + WAIT;
    loop {
        if let Seat::Own(lease) = registry.seat(level, false) {
            return lease;
        }
        assert!(Instant::now() < until, "{:?}", registry.report());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_first_is_served_by_the_primary_and_later_ones_by_the_levels_own_model() {
    let world = World::default();
    world.held.store(true, Ordering::SeqCst);
    let registry = world.registry(2, vec![world.source("large", &[Quality])]);
    assert_eq!(registry.served().as_str(), "tiny-llama;quality=large-1");
    reaches(&registry, "primary", "loaded").await;
    assert!(matches!(registry.seat(Balanced, false), Seat::Primary));
    for _ in 0..3 {
        assert!(matches!(registry.seat(Quality, false), Seat::Away), "nobody waits for a load");
    }
    assert_eq!(state_of(&registry, "large"), "loading");
    world.held.store(false, Ordering::SeqCst);
    let lease = own(&registry, Quality).await;
    let report = report_of(&registry, "large");
    assert_eq!((report.users, report.loads, report.bytes_measured), (1, 1, true));
    assert!(report.bytes >= GIB);
    drop(lease);
    assert_eq!(report_of(&registry, "large").users, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_in_use_stays_and_one_that_goes_leaves_nothing_behind() {
    let world = World::default();
    let registry = world.registry(2, vec![world.source("large", &[Quality])]);
    let lease = own(&registry, Quality).await;
    assert_eq!(registry.unload("large"), Err(Refusal::Stays(Stays::InUse { users: 1 })));
    drop(lease);
    registry.pin("large", true).unwrap();
    assert_eq!(registry.unload("large"), Err(Refusal::Stays(Stays::Pinned)));
    registry.pin("large", false).unwrap();
    registry.unload("large").unwrap();
    reaches(&registry, "large", "absent").await;
    assert_eq!(world.open.load(Ordering::SeqCst), 0, "its room is free only when its thread has ended");
    assert_eq!(report_of(&registry, "large").unloads, 1);
    assert_eq!(registry.unload("large"), Err(Refusal::Stays(Stays::NotThere)));
    assert_eq!(registry.unload("primary"), Err(Refusal::Primary));
    assert_eq!(registry.pin("primary", false), Err(Refusal::Primary));
    assert_eq!(registry.load("nobody"), Err(Refusal::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_nobody_wanted_for_longest_makes_room_and_never_one_in_use() {
    let world = World::default();
    let sources = vec![world.source("fast", &[UltraFast]), world.source("large", &[Quality])];
    let registry = world.registry(2, sources);
    let fast = own(&registry, UltraFast).await;
    assert!(matches!(registry.seat(Quality, false), Seat::Away));
    let refused = registry.load("large").unwrap_err();
    assert!(matches!(refused, Refusal::NoRoom(NoRoom { bytes: GIB, .. })), "{refused}");
    assert_eq!((state_of(&registry, "fast"), state_of(&registry, "large")), ("loaded", "absent"));
    assert!(report_of(&registry, "large").last_failure.is_some(), "the reason is told");
    drop(fast);
    registry.load("large").unwrap();
    reaches(&registry, "large", "loaded").await;
    assert_eq!(state_of(&registry, "fast"), "absent");
    assert_eq!(world.open_most.load(Ordering::SeqCst), 1, "one is gone before the other is begun");
    assert!(registry.report().bytes <= registry.report().bytes_max);
    // What nobody waits for pushes nobody out.
    assert!(matches!(registry.seat(UltraFast, true), Seat::Away));
    assert_eq!((state_of(&registry, "fast"), state_of(&registry, "large")), ("absent", "loaded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_and_tried_again_later() {
    let world = World::default();
    world.fails.store(true, Ordering::SeqCst);
    let registry = world.registry(2, vec![world.source("large", &[Quality])]);
    reaches(&registry, "primary", "loaded").await;
    assert!(matches!(registry.seat(Quality, false), Seat::Away));
    assert!(eventually(|| report_of(&registry, "large").failures == 1).await);
    let report = report_of(&registry, "large");
    assert_eq!((report.state, report.last_failure.as_deref()), ("absent", Some("the tokenizer is broken")));
    assert!(report.retry_in_ms.is_some_and(|wait| wait > 0));
    assert!(matches!(registry.seat(Quality, false), Seat::Away));
    assert_eq!(state_of(&registry, "large"), "absent", "it is left alone for a while");
    world.fails.store(false, Ordering::SeqCst);
    drop(own(&registry, Quality).await);
    assert_eq!(report_of(&registry, "large").retry_in_ms, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_time_brings_what_fits_and_not_what_was_sent_away() {
    let world = World::default();
    let sources = vec![world.source("fast", &[UltraFast]), world.source("large", &[Quality])];
    let idle = RegistrySettings { idle_before_loading: Duration::ZERO, ..settings(2) };
    let registry = world.registry_with(idle, sources);
    reaches(&registry, "fast", "loaded").await;
    assert_eq!(state_of(&registry, "large"), "absent", "nobody goes for what nobody has asked for");
    registry.unload("fast").unwrap();
    reaches(&registry, "large", "loaded").await;
    registry.unload("large").unwrap();
    reaches(&registry, "large", "absent").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!((state_of(&registry, "fast"), state_of(&registry, "large")), ("absent", "absent"));
    drop(own(&registry, Quality).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_lies_idle_shows_that_it_writes() {
    let world = World::default();
    let often = RegistrySettings { canary_every: Some(Duration::from_millis(10)), ..settings(2) };
    let registry = world.registry_with(often, vec![world.source("large", &[Quality])]);
    drop(own(&registry, Quality).await);
    let canary = |name: &str| report_of(&registry, name).last_canary;
    assert!(eventually(|| canary("large").is_some() && canary("primary").is_some()).await);
    let report = report_of(&registry, "large");
    assert_eq!((report.last_canary.map(|canary| canary.ok), report.canaries_failed), (Some(true), 0));
    assert_eq!(report.users, 0, "a trial is no use of a model");
}
