//! Packages of Debian and its kin, fetched and unpacked without root: apt's own tools, with lists that lie in a folder of
//! ours. Nothing is installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::setup::store;

/// How far dependencies are followed.
const DEPTH_MAX: usize = 16;

/// Apt with the lists of now, at work in one folder.
#[derive(Debug)]
pub(super) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Fetches the lists into `folder`.
    pub(super) fn with_lists(folder: PathBuf) -> Result<Self> {
        for needed in ["lists/partial", "cache/archives/partial", "tree"] {
            let needed = folder.join(needed);
            fs::create_dir_all(&needed).with_context(|| format!("cannot create {}", needed.display()))?;
        }
        let apt = Self { folder };
        command::quietly(apt.program("apt-get").arg("update"))?;
        Ok(apt)
    }

    /// Where packages are unpacked to.
    pub(super) fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// `packages` and what they depend on, but for what is installed here; only of those that are `wanted`, and only
    /// through them.
    ///
    /// Not from a simulated installation: that fails on a machine where any two packages disagree.
    pub(super) fn lacking(&self, packages: &[&str], wanted: fn(&str) -> bool) -> Result<Vec<String>> {
        let installed = command::quietly(Command::new("dpkg-query").args([
            "--show",
            "--showformat",
            "${db:Status-Abbrev}${Package}\n",
        ]))?;
        let installed: BTreeSet<&str> = installed.lines().filter_map(|line| line.strip_prefix("ii ")).collect();
        let is_lacking = |name: &&str| wanted(name) && !installed.contains(name);
        let mut lacking = BTreeSet::new();
        let mut asked: Vec<String> = packages.iter().copied().filter(is_lacking).map(str::to_owned).collect();
        for _ in 0..DEPTH_MAX {
            lacking.extend(asked.iter().cloned());
            if asked.is_empty() {
                return Ok(lacking.into_iter().collect());
            }
            let said = command::quietly(self.program("apt-cache").args(["depends", "--important"]).args(&asked))?;
            let further: BTreeSet<&str> = dependencies(&said).filter(is_lacking).collect();
            asked = further.into_iter().filter(|name| !lacking.contains(*name)).map(str::to_owned).collect();
        }
        bail!("{} stand on packages more than {DEPTH_MAX} deep", packages.join(" and "))
    }

    /// Fetches packages and unpacks them into the tree.
    pub(super) fn fetch<Name: AsRef<str>>(&self, packages: &[Name]) -> Result<()> {
        command::quietly(self.program("apt-get").arg("download").args(packages.iter().map(AsRef::as_ref)))?;
        let cannot = || format!("cannot read {}", self.folder.display());
        for package in fs::read_dir(&self.folder).with_context(cannot)?.filter_map(Result::ok) {
            let package = package.path();
            if package.extension().is_some_and(|extension| extension == "deb") {
                command::quietly(Command::new("dpkg-deb").arg("-x").arg(&package).arg(self.tree()))?;
                fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))?;
            }
        }
        Ok(())
    }

    /// Leaves only the tree.
    pub(super) fn finish(self) -> Result<()> {
        store::remove(&self.folder.join("lists"))?;
        store::remove(&self.folder.join("cache"))
    }

    fn program(&self, name: &str) -> Command {
        let mut program = Command::new(name);
        program.args(["-qq", "-o", "APT::Sandbox::User=root", "-o"]);
        program.arg(format!("Dir::State::lists={}", self.folder.join("lists").display()));
        program.arg("-o").arg(format!("Dir::Cache={}", self.folder.join("cache").display()));
        program.current_dir(&self.folder);
        program
    }
}

/// The names in lines such as `  Depends: libx11-6`; of alternatives all, but none that is only virtual.
fn dependencies(said: &str) -> impl Iterator<Item = &str> {
    let lines = said.lines().map(|line| line.trim_start().trim_start_matches('|'));
    let names =
        lines.filter_map(|line| line.strip_prefix("Depends: ").or_else(|| line.strip_prefix("PreDepends: ")));
    names.filter(|name| !name.starts_with('<') && !name.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_packages_and_those_of_other_machines_are_no_dependencies() {
        let said = "mesa-vulkan-drivers\n  Depends: libvulkan1\n |Depends: python3\n  Depends: <libgl>\n    libgl1\n  \
                    PreDepends: libc6\n  Depends: libx:i386\n  Breaks: libold\n";
        assert_eq!(dependencies(said).collect::<Vec<_>>(), ["libvulkan1", "python3", "libc6"]);
    }
}
