//! Resident memory over many cycles of what comes and goes: rows on a device, a model on its device, and a level's model
//! with its text side, its engine and its threads, as the registry loads and unloads it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lede_origin::admission::{Admission, AdmissionLimits, ByEndpoint};
use lede_origin::engine::{EngineHandle, EngineLimits};
use lede_origin::model_registry::{LocalModel, ModelRegistry, ModelSource, RegistrySettings, Seat};
use lede_origin::models::{ChatSettings, OpeningModel};
use lede_shared::api::OptimizationLevel;
use lede_shared::plan::Priority;
use lede_tests::model_fixture;

use crate::asking;
use crate::device::{self, open, served_graph, step};
use crate::in_short;
use crate::meter::{float, resident_bytes};

/// Cycles before the first reading: arenas and caches grow to what they need.
const WARMING: usize = 100;
/// The model that the registry loads and unloads.
const NAME: &str = "tiny-llama";
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures and returns the table.
pub(crate) fn measure() -> String {
    let cycles = in_short(1_000, 100);
    let mut table =
        String::from("| cycles | of what | resident before, MiB | after, MiB | drift |\n|---|---|---|---|---|\n");
    let mut backend = open(&served_graph());
    let prompt = device::prompt(32);
    write_row(&mut table, "row opened, 32 entries read, closed (135M shape, int4)", cycles, &mut || {
        let row = backend.open(None).expect("there is room");
        step(backend.as_mut(), &[row], &prompt);
        backend.close(row);
    });
    drop(backend);
    let tiny = model_fixture("tiny-llama").join("onnx/model.onnx");
    write_row(&mut table, "model loaded, a step, unloaded (tiny Llama)", cycles, &mut || {
        let mut backend = open(&tiny);
        let row = backend.open(None).expect("there is room");
        step(backend.as_mut(), &[row], &[1, 2, 3]);
    });
    let runtime = asking::runtime();
    let registry = runtime.block_on(async { registry() });
    write_row(&mut table, "model loaded and unloaded by the registry (tiny Llama)", cycles, &mut || {
        runtime.block_on(load_and_unload(&registry));
    });
    table
}

/// A registry with nothing but one model that can be loaded.
fn registry() -> ModelRegistry {
    let folder = model_fixture("tiny-llama");
    let opened = move || {
        let model = OpeningModel::named_in(&folder).map_err(|error| error.to_string())?;
        let text_side = model.open(&folder, &ChatSettings::default()).map_err(|error| error.to_string())?;
        let graph = text_side.graph_file().map_err(|error| error.to_string())?.to_owned();
        let load = move || Ok::<_, String>(open(&graph));
        let engine = EngineHandle::start(EngineLimits::default(), load).map_err(|error| error.to_string())?;
        let limits = AdmissionLimits {
            sequences_max: 256,
            request_sequences_max: 48,
            rows: device::ROWS_MAX,
            requests_max: ByEndpoint::default(),
        };
        Ok(LocalModel { model, engine, admission: Admission::new(limits) })
    };
    let source = ModelSource {
        name: NAME.to_owned(),
        id: NAME.to_owned(),
        levels: vec![OptimizationLevel::Quality],
        bytes: 0,
        is_pinned: false,
        open: Arc::new(opened),
    };
    let settings = RegistrySettings { bytes_max: u64::MAX, canary_every: None, idle_before_loading: PATIENCE };
    ModelRegistry::start(settings, None, vec![source])
}

async fn load_and_unload(registry: &ModelRegistry) {
    registry.load(NAME).expect("there is room");
    until_state(registry, "loaded").await;
    let Seat::Own(lease) = registry.seat(OptimizationLevel::Quality, false) else { panic!("it is loaded") };
    let writing = lease.local().write_one_token(Instant::now() + PATIENCE, Priority::Normal);
    writing.await.expect("it writes");
    drop(lease);
    registry.unload(NAME).expect("nobody uses it");
    until_state(registry, "absent").await;
}

async fn until_state(registry: &ModelRegistry, state: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = registry.report();
        let model = report.models.first().expect("there is one");
        if model.state == state {
            return;
        }
        assert!(model.failures == 0 && Instant::now() < until, "{model:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn write_row(table: &mut String, what: &str, cycles: usize, cycle: &mut dyn FnMut()) {
    (0..WARMING).for_each(|_| cycle());
    let before = float(resident_bytes());
    (0..cycles).for_each(|_| cycle());
    let after = float(resident_bytes());
    let mib = f64::from(1 << 20);
    let drift = (after - before) / before * 100.0;
    let _ =
        writeln!(table, "| {cycles} | {what} | {:.1} | {:.1} | **{drift:+.2} %** |", before / mib, after / mib);
}
