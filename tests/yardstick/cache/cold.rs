//! The cold tier on disk: getting, putting, and from the start of a process to its first hit.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use lede_origin::cache::cold::disk::{DiskSettings, DiskStore};
use lede_origin::cache::cold::{ColdStore, ColdWrite};
use lede_shared::cache_key::CacheKey;
use lede_tests::{Origin, client, free_port, ok_json, post, sunset};
use tempfile::TempDir;

const ENTRIES: u32 = 200_000;
const BATCH: u32 = 128;
const ENCODED_BYTES: usize = 500;
/// Between two batches: more than any device writes, and less than a disk takes, beyond which it would not be kept.
const PAUSE: Duration = Duration::from_millis(12);
const GETS: u32 = 20_000;
const STARTS: usize = 15;
const BYTES_MAX: u64 = 10_000_000_000;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The table.
pub(crate) fn measure() -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut table = String::from("| cold tier on disk | |\n|---|---|\n");
        on_disk(&mut table).await;
        starts(&mut table).await;
        table
    })
}

fn folder() -> TempDir {
    let at = std::env::var_os("LEDE_BENCH_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    std::fs::create_dir_all(&at).expect("the folder for measurements");
    TempDir::new_in(at).expect("a temporary folder")
}

fn key(number: u32) -> CacheKey {
    let mut key = [0; 32];
    for (part, bytes) in (0..).zip(key.chunks_exact_mut(4)) {
        bytes
            .copy_from_slice(&number.wrapping_add(part).wrapping_mul(0x9e37_79b1).rotate_left(part).to_be_bytes());
    }
    CacheKey(key)
}

fn encoded(number: u32) -> Bytes {
    number.to_be_bytes().into_iter().cycle().take(ENCODED_BYTES).collect()
}

fn open(folder: &TempDir) -> DiskStore {
    let flush_every = Duration::from_secs(5);
    let settings = DiskSettings { folder: folder.path().to_owned(), bytes_max: BYTES_MAX, flush_every };
    DiskStore::start(settings).expect("a thread")
}

async fn on_disk(table: &mut String) {
    let folder = folder();
    let store = open(&folder);
    let (mut waits, started_at) = (Vec::new(), Instant::now());
    for first in (0..ENTRIES).step_by(BATCH as usize) {
        let numbers = first..(first + BATCH).min(ENTRIES);
        let writes =
            numbers.map(|number| ColdWrite { key: key(number), encoded: encoded(number), useful_for: DAY });
        let (writes, began) = (writes.collect(), Instant::now());
        store.put_many(writes).await.expect("what is put is kept");
        waits.push(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    drop(store);
    let rate = f64::from(ENTRIES) / started_at.elapsed().as_secs_f64();
    let _ = writeln!(table, "| put at {rate:.0} entries per second: a batch of {BATCH} | {} |", spread(waits));
    let began = Instant::now();
    let store = open(&folder);
    while store.get(&key(0)).await.expect("the store answers").is_none() {}
    let _ = writeln!(table, "| open {ENTRIES} entries, to the first get | {:.1} ms |", ms(began.elapsed()));
    for (name, beyond) in [("get", 0), ("get: a miss", ENTRIES)] {
        let (mut waits, mut found) = (Vec::new(), 0);
        for number in 0..GETS {
            let number = number.wrapping_mul(0x9e37_79b1) % ENTRIES + beyond;
            let began = Instant::now();
            let got = store.get(&key(number)).await.expect("the store answers");
            waits.push(began.elapsed());
            found += u32::from(got.is_some());
            assert!(got.is_none_or(|got| beyond == 0 && got == encoded(number)), "a wrong answer");
        }
        let _ = writeln!(table, "| {name} ({found} of {GETS} found) | {} |", spread(waits));
    }
    let size = store.size().await.expect("the store answers");
    #[expect(clippy::cast_precision_loss, reason = "a size for reading")]
    let share = size.bytes.unwrap_or_default() as f64 / (f64::from(ENTRIES) * (ENCODED_BYTES + 32) as f64);
    let _ = writeln!(table, "| bytes on disk for each byte of keys and entries | {share:.2} |");
}

/// From the start of the process to its first answer, which is a hit, and until the model is ready.
async fn starts(table: &mut String) {
    let folder = folder();
    let at = folder.path().to_str().expect("a plain name");
    let settings = [("LEDE_COLD", "disk"), ("LEDE_COLD_DIR", at), ("LEDE_COLD_FLUSH_MS", "20")];
    let mut origin = Origin::start_with(free_port(), &settings).await;
    let caption = ok_json(post(&origin.url, "/api/v14/generate", &sunset())).await.1["caption"].clone();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mut hits, mut readies) = (Vec::new(), Vec::new());
    let client = client();
    for _ in 0..STARTS {
        origin.kill();
        // Otherwise the answer is brought back into memory at the start.
        let _ = std::fs::remove_file(folder.path().join("popular.json"));
        let began = Instant::now();
        origin = Origin::spawn(free_port(), &settings);
        let url = format!("{}/api/v14/generate", origin.url);
        let response = loop {
            let request = client.post(&url).bearer_auth(lede_tests::API_KEY).json(&sunset());
            match request.send().await {
                Ok(response) => break response,
                Err(_) => tokio::time::sleep(Duration::from_micros(500)).await,
            }
        };
        let answer: serde_json::Value = response.json().await.expect("an answer");
        hits.push(began.elapsed());
        assert_eq!(answer["performance_metrics"]["cache_tier"], "cold", "{answer}");
        assert_eq!(answer["caption"], caption);
        while !origin.is_ready().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        readies.push(began.elapsed());
    }
    let _ = writeln!(
        table,
        "| start of the process (after `kill -9`) to its first hit, {STARTS} starts | {} |",
        spread(hits)
    );
    let _ = writeln!(table, "| start of the process until the model is ready | {} |", spread(readies));
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn spread(mut waits: Vec<Duration>) -> String {
    waits.sort_unstable();
    let at = |percent: usize| ms(waits[(waits.len() - 1) * percent / 100]);
    format!("p50 {:.3} ms, p99 {:.3} ms", at(50), at(99))
}
