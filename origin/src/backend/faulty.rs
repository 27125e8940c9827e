//! A backend that fails when it is told to, for tests of what survives it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{
    Backend, BackendDescription, BackendError, BackendShape, DeviceBytes, FailureKind, Prefix, Row, RowWork,
    Selected, Selection,
};

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The step does not begin.
    Submit(FailureKind),
    /// The step begins, and nothing comes of it.
    Select(FailureKind),
    /// The thread unwinds.
    Panic,
    /// The step takes so long, and succeeds then.
    Hang(Duration),
}

/// Which step fails how. Clones are one list, so steps are counted on when a backend is opened anew.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    steps: Arc<AtomicU64>,
    at: Arc<Mutex<BTreeMap<u64, Fault>>>,
}

impl Faults {
    /// These, by the number of the step from 0.
    #[must_use]
    pub fn at(faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        Self { steps: Arc::default(), at: Arc::new(Mutex::new(faults.into_iter().collect())) }
    }

    /// The next step that is taken fails like this.
    pub fn strike(&self, fault: Fault) {
        self.lock().insert(self.steps(), fault);
    }

    /// Steps so far, those that failed included.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    fn next(&self) -> Option<Fault> {
        let mut at = self.lock();
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        at.remove(&step)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Fault>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another backend, with faults.
pub struct FaultyBackend {
    inner: Box<dyn Backend>,
    faults: Faults,
    /// To be told when the step is waited for.
    pending: Option<FailureKind>,
}

impl FaultyBackend {
    /// `inner`, but for `faults`.
    #[must_use]
    pub fn new(inner: Box<dyn Backend>, faults: Faults) -> Self {
        Self { inner, faults, pending: None }
    }
}

fn failed(kind: FailureKind) -> BackendError {
    BackendError::of_kind(kind, "step", "it was told to fail")
}

impl Backend for FaultyBackend {
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
        self.inner.open(prefix)
    }

    #[expect(clippy::panic, reason = "that is what it is for")]
    fn submit(&mut self, work: &[RowWork<'_>]) -> Result<(), BackendError> {
        self.pending = None;
        match self.faults.next() {
            None => {}
            Some(Fault::Submit(kind)) => return Err(failed(kind)),
            Some(Fault::Select(kind)) => self.pending = Some(kind),
            Some(Fault::Panic) => panic!("it was told to"),
            Some(Fault::Hang(duration)) => std::thread::sleep(duration),
        }
        self.inner.submit(work)
    }

    fn select(&mut self, selections: &[Selection<'_>], selected: &mut Vec<Selected>) -> Result<(), BackendError> {
        match self.pending {
            Some(kind) => Err(failed(kind)),
            None => self.inner.select(selections, selected),
        }
    }

    fn logits(&mut self, item: usize, offset: usize) -> Result<&[f32], BackendError> {
        self.inner.logits(item, offset)
    }

    fn truncate(&mut self, row: Row, positions: usize) {
        self.inner.truncate(row, positions);
    }

    fn close(&mut self, row: Row) {
        self.inner.close(row);
    }
}
