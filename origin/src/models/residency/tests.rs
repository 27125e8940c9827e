use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What may happen to a model, by its number.
#[derive(Clone, Copy, Debug)]
enum Event {
    Want(usize),
    BringIfFree(usize),
    Arrived(usize, u64),
    DidNotArrive(usize),
    Gone(usize),
    GiveBack(usize),
    Hold(usize),
    Unload(usize),
    Pin(usize, bool),
}

const MODELS: usize = 6;

fn any_event() -> impl Strategy<Value = Event> {
    let model = 0..MODELS;
    prop_oneof![
        4 => model.clone().prop_map(Event::Want),
        1 => model.clone().prop_map(Event::BringIfFree),
        4 => (model.clone(), 1u64..60).prop_map(|(model, bytes)| Event::Arrived(model, bytes)),
        1 => model.clone().prop_map(Event::DidNotArrive),
        4 => model.clone().prop_map(Event::Gone),
        3 => model.clone().prop_map(Event::GiveBack),
        1 => model.clone().prop_map(Event::Hold),
        1 => model.clone().prop_map(Event::Unload),
        1 => (model, any::<bool>()).prop_map(|(model, is_pinned)| Event::Pin(model, is_pinned)),
    ]
}

fn name(model: usize) -> String {
    format!("m{model}")
}

fn with_models(bytes_max: u64, sizes: &[u64]) -> Residency {
    let mut residency = Residency::new(bytes_max);
    for (model, bytes) in sizes.iter().enumerate() {
        assert!(residency.add(&name(model), *bytes, false));
    }
    residency
}

/// Brings a model that there is room for, and has it stay.
fn brought(residency: &mut Residency, model: usize, bytes: u64) {
    let Wanted::Load { unload } = residency.want(&name(model)) else { panic!("there is no room for {model}") };
    unload.iter().for_each(|gone| residency.gone(gone));
    assert!(matches!(residency.arrived(&name(model), bytes), Arrival::Stays { .. }));
}

/// The bookkeeping beside a plain one that only watches.
struct Watched {
    residency: Residency,
    users: [usize; MODELS],
    /// The order of wishes, the latest last.
    wished: Vec<usize>,
}

impl Watched {
    fn standings(&self) -> Vec<Standing> {
        (0..MODELS).map(|model| self.residency.standing(&name(model)).unwrap()).collect()
    }

    /// Does what an event says where it can happen. A device says of nobody that it has arrived who is not on the way.
    fn happen(&mut self, event: Event) -> Result<(), TestCaseError> {
        let before = self.standings();
        let sent_away = match event {
            Event::Want(model) => {
                self.wished.retain(|wished| *wished != model);
                let wanted = self.residency.want(&name(model));
                // The latest wish of all is not among those that could go.
                let away = self.check_wanted(model, &before, wanted)?;
                self.wished.push(model);
                away
            }
            Event::BringIfFree(model) => {
                let others: u64 = self.taken(&before);
                let is_brought = self.residency.bring_if_free(&name(model));
                let fits = others + before[model].bytes <= self.residency.bytes_max();
                prop_assert_eq!(is_brought, before[model].place == Place::Absent && fits);
                Vec::new()
            }
            Event::Arrived(model, bytes) if before[model].place == Place::Arriving => {
                self.check_arrived(model, &before, bytes)?
            }
            Event::Arrived(..) => Vec::new(),
            Event::DidNotArrive(model) => {
                self.residency.did_not_arrive(&name(model));
                Vec::new()
            }
            Event::Gone(model) => {
                self.residency.gone(&name(model));
                Vec::new()
            }
            Event::GiveBack(model) => {
                self.residency.give_back(&name(model));
                self.users[model] = self.users[model].saturating_sub(1);
                Vec::new()
            }
            Event::Hold(model) => {
                let held = self.residency.hold(&name(model));
                self.users[model] += usize::from(held);
                prop_assert_eq!(held, matches!(before[model].place, Place::Resident { .. }));
                Vec::new()
            }
            Event::Unload(model) => {
                let outcome = self.residency.unload(&name(model));
                prop_assert_eq!(outcome.is_ok(), before[model].can_go());
                Vec::new()
            }
            Event::Pin(model, is_pinned) => {
                prop_assert!(self.residency.pin(&name(model), is_pinned));
                Vec::new()
            }
        };
        self.check_sent_away(&before, &sent_away)?;
        self.check_users()
    }

    fn taken(&self, standings: &[Standing]) -> u64 {
        standings.iter().filter(|model| model.place != Place::Absent).map(|model| model.bytes).sum()
    }

    fn check_wanted(
        &mut self,
        model: usize,
        before: &[Standing],
        wanted: Wanted,
    ) -> Result<Vec<String>, TestCaseError> {
        match wanted {
            Wanted::Resident => {
                self.users[model] += 1;
                let is_there = matches!(before[model].place, Place::Resident { .. });
                prop_assert!(is_there);
            }
            Wanted::Arriving => prop_assert_eq!(before[model].place, Place::Arriving),
            Wanted::Leaving => prop_assert_eq!(before[model].place, Place::Leaving),
            Wanted::Unknown => prop_assert!(false, "it is known"),
            Wanted::NoRoom(NoRoom { bytes, bytes_free_at_most }) => {
                prop_assert_eq!(before[model].place, Place::Absent);
                let movable: u64 = before.iter().filter(|other| other.can_go()).map(|other| other.bytes).sum();
                let free = self.residency.bytes_max().saturating_sub(self.taken(before) - movable);
                prop_assert_eq!((bytes, bytes_free_at_most), (before[model].bytes, free));
                prop_assert!(bytes > bytes_free_at_most);
            }
            Wanted::Load { unload } => {
                prop_assert_eq!(before[model].place, Place::Absent);
                let freed: u64 = bytes_of(before, &unload);
                let left = self.taken(before) - freed + before[model].bytes;
                prop_assert!(left <= self.residency.bytes_max(), "{left} bytes are left on the device");
                // Nobody goes who need not.
                let last = unload.last().map_or(0, |last| bytes_of(before, std::slice::from_ref(last)));
                prop_assert!(unload.is_empty() || left + last > self.residency.bytes_max());
                return Ok(unload);
            }
        }
        Ok(Vec::new())
    }

    fn check_arrived(
        &mut self,
        model: usize,
        before: &[Standing],
        bytes: u64,
    ) -> Result<Vec<String>, TestCaseError> {
        let arrival = self.residency.arrived(&name(model), bytes);
        let after = self.standings();
        self.users[model] = 0;
        let known = if before[model].is_measured { before[model].bytes.max(bytes) } else { bytes };
        prop_assert_eq!((after[model].bytes, after[model].is_measured), (known, true));
        match arrival {
            Arrival::Goes(_) => {
                prop_assert!(!before[model].is_pinned);
                prop_assert_eq!(after[model].place, Place::Leaving);
                Ok(Vec::new())
            }
            Arrival::Stays { unload } => {
                prop_assert_eq!(after[model].place, Place::Resident { users: 0 });
                let left = self.taken(&after) - bytes_of(&after, &unload);
                let fits = left <= self.residency.bytes_max();
                prop_assert!(fits || before[model].is_pinned, "{left} bytes are left on the device");
                Ok(unload)
            }
        }
    }

    /// Those who go could, go in the order in which they were wanted, and nobody goes in silence.
    fn check_sent_away(&self, before: &[Standing], sent_away: &[String]) -> Result<(), TestCaseError> {
        let gone: BTreeSet<String> = sent_away.iter().cloned().collect();
        for (model, standing) in before.iter().enumerate().filter(|(model, _)| gone.contains(&name(*model))) {
            prop_assert!(standing.can_go(), "{model} is pinned, in use or not there: {standing:?}");
            prop_assert_eq!(self.standings()[model].place, Place::Leaving);
        }
        let rank = |model: usize| self.wished.iter().position(|wished| *wished == model);
        let stayed = (0..MODELS).filter(|model| before[*model].can_go() && !gone.contains(&name(*model)));
        for stayed in stayed.filter(|_| !gone.is_empty()) {
            for went in (0..MODELS).filter(|model| gone.contains(&name(*model))) {
                prop_assert!(rank(went) <= rank(stayed), "{went} went before {stayed}");
            }
        }
        Ok(())
    }

    fn check_users(&mut self) -> Result<(), TestCaseError> {
        for (model, standing) in self.standings().into_iter().enumerate() {
            match standing.place {
                Place::Resident { users } => prop_assert_eq!(users, self.users[model]),
                _ => self.users[model] = 0,
            }
        }
        Ok(())
    }
}

fn bytes_of(standings: &[Standing], names: &[String]) -> u64 {
    let is_named = |model: &usize| names.contains(&name(*model));
    (0..MODELS).filter(is_named).map(|model| standings[model].bytes).sum()
}

proptest! {
    #[test]
    fn whatever_happens_the_budget_holds_and_only_those_go_who_can_the_longest_unwanted_first(
        bytes_max in 20u64..150,
        sizes in prop::collection::vec(1u64..60, MODELS),
        events in prop::collection::vec(any_event(), 1..80),
    ) {
        let residency = with_models(bytes_max, &sizes);
        let mut watched = Watched { residency, users: [0; MODELS], wished: Vec::new() };
        for event in events {
            watched.happen(event)?;
        }
        // When all have done with them and all have gone, nothing is left over.
        for model in 0..MODELS {
            let name = name(model);
            watched.residency.pin(&name, false);
            (0..watched.users[model]).for_each(|_| watched.residency.give_back(&name));
            watched.residency.did_not_arrive(&name);
            let _ = watched.residency.unload(&name);
            watched.residency.gone(&name);
        }
        prop_assert_eq!((watched.residency.bytes(), watched.residency.bytes_over()), (0, 0));
    }

    #[test]
    fn a_model_that_comes_back_needs_the_room_that_it_needed_before(
        estimate in 1u64..60, measured in 1u64..60, again in 1u64..60, cycles in 1usize..20,
    ) {
        let mut residency = with_models(60, &[estimate]);
        brought(&mut residency, 0, measured);
        let first = residency.bytes();
        for _ in 0..cycles {
            residency.unload("m0").unwrap();
            residency.gone("m0");
            prop_assert_eq!(residency.bytes(), 0);
            // A process that has given memory back to its allocator grows by less the next time.
            brought(&mut residency, 0, again.min(measured));
            prop_assert_eq!(residency.bytes(), first);
        }
    }
}

#[test]
fn the_one_that_nobody_has_wanted_for_longest_goes_and_one_in_use_does_not() {
    let mut residency = with_models(30, &[10, 10, 10, 10]);
    (0..3).for_each(|model| brought(&mut residency, model, 10));
    // The first is in use, so the second goes although it was wanted later.
    assert_eq!(residency.want("m0"), Wanted::Resident);
    assert_eq!(residency.want("m3"), Wanted::Load { unload: vec!["m1".to_owned()] });
    assert_eq!(residency.want("m1"), Wanted::Leaving);
    assert_eq!(residency.bytes(), 40, "it takes its room until it is gone");
    residency.gone("m1");
    assert_eq!((residency.bytes(), residency.bytes_over()), (30, 0));
    assert_eq!(residency.unload("m0"), Err(Stays::InUse { users: 1 }));
    assert_eq!(residency.unload("m3"), Err(Stays::NotThere));
    assert_eq!(residency.unload("m9"), Err(Stays::Unknown));
}

#[test]
fn what_cannot_fit_is_refused_with_the_room_there_could_be_and_pushes_nobody_out() {
    let mut residency = with_models(30, &[10, 10, 25]);
    (0..2).for_each(|model| brought(&mut residency, model, 10));
    residency.pin("m0", true);
    assert_eq!(residency.want("m2"), Wanted::NoRoom(NoRoom { bytes: 25, bytes_free_at_most: 20 }));
    assert_eq!(residency.bytes(), 20);
    residency.pin("m0", false);
    assert_eq!(residency.want("m2"), Wanted::Load { unload: vec!["m0".to_owned(), "m1".to_owned()] });
}

#[test]
fn one_that_turns_out_too_large_goes_again_and_is_not_tried_in_vain_after() {
    let mut residency = with_models(30, &[10, 5]);
    brought(&mut residency, 0, 10);
    residency.pin("m0", true);
    assert_eq!(residency.want("m1"), Wanted::Load { unload: Vec::new() });
    let no_room = NoRoom { bytes: 24, bytes_free_at_most: 20 };
    assert_eq!(residency.arrived("m1", 24), Arrival::Goes(no_room));
    residency.gone("m1");
    assert_eq!(residency.want("m1"), Wanted::NoRoom(no_room));
    assert!(!residency.bring_if_free("m1"));
}

#[test]
fn what_must_be_there_is_brought_over_the_budget_and_the_book_says_so() {
    let mut residency = with_models(30, &[40, 10]);
    residency.pin("m0", true);
    residency.bring_anyway("m0");
    assert_eq!(residency.arrived("m0", 45), Arrival::Stays { unload: Vec::new() });
    assert_eq!(residency.bytes_over(), 15);
    assert!(matches!(residency.want("m1"), Wanted::NoRoom(_)));
}

#[test]
fn there_is_an_end_to_the_models_that_are_known() {
    let mut residency = Residency::new(1);
    for model in 0..MODELS_MAX {
        assert!(residency.add(&name(model), 1, false));
    }
    assert!(!residency.add("one more", 1, false));
    assert!(residency.add("m0", 1, false), "it is known already");
    assert_eq!(residency.want("one more"), Wanted::Unknown);
}
