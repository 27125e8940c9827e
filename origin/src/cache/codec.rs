//! How an entry lies in the warm and the cold tier.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version |
//! | 1 | flags: 1 = the body is compressed; no other is known |
//! | 4 | CRC-32 of everything else, little-endian |
//! | 4 | id of the dictionary, little-endian; only when compressed |
//! | 1 to 10 each | when it was made, fresh for, stale while revalidating, stale on errors (ms), device time (ms): LEB128 |
//! | 1 to 10 | length of the body (LEB128); only when compressed |
//! | rest | the body, as it is or as an LZ4 block |
//!
//! A caption is too short to be compressed alone, so it is compressed as if it followed `captions.dict`, a text of what
//! captions have in common (`cargo xtask bench cache --only dictionary` makes it, docs/decisions/0025). Another dictionary
//! has another id, and what was compressed with it is not read: a miss. No caption comes out of the dictionary by itself: a block that
//! points into it does, and that is what somebody was answered.
//!
//! What is read may have lain on a disk or in somebody else's memory. The checksum is looked at before anything is
//! decompressed, and no length that is read is believed further than [`BODY_BYTES_MAX`].

use std::sync::LazyLock;

use bytes::Bytes;
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::FreshnessRecord;

use super::Entry;
use super::leb128::{read_leb128, write_leb128};

/// Raised with every change of the form.
const VERSION: u8 = 2;
/// The flag of a compressed body.
const COMPRESSED: u8 = 1;
/// Version, flags, checksum.
const PREFIX_BYTES: usize = 6;
const ID_BYTES: usize = 4;
/// About what the numbers take, for one allocation.
const NUMBERS_BYTES_TYPICAL: usize = 26;
/// A shorter body is not worth the look into the dictionary.
const COMPRESSED_BYTES_MIN: usize = 64;
/// Longest body that is read back.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// What captions have in common.
pub const DICTIONARY: &[u8] = include_bytes!("captions.dict");
static DICTIONARY_ID: LazyLock<u32> = LazyLock::new(|| crc32fast::hash(DICTIONARY));

/// These bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Of another version, or compressed with another dictionary: left by another release.
    #[error("written by another version")]
    OtherVersion,
    /// Cut off, changed, or never an entry.
    #[error("damaged")]
    Damaged,
    /// Longer than [`BODY_BYTES_MAX`].
    #[error("too long")]
    TooLong,
}

/// The entry in bytes. The body is compressed where that makes it shorter.
#[must_use]
pub fn encode(entry: &Entry) -> Bytes {
    let compressed = compressed(&entry.body);
    let body = compressed.as_deref().unwrap_or(&entry.body);
    let mut encoded = Vec::with_capacity(PREFIX_BYTES + ID_BYTES + NUMBERS_BYTES_TYPICAL + body.len());
    encoded.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0]);
    if compressed.is_some() {
        encoded[1] = COMPRESSED;
        encoded.extend_from_slice(&DICTIONARY_ID.to_le_bytes());
    }
    let FreshnessRecord { created_ms, fresh_for_ms, stale_while_revalidate_ms, stale_if_error_ms } =
        entry.freshness;
    let device_ms = u64::from(entry.device_ms);
    for number in [created_ms.0, fresh_for_ms, stale_while_revalidate_ms, stale_if_error_ms, device_ms] {
        write_leb128(&mut encoded, number);
    }
    if compressed.is_some() {
        write_leb128(&mut encoded, entry.body.len() as u64);
    }
    encoded.extend_from_slice(body);
    let sum = checksum(&encoded).to_le_bytes();
    encoded[2..PREFIX_BYTES].copy_from_slice(&sum);
    encoded.into()
}

/// The entry again. The body is allocated once.
///
/// # Errors
/// When the bytes are anything else.
pub fn decode(encoded: &[u8]) -> Result<Entry, CodecError> {
    let (header, rest) = Header::read(encoded)?;
    if checksum(encoded).to_le_bytes() != encoded[2..PREFIX_BYTES] {
        return Err(CodecError::Damaged);
    }
    let body = match header.compressed_from {
        None if rest.len() > BODY_BYTES_MAX => return Err(CodecError::TooLong),
        None => Bytes::copy_from_slice(rest),
        Some(length) => decompressed(rest, length)?,
    };
    Ok(Entry { body, freshness: header.freshness, device_ms: header.device_ms })
}

/// How long the entry is good for, without a look at its body. For a tier that wants to know what may go; not proved by
/// the checksum.
#[must_use]
pub fn freshness_of(encoded: &[u8]) -> Option<FreshnessRecord> {
    Header::read(encoded).ok().map(|(header, _)| header.freshness)
}

/// What device time a hit saves, without a look at the body; as [`freshness_of`].
#[must_use]
pub fn device_ms_of(encoded: &[u8]) -> Option<u32> {
    Header::read(encoded).ok().map(|(header, _)| header.device_ms)
}

/// What stands before the body.
struct Header {
    freshness: FreshnessRecord,
    device_ms: u32,
    /// Length of the body that was compressed.
    compressed_from: Option<usize>,
}

impl Header {
    /// And the body as it lies there.
    fn read(encoded: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        let (prefix, mut rest) = encoded.split_at_checked(PREFIX_BYTES).ok_or(CodecError::Damaged)?;
        let is_compressed = match (prefix[0], prefix[1]) {
            (VERSION, 0) => false,
            (VERSION, COMPRESSED) => true,
            _ => return Err(CodecError::OtherVersion),
        };
        if is_compressed {
            let (id, after) = rest.split_first_chunk::<ID_BYTES>().ok_or(CodecError::Damaged)?;
            if u32::from_le_bytes(*id) != *DICTIONARY_ID {
                return Err(CodecError::OtherVersion);
            }
            rest = after;
        }
        let mut number = || read_leb128(&mut rest).ok_or(CodecError::Damaged);
        let freshness = FreshnessRecord {
            created_ms: UnixMillis(number()?),
            fresh_for_ms: number()?,
            stale_while_revalidate_ms: number()?,
            stale_if_error_ms: number()?,
        };
        let device_ms = u32::try_from(number()?).map_err(|_| CodecError::Damaged)?;
        let compressed_from = is_compressed.then(number).transpose()?;
        let length = |number| usize::try_from(number).map_err(|_| CodecError::TooLong);
        let compressed_from = compressed_from.map(length).transpose()?;
        Ok((Self { freshness, device_ms, compressed_from }, rest))
    }
}

/// Of everything but itself.
fn checksum(encoded: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&encoded[..2]);
    hasher.update(&encoded[PREFIX_BYTES..]);
    hasher.finalize()
}

/// The body as an LZ4 block; none where that is no shorter.
fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    if !(COMPRESSED_BYTES_MIN..=BODY_BYTES_MAX).contains(&body.len()) {
        return None;
    }
    let block = lz4_flex::block::compress_with_dict(body, DICTIONARY);
    (block.len() + ID_BYTES < body.len()).then_some(block)
}

fn decompressed(block: &[u8], length: usize) -> Result<Bytes, CodecError> {
    if length > BODY_BYTES_MAX {
        return Err(CodecError::TooLong);
    }
    let mut body = vec![0; length];
    let written = lz4_flex::block::decompress_into_with_dict(block, &mut body, DICTIONARY);
    match written {
        Ok(written) if written == length => Ok(body.into()),
        _ => Err(CodecError::Damaged),
    }
}

#[cfg(test)]
mod tests;
