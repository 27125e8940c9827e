//! How an answer is kept, the same bytes in every tier:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | the version of this form |
//! | 8 | the first bytes of the SHA-256 of the key and everything after them |
//! | 32 | the freshness record: four numbers, big-endian |
//! | the rest | the response's JSON without its metrics, which differ with every serving and come last |
//!
//! The record stands in the value, not in a tier's own metadata, so that the two cannot part. The bytes are checked once,
//! when they enter the isolate; serving them from there is writing the JSON and this request's metrics. The key is part
//! of what is checked: an entry that lies under another name than its own is none.

use std::fmt;
use std::rc::Rc;

use lede_shared::api::{CaptionResponse, PerformanceMetrics, json_with_metrics};
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::FreshnessRecord;
use sha2::{Digest, Sha256};

/// Changed whenever the form or the response's JSON does; entries of another version are misses.
const VERSION: [u8; 4] = *b"lde2";
const CHECK_AT: usize = VERSION.len();
const RECORD_AT: usize = CHECK_AT + 8;
const JSON_AT: usize = RECORD_AT + 32;
/// Longer than any answer that the origin may send.
const ENTRY_BYTES_MAX: usize = 320 * 1_024;

/// An answer as it is kept. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    bytes: Rc<[u8]>,
    freshness: FreshnessRecord,
}

/// Why bytes are no entry. Never says what they are: the text is a caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryError {
    #[error("{0} bytes, which no entry has")]
    Length(usize),
    #[error("an entry of another version")]
    OtherVersion,
    #[error("the entry is damaged or lies under another name than its own")]
    Damaged,
    #[error("{0}")]
    NotWritten(String),
}

impl Entry {
    /// The entry for `response` under `key`.
    pub(super) fn new(
        key: &CacheKey,
        freshness: FreshnessRecord,
        response: &CaptionResponse,
    ) -> Result<Self, EntryError> {
        let json = response.json_without_metrics().map_err(EntryError::NotWritten)?;
        let mut bytes = Vec::with_capacity(JSON_AT + json.len());
        bytes.extend_from_slice(&VERSION);
        bytes.extend_from_slice(&[0; RECORD_AT - CHECK_AT]);
        let FreshnessRecord { created_ms, fresh_for_ms, stale_while_revalidate_ms, stale_if_error_ms } = freshness;
        for number in [created_ms.0, fresh_for_ms, stale_while_revalidate_ms, stale_if_error_ms] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(json.as_bytes());
        let check = check(key, &bytes[RECORD_AT..]);
        bytes[CHECK_AT..RECORD_AT].copy_from_slice(&check);
        Ok(Self { bytes: bytes.into(), freshness })
    }

    /// The entry that a tier holds under `key`.
    pub(super) fn read(key: &CacheKey, bytes: Vec<u8>) -> Result<Self, EntryError> {
        if !(JSON_AT..=ENTRY_BYTES_MAX).contains(&bytes.len()) {
            return Err(EntryError::Length(bytes.len()));
        }
        if bytes[..CHECK_AT] != VERSION {
            return Err(EntryError::OtherVersion);
        }
        if bytes[CHECK_AT..RECORD_AT] != check(key, &bytes[RECORD_AT..]) {
            return Err(EntryError::Damaged);
        }
        let number = |index: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[RECORD_AT + 8 * index..RECORD_AT + 8 * (index + 1)]);
            u64::from_be_bytes(number)
        };
        let freshness = FreshnessRecord {
            created_ms: UnixMillis(number(0)),
            fresh_for_ms: number(1),
            stale_while_revalidate_ms: number(2),
            stale_if_error_ms: number(3),
        };
        Ok(Self { bytes: bytes.into(), freshness })
    }

    pub(super) const fn freshness(&self) -> FreshnessRecord {
        self.freshness
    }

    /// What a tier keeps.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The response's JSON with these metrics.
    ///
    /// # Errors
    /// When the metrics cannot be written; for the log.
    pub(super) fn json(&self, metrics: &PerformanceMetrics) -> Result<Vec<u8>, String> {
        json_with_metrics(&self.bytes[JSON_AT..], metrics)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Entry({} bytes, {:?})", self.bytes.len(), self.freshness)
    }
}

fn check(key: &CacheKey, record_and_json: &[u8]) -> [u8; RECORD_AT - CHECK_AT] {
    let digest = Sha256::new().chain_update(key.0).chain_update(record_and_json).finalize();
    let mut check = [0; RECORD_AT - CHECK_AT];
    check.copy_from_slice(&digest[..RECORD_AT - CHECK_AT]);
    check
}

#[cfg(test)]
mod tests {
    use lede_shared::api::CacheTier;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::fixtures::caption_response;

    const KEY: CacheKey = CacheKey([7; 32]);

    fn freshness() -> FreshnessRecord {
        FreshnessRecord {
            created_ms: UnixMillis(1_800_000_000_000),
            fresh_for_ms: 1,
            stale_while_revalidate_ms: 2,
            stale_if_error_ms: 3,
        }
    }

    fn kept(caption: &str) -> Vec<u8> {
        Entry::new(&KEY, freshness(), &caption_response(caption)).unwrap().bytes().to_vec()
    }

    #[test]
    fn an_entry_of_another_version_is_refused() {
        let mut bytes = kept("Hello");
        bytes[3] = b'3';
        assert_eq!(Entry::read(&KEY, bytes), Err(EntryError::OtherVersion));
    }

    #[test]
    fn an_entry_under_another_name_is_refused() {
        assert_eq!(Entry::read(&CacheKey([8; 32]), kept("Hello")), Err(EntryError::Damaged));
    }

    #[test]
    fn an_entry_is_shown_without_its_text() {
        let entry = Entry::read(&KEY, kept("Secret garden")).unwrap();
        assert!(!format!("{entry:?}").contains("Secret"));
    }

    #[test]
    fn what_is_longer_than_any_entry_is_refused() {
        assert_eq!(Entry::read(&KEY, vec![0; ENTRY_BYTES_MAX + 1]), Err(EntryError::Length(ENTRY_BYTES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn what_was_stored_is_read_back_and_served_with_new_metrics(caption in "\\PC{0,200}") {
            let response = caption_response(&caption);
            let entry = Entry::read(&KEY, kept(&caption)).unwrap();
            prop_assert_eq!(entry.freshness(), freshness());
            let json = entry.json(&PerformanceMetrics::of_hit(CacheTier::Isolate, 1.5)).unwrap();
            let served: CaptionResponse = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(served, response.served_from(CacheTier::Isolate, 1.5));
        }

        #[test]
        fn an_entry_with_any_byte_changed_or_cut_off_is_refused(at in any::<prop::sample::Index>(), cut: bool, flip in 1u8..) {
            let mut bytes = kept("Secret garden");
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            let error = Entry::read(&KEY, bytes).unwrap_err();
            prop_assert!(!error.to_string().contains("Secret"), "{}", error);
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), sound_head: bool) {
            let mut bytes = bytes;
            if sound_head && bytes.len() >= CHECK_AT { bytes[..CHECK_AT].copy_from_slice(&VERSION) }
            prop_assert!(Entry::read(&KEY, bytes).is_err());
        }
    }
}
