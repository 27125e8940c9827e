//! What a look-up costs, in an index of ten thousand entries.

use std::hint::black_box;

use lede_origin::captions::near::NearIndex;
use lede_shared::api::{CaptionRequest, ValidRequest};
use lede_shared::cache_key::{CacheKey, CacheNamespace, NamespaceDigest};
use serde_json::json;

use super::pairs::Half;
use super::sketch::Sketch;

const ENTRIES: usize = 10_000;
const LOOK_UPS: usize = 2_000;
/// For the memory of an entry: so many that nothing else counts.
const ENTRIES_FOR_MEMORY: u64 = 200_000;
/// Pages of Linux on the machines that this runs on.
const PAGE_BYTES: u64 = 4_096;

/// What a method costs.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    pub(super) look_up_us: f64,
    pub(super) entry_bytes: usize,
}

/// The index in use: the signature, the key, the map, with all of its overhead.
pub(super) fn of_the_index() -> Cost {
    let namespace = CacheNamespace { model: "m", policy_version: "p", epoch: 1, tenant: None };
    let namespace = NamespaceDigest::of(&namespace);
    let requests: Vec<ValidRequest> = texts().iter().map(|text| request(text)).collect();
    let index = NearIndex::new(ENTRIES as u64);
    requests.iter().for_each(|request| index.put(namespace, request, CacheKey([0; 32])));
    let look_up_us = timed(|at| index.find(namespace, &requests[at % requests.len()], |_| Some(())).is_some());
    let large = NearIndex::new(ENTRIES_FOR_MEMORY);
    let before = resident_bytes();
    for number in 0..ENTRIES_FOR_MEMORY {
        large.put(namespace, &request(&format!("lake number {number}")), CacheKey([0; 32]));
    }
    let entry_bytes = (resident_bytes() - before) / ENTRIES_FOR_MEMORY;
    Cost { look_up_us, entry_bytes: entry_bytes as usize }
}

/// A sketch and an index of it.
pub(super) fn of_a_sketch(sketch: &dyn Sketch) -> Cost {
    let texts = texts();
    let index = sketch.index(&texts);
    let look_up_us = timed(|at| index(&texts[at % texts.len()]) > 0);
    Cost { look_up_us, entry_bytes: sketch.entry_bytes() }
}

/// Microseconds of this thread's processor time, so that what else the machine does does not count.
fn timed(look_up: impl Fn(usize) -> bool) -> f64 {
    let began_ns = processor_ns();
    for at in 0..LOOK_UPS {
        black_box(look_up(at));
    }
    (processor_ns() - began_ns) as f64 / 1e3 / LOOK_UPS as f64
}

fn processor_ns() -> u64 {
    let schedule =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says how long a thread ran");
    schedule.split(' ').next().and_then(|ns| ns.parse().ok()).expect("the first number is the time on a processor")
}

fn texts() -> Vec<String> {
    let half = Half::read("tuning");
    let all = half.different.into_iter().chain(half.same).flat_map(|pair| pair.texts);
    all.take(ENTRIES).collect()
}

fn request(description: &str) -> ValidRequest {
    let body = json!({ "content_description": description }).to_string();
    let request = CaptionRequest::from_json(body.as_bytes()).and_then(|request| request.validate());
    request.expect("a description of the pairs is valid")
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says what a process takes");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second number is the resident pages") * PAGE_BYTES
}
