//! The log's lines on their way out. Who logs copies a line into memory and goes on; a thread of its own writes what has
//! gathered, so that a request costs no system call for its line, and nobody waits for a reader that has stopped.

use std::io::{self, Write};
use std::mem;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Lines gather this long before they are written together. One that warns is written at once, with all before it.
const GATHER: Duration = Duration::from_millis(5);
/// Lines that come while so much waits to be written are dropped, and counted.
const WAITING_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// Memory that is kept for lines while there are none: what a busy process gathers.
const KEPT_BYTES: usize = 256 * 1_024;
/// At the end, what waits is given this long to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Where lines gather. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub(super) struct LogBuffer(Arc<Shared>);

/// Its end is the log's: it waits until every line so far is written.
#[derive(Debug)]
pub struct LogGuard {
    shared: Arc<Shared>,
    /// Fails once the thread has ended.
    writing: Receiver<()>,
}

#[derive(Debug, Default)]
struct Shared {
    gathered: Mutex<Gathered>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Gathered {
    lines: Vec<u8>,
    dropped_lines: u64,
    /// Something among them should be seen at once.
    is_urgent: bool,
    /// The last lines are here.
    is_closing: bool,
}

impl Shared {
    /// Lines are whole after each step, so what a panic left is sound.
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8], is_urgent: bool) {
        let mut gathered = self.lock();
        if gathered.lines.len() + line.len() > WAITING_BYTES_MAX {
            gathered.dropped_lines += 1;
            return;
        }
        let wakes = gathered.lines.is_empty() || (is_urgent && !gathered.is_urgent);
        gathered.lines.extend_from_slice(line);
        gathered.is_urgent |= is_urgent;
        drop(gathered);
        if wakes {
            self.news.notify_one();
        }
    }

    /// Waits for lines and swaps them for `empty`. Says how many were dropped meanwhile; `None` when no more will come.
    fn take(&self, empty: &mut Vec<u8>) -> Option<u64> {
        let is_idle = |gathered: &mut Gathered| gathered.lines.is_empty() && !gathered.is_closing;
        let gathered = self.news.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let may_gather = |gathered: &mut Gathered| !gathered.is_urgent && !gathered.is_closing;
        let waited = self.news.wait_timeout_while(gathered, GATHER, may_gather);
        let (mut gathered, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if gathered.lines.is_empty() {
            return None;
        }
        mem::swap(&mut gathered.lines, empty);
        gathered.is_urgent = false;
        Some(mem::take(&mut gathered.dropped_lines))
    }

    fn write_out(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        while let Some(dropped_lines) = self.take(&mut lines) {
            // A log that nobody can read any more is no reason to stop serving.
            let _ = out.write_all(&lines);
            lines.clear();
            lines.shrink_to(KEPT_BYTES);
            if dropped_lines > 0 {
                tracing::warn!(dropped_lines, "the log is not read as fast as it is written");
            }
        }
    }
}

impl LogBuffer {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start(&self, out: impl Write + Send + 'static) -> io::Result<LogGuard> {
        let (ended, writing) = mpsc::channel();
        let shared = Arc::clone(&self.0);
        thread::Builder::new().name("lede-log".to_owned()).spawn(move || {
            let _ended = ended;
            shared.write_out(out);
        })?;
        Ok(LogGuard { shared: Arc::clone(&self.0), writing })
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.news.notify_one();
        // Nothing is ever sent: this ends with the thread, or when the time is up.
        let _ = self.writing.recv_timeout(LAST_LINES);
    }
}

/// Takes one line.
pub(super) struct LineWriter<'a> {
    shared: &'a Shared,
    is_urgent: bool,
}

impl<'a> MakeWriter<'a> for LogBuffer {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { shared: &self.0, is_urgent: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter { shared: &self.0, is_urgent: *metadata.level() <= Level::WARN }
    }
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.add(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Passes on what is written, and writes nothing before it is let.
    struct Slow {
        written: Sender<Vec<u8>>,
        may_write: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.may_write.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Opened {
        buffer: LogBuffer,
        guard: LogGuard,
        written: Receiver<Vec<u8>>,
        may_write: Sender<()>,
    }

    fn open() -> Opened {
        let (buffer, (sender, written), (may_write, receiver)) = (LogBuffer::default(), channel(), channel());
        let guard = buffer.start(Slow { written: sender, may_write: receiver }).unwrap();
        Opened { buffer, guard, written, may_write }
    }

    #[test]
    fn every_line_is_written_in_order_before_the_guard_is_gone() {
        let Opened { buffer, guard, written, may_write } = open();
        drop(may_write);
        let lines: Vec<String> = (0..1_000).map(|number| format!("line {number}\n")).collect();
        for line in &lines {
            buffer.make_writer().write_all(line.as_bytes()).unwrap();
        }
        drop(guard);
        let written: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(written).unwrap(), lines.concat());
    }

    #[test]
    fn a_log_that_is_not_read_stops_nobody_and_is_bounded() {
        let Opened { buffer, guard, written, may_write } = open();
        let line = [b'x'; 1_024];
        // Three times as much as may wait, while nothing is taken.
        for _ in 0..3 * WAITING_BYTES_MAX / line.len() {
            buffer.make_writer().write_all(&line).unwrap();
        }
        assert!(buffer.0.lock().lines.len() <= WAITING_BYTES_MAX);
        assert!(buffer.0.lock().dropped_lines > 0);
        drop(may_write);
        drop(guard);
        // What was being written and what waited.
        let written: usize = written.try_iter().map(|lines| lines.len()).sum();
        assert!((WAITING_BYTES_MAX..=2 * WAITING_BYTES_MAX).contains(&written), "{written}");
    }
}
