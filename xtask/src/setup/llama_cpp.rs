//! llama.cpp, for comparison only: built from the tree that llama-cpp-python's source package carries, into the cache, and
//! only when `cargo xtask bench engine` asks for it. It wants a C++ compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::setup::store;
use crate::workspace::Workspace;
use crate::{command, progress};

const VERSION: &str = "0.3.36";
const SHA256: &str = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e";
/// What builds it, from PyPI as well.
const BUILDERS: [&str; 2] = ["cmake==4.4.4", "ninja==1.13.2"];
/// For this processor, without what fetches models or serves them.
const OPTIONS: [&str; 9] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
];
const PROGRAMS: [&str; 2] = ["llama-batched-bench", "llama-quantize"];
/// The converter, what it stands on, and the terms.
const KEPT: [&str; 4] = ["convert_hf_to_gguf.py", "conversion", "gguf-py", "LICENSE"];

/// The folder with `bin` and the converter.
pub(super) fn ensure(workspace: &Workspace) -> Result<(PathBuf, String)> {
    let stored = store::ensure(&workspace.cache, &format!("llama-cpp-{VERSION}"), make)?;
    Ok((stored.folder.clone(), stored.outcome(VERSION)))
}

fn make(folder: &Path) -> Result<()> {
    progress::note("fetching llama.cpp with pip (77 MB) and building it; five to fifteen minutes");
    let work = folder.join("work");
    fs::create_dir(&work).context("cannot create work")?;
    fetch(&work)?;
    let tree = work.join(format!("llama_cpp_python-{VERSION}/vendor/llama.cpp"));
    build(&work, &tree).context("llama.cpp wants a C++ compiler and make")?;
    for kept in KEPT {
        fs::rename(tree.join(kept), folder.join(kept)).with_context(|| format!("llama.cpp holds no {kept}"))?;
    }
    let programs = folder.join("bin");
    fs::create_dir(&programs).context("cannot create bin")?;
    for program in PROGRAMS {
        fs::rename(work.join("build/bin").join(program), programs.join(program))
            .with_context(|| format!("{program} was not built"))?;
    }
    store::remove(&work)
}

fn fetch(work: &Path) -> Result<()> {
    let mut download = pip();
    download.args(["download", "--quiet", "--no-deps", "--no-binary=llama-cpp-python", "--dest"]).arg(work);
    command::quietly(download.arg(format!("llama-cpp-python=={VERSION}")))?;
    let archive = work.join(format!("llama_cpp_python-{VERSION}.tar.gz"));
    let found = hex::encode(Sha256::digest(fs::read(&archive).context("pip fetched no source package")?));
    if found != SHA256 {
        bail!("the source package of llama-cpp-python {VERSION} is another one: its SHA-256 is {found}");
    }
    command::quietly(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(work))?;
    let mut builders = pip();
    builders.args(["install", "--quiet", "--only-binary=:all:", "--target"]).arg(work.join("builders"));
    command::quietly(builders.args(BUILDERS)).map(drop)
}

fn pip() -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--disable-pip-version-check"]);
    pip
}

fn build(work: &Path, tree: &Path) -> Result<()> {
    let (builders, into) = (work.join("builders"), work.join("build"));
    let cmake = || {
        let mut cmake = Command::new(builders.join("bin/cmake"));
        cmake.env("PYTHONPATH", &builders);
        cmake
    };
    let ninja = format!("-DCMAKE_MAKE_PROGRAM={}", builders.join("bin/ninja").display());
    let mut configure = cmake();
    configure.args(["-G", "Ninja", "-S"]).arg(tree).arg("-B").arg(&into).args(OPTIONS).arg(ninja);
    command::quietly(&mut configure)?;
    let mut compile = cmake();
    compile.arg("--build").arg(&into).arg("--target").args(PROGRAMS);
    command::quietly(&mut compile).map(drop)
}
