//! One started program: its own process group, its output with a name before each line.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::progress;

/// How long a child may take over its own stopping before it is killed: longer than the origin drains by default.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);
const STOP_POLL: Duration = Duration::from_millis(20);
/// A longer line of output is shown in pieces.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// A program that we started. Stopped when dropped.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: &'static str,
    process: Process,
    /// Once set, nothing is signalled any more: the process id may be another's.
    ended: Option<ExitStatus>,
}

impl Child {
    /// In a process group of its own, so that Ctrl-C reaches us first and [`Child::stop`] reaches its children too.
    pub(super) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        if let Some(stdout) = process.stdout.take() {
            thread::spawn(move || copy_lines(name, stdout));
        }
        if let Some(stderr) = process.stderr.take() {
            thread::spawn(move || copy_lines(name, stderr));
        }
        Ok(Self { name, process, ended: None })
    }

    /// How it ended, when it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.process.try_wait().with_context(|| format!("cannot ask after the {}", self.name))?;
            if self.ended.is_some() {
                // Its own children, should it have left any behind.
                self.signal(Signal::SIGKILL);
            }
        }
        Ok(self.ended)
    }

    /// SIGTERM to the whole group, then, after [`STOP_TIMEOUT`], SIGKILL.
    pub(super) fn stop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            match self.ended() {
                Ok(None) => thread::sleep(STOP_POLL),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        progress::note(&format!(
            "the {} has not stopped within {}; killing it",
            self.name,
            progress::seconds(STOP_TIMEOUT)
        ));
        self.signal(Signal::SIGKILL);
        self.ended = self.process.wait().ok();
    }

    /// Errors mean that nobody is left in the group.
    fn signal(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.process.id()) {
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

fn copy_lines(name: &'static str, output: impl Read) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while let Ok(1..) = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
        progress::line(&format!("{name:<6} | {}", String::from_utf8_lossy(&line).trim_end()));
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start("test", Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn a_child_that_ends_by_itself_is_noticed() {
        let mut child = shell("exit 3");
        while child.ended().unwrap().is_none() {
            thread::sleep(STOP_POLL);
        }
        assert_eq!(child.ended().unwrap().unwrap().code(), Some(3));
    }

    #[test]
    fn stopping_reaches_the_children_of_the_child() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let mut child = shell(&format!("sleep 600 & echo $! > {}; wait", pid_file.display()));
        let grandchild = loop {
            let text = std::fs::read_to_string(&pid_file).unwrap_or_default();
            match text.trim().parse() {
                Ok(pid) => break Pid::from_raw(pid),
                Err(_) => thread::sleep(STOP_POLL),
            }
        };
        child.stop();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while nix::sys::signal::kill(grandchild, None).is_ok() && !is_zombie(grandchild) {
            assert!(Instant::now() < deadline, "the grandchild lives on");
            thread::sleep(STOP_POLL);
        }
    }

    /// Ended, but not yet collected by whoever adopted it.
    fn is_zombie(pid: Pid) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    }
}
