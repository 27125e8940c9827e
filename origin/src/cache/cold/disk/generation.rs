//! One generation: an LSM tree in a folder of its own.

use std::fmt::{self, Debug};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lsm_tree::compaction::Leveled;
use lsm_tree::{AbstractTree, AnyTree, Cache, Config, DescriptorTable, SeqNo, SequenceNumberCounter};

/// Reads see all that was written.
const LATEST: SeqNo = SeqNo::MAX >> 1;
/// A tree of ours is known by this file; one without it was not finished, or not wholly deleted.
const TREE_FILE: &str = "current";
/// Where a tree keeps when it began and until when it is of use. No key of an entry is that short.
const LIFE_KEY: &[u8] = b"life";
/// Files that a generation keeps open.
const OPEN_FILES_MAX: usize = 24;
/// Tables of one flush each that are looked through one by one before they are merged.
const UNMERGED_TABLES_MAX: usize = 12;
/// A generation takes new entries for this part of the time that its longest entry is of use.
const TAKING_SHARE: u64 = 8;
const UNTIL_BYTES: usize = size_of::<u64>();

/// Why a generation cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// What it holds is not what was written; it can only be deleted.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The disk refuses, which may pass.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl From<lsm_tree::Error> for Fault {
    fn from(error: lsm_tree::Error) -> Self {
        match error {
            // A file that is shorter than it was, or gone.
            lsm_tree::Error::Io(error)
                if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound) =>
            {
                Self::Damaged(error.to_string())
            }
            lsm_tree::Error::Io(error) => Self::Disk(error),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// What lies under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    until_ms: u64,
    encoded: Bytes,
}

impl Kept {
    /// What may be served at `now`; nothing when it was removed or its time is over.
    pub(super) fn useful_at(self, now: UnixMillis) -> Option<Bytes> {
        (self.until_ms > now.0 && !self.encoded.is_empty()).then_some(self.encoded)
    }
}

/// How large a generation's parts are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Bytes of a merged table.
    pub(super) table_bytes: u64,
    /// Bytes after which a generation takes no more.
    pub(super) generation_bytes_max: u64,
}

/// One generation.
pub(super) struct Generation {
    number: u64,
    folder: PathBuf,
    tree: AnyTree,
    next: SequenceNumberCounter,
    began_ms: u64,
    useful_until_ms: AtomicU64,
    is_damaged: AtomicBool,
    /// Its folder is deleted, or about to be.
    is_retired: AtomicBool,
}

impl Generation {
    /// A new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn create(
        number: u64,
        folder: PathBuf,
        cache: &Arc<Cache>,
        now: UnixMillis,
    ) -> Result<Self, Fault> {
        // Whatever lies there was not finished.
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error.into());
        }
        let (tree, next) = open_tree(&folder, cache)?;
        let generation = Self::of((number, folder), (tree, next), (now.0, now.0));
        generation.flush()?;
        Ok(generation)
    }

    /// One that is there.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub(super) fn open(number: u64, folder: PathBuf, cache: &Arc<Cache>) -> Result<Self, Fault> {
        if !folder.join(TREE_FILE).is_file() {
            return Err(Fault::Damaged("it was not finished".to_owned()));
        }
        let (tree, next) = open_tree(&folder, cache)?;
        let life = checked(|| tree.get(LIFE_KEY, LATEST))?;
        let life = life.as_deref().and_then(|life| Some((number_of(life)?, number_of(life.get(UNTIL_BYTES..)?)?)));
        let Some(life) = life else {
            return Err(Fault::Damaged("it does not say how long it is of use".to_owned()));
        };
        Ok(Self::of((number, folder), (tree, next), life))
    }

    fn of(
        (number, folder): (u64, PathBuf),
        (tree, next): (AnyTree, SequenceNumberCounter),
        (began_ms, useful_until_ms): (u64, u64),
    ) -> Self {
        let useful_until_ms = AtomicU64::new(useful_until_ms);
        let (is_damaged, is_retired) = Default::default();
        Self { number, folder, tree, next, began_ms, useful_until_ms, is_damaged, is_retired }
    }

    /// What lies under `key`.
    pub(super) fn get(&self, key: &CacheKey) -> Result<Option<Kept>, Fault> {
        match checked(|| self.tree.get(key.0, LATEST)) {
            Ok(value) => Ok(value.and_then(|value| {
                let (until_ms, encoded) = (number_of(&value)?, value.get(UNTIL_BYTES..)?);
                Some(Kept { until_ms, encoded: Bytes::copy_from_slice(encoded) })
            })),
            // Its files went while it was read: it has nothing any more.
            Err(_) if self.is_retired.load(Ordering::Acquire) => Ok(None),
            Err(fault) => {
                self.note(&fault);
                Err(fault)
            }
        }
    }

    fn note(&self, fault: &Fault) {
        if matches!(fault, Fault::Damaged(_)) {
            self.is_damaged.store(true, Ordering::Release);
        }
    }

    /// Keeps `encoded` in memory until the next flush; nothing at all stands for “removed”.
    pub(super) fn insert(&self, key: &CacheKey, until_ms: u64, encoded: &[u8]) -> Result<(), Fault> {
        let mut value = Vec::with_capacity(UNTIL_BYTES + encoded.len());
        value.extend_from_slice(&until_ms.to_be_bytes());
        value.extend_from_slice(encoded);
        self.useful_until_ms.fetch_max(until_ms, Ordering::AcqRel);
        let inserted = checked(|| Ok(self.tree.insert(key.0, value, self.next.next())));
        inserted.map(|_| ()).inspect_err(|fault| self.note(fault))
    }

    /// Writes what is in memory; then it survives a crash.
    pub(super) fn flush(&self) -> Result<(), Fault> {
        let until_ms = self.useful_until_ms().to_be_bytes();
        let life = [self.began_ms.to_be_bytes(), until_ms].concat();
        checked(|| {
            self.tree.insert(LIFE_KEY, life, self.next.next());
            self.tree.flush_active_memtable(LATEST)
        })
    }

    /// Merges tables when there are many: each look-up asks all that are not merged.
    pub(super) fn merge(&self, sizes: Sizes) -> Result<(), Fault> {
        if self.tree.l0_run_count() < UNMERGED_TABLES_MAX {
            return Ok(());
        }
        let strategy = Leveled::default().with_table_target_size(sizes.table_bytes);
        checked(|| self.tree.compact(Arc::new(strategy.clone()), LATEST))
    }

    /// Has it taken what it may, in bytes or in time?
    pub(super) fn is_full(&self, sizes: Sizes, now: UnixMillis) -> bool {
        let taking_ms = self.useful_until_ms().saturating_sub(self.began_ms) / TAKING_SHARE;
        let is_old = self.was_used() && now.0.saturating_sub(self.began_ms) > taking_ms;
        is_old || self.tree.disk_space() >= sizes.generation_bytes_max
    }

    /// Is there nothing left in it to be served?
    pub(super) fn is_over(&self, now: UnixMillis) -> bool {
        self.is_damaged() || (self.was_used() && self.useful_until_ms() < now.0)
    }

    fn was_used(&self) -> bool {
        self.useful_until_ms() > self.began_ms
    }

    /// Deletes it. Who is reading in it finds nothing.
    pub(super) fn retire(&self) -> io::Result<()> {
        self.is_retired.store(true, Ordering::Release);
        std::fs::remove_dir_all(&self.folder)
    }

    /// Its number; the newest has the highest.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Where it lies.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.tree.disk_space()
    }

    /// Bytes in memory that are not on disk.
    pub(super) fn unflushed_bytes(&self) -> u64 {
        self.tree.active_memtable().size()
    }

    /// Entries, those included that were overwritten and not yet merged.
    pub(super) fn entries(&self) -> u64 {
        self.tree.approximate_len() as u64
    }

    /// When the last of its entries is of no use any more.
    pub(super) fn useful_until_ms(&self) -> u64 {
        self.useful_until_ms.load(Ordering::Acquire)
    }

    fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Acquire)
    }
}

impl Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("number", &self.number).finish_non_exhaustive()
    }
}

fn open_tree(folder: &Path, cache: &Arc<Cache>) -> Result<(AnyTree, SequenceNumberCounter), Fault> {
    let next = SequenceNumberCounter::default();
    let config = Config::new(folder, next.clone(), SequenceNumberCounter::default())
        .use_cache(Arc::clone(cache))
        .use_descriptor_table(Some(Arc::new(DescriptorTable::new(OPEN_FILES_MAX))));
    let tree = checked(|| config.open())?;
    if let Some(highest) = tree.get_highest_seqno() {
        next.fetch_max(highest + 1);
    }
    Ok((tree, next))
}

/// The library checks its blocks, but takes some things for granted that a damaged file does not give.
fn checked<T>(work: impl FnOnce() -> lsm_tree::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(Fault::Damaged("the library gave up on it".to_owned())),
    }
}

fn number_of(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
