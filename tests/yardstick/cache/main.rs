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
mod counting;
mod faults;
mod http;
mod near;
mod prediction;
mod traces;

use std::path::PathBuf;

use lede_tests::write_section;

/// A section's name, and what measures it and gives its table.
type Section = (&'static str, fn() -> String);

const SECTIONS: &[Section] = &[
    ("cold", cold::measure),
    ("counting", counting::table),
    ("faults", faults::measure),
    ("http", http::measure),
    ("near", near::measure),
    ("prediction", prediction::measure),
    ("traces", traces::table),
];

fn main() {
    http::serve_if_asked();
    let only = std::env::var("LEDE_BENCH_ONLY").ok();
    let is_wanted = |name: &str| only.as_deref().is_none_or(|only| only.split(',').any(|wanted| wanted == name));
    let report = std::env::var_os("LEDE_BENCH_REPORT").map(PathBuf::from);
    for (name, measure) in SECTIONS.iter().filter(|(name, _)| is_wanted(name)) {
        let table = measure();
        println!("## {name}\n\n{table}");
        if let Some(page) = &report {
            write_section(page, &format!("cache {name}"), &table);
        }
    }
}
