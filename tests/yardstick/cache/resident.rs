//! Measurements that want a process of their own: what the others leave behind in the allocator would be counted too.

use std::process::{Command, Stdio};

const CHILD: &str = "LEDE_BENCH_CHILD";

/// What the measurement `name` tells, from a fresh process of this program.
pub(crate) fn in_child(name: &str) -> String {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program).env(CHILD, name).stderr(Stdio::inherit()).output().expect("it starts");
    assert!(output.status.success(), "{name} failed in its process");
    String::from_utf8(output.stdout).expect("it tells text")
}

/// The measurement that this process was started for.
pub(crate) fn wanted_here() -> Option<String> {
    std::env::var(CHILD).ok()
}
