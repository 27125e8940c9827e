//! A cold tier in a folder of this machine.
//!
//! What is kept lies in generations: LSM trees (crate `lsm-tree`), each in a folder of its own. The newest is written.
//! When all are too large together the oldest is deleted, and so is one in which nothing is of use any more; space is
//! given back by deleting folders, never by rewriting. There is no journal: what was put in the last moments before a
//! crash is lost, what was flushed is whole. One thread flushes, merges and deletes; reading and putting are done on the
//! runtime's threads for blocking work.

mod folder;
mod generation;
mod keeper;
mod shelf;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use lede_shared::cache_key::CacheKey;
use tokio::sync::{Semaphore, oneshot, watch};

use self::keeper::{Keeper, Wish};
use self::shelf::Shelf;
use super::{ColdError, ColdSize, ColdStore, ColdWrite};
use crate::clock;

/// Calls at work on the disk at once. On one that hangs no more threads than that are held.
const CALLS_MAX: usize = 32;
/// Wishes that wait for the keeper.
const WISHES_MAX: usize = 16;
/// How long a look-up waits for the folder to be opened; after that it finds nothing.
const OPENING_WAIT: Duration = Duration::from_millis(50);
/// How long a change waits for it, which nobody waits for.
const OPENING_WAIT_OF_CHANGES: Duration = Duration::from_secs(2);
/// How long the end of the process waits for the last flush.
const LAST_FLUSH_WAIT: Duration = Duration::from_secs(2);
const LAST_FLUSH_POLL: Duration = Duration::from_millis(2);

/// The folder and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// Where; made when it is not there. One process at a time has it.
    pub folder: PathBuf,
    /// Most bytes on disk.
    pub bytes_max: u64,
    /// What was put is on disk after so long.
    pub flush_every: Duration,
}

/// The cold tier on disk. While another process has the folder, or it cannot be used, nothing is kept and nothing is
/// found; that is said once in the log, and tried again now and then.
#[derive(Debug)]
pub struct DiskStore {
    state: watch::Receiver<State>,
    calls: Arc<Semaphore>,
    /// Gone only while dropping.
    wishes: Option<SyncSender<Wish>>,
    keeper: Option<JoinHandle<()>>,
}

/// Can the folder be used?
#[derive(Clone, Debug)]
enum State {
    Opening,
    Open(Arc<Shelf>),
    Refused,
}

impl DiskStore {
    /// Starts the thread that opens the folder and looks after it.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(settings: DiskSettings) -> io::Result<Self> {
        let (sender, state) = watch::channel(State::Opening);
        let (wishes, waiting) = sync_channel(WISHES_MAX);
        let keeper = Keeper::new(settings, sender, waiting);
        let thread = std::thread::Builder::new().name("cold-disk".to_owned()).spawn(move || keeper.run())?;
        let calls = Arc::new(Semaphore::new(CALLS_MAX));
        Ok(Self { state, calls, wishes: Some(wishes), keeper: Some(thread) })
    }

    /// The folder's content, once it is open; `None` where it cannot be used, or not within `at_most`.
    async fn shelf(&self, at_most: Duration) -> Option<Arc<Shelf>> {
        let mut state = self.state.clone();
        let opened = state.wait_for(|state| !matches!(state, State::Opening));
        match &*tokio::time::timeout(at_most, opened).await.ok()?.ok()? {
            State::Open(shelf) => Some(Arc::clone(shelf)),
            State::Opening | State::Refused => None,
        }
    }

    /// Does `work` on the folder's content, on a thread for blocking work. `None` where there is nothing to work on, or not
    /// within `at_most`.
    async fn with_shelf<T: Send + 'static>(
        &self,
        at_most: Duration,
        work: impl FnOnce(&Shelf) -> io::Result<T> + Send + 'static,
    ) -> Result<Option<T>, ColdError> {
        let Some(shelf) = self.shelf(at_most).await else { return Ok(None) };
        let place = Arc::clone(&self.calls).acquire_owned().await.map_err(failed)?;
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&shelf)
        });
        let done = done.await;
        done.map_err(failed)?.map(Some).map_err(failed)
    }

    /// Asks the keeper for something now, and waits until it is done.
    async fn ask(&self, wish: fn(oneshot::Sender<io::Result<()>>) -> Wish) -> Result<(), ColdError> {
        if self.shelf(OPENING_WAIT_OF_CHANGES).await.is_none() {
            return Ok(());
        }
        let (done, is_done) = oneshot::channel();
        if let Some(wishes) = &self.wishes {
            wishes.try_send(wish(done)).map_err(failed)?;
        }
        is_done.await.map_err(failed)?.map_err(failed)
    }

    /// A flush is due early. When a wish waits already, the keeper will see to it.
    fn flush_soon(&self) {
        let _ = self.wishes.as_ref().map(|wishes| wishes.try_send(Wish::Tend));
    }
}

fn failed(error: impl ToString) -> ColdError {
    ColdError(error.to_string())
}

impl ColdStore for DiskStore {
    fn get<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<Option<Bytes>, ColdError>> {
        let key = *key;
        Box::pin(async move {
            let got = self.with_shelf(OPENING_WAIT, move |shelf| shelf.get(&key, clock::now())).await?;
            Ok(got.flatten())
        })
    }

    /// A full disk is no error: reading goes on. The log says once that nothing more is kept.
    fn put_many(&self, writes: Vec<ColdWrite>) -> BoxFuture<'_, Result<(), ColdError>> {
        Box::pin(async move {
            let put = move |shelf: &Shelf| Ok(shelf.put(&writes, clock::now()));
            let put = self.with_shelf(OPENING_WAIT_OF_CHANGES, put).await?;
            if put.is_some_and(|flush_is_due| flush_is_due) {
                self.flush_soon();
            }
            Ok(())
        })
    }

    fn remove<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<(), ColdError>> {
        let key = *key;
        Box::pin(async move {
            self.with_shelf(OPENING_WAIT_OF_CHANGES, move |shelf| shelf.remove(&key)).await?;
            // What was removed must not be back after a crash.
            self.ask(Wish::Flush).await
        })
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), ColdError>> {
        Box::pin(self.ask(Wish::Clear))
    }

    fn size(&self) -> BoxFuture<'_, Result<ColdSize, ColdError>> {
        Box::pin(async move {
            let size = self.with_shelf(OPENING_WAIT, |shelf| Ok(shelf.size())).await?;
            Ok(size.map_or_else(ColdSize::default, |(entries, bytes)| ColdSize {
                entries: Some(entries),
                bytes: Some(bytes),
            }))
        })
    }
}

impl Drop for DiskStore {
    /// What was put is flushed before the process ends, unless the disk hangs.
    fn drop(&mut self) {
        drop(self.wishes.take());
        let until = Instant::now() + LAST_FLUSH_WAIT;
        while self.keeper.as_ref().is_some_and(|keeper| !keeper.is_finished()) && Instant::now() < until {
            std::thread::sleep(LAST_FLUSH_POLL);
        }
    }
}

#[cfg(test)]
mod tests;
