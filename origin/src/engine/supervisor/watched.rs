//! A backend that shows from outside how long its present call has been going on, and that takes failure after failure for
//! what it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use std::sync::Arc;

use crate::backend::{
    Backend, BackendDescription, BackendError, BackendShape, DeviceBytes, FailureKind, Prefix, Row, RowWork,
    Selected, Selection,
};

/// Steps that fail one after the other before the device is taken for lost: some drivers never say so.
const FAILURES_IN_A_ROW_MAX: u32 = 3;

/// Since when the device has been at a call.
#[derive(Debug)]
pub(super) struct Pulse {
    began_at: Instant,
    /// Milliseconds since `began_at` and 1; 0 between calls.
    call_began: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { began_at: Instant::now(), call_began: AtomicU64::new(0) })
    }

    /// How long the present call has been going on; nothing between calls.
    pub(super) fn call_running(&self, now: Instant) -> Duration {
        let Some(began_ms) = self.call_began.load(Ordering::Acquire).checked_sub(1) else { return Duration::ZERO };
        Duration::from_millis(self.millis(now).saturating_sub(began_ms))
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began_at).as_millis() as u64
    }

    fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        self.call_began.store(self.millis(Instant::now()) + 1, Ordering::Release);
        let outcome = call();
        self.call_began.store(0, Ordering::Release);
        outcome
    }
}

/// Another backend, watched.
pub(super) struct Watched {
    inner: Box<dyn Backend>,
    pulse: Arc<Pulse>,
    failures: u32,
}

impl Watched {
    pub(super) fn new(inner: Box<dyn Backend>, pulse: Arc<Pulse>) -> Self {
        Self { inner, pulse, failures: 0 }
    }

    fn judged<T>(&mut self, outcome: Result<T, BackendError>) -> Result<T, BackendError> {
        let Err(error) = &outcome else { return outcome };
        if error.kind() == FailureKind::Failed {
            self.failures += 1;
            if self.failures >= FAILURES_IN_A_ROW_MAX {
                return Err(BackendError::of_kind(FailureKind::Lost, "it failed again and again", error));
            }
        }
        outcome
    }
}

impl Backend for Watched {
    fn shape(&self) -> BackendShape {
        self.inner.shape()
    }

    fn description(&self) -> BackendDescription {
        self.inner.description()
    }

    fn device_bytes(&self) -> DeviceBytes {
        self.inner.device_bytes()
    }

    fn entries_computed(&self) -> u64 {
        self.inner.entries_computed()
    }

    fn takes_guesses(&self) -> bool {
        self.inner.takes_guesses()
    }

    fn positions_free(&self) -> usize {
        self.inner.positions_free()
    }

    fn block_tokens(&self) -> usize {
        self.inner.block_tokens()
    }

    fn open(&mut self, prefix: Option<Prefix>) -> Result<Row, BackendError> {
        let opened = self.pulse.during(|| self.inner.open(prefix));
        self.judged(opened)
    }

    fn submit(&mut self, work: &[RowWork<'_>]) -> Result<(), BackendError> {
        let submitted = self.pulse.during(|| self.inner.submit(work));
        self.judged(submitted)
    }

    fn select(&mut self, selections: &[Selection<'_>], selected: &mut Vec<Selected>) -> Result<(), BackendError> {
        let outcome = self.pulse.during(|| self.inner.select(selections, selected));
        if outcome.is_ok() {
            self.failures = 0;
        }
        self.judged(outcome)
    }

    fn logits(&mut self, item: usize, offset: usize) -> Result<&[f32], BackendError> {
        self.pulse.during(|| self.inner.logits(item, offset))
    }

    fn truncate(&mut self, row: Row, positions: usize) {
        self.pulse.during(|| self.inner.truncate(row, positions));
    }

    fn close(&mut self, row: Row) {
        self.pulse.during(|| self.inner.close(row));
    }
}
