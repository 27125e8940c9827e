//! Keys in Workers KV: what is left when the origin is away, for isolates that never asked it.
//!
//! Only what the origin has known is ever written, so that strangers cause no writes: a record, or, in place of one,
//! that the key has none any more. Readers judge both by when the origin said so.

use std::rc::Rc;

use lede_shared::api_key::ApiKeyHash;
use lede_shared::clock::UnixMillis;
use lede_shared::plan::KeyRecord;
use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::bindings::within;
use crate::context::RequestContext;

/// Raised whenever the form changes; copies of another version are misses.
const VERSION: u32 = 1;
/// How long a data centre keeps what it has read, "nothing there" included: the platform's least.
const READ_CACHE_TTL_S: u64 = 60;
/// A day of use and an hour until the next writing.
const EXPIRATION_TTL_S: u64 = 25 * 3_600;
/// A copy that says the same is left alone for that long.
const REWRITTEN_AFTER_MS: u64 = 3_600_000;
const READ_TIMEOUT_MS: u64 = 1_000;
const WRITE_TIMEOUT_MS: u64 = 10_000;

/// What the origin said of a key, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) checked_at: UnixMillis,
    /// `None` for a key that was known once.
    pub(super) verdict: Verdict,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    checked_at_ms: UnixMillis,
    record: Option<&'a KeyRecord>,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    checked_at_ms: UnixMillis,
    record: Option<KeyRecord>,
}

/// The copy of what is known of a key. A read that fails, takes too long or brings something else is `None` and a log line.
pub(super) async fn read(context: &RequestContext, hash: &ApiKeyHash) -> Option<Copy> {
    let name = entry_name(hash);
    let reading = context.bindings.keys.read(&name, READ_CACHE_TTL_S);
    let bytes = match within(context.bindings.clock.as_ref(), READ_TIMEOUT_MS, reading).await {
        Some(Ok(bytes)) => bytes?,
        Some(Err(error)) => return missed(context, "key_copy_read_failed", &error.to_string()),
        None => return missed(context, "key_copy_read_failed", "no answer in time"),
    };
    decode(&bytes).or_else(|| missed(context, "key_copy_unreadable", "not a copy of this version"))
}

/// Writes `copy` unless what lies there is as good: the platform takes one write a second for each name. Returns when
/// the origin said what lies there now, if that is known.
pub(super) async fn keep(context: &RequestContext, hash: &ApiKeyHash, copy: &Copy) -> Option<UnixMillis> {
    if let Some(present) = read(context, hash).await
        && !must_replace(&present, copy)
    {
        return Some(present.checked_at);
    }
    let (name, value) = (entry_name(hash), encode(copy));
    let writing = context.bindings.keys.write(&name, &value, EXPIRATION_TTL_S);
    match within(context.bindings.clock.as_ref(), WRITE_TIMEOUT_MS, writing).await {
        Some(Ok(())) => return Some(copy.checked_at),
        Some(Err(error)) => context.warn("key_copy_write_failed", &error.to_string()),
        None => context.warn("key_copy_write_failed", "no answer in time"),
    }
    None
}

/// Is the copy from `kept_at` due to be written anew?
pub(super) fn is_due(kept_at: Option<UnixMillis>, now: UnixMillis) -> bool {
    kept_at.is_none_or(|kept_at| now.since(kept_at) >= REWRITTEN_AFTER_MS)
}

/// What was said later stays; so does what says the same and is not old.
fn must_replace(present: &Copy, copy: &Copy) -> bool {
    let says_the_same = present.verdict == copy.verdict;
    let is_later = copy.checked_at > present.checked_at;
    is_later && (!says_the_same || is_due(Some(present.checked_at), copy.checked_at))
}

fn encode(copy: &Copy) -> Vec<u8> {
    crate::http::to_json(&Written {
        version: VERSION,
        checked_at_ms: copy.checked_at,
        record: copy.verdict.as_deref(),
    })
}

fn decode(bytes: &[u8]) -> Option<Copy> {
    let Read { version, checked_at_ms, record } = serde_json::from_slice(bytes).ok()?;
    (version == VERSION).then(|| Copy { checked_at: checked_at_ms, verdict: record.map(Rc::new) })
}

fn missed(context: &RequestContext, event: &'static str, cause: &str) -> Option<Copy> {
    context.warn(event, cause);
    None
}

/// The name in the namespace.
pub(crate) fn entry_name(hash: &ApiKeyHash) -> String {
    ["key:", &hash.to_string()].concat()
}

#[cfg(test)]
mod tests {
    use lede_shared::api_key::TenantId;
    use proptest::prelude::*;

    use super::*;

    fn copy(checked_at: u64, tenant: Option<&str>) -> Copy {
        let record = tenant.map(|tenant| Rc::new(KeyRecord::standard(TenantId::parse(tenant).unwrap())));
        Copy { checked_at: UnixMillis(checked_at), verdict: record }
    }

    #[test]
    fn what_was_written_is_read_back_and_other_versions_are_not() {
        for written in [copy(5, Some("acme")), copy(6, None)] {
            let bytes = encode(&written);
            assert_eq!(decode(&bytes), Some(written));
            let newer = String::from_utf8(bytes).unwrap().replace("\"version\":1", "\"version\":2");
            assert_eq!(decode(newer.as_bytes()), None);
        }
    }

    #[test]
    fn a_copy_is_replaced_when_it_says_something_else_or_is_an_hour_old() {
        let present = copy(1_000, Some("acme"));
        assert!(!must_replace(&present, &copy(1_000 + REWRITTEN_AFTER_MS - 1, Some("acme"))));
        assert!(must_replace(&present, &copy(1_000 + REWRITTEN_AFTER_MS, Some("acme"))));
        assert!(must_replace(&present, &copy(1_001, Some("beta"))));
        assert!(must_replace(&present, &copy(1_001, None)));
        assert!(!must_replace(&copy(1_001, None), &present));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
