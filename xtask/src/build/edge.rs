//! Builds the Worker into `edge/build`: cargo to wasm, worker-build (wasm-bindgen, esbuild), wasm-opt.
//!
//! `wrangler.toml` calls this, so `wrangler dev` and `wrangler deploy` need no other step.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::build::configuration;
use crate::build::stamp::Stamp;
use crate::setup::EdgeTools;
use crate::setup::wasm_target::WASM_TARGET;
use crate::workspace::Workspace;
use crate::{command, progress, setup};

/// See `[profile.edge]` in the root's Cargo.toml.
const PROFILE: &str = "edge";
/// What the Worker consists of.
const OUTPUTS: [&str; 2] = ["index.js", "index_bg.wasm"];
/// What the Worker may weigh as it travels. The platform takes 3 MiB on its free plan; this is what a cold start should
/// cost at most.
const GZIP_BYTES_MAX: usize = 400 * 1_024;
/// Features that rustc and wasm-bindgen use, named one by one so that binaryen uses none that workerd lacks. No
/// `--debuginfo`: function names are a fifth of the module, and the reason for our own run instead of worker-build's.
const WASM_OPT: [&str; 8] = [
    "-O3",
    "--enable-mutable-globals",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-reference-types",
    "--enable-exception-handling",
];

/// Compiles and, when the module changed (or `always`), bundles; returns the folder of the finished Worker.
///
/// `environment` is the one that the build is for: its configuration has to be complete.
pub(crate) fn build(workspace: &Workspace, always: bool, environment: Option<&str>) -> Result<PathBuf> {
    configuration::check(workspace, environment)?;
    let tools = setup::edge(workspace)?;
    // One at a time: wrangler may start a build while a person runs another.
    let _held = setup::exclusive(workspace, "edge-build")?;
    progress::step("edge, compiled", || {
        command::streamed(&mut cargo_build(workspace, &tools)?)?;
        Ok(size(&module(workspace))?.to_string())
    })?;
    progress::step("edge, bundled", || bundle(workspace, &tools, always))?;
    Ok(folder(workspace))
}

/// Where the finished Worker lies.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.edge().join("build")
}

fn bundle(workspace: &Workspace, tools: &EdgeTools, always: bool) -> Result<String> {
    let stamp = Stamp::at(workspace.target.join(WASM_TARGET).join(PROFILE).join("lede_edge.bundled"));
    let (module, manifest) = (module(workspace), workspace.edge().join("Cargo.toml"));
    let lock = workspace.edge().join("package-lock.json");
    let inputs = [module.as_path(), manifest.as_path(), lock.as_path()];
    let settings = format!("{} {} {WASM_OPT:?}", tools.worker_build.display(), tools.wasm_bindgen.display());
    let outputs = OUTPUTS.map(|name| folder(workspace).join(name));
    let unchanged = !always && stamp.matches(&inputs, &settings, &outputs);
    if !unchanged {
        command::quietly(&mut worker_build(workspace, tools)?)?;
        command::quietly(&mut wasm_opt(workspace, &outputs[1]))?;
        stamp.write(&inputs, &settings, &outputs)?;
    }
    let made = if unchanged { "unchanged, " } else { "" };
    Ok(format!("{made}{}", size(&outputs[1])?.within_the_limit()?))
}

fn cargo_build(workspace: &Workspace, tools: &EdgeTools) -> Result<Command> {
    let mut cargo = workspace.cargo();
    cargo.current_dir(workspace.edge());
    cargo.args(["build", "--lib", "--locked", "--profile", PROFILE, "--target", WASM_TARGET]);
    // As worker-build sets it, so that its own call of cargo finds nothing left to do.
    cargo.env("WASM_BINDGEN_USE_JS_SYS", "1");
    configure_compiler(&mut cargo, workspace, tools)?;
    Ok(cargo)
}

/// The toolchain, and panic messages that name sources without this machine's folders.
fn configure_compiler(command: &mut Command, workspace: &Workspace, tools: &EdgeTools) -> Result<()> {
    tools.toolchain.apply(command)?;
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let registry = cargo_home
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .map(|home| home.join("registry/src"));
    let remaps = remaps(&[(Some(workspace.root.clone()), "lede"), (registry, "registry")]);
    let flags = format!("{remaps} {}", tools.panics.flags());
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags.trim());
    tools.panics.apply(command);
    Ok(())
}

/// Compiler flags that replace the folders; cargo separates flags by spaces, so a folder with one is left as it is.
fn remaps(folders: &[(Option<PathBuf>, &str)]) -> String {
    let named = folders.iter().filter_map(|(folder, name)| Some((folder.as_ref()?.to_str()?, name)));
    let flags = named.filter(|(folder, _)| !folder.contains(char::is_whitespace));
    flags.map(|(folder, name)| format!("--remap-path-prefix={folder}={name}")).collect::<Vec<_>>().join(" ")
}

fn worker_build(workspace: &Workspace, tools: &EdgeTools) -> Result<Command> {
    let mut worker_build = command::that_calls_cargo(&tools.worker_build);
    worker_build.args(["--profile", PROFILE, "--no-opt", "--locked"]).current_dir(workspace.edge());
    configure_compiler(&mut worker_build, workspace, tools)?;
    worker_build
        .env("WASM_BINDGEN_BIN", &tools.wasm_bindgen)
        .env("ESBUILD_BIN", workspace.node_program("esbuild"));
    Ok(worker_build)
}

/// In place: wasm-opt reads the whole module before it writes.
fn wasm_opt(workspace: &Workspace, module: &Path) -> Command {
    let mut wasm_opt = Command::new(workspace.node_program("wasm-opt"));
    wasm_opt.args(WASM_OPT).arg(module).arg("-o").arg(module);
    wasm_opt
}

fn module(workspace: &Workspace) -> PathBuf {
    workspace.target.join(WASM_TARGET).join(PROFILE).join("lede_edge.wasm")
}

/// How large a wasm module is, as it is and as it travels.
#[derive(Debug, PartialEq, Eq)]
struct Size {
    raw_bytes: usize,
    gzip_bytes: usize,
}

impl std::fmt::Display for Size {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (raw, gzip) = (self.raw_bytes as f64 / 1024.0, self.gzip_bytes as f64 / 1024.0);
        write!(formatter, "wasm {raw:.0} KiB, gzip {gzip:.0} KiB")
    }
}

impl Size {
    fn within_the_limit(self) -> Result<Self> {
        if self.gzip_bytes > GZIP_BYTES_MAX {
            let limit_kib = GZIP_BYTES_MAX / 1_024;
            bail!("{self}: more than {limit_kib} KiB; docs/BENCH.md says what takes them and how to look");
        }
        Ok(self)
    }
}

fn size(module: &Path) -> Result<Size> {
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&bytes).context("cannot compress the module")?;
    let gzip_bytes = gzip.finish().context("cannot compress the module")?.len();
    Ok(Size { raw_bytes: bytes.len(), gzip_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_messages_name_no_folder_of_this_machine() {
        let folders =
            [(Some("/home/someone/lede".into()), "lede"), (None, "a"), (Some("/with space".into()), "b")];
        assert_eq!(remaps(&folders), "--remap-path-prefix=/home/someone/lede=lede");
    }

    #[test]
    fn sizes_are_shown_raw_and_as_they_travel() {
        let size = Size { raw_bytes: 512 * 1024, gzip_bytes: 200 * 1024 };
        assert_eq!(size.to_string(), "wasm 512 KiB, gzip 200 KiB");
    }

    #[test]
    fn a_module_above_the_limit_fails_the_build() {
        let size = |gzip_bytes| Size { raw_bytes: 1_000 * 1_024, gzip_bytes };
        assert!(size(GZIP_BYTES_MAX).within_the_limit().is_ok());
        let error = size(GZIP_BYTES_MAX + 1).within_the_limit().unwrap_err();
        assert!(error.to_string().contains("more than 400 KiB"), "{error}");
    }
}
