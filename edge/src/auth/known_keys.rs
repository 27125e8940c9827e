//! What one isolate remembers of keys.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use lede_shared::api_key::ApiKeyHash;
use lede_shared::clock::UnixMillis;
use lede_shared::plan::KeyRecord;

/// Keys with a record; one has about 300 bytes.
pub(crate) const KNOWN_MAX: usize = 1_024;
/// Keys that the origin does not know. Few, and apart from the others, so that strangers push nobody out.
pub(crate) const REFUSED_MAX: usize = 256;
/// Keys that are being asked about.
const ASKING_MAX: usize = 64;
/// A question is over after that long, even if nobody has said so: its request may have been cancelled.
const ASKING_MS_MAX: u64 = 3_000;
/// After the origin could not be asked, what is known is relied on for that long before it is tried again.
const ORIGIN_AWAY_MS: u64 = 5_000;

/// A record, and when the origin gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownKey {
    pub(super) checked_at: UnixMillis,
    pub(super) record: Rc<KeyRecord>,
    /// When the origin gave the same record that lies in Workers KV, as far as is known here.
    pub(super) kept_at: Option<UnixMillis>,
}

/// The isolate's memory of keys. Values only, each with the time that it is judged by.
#[derive(Debug, Default)]
pub(crate) struct KnownKeys(RefCell<Memory>);

#[derive(Debug, Default)]
struct Memory {
    known: HashMap<ApiKeyHash, KnownKey>,
    refused: VecDeque<(ApiKeyHash, UnixMillis)>,
    asking: Vec<(ApiKeyHash, UnixMillis)>,
    origin_failed_at: Option<UnixMillis>,
}

impl KnownKeys {
    pub(super) fn known(&self, hash: &ApiKeyHash) -> Option<KnownKey> {
        self.0.borrow().known.get(hash).cloned()
    }

    /// When the origin said last that it does not know the key.
    pub(super) fn refused_at(&self, hash: &ApiKeyHash) -> Option<UnixMillis> {
        self.0.borrow().refused.iter().rev().find(|(refused, _)| refused == hash).map(|(_, at)| *at)
    }

    /// With no room left, the record that was checked longest ago goes. What the origin said later stays: answers
    /// overtake each other.
    pub(super) fn remember(&self, hash: ApiKeyHash, key: KnownKey) {
        let known_at = self.known(&hash).map(|known| known.checked_at);
        if known_at.max(self.refused_at(&hash)).is_some_and(|later| later > key.checked_at) {
            return;
        }
        let mut memory = self.0.borrow_mut();
        if memory.known.len() >= KNOWN_MAX && !memory.known.contains_key(&hash) {
            let oldest = memory.known.iter().min_by_key(|(_, key)| key.checked_at).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| memory.known.remove(&oldest));
        }
        memory.refused.retain(|(refused, _)| *refused != hash);
        memory.known.insert(hash, key);
    }

    /// The origin does not know the key, or not any more.
    pub(super) fn refuse(&self, hash: ApiKeyHash, at: UnixMillis) {
        if self.known(&hash).is_some_and(|known| known.checked_at > at) {
            return;
        }
        let mut memory = self.0.borrow_mut();
        memory.known.remove(&hash);
        memory.refused.retain(|(refused, _)| *refused != hash);
        if memory.refused.len() >= REFUSED_MAX {
            memory.refused.pop_front();
        }
        memory.refused.push_back((hash, at));
    }

    /// Workers KV has what is remembered, as of `at`.
    pub(super) fn kept(&self, hash: &ApiKeyHash, at: UnixMillis) {
        if let Some(key) = self.0.borrow_mut().known.get_mut(hash) {
            key.kept_at = Some(at);
        }
    }

    /// Says to other requests that one is asking about the key, until the result is dropped.
    pub(super) fn ask(&self, hash: ApiKeyHash, now: UnixMillis) -> Asking<'_> {
        let mut memory = self.0.borrow_mut();
        memory.asking.retain(|(_, since)| now.since(*since) < ASKING_MS_MAX);
        if memory.asking.len() < ASKING_MAX {
            memory.asking.push((hash, now));
        }
        // Whoever tries an origin that was away assumes that it still is, until it has answered.
        if memory.origin_failed_at.is_some() {
            memory.origin_failed_at = Some(now);
        }
        Asking { keys: self, hash }
    }

    pub(super) fn is_being_asked(&self, hash: &ApiKeyHash, now: UnixMillis) -> bool {
        let memory = self.0.borrow();
        memory.asking.iter().any(|(asked, since)| asked == hash && now.since(*since) < ASKING_MS_MAX)
    }

    pub(super) fn origin_answered(&self) {
        self.0.borrow_mut().origin_failed_at = None;
    }

    pub(super) fn origin_failed(&self, now: UnixMillis) {
        self.0.borrow_mut().origin_failed_at = Some(now);
    }

    /// Has the origin failed to answer just now?
    pub(super) fn origin_is_away(&self, now: UnixMillis) -> bool {
        self.0.borrow().origin_failed_at.is_some_and(|failed_at| now.since(failed_at) < ORIGIN_AWAY_MS)
    }
}

/// A question that is under way.
pub(super) struct Asking<'a> {
    keys: &'a KnownKeys,
    hash: ApiKeyHash,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Ok(mut memory) = self.keys.0.try_borrow_mut() {
            memory.asking.retain(|(asked, _)| *asked != self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use lede_shared::api_key::TenantId;

    use super::*;

    fn hash(number: usize) -> ApiKeyHash {
        ApiKeyHash::of(&number.to_string())
    }

    fn key(checked_at: u64) -> KnownKey {
        let record = Rc::new(KeyRecord::standard(TenantId::parse("acme").unwrap()));
        KnownKey { checked_at: UnixMillis(checked_at), record, kept_at: None }
    }

    #[test]
    fn a_full_memory_forgets_what_was_checked_longest_ago() {
        let keys = KnownKeys::default();
        for number in 0..KNOWN_MAX {
            keys.remember(hash(number), key(1_000 + number as u64));
        }
        keys.remember(hash(3), key(9_000));
        keys.remember(hash(KNOWN_MAX), key(9_001));
        assert_eq!(keys.0.borrow().known.len(), KNOWN_MAX);
        assert_eq!(keys.known(&hash(0)), None);
        assert!((1..=KNOWN_MAX).all(|number| keys.known(&hash(number)).is_some()));
    }

    #[test]
    fn strangers_push_out_strangers_only() {
        let keys = KnownKeys::default();
        keys.remember(hash(0), key(1));
        for number in 1..=REFUSED_MAX + 1 {
            keys.refuse(hash(number), UnixMillis(number as u64));
        }
        assert!(keys.known(&hash(0)).is_some());
        assert_eq!(keys.0.borrow().refused.len(), REFUSED_MAX);
        assert_eq!((keys.refused_at(&hash(1)), keys.refused_at(&hash(2))), (None, Some(UnixMillis(2))));
    }

    #[test]
    fn a_key_is_either_known_or_refused() {
        let keys = KnownKeys::default();
        keys.remember(hash(0), key(1));
        keys.refuse(hash(0), UnixMillis(2));
        assert_eq!((keys.known(&hash(0)), keys.refused_at(&hash(0))), (None, Some(UnixMillis(2))));
        keys.remember(hash(0), key(3));
        assert_eq!((keys.known(&hash(0)), keys.refused_at(&hash(0))), (Some(key(3)), None));
    }

    #[test]
    fn an_answer_that_was_overtaken_changes_nothing() {
        let keys = KnownKeys::default();
        keys.refuse(hash(0), UnixMillis(5));
        keys.remember(hash(0), key(4));
        assert_eq!(keys.known(&hash(0)), None);
        keys.remember(hash(0), key(6));
        keys.remember(hash(0), key(5));
        keys.refuse(hash(0), UnixMillis(5));
        assert_eq!(keys.known(&hash(0)), Some(key(6)));
    }

    #[test]
    fn a_question_ends_with_its_request_or_after_a_while() {
        let (keys, now) = (KnownKeys::default(), UnixMillis(1));
        let asking = keys.ask(hash(0), now);
        assert!(keys.is_being_asked(&hash(0), now) && !keys.is_being_asked(&hash(1), now));
        assert!(!keys.is_being_asked(&hash(0), now.plus(ASKING_MS_MAX)));
        drop(asking);
        assert!(!keys.is_being_asked(&hash(0), now));
        let many: Vec<Asking<'_>> = (0..2 * ASKING_MAX).map(|number| keys.ask(hash(number), now)).collect();
        assert_eq!(keys.0.borrow().asking.len(), ASKING_MAX);
        drop(many);
        assert!(keys.0.borrow().asking.is_empty());
    }
}
