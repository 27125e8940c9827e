//! Ten million entries through the tiers in memory, twice: what stays resident, against what was configured.

use std::fmt::Write as _;
use std::time::Duration;

use lede_origin::cache::{Entry, MemorySettings, TieredCache};

use crate::meter::{float, resident_bytes};
use crate::resident;
use crate::responses::{MEASURED, entry, key};

/// Its name as a child.
pub(crate) const RESIDENT: &str = "memory";

const ENTRIES: u64 = 10_000_000;
const PASSES: u64 = 2;
const HOT_ENTRIES_MAX: u64 = 10_000;
const WARM_BYTES_MAX: u64 = 64 << 20;
/// What moka and the allocator take for an entry besides its body.
const HOT_OVERHEAD_BYTES: u64 = 512;

/// The table.
pub(crate) fn measure() -> String {
    resident::in_child(RESIDENT)
}

/// In a process of its own.
pub(crate) fn resident_of_all() -> String {
    let responses = MEASURED.responses();
    let entries: Vec<Entry> = responses.iter().map(|response| entry(response)).collect();
    let mean_bytes = responses.iter().map(|response| response.len() as u64).sum::<u64>() / responses.len() as u64;
    let configured = HOT_ENTRIES_MAX * (mean_bytes + HOT_OVERHEAD_BYTES) + WARM_BYTES_MAX;
    let before = resident_bytes();
    let cache = TieredCache::new(
        MemorySettings {
            hot_entries_max: HOT_ENTRIES_MAX,
            hot_idle: Duration::from_secs(300),
            warm_bytes_max: WARM_BYTES_MAX,
            warm_idle: Duration::from_secs(3_600),
        },
        None,
    );
    let mut table = format!(
        "| 10,000,000 entries put, each body its own copy | MiB resident | of what is configured ({} MiB) |\n|---|---|---|\n",
        configured >> 20
    );
    for pass in 0..PASSES {
        for number in 0..ENTRIES {
            // The other pass has other keys, so nothing is overwritten in place.
            let of = &entries[(number % entries.len() as u64) as usize];
            let body = bytes::Bytes::copy_from_slice(&of.body);
            cache.put(key(pass * ENTRIES + number), Entry { body, ..of.clone() });
        }
        let grown = resident_bytes() - before;
        let _ = writeln!(
            table,
            "| after pass {} | {:.0} | {:.2} |",
            pass + 1,
            float(grown) / float(1 << 20),
            float(grown) / float(configured)
        );
    }
    table
}
