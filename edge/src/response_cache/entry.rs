//! How an answer is kept: one JSON document with a version, the freshness record and the response.
//!
//! The record stands in the value, not in Workers KV's metadata, so that the two cannot part and every tier can
//! keep the same bytes. The response is parsed in full on a hit: it has a few kilobytes, and nothing that is not
//! of the contract can come out of a store that others may write to.

use lede_shared::api::CaptionResponse;
use lede_shared::freshness::FreshnessRecord;
use serde::{Deserialize, Serialize};

/// Raised whenever the form changes; entries of another version are misses.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    freshness: FreshnessRecord,
    response: &'a CaptionResponse,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    freshness: FreshnessRecord,
    response: CaptionResponse,
}

/// Why bytes are no entry. Says where, never what: the text is a caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryError {
    #[error("not an entry: fault at line {line}, column {column}")]
    Malformed { line: usize, column: usize },
    #[error("an entry of version {0}, not {VERSION}")]
    OtherVersion(u32),
}

impl From<serde_json::Error> for EntryError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed { line: error.line(), column: error.column() }
    }
}

pub(super) fn encode(freshness: FreshnessRecord, response: &CaptionResponse) -> Result<Vec<u8>, EntryError> {
    Ok(serde_json::to_vec(&Written { version: VERSION, freshness, response })?)
}

pub(super) fn decode(bytes: &[u8]) -> Result<(FreshnessRecord, CaptionResponse), EntryError> {
    let Read { version, freshness, response } = serde_json::from_slice(bytes)?;
    if version == VERSION { Ok((freshness, response)) } else { Err(EntryError::OtherVersion(version)) }
}

#[cfg(test)]
mod tests {
    use lede_shared::clock::UnixMillis;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::fixtures::caption_response;

    fn freshness() -> FreshnessRecord {
        FreshnessRecord {
            created_ms: UnixMillis(1_800_000_000_000),
            fresh_for_ms: 1,
            stale_while_revalidate_ms: 2,
            stale_if_error_ms: 3,
        }
    }

    #[test]
    fn an_entry_of_another_version_is_refused() {
        let text = String::from_utf8(encode(freshness(), &caption_response("Hello")).unwrap()).unwrap();
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert_eq!(decode(newer.as_bytes()), Err(EntryError::OtherVersion(2)));
    }

    #[test]
    fn a_truncated_entry_is_refused_without_repeating_its_text() {
        let bytes = encode(freshness(), &caption_response("Secret garden")).unwrap();
        let error = decode(&bytes[..bytes.len() - 1]).unwrap_err();
        assert!(!error.to_string().contains("Secret"), "{error}");
    }

    proptest! {
        #[test]
        fn what_was_stored_is_read_back(caption in "\\PC{0,200}") {
            let response = caption_response(&caption);
            let bytes = encode(freshness(), &response).unwrap();
            prop_assert_eq!(decode(&bytes), Ok((freshness(), response)));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
