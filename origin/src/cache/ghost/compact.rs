//! The warm tier without its answers, in another size. The library that the tier is made of (quick_cache, CLOCK-Pro) decides
//! here, too.

use std::hash::BuildHasherDefault;

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::shadow::AsItIs;

/// What is known of an entry.
#[derive(Clone, Copy, Debug)]
struct Shade {
    weight: u32,
    used_s: u32,
}

#[derive(Clone, Debug)]
struct ByWeight;

impl Weighter<u64, Shade> for ByWeight {
    fn weight(&self, _: &u64, shade: &Shade) -> u64 {
        shade.weight.into()
    }
}

/// Which keys a warm tier of this size would hold.
#[derive(Debug)]
pub(super) struct CompactShadow {
    entries: Cache<u64, Shade, ByWeight, BuildHasherDefault<AsItIs>>,
    idle_s_max: u32,
}

impl CompactShadow {
    /// Holds what weighs at most `weight_max` together and was used within `idle_s_max`.
    pub(super) fn new(weight_max: u64, idle_s_max: u32, entries_expected: usize) -> Self {
        let entries = Cache::with(
            entries_expected.max(1),
            weight_max,
            ByWeight,
            BuildHasherDefault::default(),
            quick_cache::unsync::DefaultLifecycle::default(),
        );
        Self { entries, idle_s_max }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.entries.memory_used().total()
    }

    /// A look-up. Would the key have been there?
    pub(super) fn look_up(&mut self, hash: u64, now_s: u32) -> bool {
        let idle_s_max = self.idle_s_max;
        let Some(mut shade) = self.entries.get_mut(&hash) else { return false };
        let is_there = now_s.saturating_sub(shade.used_s) <= idle_s_max;
        shade.used_s = now_s;
        drop(shade);
        if !is_there {
            self.entries.remove(&hash);
        }
        is_there
    }

    /// Something is put under the key. Does nothing where it lies already.
    pub(super) fn put(&mut self, hash: u64, weight: u32, now_s: u32) {
        if self.entries.peek(&hash).is_none() {
            self.entries.insert(hash, Shade { weight, used_s: now_s });
        }
    }

    /// Nothing is held any more.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
