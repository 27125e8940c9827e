//! A child process that cannot outlive its test.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::NamedTempFile;

const STOP_WAIT: Duration = Duration::from_secs(10);
const POLL_EVERY: Duration = Duration::from_millis(20);

/// A running child in its own process group, its output in a file that is shown when something goes wrong.
pub(crate) struct Process {
    child: Child,
    log: NamedTempFile,
}

impl Process {
    /// Starts `command`; standard error goes to the log, and standard output too unless `command` says otherwise.
    pub(crate) fn start(mut command: Command, keep_stdout: bool) -> Self {
        let log = NamedTempFile::new().expect("a temporary file can be made");
        let write = || File::options().append(true).open(log.path()).expect("the log can be opened");
        command.process_group(0).stderr(write());
        command.stdout(if keep_stdout { Stdio::piped() } else { Stdio::from(write()) });
        let program = command.get_program().to_owned();
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
        Self { child, log }
    }

    /// The child, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        let read = self.log.reopen().and_then(|mut file| file.read_to_string(&mut text));
        read.map_or_else(|error| format!("(the log cannot be read: {error})"), |_| text)
    }

    /// Resident memory in KiB, as the kernel counts it.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Processes that it started itself and that still run, by their program's name.
    pub(crate) fn children_named(&self, program: &str) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_child = |pid: &u32| {
            stat_of(*pid).is_some_and(|(name, fields)| {
                name == program && fields.get(1).is_some_and(|parent| *parent == self.child.id().to_string())
            })
        };
        pids.filter(is_child).collect()
    }

    /// CPU time that it has used so far, see [`cpu_centiseconds`].
    pub(crate) fn cpu_centiseconds(&self) -> Option<u64> {
        cpu_centiseconds(self.child.id())
    }

    /// Has it ended?
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Sends SIGTERM to the process alone, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends a signal to the process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process is there");
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + at_most;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        // The group may already be gone; that is what is wanted.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid is small"))
    }
}

/// Name and the fields after it of `/proc/<pid>/stat` (`man 5 proc`: the first of them is the state).
fn stat_of(pid: u32) -> Option<(String, Vec<String>)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    Some((name, after.split_whitespace().map(str::to_owned).collect()))
}

/// CPU time of a process in user and kernel mode, all its threads together, in hundredths of a second: so the kernel
/// counts it on every Linux. `None` when there is no such process.
#[must_use]
pub fn cpu_centiseconds(pid: u32) -> Option<u64> {
    const USER_TIME: usize = 11;
    let (_, fields) = stat_of(pid)?;
    let times = fields.get(USER_TIME..=USER_TIME + 1)?;
    times.iter().map(|time| time.parse::<u64>().ok()).sum()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = killpg(self.pid(), Signal::SIGTERM);
        if self.wait(STOP_WAIT).is_none() {
            self.kill();
        }
        if std::thread::panicking() {
            eprint_log(&self.log());
        }
    }
}

#[expect(clippy::print_stderr, reason = "the log of a process belongs to the report of the test that failed")]
fn eprint_log(log: &str) {
    const SHOWN_CHARS_MAX: usize = 8_000;
    let start = log.len().saturating_sub(SHOWN_CHARS_MAX);
    eprintln!("--- the process wrote ---\n{}", log.get(start..).unwrap_or(log));
}
