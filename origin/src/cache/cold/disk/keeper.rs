//! The thread that opens the folder, flushes, merges and deletes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::generation::Fault;
use super::shelf::Shelf;
use super::{DiskSettings, State};
use crate::clock;

/// A folder that another process has, or that cannot be used, is tried again after so long.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A disk that comes and goes gets a line in the log so often at most.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What the keeper is asked for besides what it does of itself.
#[derive(Debug)]
pub(super) enum Wish {
    /// Flush early.
    Tend,
    /// Flush, and say when it is done.
    Flush(oneshot::Sender<io::Result<()>>),
    /// Delete everything, and say when it is done.
    Clear(oneshot::Sender<io::Result<()>>),
}

/// Looks after the folder until the store is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    settings: DiskSettings,
    state: watch::Sender<State>,
    wishes: Receiver<Wish>,
    /// Why the folder cannot be used, as the log was told.
    refusal: Option<String>,
    /// When the log was last told that writing fails.
    said_at: Option<Instant>,
}

impl Keeper {
    pub(super) const fn new(settings: DiskSettings, state: watch::Sender<State>, wishes: Receiver<Wish>) -> Self {
        Self { settings, state, wishes, refusal: None, said_at: None }
    }

    pub(super) fn run(mut self) {
        let Some(shelf) = self.open() else { return };
        self.state.send_replace(State::Open(Arc::clone(&shelf)));
        let _ = self.tend(&shelf);
        loop {
            match self.wishes.recv_timeout(self.settings.flush_every) {
                Ok(Wish::Tend) | Err(RecvTimeoutError::Timeout) => {
                    let _ = self.tend(&shelf);
                }
                Ok(Wish::Flush(done)) => {
                    let _ = done.send(self.tend(&shelf));
                }
                Ok(Wish::Clear(done)) => {
                    let _ = done.send(self.report(shelf.clear(clock::now())));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.tend(&shelf);
                    return;
                }
            }
        }
    }

    /// Opens the folder, now or when it becomes possible. `None` when the store was dropped first.
    fn open(&mut self) -> Option<Arc<Shelf>> {
        loop {
            let DiskSettings { folder, bytes_max, .. } = &self.settings;
            let started_at = Instant::now();
            match Shelf::open(folder, *bytes_max, clock::now()) {
                Ok(shelf) => {
                    let ((entries, bytes), opened_in) = (shelf.size(), started_at.elapsed());
                    tracing::info!(folder = %folder.display(), entries, bytes, ?opened_in, "the cold tier is open");
                    return Some(Arc::new(shelf));
                }
                Err(fault) => {
                    let reason = fault.to_string();
                    if self.refusal.as_ref() != Some(&reason) {
                        tracing::warn!(folder = %folder.display(), reason, "there is no cold tier while this lasts");
                        self.refusal = Some(reason);
                    }
                    self.state.send_replace(State::Refused);
                }
            }
            self.wait_to_open_again()?;
        }
    }

    /// While nothing can be found, every wish is fulfilled.
    fn wait_to_open_again(&self) -> Option<()> {
        let until = Instant::now() + OPEN_AGAIN_AFTER;
        loop {
            match self.wishes.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Wish::Flush(done) | Wish::Clear(done)) => {
                    let _ = done.send(Ok(()));
                }
                Ok(Wish::Tend) => {}
                Err(RecvTimeoutError::Timeout) => return Some(()),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn tend(&mut self, shelf: &Shelf) -> io::Result<()> {
        self.report(shelf.tend(clock::now()))
    }

    /// Says in the log when writing begins to fail, and when that is over.
    fn report(&mut self, outcome: Result<(), Fault>) -> io::Result<()> {
        let may_speak = self.said_at.is_none_or(|said_at| said_at.elapsed() >= SAY_AGAIN_AFTER);
        match outcome {
            Ok(()) => {
                if may_speak && self.said_at.take().is_some() {
                    tracing::info!("the cold tier is written again");
                }
                Ok(())
            }
            Err(fault) => {
                let reason = fault.to_string();
                if may_speak {
                    tracing::warn!(reason, "the cold tier cannot be written");
                    self.said_at = Some(Instant::now());
                }
                Err(io::Error::other(reason))
            }
        }
    }
}
