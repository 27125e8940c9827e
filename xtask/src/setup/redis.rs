//! The Redis that the suites start: one on PATH, or else that of Debian's packages, unpacked into the cache.
//!
//! Nothing is installed: the packages and the lists that name them are fetched with apt's own tools into a folder of ours,
//! and the server runs there with the libraries that this machine lacks.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use crate::setup::apt::Apt;
use crate::setup::store;
use crate::workspace::Workspace;
use crate::{command, progress};

const VERSION_LEAST: u32 = 7;
const INSTALL_REDIS: &str = "install Redis 7 or newer (redis-server must be on PATH)";
/// The server is a link to a program of the second package.
const PACKAGES: [&str; 2] = ["redis-server", "redis-tools"];
/// Rounds of fetching what the libraries fetched before still lack.
const ROUNDS_MAX: usize = 4;
/// Which package holds a library that a bare machine may lack, by the beginning of its name.
const LIBRARIES: [(&str, &str); 12] = [
    ("libjemalloc.so", "libjemalloc2"),
    ("liblzf.so", "liblzf1"),
    ("libatomic.so", "libatomic1"),
    ("libssl.so", "libssl3"),
    ("libcrypto.so", "libssl3"),
    ("libsystemd.so", "libsystemd0"),
    ("libcap.so", "libcap2"),
    ("libgcrypt.so", "libgcrypt20"),
    ("liblzma.so", "liblzma5"),
    ("libzstd.so", "libzstd1"),
    ("liblz4.so", "liblz4-1"),
    ("libgpg-error.so", "libgpg-error0"),
];
/// Beside the packages' tree. It goes where its folder goes, and leaves no process between the tests and the server.
const LAUNCHER: &str = r#"#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
folders=$(find "$here/tree" -name '*.so*' -printf '%h:' 2>/dev/null)
LD_LIBRARY_PATH="$folders$LD_LIBRARY_PATH" exec "$here/tree/usr/bin/redis-server" "$@"
"#;

/// The program to start.
pub(super) fn ensure(workspace: &Workspace) -> Result<(PathBuf, String)> {
    if let Some((program, version)) = on_path() {
        return Ok((program, format!("{version}, on PATH")));
    }
    let name = format!("redis-{VERSION_LEAST}-debian-{}", env::consts::ARCH);
    let stored = store::ensure(&workspace.cache, &name, unpack_packages).context(INSTALL_REDIS)?;
    let program = stored.folder.join("redis-server");
    let version = version_of(&program).with_context(|| format!("{} does not run", program.display()))?;
    Ok((program, stored.outcome(&version)))
}

fn on_path() -> Option<(PathBuf, String)> {
    let folders = env::var_os("PATH")?;
    let mut programs = env::split_paths(&folders).map(|folder| folder.join("redis-server"));
    programs
        .find_map(|program| Some((version_of(&program)?, program)))
        .map(|(version, program)| (program, version))
}

/// The version of a server that runs and is new enough.
fn version_of(program: &Path) -> Option<String> {
    let said = command::quietly(Command::new(program).arg("--version")).ok()?;
    new_enough(&said).map(str::to_owned)
}

/// From a line such as `Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64`.
fn new_enough(said: &str) -> Option<&str> {
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let major: u32 = version.split('.').next()?.parse().ok()?;
    (major >= VERSION_LEAST).then_some(version)
}

fn unpack_packages(folder: &Path) -> Result<()> {
    progress::note("fetching Debian's packages of Redis with apt-get");
    let apt = Apt::with_lists(folder.to_owned())?;
    apt.fetch(&PACKAGES)?;
    for _ in 0..ROUNDS_MAX {
        let lacking = lacking_packages(&apt.tree())?;
        if lacking.is_empty() {
            break;
        }
        apt.fetch(&lacking)?;
    }
    apt.finish()?;
    write_launcher(&folder.join("redis-server"))
}

/// The packages of the libraries that neither this machine nor `tree` has.
fn lacking_packages(tree: &Path) -> Result<Vec<&'static str>> {
    let find = command::quietly(Command::new("find").arg(tree).args(["-name", "*.so*", "-printf", "%h:"]))?;
    let mut ldd = Command::new("ldd");
    ldd.arg(tree.join("usr/bin/redis-server")).env("LD_LIBRARY_PATH", find);
    let said = command::quietly(&mut ldd)?;
    let mut packages = lacking_libraries(&said).map(package_of).collect::<Result<Vec<_>>>()?;
    packages.sort_unstable();
    packages.dedup();
    Ok(packages)
}

fn lacking_libraries(said_by_ldd: &str) -> impl Iterator<Item = &str> {
    said_by_ldd.lines().filter_map(|line| line.trim().strip_suffix("=> not found")).map(str::trim)
}

fn package_of(library: &str) -> Result<&'static str> {
    let found = LIBRARIES.iter().find(|(name, _)| library.starts_with(name));
    found
        .map(|(_, package)| *package)
        .ok_or_else(|| anyhow!("Redis wants {library}, which no known package holds"))
}

fn write_launcher(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let cannot = || format!("cannot write {}", path.display());
    fs::write(path, LAUNCHER).with_context(cannot)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_taken_from_version_seven_on() {
        assert_eq!(new_enough("Redis server v=7.0.15 sha=0:0 malloc=jemalloc-5.3.0 bits=64"), Some("7.0.15"));
        assert_eq!(new_enough("Redis server v=10.1.0 bits=64"), Some("10.1.0"));
        for other in ["Redis server v=6.2.14 bits=64", "Valkey", "", "v=seven"] {
            assert_eq!(new_enough(other), None, "{other}");
        }
    }

    #[test]
    fn a_library_that_is_lacking_is_looked_for_in_its_package() {
        let said =
            "\tlinux-vdso.so.1 (0x00007f)\n\tliblzf.so.1 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x0)\n";
        assert_eq!(lacking_libraries(said).collect::<Vec<_>>(), ["liblzf.so.1"]);
        assert_eq!(package_of("liblzf.so.1").unwrap(), "liblzf1");
        assert_eq!(
            package_of("libodd.so.9").unwrap_err().to_string(),
            "Redis wants libodd.so.9, which no known package holds"
        );
    }
}
