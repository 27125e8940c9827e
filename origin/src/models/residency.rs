//! Which models are on a device: a budget of bytes, and who goes when another is wanted. Pure bookkeeping: no device, no
//! clock, no thread.
//!
//! Nobody goes who is in use, pinned, or on the way in. Of the others the one that has not been wanted for longest goes
//! first. Whoever is on the way out takes its room until it is gone.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

/// Models that may share a device. Named so that a mistaken configuration cannot grow without bound.
pub const MODELS_MAX: usize = 64;

/// Where a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not on the device.
    Absent,
    /// On the way in.
    Arriving,
    /// On the device.
    Resident {
        /// Those who use it now.
        users: usize,
    },
    /// On the way out.
    Leaving,
}

/// What is known of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is.
    pub place: Place,
    /// What it takes, or would.
    pub bytes: u64,
    /// Has that been measured? Else it is what its files say.
    pub is_measured: bool,
    /// Does it stay once it is there?
    pub is_pinned: bool,
    /// Greater when it was wanted later; 0 when it never was.
    wanted_at: u64,
}

/// What became of a model that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is there; give it back with [`Residency::give_back`].
    Resident,
    /// Somebody is bringing it.
    Arriving,
    /// It is on its way out, and cannot be brought before it is gone.
    Leaving,
    /// It is to be brought, once those named are gone ([`Residency::gone`]).
    Load {
        /// The one that has not been wanted for longest first.
        unload: Vec<String>,
    },
    /// It does not fit beside those that cannot go now.
    NoRoom(NoRoom),
    /// No model goes by that name.
    Unknown,
}

/// What is wanted does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it takes {bytes} bytes, and at most {bytes_free_at_most} can be freed for it now")]
pub struct NoRoom {
    /// What it needs.
    pub bytes: u64,
    /// What there is at most, were everybody gone who can go.
    pub bytes_free_at_most: u64,
}

/// What became of a model that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It stays. Those named have to go because it takes more than was thought.
    Stays {
        /// The one that has not been wanted for longest first.
        unload: Vec<String>,
    },
    /// It takes so much more than was thought that it has to go again: it is leaving.
    Goes(NoRoom),
}

/// Why a model cannot be unloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    /// There is none of that name.
    #[error("no model goes by that name")]
    Unknown,
    /// It is not there, or not yet, or no longer.
    #[error("it is not loaded")]
    NotThere,
    /// It is pinned.
    #[error("it is pinned")]
    Pinned,
    /// It is in use.
    #[error("it is in use by {users}")]
    InUse {
        /// Those who use it now.
        users: usize,
    },
}

/// Who is on a device, and who may be.
#[derive(Debug)]
pub struct Residency {
    bytes_max: u64,
    /// Rises with every wish.
    wishes: u64,
    models: BTreeMap<String, Standing>,
}

impl Residency {
    /// A device with room for `bytes_max`, and nobody there.
    #[must_use]
    pub const fn new(bytes_max: u64) -> Self {
        Self { bytes_max, wishes: 0, models: BTreeMap::new() }
    }

    /// Makes a model known, with what its files say of its size. False when there are [`MODELS_MAX`] already.
    pub fn add(&mut self, name: &str, bytes: u64, is_pinned: bool) -> bool {
        let has_room = self.models.len() < MODELS_MAX || self.models.contains_key(name);
        if has_room {
            let absent = Standing { place: Place::Absent, bytes, is_measured: false, is_pinned, wanted_at: 0 };
            self.models.entry(name.to_owned()).or_insert(absent);
        }
        has_room
    }

    /// Somebody wants to use a model.
    pub fn want(&mut self, name: &str) -> Wanted {
        self.wishes += 1;
        let Some(model) = self.models.get_mut(name) else { return Wanted::Unknown };
        model.wanted_at = self.wishes;
        match &mut model.place {
            Place::Resident { users } => {
                *users += 1;
                Wanted::Resident
            }
            Place::Arriving => Wanted::Arriving,
            Place::Leaving => Wanted::Leaving,
            Place::Absent => {
                let bytes = model.bytes;
                match self.make_room_beside(self.bytes(), bytes) {
                    Ok(unload) => {
                        self.set_place(name, Place::Arriving);
                        Wanted::Load { unload }
                    }
                    Err(no_room) => Wanted::NoRoom(no_room),
                }
            }
        }
    }

    /// Is an absent model to be brought although nobody has asked for it? Not where anybody had to go for it. It is no wish.
    pub fn bring_if_free(&mut self, name: &str) -> bool {
        let is_free = self.models.get(name).is_some_and(|model| {
            model.place == Place::Absent && self.bytes().saturating_add(model.bytes) <= self.bytes_max
        });
        if is_free {
            self.set_place(name, Place::Arriving);
        }
        is_free
    }

    /// An absent model is being brought whatever the budget says: nothing works without it.
    pub fn bring_anyway(&mut self, name: &str) {
        if self.models.get(name).is_some_and(|model| model.place == Place::Absent) {
            self.set_place(name, Place::Arriving);
        }
    }

    /// Uses a model that is there, though nobody wants it: it is no wish. Give it back with [`Self::give_back`].
    pub fn hold(&mut self, name: &str) -> bool {
        match self.models.get_mut(name).map(|model| &mut model.place) {
            Some(Place::Resident { users }) => {
                *users += 1;
                true
            }
            _ => false,
        }
    }

    /// It is there and takes `bytes`, as measured now; of all that it was ever found to take the most counts, since memory
    /// that was given back and taken again does not show. A pinned one stays, whatever it takes: [`Self::bytes_over`] says
    /// by how much the budget is overdrawn then.
    pub fn arrived(&mut self, name: &str, bytes: u64) -> Arrival {
        let Some(model) = self.models.get_mut(name) else { return Arrival::Stays { unload: Vec::new() } };
        model.bytes = if model.is_measured { model.bytes.max(bytes) } else { bytes };
        (model.is_measured, model.place) = (true, Place::Arriving);
        let (bytes, is_pinned) = (model.bytes, model.is_pinned);
        // It is on its way in until this is decided, so that it is not among those who could go.
        let beside = self.bytes().saturating_sub(bytes);
        let arrival = match self.make_room_beside(beside, bytes) {
            Ok(unload) => Arrival::Stays { unload },
            Err(no_room) if !is_pinned => Arrival::Goes(no_room),
            Err(_) => Arrival::Stays { unload: self.send_away(u64::MAX) },
        };
        let goes = matches!(arrival, Arrival::Goes(_));
        self.set_place(name, if goes { Place::Leaving } else { Place::Resident { users: 0 } });
        arrival
    }

    /// It could not be brought.
    pub fn did_not_arrive(&mut self, name: &str) {
        self.move_on(name, Place::Arriving);
    }

    /// It has left the device.
    pub fn gone(&mut self, name: &str) {
        self.move_on(name, Place::Leaving);
    }

    /// Somebody has done with a model.
    pub fn give_back(&mut self, name: &str) {
        if let Some(Standing { place: Place::Resident { users }, .. }) = self.models.get_mut(name) {
            *users = users.saturating_sub(1);
        }
    }

    /// Has a model leave that nobody uses.
    ///
    /// # Errors
    /// When it stays.
    pub fn unload(&mut self, name: &str) -> Result<(), Stays> {
        match self.models.get(name) {
            None => Err(Stays::Unknown),
            Some(Standing { place: Place::Resident { .. }, is_pinned: true, .. }) => Err(Stays::Pinned),
            Some(Standing { place: Place::Resident { users: 0 }, .. }) => {
                self.set_place(name, Place::Leaving);
                Ok(())
            }
            Some(Standing { place: Place::Resident { users }, .. }) => Err(Stays::InUse { users: *users }),
            Some(_) => Err(Stays::NotThere),
        }
    }

    /// Keeps a model on the device once it is there, or no longer. False when there is none of that name.
    pub fn pin(&mut self, name: &str, is_pinned: bool) -> bool {
        let Some(model) = self.models.get_mut(name) else { return false };
        model.is_pinned = is_pinned;
        true
    }

    /// What is known of a model.
    #[must_use]
    pub fn standing(&self, name: &str) -> Option<Standing> {
        self.models.get(name).copied()
    }

    /// What all may take together.
    #[must_use]
    pub const fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes of those that are there, on the way in or on the way out.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let taking = self.models.values().filter(|model| model.place != Place::Absent);
        taking.fold(0, |sum, model| sum.saturating_add(model.bytes))
    }

    /// By how much the budget is overdrawn.
    #[must_use]
    pub fn bytes_over(&self) -> u64 {
        self.bytes().saturating_sub(self.bytes_max)
    }

    /// Who goes so that `bytes` fit beside those that take `beside` now; nobody when that would not suffice.
    fn make_room_beside(&mut self, beside: u64, bytes: u64) -> Result<Vec<String>, NoRoom> {
        let movable = self.models.values().filter(|model| model.can_go());
        let staying = movable.fold(beside, |rest, model| rest.saturating_sub(model.bytes));
        let bytes_free_at_most = self.bytes_max.saturating_sub(staying);
        if bytes_free_at_most < bytes {
            return Err(NoRoom { bytes, bytes_free_at_most });
        }
        Ok(self.send_away(beside.saturating_add(bytes).saturating_sub(self.bytes_max)))
    }

    /// Sends away one after the other until so many bytes will be free, or nobody is left who can go.
    fn send_away(&mut self, mut bytes: u64) -> Vec<String> {
        let mut unload = Vec::new();
        while bytes > 0 {
            let Some((name, freed)) = self.next_to_go() else { break };
            bytes = bytes.saturating_sub(freed);
            self.set_place(&name, Place::Leaving);
            unload.push(name);
        }
        unload
    }

    fn next_to_go(&self) -> Option<(String, u64)> {
        let movable = self.models.iter().filter(|(_, model)| model.can_go());
        movable.min_by_key(|(_, model)| model.wanted_at).map(|(name, model)| (name.clone(), model.bytes))
    }

    fn move_on(&mut self, name: &str, from: Place) {
        if self.models.get(name).is_some_and(|model| model.place == from) {
            self.set_place(name, Place::Absent);
        }
    }

    fn set_place(&mut self, name: &str, place: Place) {
        if let Some(model) = self.models.get_mut(name) {
            model.place = place;
        }
    }
}

impl Standing {
    /// Those who use it now.
    #[must_use]
    pub const fn users(&self) -> usize {
        match self.place {
            Place::Resident { users } => users,
            Place::Absent | Place::Arriving | Place::Leaving => 0,
        }
    }

    fn can_go(&self) -> bool {
        !self.is_pinned && self.place == Place::Resident { users: 0 }
    }
}
