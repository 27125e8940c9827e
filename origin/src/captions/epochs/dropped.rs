//! Single entries that were invalidated: told on the channel, and remembered for a while for whoever was away.

use lede_shared::cache_key::CacheKey;
use redis::{Cmd, RedisResult};

use super::told::Message;
use super::{CHANNEL, redis_name};
use crate::redis_link::RedisConnection;

const NAME: &str = "dropped";
/// Whoever was away for longer keeps what it has until that expires.
const REMEMBERED_MS: u64 = 3_600_000;
const REMEMBERED_MAX: u32 = 10_000;
/// What was told just before we looked last is looked at again: two clocks are never the same.
const MARGIN_MS: u64 = 2_000;

/// By the time of Redis, which is one for all. What stands there and is not ours makes room.
const REMEMBER: &str = "
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then redis.call('DEL', KEYS[1]) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('PUBLISH', ARGV[4], ARGV[5])";
const SINCE: &str = "
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then return {now, {}} end
return {now, redis.call('ZRANGE', KEYS[1], ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2])}";

/// Remembers that `key` was dropped, and tells it.
pub(super) fn telling(key: CacheKey) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(REMEMBER).arg(1).arg(redis_name(NAME)).arg(key.to_string()).arg(REMEMBERED_MS);
    command.arg(REMEMBERED_MAX).arg(CHANNEL).arg(Message::Drop(key).write());
    command
}

/// What was dropped after `since_ms`, and the time now; both by the clock of Redis.
pub(super) async fn since(mut connection: RedisConnection, since_ms: u64) -> RedisResult<(u64, Vec<CacheKey>)> {
    let mut command = redis::cmd("EVAL");
    command.arg(SINCE).arg(1).arg(redis_name(NAME)).arg(since_ms.saturating_sub(MARGIN_MS)).arg(REMEMBERED_MAX);
    let (now_ms, keys): (u64, Vec<Vec<u8>>) = command.query_async(&mut connection).await?;
    Ok((now_ms, keys.iter().filter_map(|key| read_key(key)).collect()))
}

/// Anybody may have written it.
pub(super) fn read_key(text: &[u8]) -> Option<CacheKey> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).ok().map(|()| CacheKey(key))
}
