//! Measurements that are taken by hand. Ratios within one run, never compared between machines.

use anyhow::Result;

use crate::build::edge;
use crate::command;
use crate::workspace::Workspace;

/// The edge in workerd against `tests/yardstick/worker.mjs`; the table goes to the terminal and, unless `dry`, into
/// docs/BENCH.md.
pub(crate) fn edge(workspace: &Workspace, dry: bool) -> Result<()> {
    edge::build(workspace, false, None)?;
    let mut cargo = workspace.cargo();
    // Neither the load nor the origin is measured, so they need no optimised build.
    cargo.args(["bench", "--locked", "--profile", "dev", "--package", "lede-tests", "--bench", "yardstick"]);
    cargo.env("LEDE_EDGE_DIR", workspace.edge());
    if !dry {
        cargo.env("LEDE_BENCH_REPORT", workspace.root.join("docs/BENCH.md"));
    }
    command::streamed(&mut cargo)
}
