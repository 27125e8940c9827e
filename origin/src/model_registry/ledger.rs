//! What is known of each model: where it stands, its handle while it is there, and how it has fared.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{LocalModel, ModelSource, Refusal};
use crate::models::residency::{Arrival, Place, Residency, Standing, Stays, Wanted};

/// After the first failure a model is tried again so soon, after each more in twice the time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// And at the latest after so long.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// What came of asking for a model.
#[derive(Debug)]
pub(super) enum Found {
    /// It is there, and in use from now on.
    There(LocalModel),
    /// It is to be loaded once those named are gone.
    ToBeLoaded(Vec<String>),
    /// It is on its way, or cannot come now.
    Away,
}

/// How the last trial of a model went.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) at: Instant,
    pub(super) took: Duration,
    /// Why it failed, if it did.
    pub(super) failure: Option<String>,
}

/// What is known of a model besides its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// While it is there. The primary's is there from the beginning.
    pub(super) local: Option<LocalModel>,
    /// When it was there last time anew, or was used last.
    pub(super) active_at: Option<Instant>,
    pub(super) used_at: Option<Instant>,
    pub(super) loads: u64,
    pub(super) unloads: u64,
    pub(super) failures: u64,
    failures_in_a_row: u32,
    pub(super) last_failure: Option<String>,
    /// It is not tried again before.
    pub(super) retry_at: Option<Instant>,
    /// An operator has unloaded it: it comes back when somebody asks for it.
    is_sent_away: bool,
    pub(super) trial: Option<Trial>,
    pub(super) trials_failed: u64,
}

/// All models.
#[derive(Debug)]
pub(super) struct Ledger {
    residency: Residency,
    entries: BTreeMap<String, Entry>,
}

impl Ledger {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { residency: Residency::new(bytes_max), entries: BTreeMap::new() }
    }

    /// It is on its way, and stays whatever the budget says.
    pub(super) fn add_primary(&mut self, name: &str, bytes: u64, local: &LocalModel) {
        self.residency.add(name, bytes, true);
        self.residency.bring_anyway(name);
        self.entries.insert(name.to_owned(), Entry { local: Some(local.clone()), ..Entry::default() });
    }

    pub(super) fn add(&mut self, source: &ModelSource) {
        self.residency.add(&source.name, source.bytes, source.is_pinned);
        self.entries.insert(source.name.clone(), Entry::default());
    }

    /// Somebody asks for a model. What nobody waits for (`is_behind`) pushes nobody out.
    pub(super) fn want(&mut self, name: &str, is_behind: bool, now: Instant) -> Found {
        let Some(entry) = self.entries.get_mut(name) else { return Found::Away };
        let is_absent = self.residency.standing(name).is_some_and(|model| model.place == Place::Absent);
        if is_absent && entry.retry_at.is_some_and(|retry_at| now < retry_at) {
            return Found::Away;
        }
        if is_absent && is_behind {
            let is_brought = !entry.is_sent_away && self.residency.bring_if_free(name);
            return if is_brought { Found::ToBeLoaded(Vec::new()) } else { Found::Away };
        }
        match self.residency.want(name) {
            Wanted::Resident => match &entry.local {
                Some(local) => {
                    (entry.used_at, entry.active_at) = (Some(now), Some(now));
                    Found::There(local.clone())
                }
                None => Found::Away,
            },
            Wanted::Load { unload } => {
                entry.is_sent_away = false;
                Found::ToBeLoaded(unload)
            }
            Wanted::NoRoom(no_room) => {
                // It need not be worked out anew, and told, for every request.
                entry.fail(no_room.to_string(), now + RETRY_FIRST);
                tracing::warn!(model = name, %no_room, "there is no room for a model");
                Found::Away
            }
            Wanted::Arriving | Wanted::Leaving | Wanted::Unknown => Found::Away,
        }
    }

    /// An operator wants it there, whatever failed before. Who has to go for it; nothing when it is there or on its way.
    pub(super) fn load(&mut self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let entry = self.entries.get_mut(name).ok_or(Refusal::Unknown)?;
        (entry.retry_at, entry.is_sent_away) = (None, false);
        match self.residency.want(name) {
            Wanted::Resident => {
                self.residency.give_back(name);
                Ok(None)
            }
            Wanted::Arriving => Ok(None),
            Wanted::Load { unload } => Ok(Some(unload)),
            Wanted::Leaving => Err(Refusal::Leaving),
            Wanted::NoRoom(no_room) => Err(no_room.into()),
            Wanted::Unknown => Err(Refusal::Unknown),
        }
    }

    /// An operator wants it gone.
    pub(super) fn unload(&mut self, name: &str) -> Result<(), Stays> {
        self.residency.unload(name)?;
        if let Some(entry) = self.entries.get_mut(name) {
            entry.is_sent_away = true;
        }
        Ok(())
    }

    pub(super) fn pin(&mut self, name: &str, is_pinned: bool) -> bool {
        self.residency.pin(name, is_pinned)
    }

    /// The next that can be brought without anybody having to go: the pinned ones first. It is on its way from now on.
    pub(super) fn bring_next(&mut self, now: Instant) -> Option<String> {
        let may_come = |entry: &Entry| {
            entry.local.is_none() && !entry.is_sent_away && entry.retry_at.is_none_or(|retry_at| now >= retry_at)
        };
        let mut names: Vec<&String> =
            self.entries.iter().filter(|(_, entry)| may_come(entry)).map(|(name, _)| name).collect();
        names.sort_by_key(|name| self.residency.standing(name).is_none_or(|model| !model.is_pinned));
        let residency = &mut self.residency;
        names.into_iter().find(|name| residency.bring_if_free(name)).cloned()
    }

    /// It is there, and takes `bytes`.
    pub(super) fn arrived(&mut self, name: &str, local: LocalModel, bytes: u64) -> Arrival {
        let arrival = self.residency.arrived(name, bytes);
        if let Some(entry) = self.entries.get_mut(name) {
            entry.local = Some(local);
            entry.loads += 1;
            (entry.failures_in_a_row, entry.retry_at) = (0, None);
            entry.active_at = Some(Instant::now());
            if let Arrival::Goes(no_room) = &arrival {
                entry.fail(no_room.to_string(), Instant::now() + RETRY_FIRST);
            }
        }
        arrival
    }

    /// It could not be brought.
    pub(super) fn did_not_arrive(&mut self, name: &str, reason: String, now: Instant) {
        self.residency.did_not_arrive(name);
        if let Some(entry) = self.entries.get_mut(name) {
            let wait = RETRY_FIRST.saturating_mul(1 << entry.failures_in_a_row.min(16)).min(RETRY_MAX);
            entry.failures_in_a_row += 1;
            entry.fail(reason, now + wait);
        }
    }

    /// Its handle, which is nobody's from now on but the one who drops it.
    pub(super) fn take(&mut self, name: &str) -> Option<LocalModel> {
        self.entries.get_mut(name)?.local.take()
    }

    /// Nothing of it is on the device any more.
    pub(super) fn gone(&mut self, name: &str) {
        self.residency.gone(name);
        if let Some(entry) = self.entries.get_mut(name) {
            entry.unloads += 1;
        }
    }

    /// Somebody has done with a model: `used_at`, if it was used at all.
    pub(super) fn give_back(&mut self, name: &str, used_at: Option<Instant>) {
        self.residency.give_back(name);
        if let (Some(entry), Some(_)) = (self.entries.get_mut(name), used_at) {
            (entry.used_at, entry.active_at) = (used_at, used_at);
        }
    }

    /// Of those that have lain idle for `idle_for` and were not tried meanwhile the one whose last trial is longest ago. It is held
    /// from now on.
    pub(super) fn hold_idle(&mut self, idle_for: Duration, now: Instant) -> Option<(String, LocalModel)> {
        let is_long_ago = |at: Option<Instant>| at.is_none_or(|at| now.duration_since(at) >= idle_for);
        let is_due = |entry: &Entry| {
            is_long_ago(entry.active_at) && is_long_ago(entry.trial.as_ref().map(|trial| trial.at))
        };
        let unused = |name: &str| {
            self.residency.standing(name).is_some_and(|model| model.place == Place::Resident { users: 0 })
        };
        let due = self.entries.iter().filter(|(name, entry)| is_due(entry) && unused(name));
        // Each in its turn.
        let next = due.min_by_key(|(_, entry)| entry.trial.as_ref().map(|trial| trial.at));
        let (name, local) = next.and_then(|(name, entry)| Some((name.clone(), entry.local.clone()?)))?;
        self.residency.hold(&name).then_some((name, local))
    }

    pub(super) fn tried(&mut self, name: &str, trial: Trial) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.trials_failed += u64::from(trial.failure.is_some());
            entry.trial = Some(trial);
        }
    }

    /// Has nobody used any of them for so long, nor does anybody now?
    pub(super) fn is_idle_for(&self, idle_for: Duration, now: Instant) -> bool {
        self.entries.iter().all(|(name, entry)| {
            let is_in_use = self.standing(name).is_some_and(|model| model.users() > 0);
            !is_in_use && entry.active_at.is_none_or(|at| now.duration_since(at) >= idle_for)
        })
    }

    /// The model, if it is there.
    pub(super) fn loaded(&self, name: &str) -> Option<LocalModel> {
        self.entries.get(name).filter(|_| self.has_arrived(name))?.local.clone()
    }

    /// All that are there, by name.
    pub(super) fn all_loaded(&self) -> Vec<(String, LocalModel)> {
        let there = self.entries.keys().filter_map(|name| Some((name.clone(), self.loaded(name)?)));
        there.collect()
    }

    pub(super) fn has_arrived(&self, name: &str) -> bool {
        self.standing(name).is_some_and(|model| matches!(model.place, Place::Resident { .. }))
    }

    pub(super) fn standing(&self, name: &str) -> Option<Standing> {
        self.residency.standing(name)
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(super) const fn residency(&self) -> &Residency {
        &self.residency
    }
}

impl Entry {
    fn fail(&mut self, reason: String, retry_at: Instant) {
        self.failures += 1;
        (self.last_failure, self.retry_at) = (Some(reason), Some(retry_at));
    }
}
