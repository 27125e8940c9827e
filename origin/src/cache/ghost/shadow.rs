//! One tier without its answers: which keys it would hold if it had another size.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::frequency::Frequencies;

/// No entry.
const NONE: u32 = u32::MAX;

/// Which keys a tier of this size would hold: the least recently used make room, and nothing is admitted that is asked
/// for less often than what would have to go (moka's TinyLFU).
#[derive(Debug)]
pub(super) struct Shadow {
    places: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    nodes: Vec<Node>,
    /// Places in `nodes` that are free.
    free: Vec<u32>,
    /// The least recently used; then in order.
    oldest: u32,
    newest: u32,
    weight: u64,
    weight_max: u64,
    idle_s_max: u32,
    frequencies: Frequencies,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    hash: u64,
    older: u32,
    newer: u32,
    weight: u32,
    used_s: u32,
}

impl Shadow {
    /// Holds what weighs at most `weight_max` together and was used within `idle_s_max`; counts for `counted_entries`.
    pub(super) fn new(weight_max: u64, idle_s_max: u32, counted_entries: usize) -> Self {
        Self {
            places: HashMap::default(),
            nodes: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            weight: 0,
            weight_max,
            idle_s_max,
            frequencies: Frequencies::new(counted_entries),
        }
    }

    /// Bytes that it takes, as allocated.
    pub(super) fn bytes(&self) -> usize {
        // A hash table keeps a byte beside each place, and an eighth of its places free.
        let table = self.places.capacity() * 8 / 7 * (size_of::<(u64, u32)>() + 1);
        let lists = self.nodes.capacity() * size_of::<Node>() + self.free.capacity() * size_of::<u32>();
        table + lists + self.frequencies.bytes()
    }

    /// A look-up. Would the key have been there?
    pub(super) fn look_up(&mut self, hash: u64, now_s: u32) -> bool {
        self.frequencies.record(hash);
        let Some(place) = self.places.get(&hash).copied() else { return false };
        if self.is_idle(place, now_s) {
            self.remove(place);
            return false;
        }
        self.nodes[index(place)].used_s = now_s;
        self.unlink(place);
        self.link_newest(place);
        true
    }

    /// Something is put under the key. Does nothing where it lies already.
    pub(super) fn put(&mut self, hash: u64, weight: u32, now_s: u32) {
        if self.places.contains_key(&hash) || u64::from(weight) > self.weight_max {
            return;
        }
        while self.oldest != NONE && self.is_idle(self.oldest, now_s) {
            self.remove(self.oldest);
        }
        if self.weight + u64::from(weight) > self.weight_max && !self.made_room(hash, weight) {
            return;
        }
        let node = Node { hash, older: NONE, newer: NONE, weight, used_s: now_s };
        let place = self.placed(node);
        self.places.insert(hash, place);
        self.link_newest(place);
        self.weight += u64::from(weight);
    }

    /// Nothing is held any more. What was counted stays.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.nodes.clear();
        self.free.clear();
        (self.oldest, self.newest, self.weight) = (NONE, NONE, 0);
    }

    /// Those who would have to go are asked for less often, all together: they are gone.
    fn made_room(&mut self, hash: u64, weight: u32) -> bool {
        let worth = self.frequencies.estimate(hash);
        let (mut freed, mut lost, mut count, mut victim) = (0, 0, 0, self.oldest);
        while freed < u64::from(weight) && lost <= worth && victim != NONE {
            let node = self.nodes[index(victim)];
            freed += u64::from(node.weight);
            lost += self.frequencies.estimate(node.hash);
            count += 1;
            victim = node.newer;
        }
        if freed < u64::from(weight) || worth <= lost {
            return false;
        }
        (0..count).for_each(|_| self.remove(self.oldest));
        true
    }

    fn is_idle(&self, place: u32, now_s: u32) -> bool {
        now_s.saturating_sub(self.nodes[index(place)].used_s) > self.idle_s_max
    }

    fn placed(&mut self, node: Node) -> u32 {
        if let Some(place) = self.free.pop() {
            self.nodes[index(place)] = node;
            return place;
        }
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
    }

    fn remove(&mut self, place: u32) {
        self.unlink(place);
        let node = self.nodes[index(place)];
        self.places.remove(&node.hash);
        self.weight -= u64::from(node.weight);
        self.free.push(place);
    }

    fn unlink(&mut self, place: u32) {
        let Node { older, newer, .. } = self.nodes[index(place)];
        if older == NONE {
            self.oldest = newer;
        } else {
            self.nodes[index(older)].newer = newer;
        }
        if newer == NONE {
            self.newest = older;
        } else {
            self.nodes[index(newer)].older = older;
        }
    }

    fn link_newest(&mut self, place: u32) {
        let older = std::mem::replace(&mut self.newest, place);
        self.nodes[index(place)].older = older;
        self.nodes[index(place)].newer = NONE;
        if older == NONE {
            self.oldest = place;
        } else {
            self.nodes[index(older)].newer = place;
        }
    }
}

const fn index(place: u32) -> usize {
    place as usize
}

/// Keys are hashes already.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(shadow: &mut Shadow, hash: u64, now_s: u32) -> bool {
        let is_hit = shadow.look_up(hash, now_s);
        if !is_hit {
            shadow.put(hash, 1, now_s);
        }
        is_hit
    }

    #[test]
    fn what_is_asked_for_often_outlives_what_is_asked_for_once() {
        let mut shadow = Shadow::new(10, 1_000, 10);
        for _ in 0..5 {
            (0..10).for_each(|hash| _ = asked(&mut shadow, hash, 0));
        }
        (100..200).for_each(|hash| _ = asked(&mut shadow, hash, 0));
        assert_eq!((0..10).filter(|hash| shadow.look_up(*hash, 0)).count(), 10);
    }

    #[test]
    fn what_nobody_asks_for_is_gone_after_its_idle_time_and_makes_room() {
        let mut shadow = Shadow::new(1, 60, 10);
        asked(&mut shadow, 1, 0);
        assert!(shadow.look_up(1, 60));
        asked(&mut shadow, 2, 121);
        assert!(shadow.look_up(2, 121) && !shadow.look_up(1, 121));
    }

    #[test]
    fn a_heavy_one_goes_only_for_more_look_ups_than_all_it_drives_out() {
        let mut shadow = Shadow::new(4, 60, 10);
        (0..4).for_each(|hash| _ = asked(&mut shadow, hash, 0));
        shadow.look_up(9, 0);
        shadow.put(9, 4, 0);
        assert!(!shadow.places.contains_key(&9));
        (0..5).for_each(|_| _ = shadow.look_up(9, 0));
        shadow.put(9, 4, 0);
        assert_eq!(shadow.places.keys().copied().collect::<Vec<_>>(), [9]);
    }

    proptest! {
        #[test]
        fn its_weight_is_that_of_what_it_holds_and_never_too_much(
            steps in prop::collection::vec((0u64..200, 1u32..30, 0u32..3), 1..2_000),
        ) {
            let mut shadow = Shadow::new(500, 10, 50);
            let mut now_s = 0;
            for (hash, weight, later_s) in steps {
                now_s += later_s;
                if !shadow.look_up(hash, now_s) {
                    shadow.put(hash, weight, now_s);
                }
                let held: u64 = shadow.places.values().map(|place| u64::from(shadow.nodes[index(*place)].weight)).sum();
                prop_assert_eq!(held, shadow.weight);
                prop_assert!(shadow.weight <= 500);
                prop_assert_eq!(shadow.places.len() + shadow.free.len(), shadow.nodes.len());
            }
        }
    }
}
