//! All generations: the newest is written, all are read, the oldest goes first.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lsm_tree::Cache;

use super::folder::Folder;
use super::generation::{Fault, Generation, Sizes};
use crate::cache::cold::ColdWrite;

/// A generation's share of all bytes. One share is left for what merging writes before it deletes, one for what the
/// newest grows by before it is looked at again.
const GENERATION_SHARES: u64 = 8;
/// Generations at once, however small they are: a look-up asks each.
const GENERATIONS_MAX: usize = 24;
/// Blocks of the files that are kept in memory.
const BLOCK_CACHE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// A generation's share of its bytes that one merged table has.
const TABLE_SHARES: u64 = 8;
const TABLE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What may be in memory only: at this size it is flushed, at four times this size no more is taken.
const UNFLUSHED_BYTES_MAX: u64 = 4 * 1024 * 1024;
const UNFLUSHED_SHARES: u64 = 256;
const UNFLUSHED_LATE: u64 = 4;

/// Bounds in bytes, as they follow from the configured one.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    sizes: Sizes,
    all_bytes_max: u64,
    unflushed_bytes_max: u64,
}

impl Bounds {
    fn of(bytes_max: u64) -> Self {
        let generation_bytes_max = bytes_max / GENERATION_SHARES;
        let table_bytes = (generation_bytes_max / TABLE_SHARES).min(TABLE_BYTES_MAX);
        Self {
            sizes: Sizes { table_bytes, generation_bytes_max },
            all_bytes_max: generation_bytes_max * (GENERATION_SHARES - 2),
            unflushed_bytes_max: (bytes_max / UNFLUSHED_SHARES).min(UNFLUSHED_BYTES_MAX),
        }
    }
}

type Generations = Arc<[Arc<Generation>]>;

/// All generations.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: Folder,
    bounds: Bounds,
    cache: BlockCache,
    /// The oldest first.
    generations: RwLock<Generations>,
}

struct BlockCache(Arc<Cache>);

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockCache({} bytes)", self.0.size())
    }
}

impl Shelf {
    /// Opens what `path` holds. Generations that cannot be read are deleted, with one line in the log.
    ///
    /// # Errors
    /// When another process has the folder, or it cannot be read and written.
    pub(super) fn open(path: &Path, bytes_max: u64, now: UnixMillis) -> Result<Self, Fault> {
        let folder = Folder::open(path)?;
        let cache = Arc::new(Cache::with_capacity_bytes(BLOCK_CACHE_BYTES_MAX));
        let mut generations = Vec::new();
        let mut damage = Vec::new();
        for (number, at) in folder.generations()? {
            match Generation::open(number, at.clone(), &cache) {
                Ok(generation) => generations.push(Arc::new(generation)),
                Err(fault) => {
                    std::fs::remove_dir_all(&at)?;
                    damage.push(fault.to_string());
                }
            }
        }
        if let Some(reason) = damage.first() {
            let (deleted, left) = (damage.len(), generations.len());
            let folder = path.display();
            tracing::warn!(%folder, reason, deleted, left, "what could not be read of the cold tier was deleted");
        }
        let shelf = Self {
            folder,
            bounds: Bounds::of(bytes_max),
            cache: BlockCache(cache),
            generations: RwLock::new(generations.into()),
        };
        // What there is can be read before anything is written, and also where nothing can be written.
        if shelf.generations().is_empty() {
            shelf.make_room(now)?;
        }
        Ok(shelf)
    }

    /// What is kept under `key` and of use at `now`: what the newest generation says that knows the key.
    ///
    /// # Errors
    /// When the disk does not give it. A damaged generation is passed over, and deleted at the next occasion.
    pub(super) fn get(&self, key: &CacheKey, now: UnixMillis) -> io::Result<Option<Bytes>> {
        for generation in self.generations().iter().rev() {
            match generation.get(key) {
                Ok(Some(kept)) => return Ok(kept.useful_at(now)),
                Ok(None) | Err(Fault::Damaged(_)) => {}
                Err(Fault::Disk(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Keeps `writes` in memory until they are flushed, unless flushing fails or is too far behind. True when a flush is
    /// due.
    pub(super) fn put(&self, writes: &[ColdWrite], now: UnixMillis) -> bool {
        let Ok(generation) = self.newest_with_room() else { return true };
        for write in writes {
            let useful_for_ms = u64::try_from(write.useful_for.as_millis()).unwrap_or(u64::MAX);
            if generation.insert(&write.key, now.0.saturating_add(useful_for_ms), &write.encoded).is_err() {
                return true;
            }
        }
        generation.unflushed_bytes() >= self.bounds.unflushed_bytes_max
    }

    /// Forgets `key`. Older generations keep what they have of it, which nobody asks for any more.
    ///
    /// # Errors
    /// When there is nothing to write to, or flushing is too far behind.
    pub(super) fn remove(&self, key: &CacheKey) -> io::Result<()> {
        let until_ms = self.generations().iter().map(|generation| generation.useful_until_ms()).max();
        let removed = self.newest_with_room()?.insert(key, until_ms.unwrap_or(0), &[]);
        removed.map_err(io::Error::other)
    }

    fn newest_with_room(&self) -> io::Result<Arc<Generation>> {
        let newest = self.generations().last().cloned();
        let newest = newest.ok_or_else(|| io::Error::other("there is no generation to write to"))?;
        if newest.unflushed_bytes() > self.bounds.unflushed_bytes_max * UNFLUSHED_LATE {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "flushing is behind"));
        }
        Ok(newest)
    }

    /// Writes what is in memory and keeps the bounds. Called by one thread alone.
    ///
    /// # Errors
    /// When something could not be written. It is not kept, then; what was written before is.
    pub(super) fn tend(&self, now: UnixMillis) -> Result<(), Fault> {
        self.make_room(now)?;
        let Some(newest) = self.generations().last().cloned() else { return Ok(()) };
        if newest.unflushed_bytes() == 0 {
            return Ok(());
        }
        if !self.folder.has_room() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full").into());
        }
        if let Err(fault) = newest.flush().and_then(|()| newest.merge(self.bounds.sizes)) {
            self.begin_again(&newest, &fault);
            return Err(fault);
        }
        self.make_room(now)
    }

    /// Deletes everything and begins anew.
    ///
    /// # Errors
    /// When something could not be deleted; nobody finds it any more all the same.
    pub(super) fn clear(&self, now: UnixMillis) -> Result<(), Fault> {
        let before = self.generations();
        self.replace(Vec::new());
        let deleted = retire_all(&before);
        let number = before.last().map_or(0, |newest| newest.number() + 1);
        self.replace(vec![self.create(number, now)?]);
        Ok(deleted?)
    }

    /// Entries and bytes on disk.
    pub(super) fn size(&self) -> (u64, u64) {
        let generations = self.generations();
        let sum = |of: fn(&Generation) -> u64| generations.iter().map(|generation| of(generation)).sum();
        (sum(Generation::entries), sum(Generation::disk_bytes))
    }

    /// Deletes what is damaged, has expired or is too much, and begins a new generation when the newest is full.
    fn make_room(&self, now: UnixMillis) -> Result<(), Fault> {
        let before = self.generations();
        let (mut over, mut left): (Vec<_>, Vec<_>) =
            before.iter().cloned().partition(|generation| generation.is_over(now));
        while self.is_too_much(&left) {
            over.push(left.remove(0));
        }
        self.replace(left);
        retire_all(&over)?;
        while !self.folder.has_room() && self.delete_oldest()? {}
        if self.generations().last().is_none_or(|newest| newest.is_full(self.bounds.sizes, now)) {
            let number = before.last().map_or(0, |newest| newest.number() + 1);
            let mut with_new = self.generations().to_vec();
            with_new.push(self.create(number, now)?);
            self.replace(with_new);
        }
        Ok(())
    }

    fn is_too_much(&self, generations: &[Arc<Generation>]) -> bool {
        let bytes: u64 = generations.iter().map(|generation| generation.disk_bytes()).sum();
        generations.len() > 1 && (bytes > self.bounds.all_bytes_max || generations.len() >= GENERATIONS_MAX)
    }

    /// False when there is none but the newest.
    fn delete_oldest(&self) -> io::Result<bool> {
        let generations = self.generations();
        let [oldest, left @ ..] = &*generations else { return Ok(false) };
        if left.is_empty() {
            return Ok(false);
        }
        self.replace(left.to_vec());
        oldest.retire().map(|()| true)
    }

    /// After a failed flush: opens the generation as it is on disk, which also deletes what was half written.
    fn begin_again(&self, failed: &Arc<Generation>, fault: &Fault) {
        let mut left: Vec<_> =
            self.generations().iter().filter(|other| !Arc::ptr_eq(other, failed)).cloned().collect();
        let again = match fault {
            Fault::Disk(_) => Generation::open(failed.number(), failed.folder().to_owned(), &self.cache.0).ok(),
            Fault::Damaged(_) => None,
        };
        match again {
            Some(again) => left.push(Arc::new(again)),
            // What cannot be deleted now is deleted at the next start.
            None => drop(failed.retire()),
        }
        self.replace(left);
    }

    fn create(&self, number: u64, now: UnixMillis) -> Result<Arc<Generation>, Fault> {
        Generation::create(number, self.folder.generation(number), &self.cache.0, now).map(Arc::new)
    }

    fn generations(&self) -> Generations {
        Arc::clone(&self.generations.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, generations: Vec<Arc<Generation>>) {
        *self.generations.write().unwrap_or_else(PoisonError::into_inner) = generations.into();
    }
}

/// Deletes all that can be deleted.
fn retire_all(generations: &[Arc<Generation>]) -> io::Result<()> {
    let outcomes: Vec<_> = generations.iter().map(|generation| generation.retire()).collect();
    outcomes.into_iter().collect()
}
