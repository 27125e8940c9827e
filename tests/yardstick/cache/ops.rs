//! Operations per second of the tiers in memory, next to moka as it comes.

use std::fmt::Write as _;
use std::time::Duration;

use lede_origin::cache::{Entry, HotTier, MemorySettings, TieredCache, WarmTier, codec};
use lede_shared::cache_key::CacheKey;

use crate::meter::{float, median, rate};
use crate::responses::{MEASURED, entry, key};

const ENTRIES: u64 = 10_000;
const IDLE: Duration = Duration::from_secs(300);
const WARM_BYTES_MAX: u64 = 64 << 20;
/// Turns of each, alternated.
const ROUNDS: usize = 7;
/// Operations of a thread in a turn.
const OPERATIONS: u32 = 50_000;
/// Numbers of keys in the order in which they are asked for, over and over.
const ASKED: usize = 1 << 16;

/// A name and what is done for each number.
type Contender = (&'static str, Box<dyn Fn(u32) + Sync>);
type Get = Box<dyn Fn(&CacheKey) -> bool + Sync>;
type Put = Box<dyn Fn(CacheKey, &Entry) + Sync>;

/// The table.
pub(crate) fn measure() -> String {
    let mut table = String::from(
        "| million per second and core, CPU time | 1 thread | of bare moka | 2 threads together | of bare moka |\n|---|---|---|---|---|\n",
    );
    let entries: Vec<Entry> = MEASURED.responses().iter().map(|response| entry(response)).collect();
    for contenders in [gets(&entries), puts(&entries)] {
        let alone = medians(&contenders, 1);
        let together = medians(&contenders, 2);
        for (index, (name, _)) in contenders.iter().enumerate() {
            let (alone, alone_bare) = (alone[index], alone[0]);
            let (both, both_bare) = (together[index], together[0]);
            let _ = writeln!(
                table,
                "| {name} | {:.2} | {:.2} | {:.2} | {:.2} |",
                alone / 1e6,
                alone / alone_bare,
                both / 1e6,
                both / both_bare
            );
        }
    }
    table
}

fn medians(contenders: &[Contender], threads: usize) -> Vec<f64> {
    let mut rates = vec![Vec::new(); contenders.len()];
    for _ in 0..ROUNDS {
        for (rates, (_, operation)) in rates.iter_mut().zip(contenders) {
            rates.push(rate(threads, OPERATIONS, operation));
        }
    }
    rates.into_iter().map(median).collect()
}

/// Keys by popularity: the logarithm of the place is uniform, as in Zipf's law.
fn asked() -> Vec<CacheKey> {
    let place = |number: u64| {
        let uniform =
            float(u64::from_le_bytes(key(number).0[..8].try_into().expect("8 bytes")) >> 11) / (1u64 << 53) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and ENTRIES")]
        let place = (float(ENTRIES).powf(uniform) - 1.0) as u64;
        place
    };
    (0..ASKED as u64).map(|number| key(place(number))).collect()
}

fn gets(entries: &[Entry]) -> Vec<Contender> {
    let bare = moka::sync::Cache::<CacheKey, Entry>::new(ENTRIES);
    let hot = HotTier::new(ENTRIES, IDLE);
    let warm = WarmTier::new(WARM_BYTES_MAX, IDLE);
    let tiered = TieredCache::new(memory(), None);
    for (number, entry) in (0..ENTRIES).zip(entries) {
        bare.insert(key(number), entry.clone());
        hot.put(key(number), entry.clone());
        warm.put(key(number), &codec::encode(entry));
        tiered.put(key(number), entry.clone());
        bare.run_pending_tasks();
    }
    let keys = std::sync::Arc::new(asked());
    let with = |name: &'static str, get: Get| -> Contender {
        let keys = std::sync::Arc::clone(&keys);
        (name, Box::new(move |number| _ = std::hint::black_box(get(&keys[number as usize % ASKED]))))
    };
    vec![
        with("get: bare moka", Box::new(move |key| bare.get(key).is_some())),
        with("get: hot tier", Box::new(move |key| hot.get(key).is_some())),
        with("get: all tiers, hot", Box::new(move |key| tiered.in_memory(key).is_some())),
        with(
            "get: warm tier, decoded",
            Box::new(move |key| warm.get(key).is_some_and(|encoded| codec::decode(&encoded).is_ok())),
        ),
    ]
}

fn puts(entries: &[Entry]) -> Vec<Contender> {
    let bare = moka::sync::Cache::<CacheKey, Entry>::new(ENTRIES);
    let hot = HotTier::new(ENTRIES, IDLE);
    let warm = WarmTier::new(WARM_BYTES_MAX, IDLE);
    let tiered = TieredCache::new(memory(), None);
    let entries: std::sync::Arc<[Entry]> = entries.into();
    let with = |name: &'static str, put: Put| -> Contender {
        let entries = std::sync::Arc::clone(&entries);
        // Twice as many keys as there is room for.
        let key_of = |number: u32| key(u64::from(number) % (2 * ENTRIES));
        (name, Box::new(move |number| put(key_of(number), &entries[number as usize % entries.len()])))
    };
    vec![
        with("put: bare moka", Box::new(move |key, entry| bare.insert(key, entry.clone()))),
        with("put: hot tier", Box::new(move |key, entry| hot.put(key, entry.clone()))),
        with("put: warm tier, encoded", Box::new(move |key, entry| warm.put(key, &codec::encode(entry)))),
        with("put: all tiers", Box::new(move |key, entry| tiered.put(key, entry.clone()))),
    ]
}

fn memory() -> MemorySettings {
    MemorySettings { hot_entries_max: ENTRIES, hot_idle: IDLE, warm_bytes_max: WARM_BYTES_MAX, warm_idle: IDLE }
}
