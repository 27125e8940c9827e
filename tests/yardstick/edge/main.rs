//! Requests per CPU second of workerd: the edge against the same work in plain JavaScript (`worker.mjs`).
//!
//! Both Workers run in the same workerd binary with the same bindings, each in a process of its own, and are driven in
//! turn, so that whatever else the machine does falls on both. Only CPU time of workerd counts: not the load, not
//! the origin, not waiting. Prints a table in Markdown and, when `LEDE_BENCH_REPORT` names a file, puts it there.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be taken has failed, and is for reading"
)]

mod load;
mod origin;
mod report;

use std::path::PathBuf;

use lede_tests::{Edge, repository_root, write_section};
use serde_json::json;

use crate::load::{Load, Scenario};
use crate::report::{Pair, Row};

/// Turns that each Worker has in each scenario.
const ROUNDS: usize = 7;

/// The two that are compared.
struct Workers {
    edge: Edge,
    yardstick: Edge,
}

#[tokio::main]
async fn main() {
    let origin_url = origin::start().await;
    let workers = start(&origin_url);
    let mut rows = Vec::new();
    let only = std::env::var("LEDE_BENCH_ONLY").ok();
    for scenario in
        Scenario::ALL.into_iter().filter(|scenario| only.as_deref().is_none_or(|only| only == scenario.name()))
    {
        rows.push(measure(&workers, scenario).await);
    }
    let table = report::table(&rows);
    println!("{table}");
    if let Some(path) = std::env::var_os("LEDE_BENCH_REPORT").map(PathBuf::from) {
        write_section(&path, "edge", &table);
    }
}

fn start(origin_url: &str) -> Workers {
    let script = repository_root().join("tests/yardstick/edge/worker.mjs");
    // Keys come from the origin, which gives them all a plan that no load uses up.
    let vars = json!({ "MODEL": origin::MODEL, "API_KEY_HASHES": "" });
    Workers {
        edge: Edge::start_for_measuring(origin_url, &vars, None),
        yardstick: Edge::start_for_measuring(origin_url, &vars, Some(&script)),
    }
}

/// Alternates the two, after a turn of each that does not count: code is compiled and caches are filled in it.
async fn measure(workers: &Workers, scenario: Scenario) -> Row {
    let mut load = Load::new(scenario);
    let mut pairs = Vec::new();
    for round in 0..=ROUNDS {
        let edge = load.requests_per_cpu_second(&workers.edge).await;
        let yardstick = load.requests_per_cpu_second(&workers.yardstick).await;
        println!(
            "{}: edge {edge:.0}, yardstick {yardstick:.0}{}",
            scenario.name(),
            if round == 0 { " (warming)" } else { "" }
        );
        if round > 0 {
            pairs.push(Pair { edge, yardstick });
        }
    }
    Row { scenario: scenario.name(), pairs }
}
