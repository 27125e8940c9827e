//! The cold tier: outlives the process, and may be slow, full or gone.
//!
//! Whatever the store does, a look-up waits no longer than the read timeout, a store that fails is left alone for a while
//! (a circuit breaker), and writing holds up nobody.

pub mod disk;
mod guard;
pub mod redis;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lede_shared::cache_key::CacheKey;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use self::guard::Guard;
pub use self::store::{ColdError, ColdSize, ColdStore, ColdWrite};
use super::{Entry, codec};

/// Changes that wait for the store; more are dropped.
const CHANGES_WAITING_MAX: usize = 4_096;
/// Changes handed to the store at once.
const CHANGES_AT_ONCE_MAX: usize = 128;
/// For the store to take some writes, a removal or a clearing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which store is behind the cold tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColdChoice {
    /// Redis where `REDIS_URL` names one, the disk otherwise.
    #[default]
    Auto,
    /// A folder of this machine.
    Disk,
    /// Redis.
    Redis,
    /// None.
    Off,
}

/// The cold tier's store and limits.
#[derive(Clone, Debug)]
pub struct ColdSettings {
    /// Which store.
    pub choice: ColdChoice,
    /// Where the disk's store lies.
    pub folder: Option<PathBuf>,
    /// Most bytes on disk.
    pub bytes_max: u64,
    /// What was put is on disk after so long.
    pub flush_every: Duration,
    /// How long a look-up waits.
    pub read_timeout: Duration,
}

/// The cold tier. Clones share it.
#[derive(Clone, Debug)]
pub struct ColdTier {
    guard: Arc<Guard>,
    changes: mpsc::Sender<Change>,
    read_timeout: Duration,
    writes_dropped: Arc<AtomicU64>,
}

/// How the cold tier does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdState {
    /// What it holds, as far as the store can tell in time.
    pub size: ColdSize,
    /// Calls that failed or were not answered in time, since the start.
    pub failures: u64,
    /// Is the store being left alone because it failed?
    pub is_left_alone: bool,
    /// Writes for which there was no room in the queue, since the start.
    pub writes_dropped: u64,
}

/// What is to be changed in the store, in the order in which it was asked for.
#[derive(Debug)]
enum Change {
    Put(ColdWrite),
    Remove(CacheKey, oneshot::Sender<()>),
    Clear(oneshot::Sender<()>),
    /// Nothing; it is done when all before it is.
    Mark(oneshot::Sender<()>),
}

impl ColdTier {
    /// A tier on `store`. Needs a tokio runtime: changes are made by a task of its own, which ends with the last clone.
    #[must_use]
    pub fn start(store: Arc<dyn ColdStore>, read_timeout: Duration) -> Self {
        let guard = Arc::new(Guard::new(store));
        let (changes, waiting) = mpsc::channel(CHANGES_WAITING_MAX);
        tokio::spawn(make_changes(Arc::clone(&guard), waiting));
        Self { guard, changes, read_timeout, writes_dropped: Arc::default() }
    }

    /// What the store has under `key`, and its encoded form. What cannot be read is not there.
    pub(super) async fn get(&self, key: &CacheKey) -> Option<(Entry, Bytes)> {
        let encoded = self.guard.call(self.read_timeout, |store| store.get(key)).await??;
        match codec::decode(&encoded) {
            Ok(entry) => Some((entry, encoded)),
            Err(error) => {
                tracing::debug!(%error, "the cold tier held what cannot be read");
                None
            }
        }
    }

    /// Is the store being left alone because it failed?
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.guard.is_open()
    }

    /// Keeps an entry, behind. Dropped when too many wait already.
    pub(super) fn put(&self, write: ColdWrite) {
        if self.changes.try_send(Change::Put(write)).is_err() {
            self.writes_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How it does. Waits no longer than a look-up.
    pub(super) async fn state(&self) -> ColdState {
        let size = self.guard.call(self.read_timeout, ColdStore::size).await;
        ColdState {
            size: size.unwrap_or(ColdSize { entries: None, bytes: None }),
            failures: self.guard.failures(),
            is_left_alone: self.is_left_alone(),
            writes_dropped: self.writes_dropped.load(Ordering::Relaxed),
        }
    }

    /// Forgets one entry; waits until it is done or the store has failed to.
    pub(super) async fn remove(&self, key: &CacheKey) {
        let (done, is_done) = oneshot::channel();
        self.change(Change::Remove(*key, done), is_done).await;
    }

    /// Forgets all entries; waits like [`Self::remove`].
    pub(super) async fn clear(&self) {
        let (done, is_done) = oneshot::channel();
        self.change(Change::Clear(done), is_done).await;
    }

    /// Waits like [`Self::remove`] until all that was asked for before is done.
    pub(super) async fn written(&self) {
        let (done, is_done) = oneshot::channel();
        self.change(Change::Mark(done), is_done).await;
    }

    async fn change(&self, change: Change, is_done: oneshot::Receiver<()>) {
        let waiting = async {
            self.changes.send(change).await.ok()?;
            is_done.await.ok()
        };
        if tokio::time::timeout(WRITE_TIMEOUT, waiting).await.is_err() {
            tracing::warn!("the cold tier was not changed in time");
        }
    }
}

/// Makes changes in their order; neighbouring writes go together.
async fn make_changes(guard: Arc<Guard>, mut waiting: mpsc::Receiver<Change>) {
    let mut changes = Vec::with_capacity(CHANGES_AT_ONCE_MAX);
    while waiting.recv_many(&mut changes, CHANGES_AT_ONCE_MAX).await > 0 {
        let mut writes = Vec::new();
        for change in changes.drain(..) {
            match change {
                Change::Put(write) => writes.push(write),
                Change::Remove(key, done) => {
                    put(&guard, &mut writes).await;
                    guard.call(WRITE_TIMEOUT, |store| store.remove(&key)).await;
                    let _ = done.send(());
                }
                Change::Mark(done) => {
                    put(&guard, &mut writes).await;
                    let _ = done.send(());
                }
                Change::Clear(done) => {
                    // What was to be written before need not be written any more.
                    writes.clear();
                    guard.call(WRITE_TIMEOUT, |store| store.clear()).await;
                    let _ = done.send(());
                }
            }
        }
        put(&guard, &mut writes).await;
    }
}

async fn put(guard: &Guard, writes: &mut Vec<ColdWrite>) {
    if !writes.is_empty() {
        let writes = std::mem::take(writes);
        guard.call(WRITE_TIMEOUT, |store| store.put_many(writes)).await;
    }
}
