//! Brings up what the other commands need, each thing only when it is missing.
//!
//! What is not in the repository goes to the cache, one folder per version (see [`store`]), so a second clone
//! and a second run find it there. Nothing here changes the machine outside the cache and the folders
//! `node_modules`, but for one `rustup target add`.

mod apt;
pub(crate) mod cargo_tools;
mod distribution_toolchain;
mod llama_cpp;
mod locked_version;
mod node_modules;
mod onnx_runtime;
mod redis;
mod store;
pub(crate) mod unwinding;
mod vulkan;
pub(crate) mod wasm_target;
mod web;
mod wheel;
mod yardstick;

use std::path::PathBuf;

use anyhow::Result;

use crate::progress;
use crate::setup::cargo_tools::CargoTool;
use crate::setup::unwinding::Panics;
use crate::setup::vulkan::Vulkan;
use crate::setup::wasm_target::WasmToolchain;
use crate::workspace::Workspace;

/// What builds the Worker.
#[derive(Debug)]
pub(crate) struct EdgeTools {
    pub(crate) toolchain: WasmToolchain,
    pub(crate) panics: Panics,
    pub(crate) worker_build: PathBuf,
    pub(crate) wasm_bindgen: PathBuf,
}

/// What the browser and contract suites use.
#[derive(Debug)]
pub(crate) struct WebTools {
    /// The folder of a Chromium with its libraries and fonts.
    pub(crate) chromium: PathBuf,
    /// The folder of Python packages.
    pub(crate) schemathesis: PathBuf,
}

/// What the engine is measured against.
#[derive(Debug)]
pub(crate) struct EngineYardstick {
    /// The folder with llama.cpp's programs.
    pub(crate) llama_cpp: PathBuf,
    /// One set of weights in every form that is compared.
    pub(crate) models: PathBuf,
}

/// What the checks use.
#[derive(Debug)]
pub(crate) struct CheckTools {
    pub(crate) deny: PathBuf,
    pub(crate) typos: PathBuf,
}

/// Every tool of every command.
pub(crate) fn everything(workspace: &Workspace) -> Result<()> {
    edge(workspace)?;
    onnx_runtime(workspace)?;
    nextest(workspace)?;
    web(workspace)?;
    redis(workspace)?;
    vulkan(workspace)?;
    check(workspace)?;
    Ok(())
}

/// The wasm target, worker-build, wasm-bindgen and the Node tools.
pub(crate) fn edge(workspace: &Workspace) -> Result<EdgeTools> {
    let toolchain = resolved("wasm target", || wasm_target::ensure(workspace))?;
    let panics = resolved("panics", || unwinding::ensure(workspace, &toolchain))?;
    let worker_build = resolved("worker-build", || CargoTool::worker_build(workspace)?.ensure(workspace))?;
    let wasm_bindgen = resolved("wasm-bindgen", || CargoTool::wasm_bindgen(workspace)?.ensure(workspace))?;
    progress::step("Node tools", || node_modules::ensure(workspace, &workspace.edge()))?;
    Ok(EdgeTools { toolchain, panics, worker_build, wasm_bindgen })
}

/// The ONNX Runtime library's path.
pub(crate) fn onnx_runtime(workspace: &Workspace) -> Result<PathBuf> {
    resolved("ONNX Runtime", || onnx_runtime::ensure(workspace))
}

/// cargo-nextest: the installed one, or else our own.
pub(crate) fn nextest(workspace: &Workspace) -> Result<PathBuf> {
    resolved("cargo-nextest", || CargoTool::nextest().installed_or_ensure(workspace))
}

/// A browser, its driver, a client generator and schemathesis.
pub(crate) fn web(workspace: &Workspace) -> Result<WebTools> {
    let chromium = resolved("Chromium", || web::chromium(workspace))?;
    let schemathesis = resolved("schemathesis", || web::schemathesis(workspace))?;
    Ok(WebTools { chromium, schemathesis })
}

/// The redis-server that the suites start.
pub(crate) fn redis(workspace: &Workspace) -> Result<PathBuf> {
    resolved("Redis", || redis::ensure(workspace))
}

/// A Vulkan for the tests of the wgpu backend; `None` where they take the adapter that the system has.
pub(crate) fn vulkan(workspace: &Workspace) -> Result<Option<Vulkan>> {
    resolved("Vulkan", || vulkan::ensure(workspace))
}

/// llama.cpp and models for it and for us. Large, and only for measuring.
pub(crate) fn engine_yardstick(workspace: &Workspace) -> Result<EngineYardstick> {
    let llama_cpp = resolved("llama.cpp", || llama_cpp::ensure(workspace))?;
    let python = resolved("Python for training", || yardstick::python(workspace))?;
    let models = resolved("models", || yardstick::models(workspace, &python, &llama_cpp))?;
    Ok(EngineYardstick { llama_cpp: llama_cpp.join("bin"), models })
}

/// cargo-deny and typos.
pub(crate) fn check(workspace: &Workspace) -> Result<CheckTools> {
    let deny = resolved("cargo-deny", || CargoTool::deny().ensure(workspace))?;
    let typos = resolved("typos", || wheel::typos(workspace))?;
    Ok(CheckTools { deny, typos })
}

/// A set-up step that ends with something to use, and with what came of it in a few words.
fn resolved<T>(what: &str, ensure: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
    let mut found = None;
    progress::step(what, || {
        let (tool, outcome) = ensure()?;
        found = Some(tool);
        Ok(outcome)
    })?;
    found.ok_or_else(|| anyhow::anyhow!("{what} was not resolved"))
}

/// Holds one of this clone's locks until the returned file is dropped.
pub(crate) fn exclusive(workspace: &Workspace, name: &str) -> Result<std::fs::File> {
    store::lock(&workspace.target, name)
}
