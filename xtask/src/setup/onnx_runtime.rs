//! The ONNX Runtime library that the origin loads, from its PyPI wheel (docs/decisions/0002).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::setup::wheel::{Python, Wheel, WheelFile};
use crate::workspace::Workspace;

const WHEEL: Wheel = Wheel {
    package: "onnxruntime",
    version: "1.31.1",
    python: Some(Python { version: "3.12", abi: "cp312" }),
    files: &[
        WheelFile {
            os: "linux",
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            sha256: "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
        },
        WheelFile {
            os: "linux",
            arch: "aarch64",
            platform: "manylinux_2_28_aarch64",
            sha256: "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
        },
        WheelFile {
            os: "macos",
            arch: "aarch64",
            platform: "macosx_14_0_arm64",
            sha256: "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
        },
    ],
};

/// What else of the wheel is kept: the library is passed on under these terms.
const NOTICES: [&str; 2] = ["LICENSE", "ThirdPartyNotices.txt"];

/// The library's path: `LEDE_ORT_LIBRARY` when it is set, else the one in the cache, fetched when missing.
pub(super) fn ensure(workspace: &Workspace) -> Result<(PathBuf, String)> {
    if let Some(chosen) = env::var_os("LEDE_ORT_LIBRARY").map(PathBuf::from) {
        if !chosen.is_file() {
            bail!("LEDE_ORT_LIBRARY names {}, which is not a file", chosen.display());
        }
        return Ok((chosen, "from LEDE_ORT_LIBRARY".to_owned()));
    }
    let stored =
        WHEEL.ensure(workspace, keep).context("set LEDE_ORT_LIBRARY to a libonnxruntime of your own, or")?;
    Ok((stored.folder.join(library_name()), stored.outcome(WHEEL.version)))
}

fn keep(unpacked: &Path, folder: &Path) -> Result<()> {
    let package = unpacked.join("onnxruntime");
    fs::rename(package.join("capi").join(library_name()), folder.join(library_name()))
        .context("the wheel holds no library")?;
    for notice in NOTICES {
        fs::rename(package.join(notice), folder.join(notice))
            .with_context(|| format!("the wheel holds no {notice}"))?;
    }
    Ok(())
}

fn library_name() -> String {
    if cfg!(target_os = "macos") {
        format!("libonnxruntime.{}.dylib", WHEEL.version)
    } else {
        format!("libonnxruntime.so.{}", WHEEL.version)
    }
}
