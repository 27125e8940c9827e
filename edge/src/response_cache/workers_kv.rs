//! The Workers KV tier: shared by all data centres, read through each one's own cache.

use lede_shared::api::{CacheTier, CaptionResponse};
use lede_shared::cache_key::CacheKey;
use lede_shared::freshness::FreshnessRecord;

use super::{CachedAnswer, entry};
use crate::bindings::within;
use crate::context::RequestContext;

/// How long a data centre keeps what it has read, "nothing there" included: the platform's least.
const READ_CACHE_TTL_S: u64 = 60;
/// The shortest life that the platform takes.
const EXPIRATION_TTL_S_MIN: u64 = 60;
/// A store slower than this is slower than some generations.
const READ_TIMEOUT_MS: u64 = 1_000;
const WRITE_TIMEOUT_MS: u64 = 10_000;

/// The entry under `key`. A read that fails, takes too long or brings something else is `None` and a log line.
pub(super) async fn read(context: &RequestContext, key: &CacheKey) -> Option<CachedAnswer> {
    let name = entry_name(key);
    let reading = context.bindings.captions.read(&name, READ_CACHE_TTL_S);
    let bytes = match within(context.bindings.clock.as_ref(), READ_TIMEOUT_MS, reading).await {
        Some(Ok(bytes)) => bytes?,
        Some(Err(error)) => return missed(context, "workers_kv_read_failed", &error.to_string()),
        None => return missed(context, "workers_kv_read_failed", "no answer in time"),
    };
    match entry::decode(&bytes) {
        Ok((freshness, response)) => Some(CachedAnswer { tier: CacheTier::WorkersKv, freshness, response }),
        Err(error) => missed(context, "workers_kv_entry_unreadable", &error.to_string()),
    }
}

/// Keeps `response` under `key` for as long as it is of use.
pub(super) async fn write(
    context: &RequestContext,
    key: &CacheKey,
    freshness: FreshnessRecord,
    response: &CaptionResponse,
) {
    let value = match entry::encode(freshness, response) {
        Ok(value) => value,
        Err(error) => return context.warn("workers_kv_write_failed", &error.to_string()),
    };
    let expiration_ttl_s = freshness.useful_for_ms(context.now()).div_ceil(1_000).max(EXPIRATION_TTL_S_MIN);
    let name = entry_name(key);
    let writing = context.bindings.captions.write(&name, &value, expiration_ttl_s);
    match within(context.bindings.clock.as_ref(), WRITE_TIMEOUT_MS, writing).await {
        Some(Ok(())) => {}
        Some(Err(error)) => context.warn("workers_kv_write_failed", &error.to_string()),
        None => context.warn("workers_kv_write_failed", "no answer in time"),
    }
}

fn missed(context: &RequestContext, event: &'static str, cause: &str) -> Option<CachedAnswer> {
    context.warn(event, cause);
    None
}

/// The name in the namespace, which other kinds of entries will share.
pub(super) fn entry_name(key: &CacheKey) -> String {
    format!("response:{key}")
}
