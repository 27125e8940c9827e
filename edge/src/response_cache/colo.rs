//! The colo tier: the cache of this data centre, shared by its isolates, which the platform does not bill.
//!
//! There is none on `*.workers.dev` and in previews; there every look-up is a miss and every write is lost.

use lede_shared::cache_key::CacheKey;

use super::entry::Entry;
use crate::bindings::within;
use crate::context::RequestContext;

/// A cache next door that is slower than this is no help.
const READ_TIMEOUT_MS: u64 = 500;
const WRITE_TIMEOUT_MS: u64 = 5_000;

/// The entry under `key`. A read that fails, takes too long or brings something else is `None` and a log line.
pub(super) async fn read(context: &RequestContext, key: &CacheKey) -> Option<Entry> {
    let url = entry_url(key);
    let reading = context.bindings.colo.read(&url);
    let bytes = match within(context.bindings.clock.as_ref(), READ_TIMEOUT_MS, reading).await {
        Some(Ok(bytes)) => bytes?,
        Some(Err(error)) => return missed(context, "colo_read_failed", &error.to_string()),
        None => return missed(context, "colo_read_failed", "no answer in time"),
    };
    match Entry::read(key, bytes) {
        Ok(entry) => Some(entry),
        Err(error) => missed(context, "colo_entry_unreadable", &error.to_string()),
    }
}

/// Keeps `entry` under `key` for as long as it is of use.
pub(super) async fn write(context: &RequestContext, key: &CacheKey, entry: &Entry) {
    let max_age_s = entry.freshness().useful_for_ms(context.now()) / 1_000;
    let url = entry_url(key);
    let writing = context.bindings.colo.write(&url, entry.bytes(), max_age_s);
    match within(context.bindings.clock.as_ref(), WRITE_TIMEOUT_MS, writing).await {
        Some(Ok(())) => {}
        Some(Err(error)) => context.warn("colo_write_failed", &error.to_string()),
        None => context.warn("colo_write_failed", "no answer in time"),
    }
}

fn missed(context: &RequestContext, event: &'static str, cause: &str) -> Option<Entry> {
    context.warn(event, cause);
    None
}

/// The cache goes by URLs, so each key has one, under a name that no server can have (RFC 6761).
fn entry_url(key: &CacheKey) -> String {
    let mut url = "https://cache.lede.invalid/v2/".to_owned();
    url.push_str(&hex::encode(key.0));
    url
}
