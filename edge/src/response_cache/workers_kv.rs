//! The Workers KV tier, for popular captions: shared by all data centres, read through each one's own cache.

use lede_shared::cache_key::CacheKey;

use super::entry::Entry;
use crate::bindings::within;
use crate::context::RequestContext;

/// How long a data centre keeps what it has read, "nothing there" included. A shorter time would have popular captions
/// fetched from farther away more often; a longer one would hide a new caption for longer.
pub(super) const READ_CACHE_TTL_S: u64 = 60;
/// The shortest life that the platform takes.
const EXPIRATION_TTL_S_MIN: u64 = 60;
/// A store slower than this is slower than some generations.
pub(super) const READ_TIMEOUT_MS: u64 = 1_000;
pub(super) const WRITE_TIMEOUT_MS: u64 = 10_000;

/// The entry under `key`. A read that fails, takes too long or brings something else is `None` and a log line.
pub(super) async fn read(context: &RequestContext, key: &CacheKey) -> Option<Entry> {
    let name = entry_name(key);
    let reading = context.bindings.captions.read(&name, READ_CACHE_TTL_S);
    let bytes = match within(context.bindings.clock.as_ref(), READ_TIMEOUT_MS, reading).await {
        Some(Ok(bytes)) => bytes?,
        Some(Err(error)) => return missed(context, "workers_kv_read_failed", &error.to_string()),
        None => return missed(context, "workers_kv_read_failed", "no answer in time"),
    };
    match Entry::read(key, bytes) {
        Ok(entry) => Some(entry),
        Err(error) => missed(context, "workers_kv_entry_unreadable", &error.to_string()),
    }
}

/// Keeps `entry` under `key` for as long as it is of use. Says whether it is kept.
pub(super) async fn write(context: &RequestContext, key: &CacheKey, entry: &Entry) -> bool {
    let expiration_ttl_s =
        entry.freshness().useful_for_ms(context.now()).div_ceil(1_000).max(EXPIRATION_TTL_S_MIN);
    let name = entry_name(key);
    let writing = context.bindings.captions.write(&name, entry.bytes(), expiration_ttl_s);
    match within(context.bindings.clock.as_ref(), WRITE_TIMEOUT_MS, writing).await {
        Some(Ok(())) => return true,
        Some(Err(error)) => context.warn("workers_kv_write_failed", &error.to_string()),
        None => context.warn("workers_kv_write_failed", "no answer in time"),
    }
    false
}

fn missed(context: &RequestContext, event: &'static str, cause: &str) -> Option<Entry> {
    context.warn(event, cause);
    None
}

/// The name in the namespace, which other kinds of entries share.
fn entry_name(key: &CacheKey) -> String {
    let mut name = "response:".to_owned();
    name.push_str(&hex::encode(key.0));
    name
}
