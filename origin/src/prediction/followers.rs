//! What followed what, in each tenant's own look-ups.

use std::collections::{HashMap, VecDeque};

use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::popularity::TopTable;

use super::{LookUp, Prediction, Source, likeliest};

/// Keys whose followers are known: Space-Saving, so those asked for most.
const KEYS_MAX: usize = 4_096;
/// Followers of one key that are counted.
const FOLLOWERS_MAX: usize = 6;
/// A key follows those that its tenant asked for shortly before it: so many, so that two people of one tenant who work at
/// the same time still leave a trace of what each does.
const WINDOW: usize = 3;
/// What comes later than this begins something new.
const SESSION_GAP_MS: u64 = 10 * 60_000;
/// Tenants whose last look-ups are remembered.
const TENANTS_MAX: usize = 1_024;
/// Once is chance.
const TIMES_MIN: u32 = 2;
/// All counts of a key are halved after so many look-ups, so that old habits are forgotten.
const LOOK_UPS_BEFORE_AGEING: u32 = 64;

#[derive(Clone, Debug)]
struct Known<V> {
    value: V,
    look_ups: u32,
    /// Who followed and how often.
    followers: Vec<(CacheKey, u32)>,
}

type Session = VecDeque<(CacheKey, UnixMillis)>;

#[derive(Clone, Debug)]
pub(super) struct Followers<V> {
    keys: TopTable<Known<V>>,
    /// By tenant, what it asked for last; the latest at the end.
    sessions: HashMap<u64, Session>,
}

impl<V> Default for Followers<V> {
    fn default() -> Self {
        Self { keys: TopTable::new(KEYS_MAX), sessions: HashMap::new() }
    }
}

impl<V: Clone> Followers<V> {
    pub(super) fn seen(&mut self, look_up: &LookUp, value: &V, probability_min: f64) -> Vec<Prediction<V>> {
        let LookUp { key, tenant, at } = *look_up;
        self.keys.record(key, || Known { value: value.clone(), look_ups: 0, followers: Vec::new() });
        self.make_room_for(tenant);
        let session = self.sessions.entry(tenant).or_default();
        session.retain(|(_, asked_at)| at.since(*asked_at) <= SESSION_GAP_MS);
        // Those before the key's own last time have had it as their follower already.
        let before = session.iter().rev().map(|(key, _)| *key).take_while(|before| *before != key);
        for before in before {
            if let Some(known) = self.keys.value_mut(&before) {
                known.followed_by(key);
            }
        }
        let is_again = session.iter().any(|(before, _)| *before == key);
        session.retain(|(before, _)| *before != key);
        session.push_back((key, at));
        if session.len() > WINDOW {
            session.pop_front();
        }
        if is_again {
            return Vec::new();
        }
        let predictions = self.after(&key, at);
        if let Some(known) = self.keys.value_mut(&key) {
            known.looked_up();
        }
        likeliest(
            predictions.into_iter().filter(|one| one.probability >= probability_min).collect(),
            FOLLOWERS_MAX,
        )
    }

    /// What has followed `key`.
    fn after(&self, key: &CacheKey, at: UnixMillis) -> Vec<Prediction<V>> {
        let Some(known) = self.keys.value(key) else { return Vec::new() };
        let often = known.followers.iter().filter(|(_, times)| *times >= TIMES_MIN);
        let prediction = |(follower, times): &(CacheKey, u32)| {
            let value = self.keys.value(follower)?.value.clone();
            // With caution: a few times say little.
            let probability = f64::from((*times).min(known.look_ups)) / f64::from(known.look_ups + 1);
            let until = at.plus(SESSION_GAP_MS);
            Some(Prediction { key: *follower, value, probability, source: Source::Follows, until })
        };
        often.filter_map(prediction).collect()
    }

    /// Whoever was here longest ago makes room.
    fn make_room_for(&mut self, tenant: u64) {
        if self.sessions.len() < TENANTS_MAX || self.sessions.contains_key(&tenant) {
            return;
        }
        let last = |session: &Session| session.back().map(|(_, at)| *at);
        let idle = self.sessions.iter().min_by_key(|(_, session)| last(session)).map(|(tenant, _)| *tenant);
        idle.map(|idle| self.sessions.remove(&idle));
    }

    pub(super) fn value(&self, key: &CacheKey) -> Option<&V> {
        self.keys.value(key).map(|known| &known.value)
    }

    pub(super) fn most_first(&self) -> impl Iterator<Item = (&CacheKey, u64, &V)> {
        self.keys.most_first().map(|(key, entry)| (key, entry.count, &entry.value.value))
    }

    pub(super) fn remember(&mut self, key: CacheKey, value: &V, count: u64) {
        let known = || Known { value: value.clone(), look_ups: 0, followers: Vec::new() };
        self.keys.record_times(key, count, known);
    }
}

impl<V> Known<V> {
    fn looked_up(&mut self) {
        self.look_ups += 1;
        if self.look_ups >= LOOK_UPS_BEFORE_AGEING {
            self.look_ups /= 2;
            self.followers.iter_mut().for_each(|(_, times)| *times /= 2);
            self.followers.retain(|(_, times)| *times > 0);
        }
    }

    fn followed_by(&mut self, key: CacheKey) {
        if let Some((_, times)) = self.followers.iter_mut().find(|(follower, _)| *follower == key) {
            *times += 1;
            return;
        }
        if self.followers.len() < FOLLOWERS_MAX {
            self.followers.push((key, 1));
            return;
        }
        // One that came once makes room; one that came more often first loses a little. So a habit is not driven out by a
        // crowd of strangers.
        let rarest = self.followers.iter_mut().min_by_key(|(_, times)| *times);
        match rarest {
            Some(rarest) if rarest.1 <= 1 => *rarest = (key, 1),
            Some(rarest) => rarest.1 -= 1,
            None => {}
        }
    }
}
