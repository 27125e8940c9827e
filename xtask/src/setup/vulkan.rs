//! A Vulkan that every machine has, for the tests of the wgpu backend: Mesa's lavapipe, which computes on the CPU.
//!
//! The system's where it is installed, else that of Debian's packages, unpacked into the cache: only what this machine
//! lacks, 50 MB on a bare one, 180 MB unpacked (LLVM is most of it). With `LEDE_TEST_ADAPTER=swiftshader` it is the other software adapter,
//! which lies beside the Chromium of the browser suite: no f16, fewer buffers and smaller workgroups, so it walks the
//! fallbacks. Where there is no apt-get, tests take the adapter that the system has.

use std::env::{self, consts::OS};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::apt::Apt;
use crate::setup::{store, web};
use crate::workspace::Workspace;
use crate::{command, progress};

/// Counts up when what is unpacked changes.
const RECIPE: u32 = 1;
const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];
const DRIVER: &str = "libvulkan_lvp.so";
/// Where a system says which drivers it has.
const MANIFESTS: [&str; 2] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
const MANIFEST: &str = "lvp_icd";
const INSTALL_LAVAPIPE: &str = "install mesa-vulkan-drivers, or name another driver's manifest in VK_DRIVER_FILES";

/// A driver for the processes that compute with wgpu.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Vulkan {
    manifest: PathBuf,
    /// What the driver is linked against and this machine lacks, the loader perhaps among it.
    libraries: Option<PathBuf>,
}

impl Vulkan {
    /// Has `command`, and what it starts, see this driver and no other.
    pub(crate) fn offer_to(&self, command: &mut Command) {
        // Loaders before 1.3.207 know only the second name.
        command.env("VK_DRIVER_FILES", &self.manifest).env("VK_ICD_FILENAMES", &self.manifest);
        if let Some(libraries) = &self.libraries {
            let set = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
            let paths = env::split_paths(&set).filter(|path| !path.as_os_str().is_empty());
            // Last, and lavapipe's holds nothing that the system has: no program finds an unwonted library there.
            if let Ok(joined) = env::join_paths(paths.chain([libraries.clone()])) {
                command.env("LD_LIBRARY_PATH", joined);
            }
        }
    }
}

/// The driver; `None` where the system's own adapter is used.
pub(super) fn ensure(workspace: &Workspace) -> Result<(Option<Vulkan>, String)> {
    match env::var("LEDE_TEST_ADAPTER").as_deref() {
        Ok("swiftshader") => return swiftshader(workspace),
        Ok("system") => return Ok((None, "the system's own, from LEDE_TEST_ADAPTER".to_owned())),
        Ok("lavapipe" | "") | Err(_) => {}
        Ok(other) => bail!("LEDE_TEST_ADAPTER is lavapipe, swiftshader or system, not {other}"),
    }
    if env::var_os("VK_DRIVER_FILES").is_some_and(|files| !files.is_empty()) {
        return Ok((None, "from VK_DRIVER_FILES".to_owned()));
    }
    if let Some(manifest) = MANIFESTS.iter().find_map(|folder| manifest_in(Path::new(folder))) {
        return Ok((Some(Vulkan { manifest, libraries: None }), "lavapipe, the system's".to_owned()));
    }
    if OS != "linux" || !command::exists("apt-get") {
        return Ok((None, "the system's own: lavapipe is fetched only where there is apt-get".to_owned()));
    }
    let name = format!("lavapipe-{RECIPE}-debian-{}", env::consts::ARCH);
    let stored = store::ensure(&workspace.cache, &name, unpack_packages).context(INSTALL_LAVAPIPE)?;
    let manifest = manifest_in(&stored.folder).context("the packages hold no lavapipe")?;
    let libraries = Some(stored.folder.join("lib"));
    Ok((Some(Vulkan { manifest, libraries }), stored.outcome("lavapipe")))
}

/// Chromium's, with Chromium's own loader where the system has none.
fn swiftshader(workspace: &Workspace) -> Result<(Option<Vulkan>, String)> {
    let (chromium, _) = web::chromium(workspace)?;
    let manifest = chromium.join("vk_swiftshader_icd.json");
    if !manifest.is_file() {
        bail!("the Chromium of the browser suite holds no SwiftShader");
    }
    Ok((Some(Vulkan { manifest, libraries: Some(chromium) }), "SwiftShader, from LEDE_TEST_ADAPTER".to_owned()))
}

fn manifest_in(folder: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<_> = names.filter(|path| is_manifest(path)).collect();
    found.sort();
    found.into_iter().next()
}

/// `lvp_icd.json`, or with the architecture in between.
fn is_manifest(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.starts_with(MANIFEST) && name.ends_with(".json")
}

fn unpack_packages(folder: &Path) -> Result<()> {
    progress::note("fetching Mesa's lavapipe with apt-get, up to 50 MB");
    let apt = Apt::with_lists(folder.to_owned())?;
    apt.fetch(&apt.lacking(&PACKAGES, holds_libraries)?)?;
    let tree = apt.tree();
    keep_libraries(&tree, &folder.join("lib"))?;
    write_manifest(folder)?;
    apt.finish()?;
    store::remove(&tree)
}

fn holds_libraries(package: &str) -> bool {
    package == PACKAGES[0] || (package.starts_with("lib") && !package.starts_with("libpython"))
}

/// Into one flat folder, without the drivers of hardware.
fn keep_libraries(tree: &Path, libraries: &Path) -> Result<()> {
    fs::create_dir_all(libraries).context("cannot create the folder of libraries")?;
    let found = command::quietly(Command::new("find").arg(tree).args(["-name", "*.so*", "-not", "-type", "d"]))?;
    for library in found.lines().map(Path::new) {
        let Some(name) = library.file_name().map(|name| name.to_string_lossy()) else { continue };
        if !name.starts_with("libvulkan_") || name == DRIVER {
            fs::rename(library, libraries.join(&*name)).with_context(|| format!("cannot keep {name}"))?;
        }
    }
    if !libraries.join(DRIVER).is_file() {
        bail!("the packages hold no {DRIVER}");
    }
    Ok(())
}

/// A path with a slash is read from the manifest's own folder, so that the folder may be renamed.
fn write_manifest(folder: &Path) -> Result<()> {
    let library = format!("./lib/{DRIVER}");
    let manifest = serde_json::json!({
        "file_format_version": "1.0.0",
        "ICD": { "library_path": library, "api_version": "1.1.0" },
    });
    let path = folder.join(format!("{MANIFEST}.json"));
    fs::write(&path, manifest.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_lie_flat_and_the_manifest_names_the_driver_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, kept) = (folder.path().join("tree"), folder.path().join("lib"));
        let deep = tree.join("usr/lib/some-linux-gnu");
        fs::create_dir_all(&deep).unwrap();
        for name in [DRIVER, "libvulkan_radeon.so", "libvulkan.so.1.3.239", "libLLVM-15.so.1", "a.json"] {
            fs::write(deep.join(name), "").unwrap();
        }
        keep_libraries(&tree, &kept).unwrap();
        write_manifest(folder.path()).unwrap();
        let mut names: Vec<_> = fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["libLLVM-15.so.1", "libvulkan.so.1.3.239", DRIVER]);
        let manifest = fs::read_to_string(manifest_in(folder.path()).unwrap()).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert!(folder.path().join(manifest["ICD"]["library_path"].as_str().unwrap()).is_file());
    }

    #[test]
    fn packages_without_the_driver_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = keep_libraries(folder.path(), &folder.path().join("lib"));
        assert_eq!(refused.unwrap_err().to_string(), format!("the packages hold no {DRIVER}"));
    }

    #[test]
    fn a_process_sees_this_driver_and_its_libraries() {
        let (manifest, libraries) = (PathBuf::from("/cache/lvp_icd.json"), PathBuf::from("/cache/lib"));
        let mut command = Command::new("true");
        Vulkan { manifest: manifest.clone(), libraries: Some(libraries) }.offer_to(&mut command);
        let set: std::collections::BTreeMap<_, _> = command.get_envs().collect();
        assert_eq!(set[std::ffi::OsStr::new("VK_DRIVER_FILES")], Some(manifest.as_os_str()));
        let path = set[std::ffi::OsStr::new("LD_LIBRARY_PATH")].unwrap();
        assert_eq!(env::split_paths(path).last(), Some("/cache/lib".into()));
    }

    #[test]
    fn only_libraries_are_fetched_of_what_lacks() {
        for (package, wanted) in [
            ("mesa-vulkan-drivers", true),
            ("libllvm15", true),
            ("python3-minimal", false),
            ("libpython3.11-minimal", false),
            ("media-types", false),
        ] {
            assert_eq!(holds_libraries(package), wanted, "{package}");
        }
    }
}
