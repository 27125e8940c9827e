//! The table.

use std::fmt::Write as _;

use super::Pair;
use super::load::Turn;

/// One figure of a turn.
type Figure = fn(&Turn) -> f64;

/// Medians of the turns, and of the ratios of neighbouring turns with their spread.
pub(super) fn table(pairs: &[Pair]) -> String {
    let mut table =
        String::from("| | origin | bare axum | ratio | lowest to highest ratio |\n|---|---|---|---|---|\n");
    let rows: [(&str, Figure); 4] = [
        ("hits per second", |turn| turn.per_second),
        ("hits per CPU second of the server", |turn| turn.per_cpu_second),
        ("p50 in µs", |turn| turn.p50_us),
        ("p99 in µs", |turn| turn.p99_us),
    ];
    for (name, value) in rows {
        let ratios: Vec<f64> = pairs.iter().map(|pair| value(&pair.origin) / value(&pair.bare)).collect();
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        let _ = writeln!(
            table,
            "| {name} | {:.0} | {:.0} | **{:.2}** | {lowest:.2} to {highest:.2} |",
            median(pairs.iter().map(|pair| value(&pair.origin)).collect()),
            median(pairs.iter().map(|pair| value(&pair.bare)).collect()),
            median(ratios),
        );
    }
    table
}

/// One turn of each, for whoever watches.
pub(super) fn line(pair: &Pair) -> String {
    let of = |turn: &Turn| {
        let Turn { per_second, per_cpu_second, p50_us, p99_us } = turn;
        format!("{per_second:.0}/s, {per_cpu_second:.0}/CPU s, p50 {p50_us} µs, p99 {p99_us} µs")
    };
    format!("origin {} · bare {}", of(&pair.origin), of(&pair.bare))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
