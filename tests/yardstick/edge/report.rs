//! The table.

use std::fmt::Write as _;

/// Requests per CPU second of one turn of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) edge: f64,
    pub(crate) yardstick: f64,
}

/// All turns of one scenario.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) pairs: Vec<Pair>,
}

/// Medians, and the spread of the ratios of neighbouring turns.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| requests per CPU second of workerd | edge | plain JavaScript | ratio | lowest to highest ratio |\n|---|---|---|---|---|\n",
    );
    for Row { scenario, pairs } in rows {
        let of = |value: fn(&Pair) -> f64| median(pairs.iter().map(value).collect());
        let ratio = |pair: &Pair| pair.edge / pair.yardstick;
        let lowest = pairs.iter().map(ratio).fold(f64::INFINITY, f64::min);
        let highest = pairs.iter().map(ratio).fold(0.0, f64::max);
        let _ = writeln!(
            table,
            "| {scenario} | {:.0} | {:.0} | **{:.2}** | {lowest:.2} to {highest:.2} |",
            of(|pair| pair.edge),
            of(|pair| pair.yardstick),
            of(|pair| pair.edge / pair.yardstick),
        );
    }
    table
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
