//! Single flight across origins: who holds the lease of a key does the work, everybody else waits for what comes of it.
//!
//! A lease is a name in Redis that one holds for a few seconds and renews while it works. Who dies loses it by doing
//! nothing, and one of those who wait goes on. It saves work and decides nothing: with Redis failing everybody works
//! alone, at once, and two who hold what they take for the same lease both give a good answer.

use std::time::{Duration, Instant};

use lede_shared::cache_key::CacheKey;
use redis::Cmd;
use tokio::task::AbortHandle;

use crate::redis_link::{PREFIX, RedisFault, RedisLink};

/// How long a lease holds without being renewed: longest wait for one whose holder has died.
const HELD_FOR: Duration = Duration::from_secs(3);
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// For one question to Redis. Longer than a busy machine is late by, and short beside the work that may be saved.
const ASK_TIMEOUT: Duration = Duration::from_millis(250);
/// Pauses between looks at another's lease.
const PAUSE_LEAST: Duration = Duration::from_millis(15);
const PAUSE_MOST: Duration = Duration::from_millis(100);
/// Only the holder's own lease is touched: it may have lost it, and another got it since.
const RENEW: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// The leases of one Redis. Clones share the way to it.
#[derive(Clone, Debug)]
pub struct Leases {
    link: RedisLink,
}

/// Whose turn it is.
#[derive(Debug)]
pub enum Turn {
    /// Ours, for as long as the lease is kept.
    Ours(Lease),
    /// Another's; see [`Leases::ended`].
    Elsewhere,
    /// Nobody can say: Redis does not answer. Everybody works alone.
    Unknown,
}

/// A lease that is held and renewed. Dropping it releases it, behind the caller's back.
#[derive(Debug)]
pub struct Lease {
    link: RedisLink,
    name: String,
    holder: String,
    renewing: AbortHandle,
}

impl Leases {
    /// Leases in the Redis of `link`.
    #[must_use]
    pub const fn new(link: RedisLink) -> Self {
        Self { link }
    }

    /// Tries to take the lease of `key`, once. Needs a tokio runtime.
    pub async fn take(&self, key: &CacheKey) -> Turn {
        let Some(holder) = new_holder() else { return Turn::Unknown };
        let mut command = redis::cmd("SET");
        command.arg(name_of(key)).arg(&holder).arg("NX").arg("PX").arg(milliseconds(HELD_FOR));
        // The guard stands before the question: whoever leaves while it is on its way leaves nothing behind.
        let lease = Lease::new(self.link.clone(), key, holder);
        match self.link.ask::<Option<String>>(command, ASK_TIMEOUT).await {
            Ok(Some(_)) => Turn::Ours(lease),
            Ok(None) => {
                lease.forget();
                Turn::Elsewhere
            }
            Err(fault) => {
                if !matches!(fault, RedisFault::TimedOut | RedisFault::Broken) {
                    lease.forget();
                }
                tracing::debug!(%fault, "no lease can be had");
                Turn::Unknown
            }
        }
    }

    /// Waits until nobody holds the lease of `key`, at most until `deadline`. False when Redis can no longer tell, or not
    /// in time.
    pub async fn ended(&self, key: &CacheKey, deadline: Instant) -> bool {
        let mut pause = PAUSE_LEAST;
        loop {
            if Instant::now() + pause >= deadline {
                return false;
            }
            tokio::time::sleep(pause).await;
            let exists = redis::cmd("EXISTS").arg(name_of(key)).to_owned();
            match self.link.ask::<bool>(exists, ASK_TIMEOUT).await {
                Ok(true) => pause = (pause * 3 / 2).min(PAUSE_MOST),
                Ok(false) => return true,
                Err(_) => return false,
            }
        }
    }
}

impl Lease {
    fn new(link: RedisLink, key: &CacheKey, holder: String) -> Self {
        let name = name_of(key);
        let renewing = tokio::spawn(renew(link.clone(), name.clone(), holder.clone())).abort_handle();
        Self { link, name, holder, renewing }
    }

    /// Releases the lease and waits until that is done, or cannot be.
    pub async fn release(self) {
        let releasing = release(self.link.clone(), self.name.clone(), self.holder.clone());
        self.forget();
        releasing.await;
    }

    /// Ends without a word to Redis.
    fn forget(mut self) {
        self.renewing.abort();
        self.holder.clear();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
        // Without a runtime the process is ending; the lease ends by itself.
        if !self.holder.is_empty()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(release(self.link.clone(), self.name.clone(), self.holder.clone()));
        }
    }
}

async fn renew(link: RedisLink, name: String, holder: String) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let command = of_holder(RENEW, &name, &holder, Some(milliseconds(HELD_FOR)));
        // One that failed is tried again; a lease that is lost is found out by nobody, and costs work at most.
        if let Err(fault) = link.ask::<i64>(command, ASK_TIMEOUT).await {
            tracing::debug!(%fault, "a lease could not be renewed");
        }
    }
}

async fn release(link: RedisLink, name: String, holder: String) {
    let command = of_holder(RELEASE, &name, &holder, None);
    if let Err(fault) = link.ask::<i64>(command, ASK_TIMEOUT).await {
        tracing::debug!(%fault, "a lease could not be released; it ends by itself");
    }
}

/// A script on one lease. Sent whole, for a server that has forgotten its scripts is one of those to reckon with.
fn of_holder(script: &str, name: &str, holder: &str, argument: Option<u64>) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(1).arg(name).arg(holder);
    if let Some(argument) = argument {
        command.arg(argument);
    }
    command
}

/// Beside the entry in a cluster: they have the same hash tag.
fn name_of(key: &CacheKey) -> String {
    format!("{PREFIX}lease:{{{key}}}")
}

/// Told apart from all others. None without entropy: a lease that another could release is worse than none.
fn new_holder() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
