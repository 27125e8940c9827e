//! Measurements that are taken by hand. Ratios within one run, never compared between machines.

use anyhow::Result;

use crate::build::{edge, origin};
use crate::workspace::Workspace;
use crate::{command, setup};

/// The edge in workerd against `tests/yardstick/edge/worker.mjs`; the table goes to the terminal and, unless `dry`, into
/// docs/BENCH.md.
pub(crate) fn edge(workspace: &Workspace, dry: bool) -> Result<()> {
    edge::build(workspace, false, None)?;
    let mut cargo = workspace.cargo();
    // Neither the load nor the origin is measured, so they need no optimised build.
    cargo.args(["bench", "--locked", "--profile", "dev", "--package", "lede-tests", "--bench", "edge"]);
    cargo.env("LEDE_EDGE_DIR", workspace.edge());
    if !dry {
        cargo.env("LEDE_BENCH_REPORT", workspace.root.join("docs/BENCH.md"));
    }
    command::streamed(&mut cargo)
}

/// The origin's response cache; the tables go to the terminal and, unless `dry`, into docs/BENCH.md.
pub(crate) fn cache(workspace: &Workspace, only: Option<&str>, dry: bool) -> Result<()> {
    let library = setup::onnx_runtime(workspace)?;
    let redis = setup::redis(workspace)?;
    origin::build(workspace, true)?;
    let mut cargo = workspace.cargo();
    cargo.args(["bench", "--locked", "--profile", "release", "--package", "lede-tests", "--bench", "cache"]);
    cargo
        .env("LEDE_ORIGIN_BIN", origin::binary(workspace, true))
        .env("LEDE_ORT_LIBRARY", library)
        .env("LEDE_REDIS_SERVER", redis)
        .env("LEDE_MODEL_DIR", workspace.model())
        .env("LEDE_BENCH_FOLDER", workspace.target.join("bench"));
    if let Some(only) = only {
        cargo.env("LEDE_BENCH_ONLY", only);
    }
    if !dry {
        cargo.env("LEDE_BENCH_REPORT", workspace.root.join("docs/BENCH.md"));
    }
    command::streamed(&mut cargo)
}

/// The measurement of the engine that needs none of what the others are compared with.
const GPU: &str = "gpu";

/// Which measurements of the engine, and how long they take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineBench<'a> {
    pub(crate) only: Option<&'a str>,
    pub(crate) is_short: bool,
    pub(crate) dry: bool,
}

/// The engine and its devices; the tables go to the terminal and, unless `dry`, into docs/BENCH.md.
pub(crate) fn engine(workspace: &Workspace, wanted: EngineBench<'_>) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["bench", "--locked", "--profile", "release", "--package", "lede-tests", "--bench", "engine"]);
    cargo.env("LEDE_BENCH_FOLDER", workspace.target.join("bench"));
    if wanted.only != Some(GPU) {
        let yardstick = setup::engine_yardstick(workspace)?;
        cargo
            .env("LEDE_ORT_LIBRARY", setup::onnx_runtime(workspace)?)
            .env("LEDE_BENCH_MODELS", yardstick.models)
            .env("LEDE_LLAMA_CPP", yardstick.llama_cpp);
    }
    if let Some(only) = wanted.only {
        cargo.env("LEDE_BENCH_ONLY", only);
    }
    if wanted.is_short {
        cargo.env("LEDE_BENCH_SHORT", "1");
    }
    if !wanted.dry {
        cargo.env("LEDE_BENCH_REPORT", workspace.root.join("docs/BENCH.md"));
    }
    command::streamed(&mut cargo)
}
