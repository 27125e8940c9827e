//! Purging many entries at once without finding any of them: the epoch is part of every key, and a purge raises it.
//!
//! For everything, for each model, each policy version and each tenant there is one small record in Workers KV with the
//! time of its last purge. A key's epoch is the configured one plus those of what the key is about. Records are written
//! without reading them first, so that no purge can undo another (docs/decisions/0014-purge-by-epoch.md).
//!
//! The isolate holds the records it needs for [`HELD_MS`], reads them behind an answer when they have aged, and lets
//! callers wait only where it knows nothing or what it knows is older than [`TRUSTED_MS`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::future::join_all;
use lede_shared::api_key::TenantId;
use lede_shared::clock::UnixMillis;
use lede_shared::policy::POLICY;
use lede_shared::purge::PurgeScope;
use serde::{Deserialize, Serialize};

use super::workers_kv::{READ_CACHE_TTL_S, READ_TIMEOUT_MS, WRITE_TIMEOUT_MS};
use crate::bindings::{BindingError, within};
use crate::context::RequestContext;

/// How long the records are used without asking.
const HELD_MS: u64 = 30_000;
/// How long they are used at all while they are asked for behind the answer.
const TRUSTED_MS: u64 = 60_000;
/// When to ask again after a read that failed.
const RETRY_MS: u64 = 5_000;
/// A purge holds in every isolate after this: until the data centres' own copies of the record are gone, and then until
/// the isolates' are.
pub(crate) const HOLDS_EVERYWHERE_AFTER_MS: u64 = READ_CACHE_TTL_S * 1_000 + TRUSTED_MS;
/// Records outlive every entry that could be found again without them: entries live 60 days at most.
const RECORD_TTL_S: u64 = 365 * 86_400;
const RECORD_VERSION: u32 = 1;
/// Tenants with entries of their own whose records are held at once.
const TENANTS_MAX: usize = 1_024;

/// Whose records are held together, because they are needed together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Everybody,
    Tenant(TenantId),
}

/// A record as it lies in Workers KV.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    epoch_ms: UnixMillis,
}

/// Records of one [`Whose`].
#[derive(Clone, Debug)]
struct Held {
    /// In the order of [`scopes`].
    epochs: Vec<u64>,
    held_until: UnixMillis,
    trusted_until: UnixMillis,
}

/// What the isolate knows of purges. An epoch in it never falls.
#[derive(Debug, Default)]
pub(super) struct EpochMemory(RefCell<BTreeMap<Whose, Held>>);

/// What to do for an epoch.
enum Known {
    /// Use it.
    Young(u64),
    /// Use it, and ask behind the answer.
    Aged(u64),
    /// Ask first.
    Not,
}

/// The epoch of keys for `tenant`'s own entries, or for those that all share.
pub(super) async fn effective(context: &Rc<RequestContext>, tenant: Option<&TenantId>) -> u64 {
    let mut epoch = context.config.cache_epoch.saturating_add(current(context, Whose::Everybody).await);
    if let Some(tenant) = tenant {
        epoch = epoch.saturating_add(current(context, Whose::Tenant(tenant.clone())).await);
    }
    epoch
}

/// The same from what is known already, for what follows a look-up.
pub(super) fn known(context: &RequestContext, tenant: Option<&TenantId>) -> u64 {
    let memory = memory(context);
    let own = tenant.map_or(0, |tenant| memory.sum(&Whose::Tenant(tenant.clone())));
    context.config.cache_epoch.saturating_add(memory.sum(&Whose::Everybody)).saturating_add(own)
}

/// Purges `scope` from now on, and says under which epoch it goes on.
///
/// # Errors
/// When the record could not be written; nothing was purged then.
pub(crate) async fn purge(context: &RequestContext, scope: &PurgeScope) -> Result<UnixMillis, BindingError> {
    let known = memory(context).of(context, scope);
    let epoch_ms = context.now().max(UnixMillis(known + 1));
    let operation = "writing a purge to Workers KV";
    let failed = |cause: String| BindingError { operation, cause };
    let record = serde_json::to_vec(&Record { version: RECORD_VERSION, epoch_ms });
    let record = record.map_err(|error| failed(error.to_string()))?;
    let name = record_name(scope);
    let writing = context.bindings.captions.write(&name, &record, RECORD_TTL_S);
    let written = within(context.bindings.clock.as_ref(), WRITE_TIMEOUT_MS, writing).await;
    written.unwrap_or_else(|| Err(failed("no answer in time".to_owned())))?;
    memory(context).raise(context, scope, epoch_ms.0);
    Ok(epoch_ms)
}

async fn current(context: &Rc<RequestContext>, whose: Whose) -> u64 {
    match memory(context).look_up(&whose, context.now()) {
        Known::Young(epoch) => epoch,
        Known::Aged(epoch) => {
            let behind = Rc::clone(context);
            context.behind(async move { read(&behind, &whose).await });
            epoch
        }
        Known::Not => {
            read(context, &whose).await;
            memory(context).sum(&whose)
        }
    }
}

fn memory(context: &RequestContext) -> &EpochMemory {
    &context.bindings.isolate.response_cache.epochs
}

/// Reads the records and remembers them. Where one cannot be read, what is known of it stays.
async fn read(context: &RequestContext, whose: &Whose) {
    let scopes = scopes(context, whose);
    let records = join_all(scopes.iter().map(|scope| read_one(context, scope))).await;
    let failure = records.iter().find_map(|record| record.as_ref().err());
    if let Some(error) = failure {
        context.warn("epochs_unreadable", &error.to_string());
    }
    let epochs = records.iter().map(|record| *record.as_ref().unwrap_or(&0));
    let held_for_ms = if failure.is_some() { RETRY_MS } else { HELD_MS };
    memory(context).remember(whose, epochs, (context.now(), held_for_ms));
}

async fn read_one(context: &RequestContext, scope: &PurgeScope) -> Result<u64, BindingError> {
    let operation = "reading a purge from Workers KV";
    let name = record_name(scope);
    let reading = context.bindings.captions.read(&name, READ_CACHE_TTL_S);
    let read = within(context.bindings.clock.as_ref(), READ_TIMEOUT_MS, reading).await;
    let Some(bytes) =
        read.unwrap_or_else(|| Err(BindingError { operation, cause: "no answer in time".to_owned() }))?
    else {
        return Ok(0);
    };
    let record: Option<Record> = serde_json::from_slice(&bytes).ok();
    let record = record.filter(|record| record.version == RECORD_VERSION);
    let unreadable = || BindingError { operation, cause: "the record is not of this version".to_owned() };
    record.map(|record| record.epoch_ms.0).ok_or_else(unreadable)
}

fn scopes(context: &RequestContext, whose: &Whose) -> Vec<PurgeScope> {
    match whose {
        Whose::Everybody => {
            let models = context.config.models.ids().into_iter().map(|id| PurgeScope::Model(id.to_owned()));
            let policy = PurgeScope::Policy(POLICY.version.to_owned());
            std::iter::once(PurgeScope::All).chain(models).chain([policy]).collect()
        }
        Whose::Tenant(tenant) => vec![PurgeScope::Tenant(tenant.clone())],
    }
}

fn record_name(scope: &PurgeScope) -> String {
    let (kind, name) = scope.named();
    ["epoch:", kind, ":", name.unwrap_or_default()].concat()
}

impl EpochMemory {
    /// What is known at `now`. Whoever is told that it has aged is the one who asks; others go on with it meanwhile.
    fn look_up(&self, whose: &Whose, now: UnixMillis) -> Known {
        let mut memory = self.0.borrow_mut();
        let Some(held) = memory.get_mut(whose).filter(|held| now < held.trusted_until) else { return Known::Not };
        let epoch = held.sum();
        if now < held.held_until {
            return Known::Young(epoch);
        }
        held.held_until = now.plus(RETRY_MS);
        Known::Aged(epoch)
    }

    fn sum(&self, whose: &Whose) -> u64 {
        self.0.borrow().get(whose).map_or(0, Held::sum)
    }

    /// Takes over what was read, where it is not older than what is known: data centres may still hold an old record.
    fn remember(&self, whose: &Whose, epochs: impl Iterator<Item = u64>, (now, held_for_ms): (UnixMillis, u64)) {
        let mut memory = self.0.borrow_mut();
        let before = memory.get(whose).map(|held| held.epochs.clone()).unwrap_or_default();
        if before.is_empty() && memory.len() > TENANTS_MAX {
            memory.retain(|whose, held| *whose == Whose::Everybody || now < held.trusted_until);
            // All of them in use: somebody's are read again later.
            if memory.len() > TENANTS_MAX {
                memory.pop_last();
            }
        }
        let before = before.into_iter().chain(std::iter::repeat(0));
        let epochs = epochs.zip(before).map(|(read, known)| read.max(known)).collect();
        let held = Held { epochs, held_until: now.plus(held_for_ms), trusted_until: now.plus(TRUSTED_MS) };
        memory.insert(whose.clone(), held);
    }

    /// The epoch of `scope` alone, 0 where it is not known.
    fn of(&self, context: &RequestContext, scope: &PurgeScope) -> u64 {
        let memory = self.0.borrow();
        let known = |(whose, held): (&Whose, &Held)| {
            let index = scopes(context, whose).iter().position(|known| known == scope)?;
            held.epochs.get(index).copied()
        };
        memory.iter().find_map(known).unwrap_or(0)
    }

    /// This isolate need not wait to hear of its own purge.
    fn raise(&self, context: &RequestContext, scope: &PurgeScope, epoch: u64) {
        for (whose, held) in self.0.borrow_mut().iter_mut() {
            let scopes = scopes(context, whose);
            if let Some(known) =
                scopes.iter().position(|known| known == scope).and_then(|index| held.epochs.get_mut(index))
            {
                *known = epoch.max(*known);
            }
        }
    }
}

impl Held {
    fn sum(&self) -> u64 {
        self.epochs.iter().fold(0, |sum, epoch| sum.saturating_add(*epoch))
    }
}
