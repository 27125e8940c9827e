//! The origin's response cache, measured: `cargo xtask bench cache`.
//!
//! Each section prints a table in Markdown and, when `LEDE_BENCH_REPORT` names a file, puts it there. What is compared is
//! alternated within one run. `LEDE_BENCH_ONLY` names the sections that are wanted, separated by commas.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot be taken has failed, and is for reading"
)]

#[path = "../../chaos/asking.rs"]
#[expect(dead_code, reason = "the suite of faults judges by more than is measured")]
mod asking;
#[path = "../../cache/cached_trace.rs"]
mod cached_trace;
mod cold;
mod compression;
mod counting;
mod dictionary;
mod faults;
mod http;
mod memory;
mod meter;
mod near;
mod ops;
mod prediction;
mod resident;
mod responses;
mod traces;

use std::path::PathBuf;

use lede_tests::write_section;

/// A section's name, and what measures it and gives its table.
type Section = (&'static str, fn() -> String);

const SECTIONS: &[Section] = &[
    ("cold", cold::measure),
    ("compression", compression::measure),
    ("counting", counting::table),
    ("faults", faults::measure),
    ("http", http::measure),
    ("memory", memory::measure),
    ("near", near::measure),
    ("ops", ops::measure),
    ("prediction", prediction::measure),
    ("traces", traces::table),
];
/// What a section asks another process of this program for.
const CHILDREN: &[Section] =
    &[(compression::RESIDENT, compression::resident_of_warm), (memory::RESIDENT, memory::resident_of_all)];
/// What changes the sources, and so is done only when it is named.
const DICTIONARY: &str = "dictionary";

/// The origin's: what is resident depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    http::serve_if_asked();
    if let Some(child) = resident::wanted_here() {
        let told = CHILDREN.iter().filter(|(name, _)| *name == child).map(|(_, measure)| measure());
        return print!("{}", told.collect::<String>());
    }
    let only = std::env::var("LEDE_BENCH_ONLY").ok();
    let is_wanted = |name: &str| only.as_deref().is_none_or(|only| only.split(',').any(|wanted| wanted == name));
    if only.as_deref().is_some_and(|only| only.split(',').any(|wanted| wanted == DICTIONARY)) {
        println!("{}", dictionary::make());
    }
    let report = std::env::var_os("LEDE_BENCH_REPORT").map(PathBuf::from);
    for (name, measure) in SECTIONS.iter().filter(|(name, _)| is_wanted(name)) {
        let table = measure();
        println!("## {name}\n\n{table}");
        if let Some(page) = &report {
            write_section(page, &format!("cache {name}"), &table);
        }
    }
}
