//! The origin's response cache, measured: `cargo xtask bench cache`.
//!
//! Each section prints a table in Markdown and, when `LEDE_BENCH_REPORT` names a file, puts it there. What is compared is
//! alternated within one run. `LEDE_BENCH_ONLY` names the sections that are wanted, separated by commas.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that cannot be taken has failed, and is for reading"
)]

mod compression;
mod dictionary;
mod memory;
mod meter;
mod ops;
mod resident;
mod responses;

use std::path::PathBuf;

use lede_tests::write_section;

/// A section's name, and what measures it and gives its table.
type Section = (&'static str, fn() -> String);

const SECTIONS: &[Section] =
    &[("ops", ops::measure), ("compression", compression::measure), ("memory", memory::measure)];
/// What a section asks another process of this program for.
const CHILDREN: &[Section] = &[
    (compression::RESIDENT, compression::resident_of_warm),
    (memory::RESIDENT, memory::resident_of_all),
];
/// What changes the sources, and so is done only when it is named.
const DICTIONARY: &str = "dictionary";

fn main() {
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
