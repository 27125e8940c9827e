//! How an entry lies in the warm and the cold tier.
//!
//! One version byte, the freshness record as four big-endian `u64`, the device time as a big-endian `u32`, then the body.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::FreshnessRecord;

use super::Entry;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 4 * 8 + 4;

/// These bytes are not an entry of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Cut off, or of another version.
    #[error("not an entry of this version")]
    NotAnEntry,
}

/// The entry in bytes.
#[must_use]
pub fn encode(entry: &Entry) -> Bytes {
    let FreshnessRecord { created_ms, fresh_for_ms, stale_while_revalidate_ms, stale_if_error_ms } =
        entry.freshness;
    let mut encoded = BytesMut::with_capacity(HEADER_BYTES + entry.body.len());
    encoded.put_u8(VERSION);
    for number in [created_ms.0, fresh_for_ms, stale_while_revalidate_ms, stale_if_error_ms] {
        encoded.put_u64(number);
    }
    encoded.put_u32(entry.device_ms);
    encoded.put_slice(&entry.body);
    encoded.freeze()
}

/// The entry again.
///
/// # Errors
/// When the bytes are anything else.
pub fn decode(encoded: &[u8]) -> Result<Entry, CodecError> {
    let mut rest = encoded;
    if rest.len() < HEADER_BYTES || rest.get_u8() != VERSION {
        return Err(CodecError::NotAnEntry);
    }
    let freshness = FreshnessRecord {
        created_ms: UnixMillis(rest.get_u64()),
        fresh_for_ms: rest.get_u64(),
        stale_while_revalidate_ms: rest.get_u64(),
        stale_if_error_ms: rest.get_u64(),
    };
    let device_ms = rest.get_u32();
    Ok(Entry { body: Bytes::copy_from_slice(rest), freshness, device_ms })
}
