use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use lede_shared::clock::UnixMillis;
use tempfile::TempDir;

use super::*;
use crate::cache::cold::ColdTier;

const MIB: u64 = 1 << 20;
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn later(by: Duration) -> UnixMillis {
    NOW.plus(u64::try_from(by.as_millis()).unwrap())
}

fn key(number: u32) -> CacheKey {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
    CacheKey(key)
}

/// Bytes that follow from a number, so that a wrong one is seen.
fn value(number: u32) -> Bytes {
    let length = 300 + number * 37 % 900;
    number.to_be_bytes().into_iter().chain((0..length).map(|at| (at * at + number).to_be_bytes()[3])).collect()
}

fn writes(numbers: std::ops::Range<u32>) -> Vec<ColdWrite> {
    numbers.map(|number| ColdWrite { key: key(number), encoded: value(number), useful_for: DAY }).collect()
}

fn settings(folder: &Path) -> DiskSettings {
    let flush_every = Duration::from_secs(60);
    DiskSettings { folder: folder.to_owned(), bytes_max: 64 * MIB, flush_every }
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| if entry.path().is_dir() { bytes_in(&entry.path()) } else { entry.metadata().unwrap().len() })
        .sum()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How many of the numbers are found, each as it was put.
fn found(shelf: &Shelf, numbers: std::ops::Range<u32>, now: UnixMillis) -> usize {
    let right = |number: &u32| {
        let got = shelf.get(&key(*number), now).unwrap();
        assert!(got.as_ref().is_none_or(|got| *got == value(*number)), "a wrong answer under {number}");
        got.is_some()
    };
    numbers.filter(right).count()
}

#[tokio::test]
async fn the_next_process_finds_what_was_put() {
    let folder = TempDir::new().unwrap();
    let first = DiskStore::start(settings(folder.path())).unwrap();
    first.put_many(writes(0..10)).await.unwrap();
    assert_eq!(first.get(&key(3)).await.unwrap(), Some(value(3)));
    drop(first);
    let second = DiskStore::start(settings(folder.path())).unwrap();
    assert_eq!(second.get(&key(3)).await.unwrap(), Some(value(3)));
    assert_eq!(second.get(&key(11)).await.unwrap(), None);
    second.clear().await.unwrap();
    assert_eq!(second.get(&key(3)).await.unwrap(), None);
}

#[test]
fn what_was_flushed_survives_a_crash_and_nothing_else_is_wrong_after_it() {
    let (folder, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let shelf = Shelf::open(folder.path(), 64 * MIB, NOW).unwrap();
    shelf.put(&writes(0..500), NOW);
    shelf.tend(NOW).unwrap();
    shelf.put(&writes(500..600), NOW);
    copy(folder.path(), after.path());
    let shelf = Shelf::open(after.path(), 64 * MIB, NOW).unwrap();
    assert_eq!(found(&shelf, 0..500, NOW), 500);
    assert_eq!(found(&shelf, 500..600, NOW), 0);
}

#[test]
fn the_folder_stays_within_its_bound_and_keeps_what_came_last() {
    const BYTES_MAX: u64 = 4 * MIB;
    let folder = TempDir::new().unwrap();
    let shelf = Shelf::open(folder.path(), BYTES_MAX, NOW).unwrap();
    for batch in 0..40 {
        if shelf.put(&writes(batch * 400..batch * 400 + 400), NOW) {
            shelf.tend(NOW).unwrap();
            let bytes = bytes_in(folder.path());
            assert!(bytes <= BYTES_MAX, "{bytes} bytes after batch {batch}");
        }
    }
    assert_eq!(found(&shelf, 15_500..16_000, NOW), 500);
    assert!((2_000..8_000).contains(&found(&shelf, 0..16_000, NOW)));
}

#[test]
fn what_has_expired_is_not_served_and_its_space_is_given_back() {
    let folder = TempDir::new().unwrap();
    let shelf = Shelf::open(folder.path(), 64 * MIB, NOW).unwrap();
    shelf.put(&writes(0..2_000), NOW);
    shelf.tend(NOW).unwrap();
    assert_eq!(found(&shelf, 0..2_000, later(DAY / 2)), 2_000);
    assert_eq!(found(&shelf, 0..2_000, later(DAY)), 0);
    assert!(bytes_in(folder.path()) > MIB);
    shelf.tend(later(DAY * 2)).unwrap();
    assert!(bytes_in(folder.path()) < 64 * 1_024, "{}", bytes_in(folder.path()));
}

#[test]
fn a_clock_that_steps_back_and_forth_loses_nothing_that_is_of_use() {
    let folder = TempDir::new().unwrap();
    let shelf = Shelf::open(folder.path(), 64 * MIB, NOW).unwrap();
    shelf.put(&writes(0..10), later(DAY));
    for now in [later(DAY), NOW, later(DAY * 3 / 2), UnixMillis(0), later(DAY)] {
        shelf.tend(now).unwrap();
        assert_eq!(found(&shelf, 0..10, now), 10, "{now:?}");
        shelf.put(&writes(10..11), now);
    }
}

#[test]
fn what_was_removed_stays_removed_although_older_generations_have_it() {
    let folder = TempDir::new().unwrap();
    let shelf = Shelf::open(folder.path(), 64 * MIB, NOW).unwrap();
    shelf.put(&writes(0..2), NOW);
    shelf.tend(NOW).unwrap();
    // By now the generation takes no more.
    let now = later(DAY / 2);
    shelf.tend(now).unwrap();
    shelf.remove(&key(0)).unwrap();
    shelf.tend(now).unwrap();
    assert_eq!((shelf.get(&key(0), now).unwrap(), shelf.get(&key(1), now).unwrap()), (None, Some(value(1))));
    drop(shelf);
    let shelf = Shelf::open(folder.path(), 64 * MIB, now).unwrap();
    assert_eq!((shelf.get(&key(0), now).unwrap(), shelf.get(&key(1), now).unwrap()), (None, Some(value(1))));
}

#[test]
fn no_damage_to_any_file_gives_a_wrong_answer_or_keeps_the_folder_from_opening() {
    let folder = TempDir::new().unwrap();
    let shelf = Shelf::open(folder.path(), 64 * MIB, NOW).unwrap();
    for flush in 0..14 {
        shelf.put(&writes(flush * 40..flush * 40 + 40), NOW);
        shelf.tend(NOW).unwrap();
    }
    assert_eq!(found(&shelf, 0..560, NOW), 560);
    drop(shelf);
    let damages: HashMap<&str, fn(&mut Vec<u8>)> = HashMap::from([
        ("emptied", Vec::clear as fn(&mut Vec<u8>)),
        ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("garbage", |bytes| bytes.fill(0xa5)),
        ("a bit at the beginning", |bytes| flip(bytes, 1, 97)),
        ("a bit in the first half", |bytes| flip(bytes, 37, 97)),
        ("a bit at the end", |bytes| flip(bytes, 96, 97)),
    ]);
    for file in files_in(folder.path()) {
        for (name, damage) in &damages {
            let copied = TempDir::new().unwrap();
            copy(folder.path(), copied.path());
            let damaged = copied.path().join(file.strip_prefix(folder.path()).unwrap());
            let mut bytes = fs::read(&damaged).unwrap();
            damage(&mut bytes);
            fs::write(&damaged, bytes).unwrap();
            let shelf = Shelf::open(copied.path(), 64 * MIB, NOW).unwrap();
            // Wrong answers fail in here; how many are left depends on what was hit.
            found(&shelf, 0..560, NOW);
            shelf.put(&writes(1_000..1_010), NOW);
            for _ in 0..2 {
                let _ = shelf.tend(NOW);
                shelf.put(&writes(1_000..1_010), NOW);
            }
            assert_eq!(found(&shelf, 1_000..1_010, NOW), 10, "{name}: {}", damaged.display());
        }
    }
}

fn flip(bytes: &mut [u8], part: usize, of: usize) {
    let at = bytes.len() * part / of;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 0x10;
    }
}

#[test]
fn another_format_begins_empty_and_leaves_alone_what_is_not_ours() {
    let folder = TempDir::new().unwrap();
    let shelf = Shelf::open(folder.path(), 64 * MIB, NOW).unwrap();
    shelf.put(&writes(0..10), NOW);
    shelf.tend(NOW).unwrap();
    drop(shelf);
    fs::write(folder.path().join("format"), "lede cold tier 0\n").unwrap();
    fs::write(folder.path().join("notes.txt"), "somebody's").unwrap();
    let shelf = Shelf::open(folder.path(), 64 * MIB, NOW).unwrap();
    assert_eq!(found(&shelf, 0..10, NOW), 0);
    assert_eq!(fs::read_to_string(folder.path().join("notes.txt")).unwrap(), "somebody's");
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_has_no_cold_tier() {
    let folder = TempDir::new().unwrap();
    let first = DiskStore::start(settings(folder.path())).unwrap();
    first.put_many(writes(0..10)).await.unwrap();
    let second = DiskStore::start(settings(folder.path())).unwrap();
    second.put_many(writes(10..20)).await.unwrap();
    second.remove(&key(3)).await.unwrap();
    second.clear().await.unwrap();
    assert_eq!(second.get(&key(3)).await.unwrap(), None);
    assert_eq!(second.size().await.unwrap(), ColdSize::default());
    assert_eq!(first.get(&key(3)).await.unwrap(), Some(value(3)));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_a_cold_tier_that_keeps_nothing() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let store = DiskStore::start(settings(&file.join("in a file"))).unwrap();
    store.put_many(writes(0..10)).await.unwrap();
    assert_eq!(store.get(&key(3)).await.unwrap(), None);
}

/// A disk that takes its time.
#[derive(Debug)]
struct Slow(DiskStore, Duration);

impl Slow {
    fn after<'a, T: 'a>(&'a self, call: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        Box::pin(async {
            tokio::time::sleep(self.1).await;
            call.await
        })
    }
}

impl ColdStore for Slow {
    fn get<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<Option<Bytes>, ColdError>> {
        self.after(self.0.get(key))
    }

    fn put_many(&self, writes: Vec<ColdWrite>) -> BoxFuture<'_, Result<(), ColdError>> {
        self.after(self.0.put_many(writes))
    }

    fn remove<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<(), ColdError>> {
        self.after(self.0.remove(key))
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), ColdError>> {
        self.after(self.0.clear())
    }

    fn size(&self) -> BoxFuture<'_, Result<ColdSize, ColdError>> {
        self.after(self.0.size())
    }
}

#[tokio::test]
async fn a_slow_disk_costs_three_waits_and_then_nothing_for_a_while() {
    const WAIT: Duration = Duration::from_millis(30);
    let folder = TempDir::new().unwrap();
    let store = DiskStore::start(settings(folder.path())).unwrap();
    store.put_many(writes(0..10)).await.unwrap();
    let tier = ColdTier::start(Arc::new(Slow(store, WAIT * 20)), WAIT);
    let started_at = Instant::now();
    for number in 0..50 {
        assert_eq!(tier.get(&key(number % 10)).await, None);
    }
    assert!(tier.is_left_alone());
    assert!(started_at.elapsed() < WAIT * 20, "{:?}", started_at.elapsed());
}
