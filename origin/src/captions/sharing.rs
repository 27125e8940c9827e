//! What origins have in common, and how they tell each other.

use lede_shared::api::ValidRequest;
use lede_shared::cache_key::CacheKey;
use lede_shared::purge::PurgeScope;
use tokio::task::AbortHandle;

use super::epochs::{Epochs, Purged};
use super::leading::Made;
use super::{Asking, Captions, Inner};
use crate::cache::TieredCache;
use crate::cache::lease::{Lease, Leases, Turn};
use crate::redis_link::RedisLink;

/// What origins have in common: epochs of purges, and where there is a Redis the leases of what is being made.
#[derive(Debug)]
pub struct Sharing {
    pub(super) epochs: Epochs,
    link: Option<RedisLink>,
    leases: Option<Leases>,
    hearing: Option<AbortHandle>,
}

impl Sharing {
    /// One origin alone.
    #[must_use]
    pub const fn alone(epochs: Epochs) -> Self {
        Self { epochs, link: None, leases: None, hearing: None }
    }

    /// One of several that share the Redis of `link`. What they make is worth waiting for only where they find it again:
    /// `has_common_cold` says whether the cold tier is there, too. Needs a tokio runtime.
    #[must_use]
    pub fn over(link: RedisLink, epochs: Epochs, cache: &TieredCache, has_common_cold: bool) -> Self {
        let leases = has_common_cold.then(|| Leases::new(link.clone()));
        let (cache, heard, way) = (cache.clone(), epochs.clone(), link.clone());
        let hearing = async move { heard.listen(way, |key| cache.forget_in_memory(&key)).await };
        let hearing = Some(tokio::spawn(hearing).abort_handle());
        Self { epochs, link: Some(link), leases, hearing }
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        if let Some(hearing) = &self.hearing {
            hearing.abort();
        }
    }
}

impl Captions {
    /// From now on nothing that was kept before is served that `scope` is about: here at once, at the other origins as soon
    /// as they are told. Nothing is looked for, and nothing deleted.
    pub async fn purge(&self, scope: &PurgeScope) -> Purged {
        self.0.sharing.epochs.purge(scope, self.0.sharing.link.as_ref()).await
    }

    /// Forgets one answer, here and at the other origins. False when they could not be told: they may hold it in memory
    /// until it expires there. Who is away for less than an hour hears of it on coming back.
    pub async fn invalidate(&self, key: CacheKey) -> bool {
        self.0.cache.invalidate(&key).await;
        let sharing = &self.0.sharing;
        let Some(link) = &sharing.link else { return true };
        let told = sharing.epochs.tell_to_drop(key, link).await;
        if let Err(fault) = told {
            tracing::warn!(%fault, "other origins could not be told to drop an entry");
        }
        told.is_ok()
    }
}

/// Who makes an answer.
pub(super) enum Maker {
    /// This origin, with the lease where one could be had.
    Us(Option<Lease>),
    /// Another has made it meanwhile.
    Another(Made),
}

impl Inner {
    /// Waits until this origin is the one to make the answer, or another has made it. Where nobody can tell, every origin
    /// makes it for itself.
    pub(super) async fn maker(&self, request: &ValidRequest, key: &CacheKey, asking: Asking) -> Maker {
        let leases = self.sharing.leases.as_ref().filter(|_| !asking.cache_control.no_store);
        let Some(leases) = leases else { return Maker::Us(None) };
        loop {
            match leases.take(key).await {
                // Whoever had it before may have finished since we looked.
                Turn::Ours(lease) => match self.kept_cold(request, key, asking).await {
                    Some(made) => return Maker::Another(made),
                    None => return Maker::Us(Some(lease)),
                },
                Turn::Unknown => return Maker::Us(None),
                Turn::Elsewhere => {
                    if !leases.ended(key, asking.deadline).await {
                        return Maker::Us(None);
                    }
                    if let Some(made) = self.kept_cold(request, key, asking).await {
                        return Maker::Another(made);
                    }
                }
            }
        }
    }

    /// Gives up the lease once others can find what was made, behind the answer.
    pub(super) fn release(&self, lease: Lease) {
        let cache = self.cache.clone();
        tokio::spawn(async move {
            cache.written().await;
            lease.release().await;
        });
    }
}
