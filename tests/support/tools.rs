//! Programs that the suites run beside the processes under test.

use std::path::Path;
use std::process::Command;

use crate::repository_root;

/// Node with a script and its arguments, in `folder` of the repository.
#[must_use]
pub fn node(folder: &str, arguments: &[&str]) -> Command {
    in_repository("node", folder, arguments)
}

/// Python, with the packages that lie in `packages`.
#[must_use]
pub fn python(folder: &str, packages: &Path, arguments: &[&str]) -> Command {
    let mut command = in_repository("python3", folder, arguments);
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Any program on the path.
#[must_use]
pub fn in_repository(program: &str, folder: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository_root().join(folder));
    // A proxy of this machine has no business with 127.0.0.1.
    command.env("NO_PROXY", "127.0.0.1");
    command
}
