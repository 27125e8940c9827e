//! The cold tier in Redis or Redis Cluster, shared by every origin.
//!
//! Each entry has a name of its own, `lede:r1:<generation>:{<key>}`, and expires by itself. Clearing raises the generation:
//! nothing is looked for, and what lies under the old one expires. What is read may have been written by anybody: it is
//! bounded, and the codec judges it. A Redis that is full is healthy: what it does not take is not kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use lede_shared::cache_key::CacheKey;
use redis::{Cmd, RedisResult};

use super::{ColdError, ColdSize, ColdStore, ColdWrite};
use crate::redis_link::{GENERATION, PREFIX, RedisConnection, RedisFault, RedisLink};

/// Longest value that is read: many times the longest caption response.
const ENTRY_BYTES_MAX: usize = 1 << 20;
/// Redis is told in milliseconds, and takes no time beyond this.
const USEFUL_FOR_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Who calls waits less long, as long as it has set out to.
const WRITE_TIMEOUT: Duration = Duration::from_secs(4);

/// Encoded entries in Redis.
#[derive(Debug)]
pub struct RedisStore {
    link: RedisLink,
    read_timeout: Duration,
    writes_refused: AtomicU64,
}

impl RedisStore {
    /// A store at the end of `link`, where reading takes at most `read_timeout`.
    #[must_use]
    pub const fn new(link: RedisLink, read_timeout: Duration) -> Self {
        Self { link, read_timeout, writes_refused: AtomicU64::new(0) }
    }

    /// Entries that Redis would not take, for instance because it is full.
    #[must_use]
    pub fn writes_refused(&self) -> u64 {
        self.writes_refused.load(Ordering::Relaxed)
    }

    /// The key is the hash tag, so that a cluster spreads the entries and keeps a key's lease beside its entry.
    fn name_of(&self, key: &CacheKey) -> String {
        format!("{PREFIX}{}:{{{key}}}", self.link.generation())
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Bytes>, ColdError> {
        // One byte more than is taken, to see that it is too long without reading all of it. No entry is empty.
        let mut command = redis::cmd("GETRANGE");
        command.arg(self.name_of(key)).arg(0).arg(ENTRY_BYTES_MAX);
        match self.link.ask::<Vec<u8>>(command, self.read_timeout).await {
            Ok(value) if value.is_empty() || value.len() > ENTRY_BYTES_MAX => Ok(None),
            Ok(value) => Ok(Some(value.into())),
            // Something else than a text stands there, and Redis is well.
            Err(RedisFault::Refused(_)) => Ok(None),
            Err(fault) => Err(error(fault)),
        }
    }

    async fn write(&self, writes: Vec<ColdWrite>) -> Result<(), ColdError> {
        let commands: Vec<Cmd> = writes.iter().map(|write| self.setting(write)).collect();
        let count = commands.len() as u64;
        let written = self.link.with(WRITE_TIMEOUT, |connection| async move {
            Ok(join_all(commands.into_iter().map(|command| one(connection.clone(), command))).await)
        });
        let mut refused = 0;
        for outcome in written.await.map_err(error)? {
            match outcome.as_ref().map_err(RedisFault::from) {
                Ok(()) => {}
                Err(fault) if fault.is_an_answer() => refused += 1,
                Err(fault) => return Err(error(fault)),
            }
        }
        let refused_before = self.writes_refused.fetch_add(refused, Ordering::Relaxed);
        if refused > 0 && refused_before == 0 {
            tracing::warn!(refused, count, "Redis does not take what it should keep; it may be full");
        }
        Ok(())
    }

    fn setting(&self, write: &ColdWrite) -> Cmd {
        let useful_for = write.useful_for.min(USEFUL_FOR_MAX).as_millis().max(1);
        let useful_for_ms = u64::try_from(useful_for).unwrap_or(u64::MAX);
        let mut command = redis::cmd("SET");
        command.arg(self.name_of(&write.key)).arg(&*write.encoded).arg("PX").arg(useful_for_ms);
        command
    }

    async fn raise_generation(&self) -> Result<(), ColdError> {
        let raised = self.link.ask(redis::cmd("INCR").arg(GENERATION).to_owned(), WRITE_TIMEOUT).await;
        let raised = match raised {
            // Something stands there that is no number: nobody has read a generation from it.
            Err(RedisFault::Refused(_)) => {
                let set = redis::cmd("SET").arg(GENERATION).arg(self.link.generation() + 1).to_owned();
                self.link.ask::<String>(set, WRITE_TIMEOUT).await.map(|_| self.link.generation() + 1)
            }
            raised => raised,
        };
        self.link.set_generation(raised.map_err(error)?);
        Ok(())
    }
}

/// Each on its own, all of them at once: they go out together and, in a cluster, each to its node.
async fn one(mut connection: RedisConnection, command: Cmd) -> RedisResult<()> {
    command.query_async::<redis::Value>(&mut connection).await.map(drop)
}

fn error(fault: RedisFault) -> ColdError {
    ColdError(fault.to_string())
}

impl ColdStore for RedisStore {
    fn get<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<Option<Bytes>, ColdError>> {
        Box::pin(self.read(key))
    }

    fn put_many(&self, writes: Vec<ColdWrite>) -> BoxFuture<'_, Result<(), ColdError>> {
        Box::pin(self.write(writes))
    }

    fn remove<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<(), ColdError>> {
        Box::pin(async {
            let removing = redis::cmd("UNLINK").arg(self.name_of(key)).to_owned();
            self.link.ask::<i64>(removing, WRITE_TIMEOUT).await.map(drop).map_err(error)
        })
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), ColdError>> {
        Box::pin(self.raise_generation())
    }

    /// Redis counts the names of everybody who uses it, and its memory is theirs, too.
    fn size(&self) -> BoxFuture<'_, Result<ColdSize, ColdError>> {
        Box::pin(async { Ok(ColdSize::default()) })
    }
}
