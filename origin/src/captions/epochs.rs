//! Purging many entries at once without finding any of them: epochs are part of every key, and a purge raises one.
//!
//! 1. A purge holds in this process at once: what is known here is raised first.
//! 2. It is written down: beside the cold tier, when that is on this machine's disk, so that a restart does not undo it.
//! 3. It is told to the other origins: the epoch is raised in Redis, in one hash, and the number is told on a channel.
//! 4. Whoever could not be told learns of it before anything from Redis is believed again: the hash is read in the greeting
//!    of every connection, whenever the channel has been joined again, and every ten seconds.
//! 5. Whatever Redis has forgotten is told to it again at these times. Of what is known here and there the greater counts.

mod dropped;
mod file;
mod known;
mod told;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use lede_shared::api_key::TenantId;
use lede_shared::cache_key::CacheKey;
use lede_shared::policy::POLICY;
use lede_shared::purge::PurgeScope;
use lede_shared::served_models::ServedModels;
use lede_shared::signature::Claims;
use redis::RedisResult;
use tokio::time::MissedTickBehavior;

use self::file::EpochFile;
use self::known::{KnownEpochs, SCOPES_MAX};
use self::told::Message;
use crate::clock;
use crate::redis_link::{Greeting, PREFIX, RedisConnection, RedisFault, RedisLink, Subscription, Told};

/// How often what Redis knows is read even if nothing is told.
const READ_EVERY: Duration = Duration::from_secs(10);
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// Raises one field of the hash, or, when there are too many, that of everything, and tells it.
const RAISE: &str = "
local field, wanted, rises = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('HEXISTS', KEYS[1], field) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then field = 'all' end
local known = tonumber(redis.call('HGET', KEYS[1], field) or '0') or 0
if not (known >= 0 and known <= 4503599627370496) then known = 0 end
local epoch = math.max(wanted, known + rises)
if epoch > known then
  epoch = string.format('%.0f', epoch)
  redis.call('HSET', KEYS[1], field, epoch)
  redis.call('PUBLISH', ARGV[5], 'epoch ' .. epoch .. ' ' .. field)
else
  epoch = string.format('%.0f', known)
end
return {field, epoch}";

/// The names of this version of Lede in Redis.
pub(super) const CHANNEL: &str = "lede:r1:purges";
const HASH: &str = "epochs";

/// What a purge has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The new epoch of what was purged: the time of the purge in Unix milliseconds, or a little more.
    pub epoch: u64,
    /// Do the other origins know already? With Redis failing they learn of it once it is back. True without any others.
    pub is_told: bool,
    /// Would it hold after a restart? False when the file could not be written.
    pub is_kept: bool,
}

/// What is known of purges. Clones share it.
#[derive(Clone, Debug)]
pub struct Epochs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    known: RwLock<KnownEpochs>,
    /// Whose purges concern every key of this process.
    shared: Vec<PurgeScope>,
    file: Option<EpochFile>,
    /// One writes at a time.
    writing: Mutex<()>,
}

impl Epochs {
    /// What the file in `folder` says, for keys of what any of `models` writes. Without a folder nothing outlives the process.
    #[must_use]
    pub fn open(models: &ServedModels, folder: Option<&Path>) -> Self {
        let file = folder.map(EpochFile::in_folder);
        let mut known = KnownEpochs::default();
        match file.as_ref().map(EpochFile::read) {
            None => {}
            Some(Ok(read)) => known = read,
            Some(Err(error)) => {
                tracing::warn!(%error, "what was purged cannot be read; everything kept before is purged");
                known.purge(&PurgeScope::All, clock::now().0);
            }
        }
        let models = models.ids().into_iter().map(|id| PurgeScope::Model(id.to_owned()));
        let others = [PurgeScope::All, PurgeScope::Policy(POLICY.version.to_owned())];
        let shared = others.into_iter().chain(models).collect();
        Self(Arc::new(Inner { known: RwLock::new(known), shared, file, writing: Mutex::default() }))
    }

    /// What is added to the epoch of keys for the caller of `claims`.
    #[must_use]
    pub fn of(&self, claims: &Claims) -> u64 {
        let tenant: Option<&TenantId> = claims.cache_is_private.then_some(&claims.tenant);
        self.known().sum(&self.0.shared, tenant)
    }

    /// What a new connection to Redis is greeted with.
    #[must_use]
    pub fn greeting(&self) -> Greeting {
        let epochs = self.clone();
        Box::new(move |connection| {
            let epochs = epochs.clone();
            Box::pin(async move { epochs.exchange(connection).await })
        })
    }

    /// Purges `scope`, here at once, and tells it to Redis.
    pub async fn purge(&self, scope: &PurgeScope, link: Option<&RedisLink>) -> Purged {
        let (scope, epoch) = self.known_mut().purge(scope, clock::now().0);
        let is_kept = self.keep().await;
        let Some(link) = link else { return Purged { epoch, is_told: true, is_kept } };
        let raising = raise(&scope, epoch, 1);
        match link.ask::<(String, u64)>(raising, ASK_TIMEOUT).await {
            Ok((field, epoch)) => {
                if let Ok(scope) = field.parse() {
                    self.known_mut().learn(scope, epoch);
                }
                Purged { epoch, is_told: true, is_kept: self.keep().await }
            }
            Err(fault) => {
                tracing::warn!(%fault, "a purge could not be told to the other origins yet");
                Purged { epoch, is_told: false, is_kept }
            }
        }
    }

    /// Tells the other origins to forget one entry. Who is away hears of it on coming back, within an hour.
    ///
    /// # Errors
    /// When they were not told; nobody tells them later.
    pub async fn tell_to_drop(&self, key: CacheKey, link: &RedisLink) -> Result<(), RedisFault> {
        link.ask::<i64>(dropped::telling(key), ASK_TIMEOUT).await.map(drop)
    }

    /// Hears of what other origins purge and drop, for ever. `forget` drops one entry.
    pub async fn listen(&self, link: RedisLink, forget: impl Fn(CacheKey)) {
        let mut subscription = Subscription::new(link.address().clone(), CHANNEL);
        let mut reading = tokio::time::interval(READ_EVERY);
        reading.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_until_ms = 0;
        loop {
            let told = tokio::select! {
                told = subscription.next() => told,
                _ = reading.tick() => Told::Joined,
            };
            match told {
                Told::Message(message) => self.heard(&message, &forget).await,
                Told::Joined => {
                    let caught_up = self.catch_up(&link, &mut heard_until_ms, &forget).await;
                    if let Err(fault) = caught_up {
                        tracing::debug!(%fault, "what was purged cannot be read from Redis");
                    }
                }
            }
        }
    }

    /// Learns what was told to those who were there.
    async fn catch_up(
        &self,
        link: &RedisLink,
        heard_until_ms: &mut u64,
        forget: impl Fn(CacheKey),
    ) -> Result<(), RedisFault> {
        link.with(ASK_TIMEOUT, |connection| self.exchange(connection)).await?;
        let since = *heard_until_ms;
        let (now_ms, keys) = link.with(ASK_TIMEOUT, |connection| dropped::since(connection, since)).await?;
        keys.into_iter().for_each(forget);
        *heard_until_ms = now_ms;
        Ok(())
    }

    async fn heard(&self, message: &[u8], forget: impl Fn(CacheKey)) {
        match Message::read(message) {
            Some(Message::Epoch(scope, epoch)) => {
                let has_risen = self.known_mut().learn(scope, epoch).is_some();
                if has_risen {
                    self.keep().await;
                }
            }
            Some(Message::Drop(key)) => forget(key),
            None => tracing::debug!("something was told that is not understood"),
        }
    }

    /// Learns what Redis knows and tells it what it does not.
    async fn exchange(&self, mut connection: RedisConnection) -> RedisResult<()> {
        let there = read_hash(&mut connection).await?;
        let mut has_learnt = false;
        for (scope, epoch) in &there {
            has_learnt |= self.known_mut().learn(scope.clone(), *epoch).is_some();
        }
        let unknown_there: Vec<(PurgeScope, u64)> = {
            let known = self.known();
            let is_unknown =
                |(scope, epoch): &(&PurgeScope, u64)| there.get(scope).is_none_or(|there| there < epoch);
            known.iter().filter(is_unknown).map(|(scope, epoch)| (scope.clone(), epoch)).collect()
        };
        for (scope, epoch) in unknown_there {
            raise(&scope, epoch, 0).query_async::<redis::Value>(&mut connection).await?;
        }
        if has_learnt {
            self.keep().await;
        }
        Ok(())
    }

    /// Writes the file, where there is one. False when that failed.
    async fn keep(&self) -> bool {
        let Some(file) = self.0.file.clone() else { return true };
        let inner = Arc::clone(&self.0);
        let writing = tokio::task::spawn_blocking(move || {
            // What is known is read by whoever has the turn to write, so the last to write knows most.
            let _turn = inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let known = read(&inner.known).clone();
            file.write(&known)
        });
        match writing.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, "what was purged could not be written down; a restart would undo it");
                false
            }
            Err(_) => false,
        }
    }

    fn known(&self) -> RwLockReadGuard<'_, KnownEpochs> {
        read(&self.0.known)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, KnownEpochs> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Anybody may have written there: what names nothing is nothing, and what is no hash at all is removed.
async fn read_hash(connection: &mut RedisConnection) -> RedisResult<HashMap<PurgeScope, u64>> {
    let name = redis_name(HASH);
    let asked = redis::cmd("HGETALL").arg(&name).to_owned();
    let fields = match asked.query_async::<HashMap<Vec<u8>, Vec<u8>>>(connection).await {
        Err(error) if error.code() == Some("WRONGTYPE") => {
            tracing::warn!("what stands for purges in Redis is none of ours and is removed");
            redis::cmd("DEL").arg(&name).to_owned().query_async::<i64>(connection).await?;
            HashMap::new()
        }
        fields => fields?,
    };
    let known = fields.into_iter().filter_map(|(scope, epoch)| {
        let scope = std::str::from_utf8(&scope).ok()?.parse().ok()?;
        Some((scope, std::str::from_utf8(&epoch).ok()?.parse().ok()?))
    });
    Ok(known.collect())
}

fn redis_name(name: &str) -> String {
    [PREFIX, name].concat()
}

fn raise(scope: &PurgeScope, epoch: u64, rises: u8) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(RAISE).arg(1).arg(redis_name(HASH));
    command.arg(scope.to_string()).arg(epoch).arg(rises).arg(SCOPES_MAX).arg(CHANNEL);
    command
}

fn read(known: &RwLock<KnownEpochs>) -> RwLockReadGuard<'_, KnownEpochs> {
    // Every change under the lock is complete in itself, so a poisoned state is still a good one.
    known.read().unwrap_or_else(PoisonError::into_inner)
}
