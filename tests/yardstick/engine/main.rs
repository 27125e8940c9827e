//! The engine and its devices, measured in process: `cargo xtask bench engine`.
//!
//! Each section prints a table in Markdown and, when `LEDE_BENCH_REPORT` names a file, puts it there. What is compared is
//! alternated within one run. `LEDE_BENCH_ONLY` names the sections that are wanted, separated by commas;
//! `LEDE_BENCH_SHORT=1` takes a fraction of the time and of the trust.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that cannot be taken has failed, and is for reading"
)]

mod asking;
mod batching;
mod cycles;
mod decode;
mod device;
mod gpu;
mod llama_cpp;
#[path = "../cache/meter.rs"]
#[expect(dead_code, reason = "the cache's tables read more off the machine")]
mod meter;
mod overload;
mod prefix;
mod priority;
mod rows;

use std::path::PathBuf;

use lede_tests::write_section;

/// A section's name, and what measures it and gives its table.
type Section = (&'static str, fn() -> String);

const SECTIONS: &[Section] = &[
    ("decode", decode::measure),
    ("rows", rows::measure),
    ("batching", batching::measure),
    ("prefix", prefix::measure),
    ("priority", priority::measure),
    ("overload", overload::measure),
    ("cycles", cycles::measure),
];
/// Says nothing where there is no GPU, and so is measured only when it is named.
const GPU: Section = ("gpu", gpu::measure);

/// The origin's: what is resident depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let only = std::env::var("LEDE_BENCH_ONLY").ok();
    let is_named = |name: &str| only.as_deref().is_some_and(|only| only.split(',').any(|wanted| wanted == name));
    let usual = SECTIONS.iter().filter(|(name, _)| only.is_none() || is_named(name));
    let report = std::env::var_os("LEDE_BENCH_REPORT").map(PathBuf::from);
    for (name, measure) in usual.chain([&GPU].into_iter().filter(|(name, _)| is_named(name))) {
        let table = measure();
        println!("## {name}\n\n{table}");
        if let Some(page) = &report {
            write_section(page, &format!("engine {name}"), &table);
        }
    }
}

/// `whole`, or in a short run `part`.
pub(crate) fn in_short<T>(whole: T, part: T) -> T {
    if std::env::var_os("LEDE_BENCH_SHORT").is_some() { part } else { whole }
}
