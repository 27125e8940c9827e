//! The scheduler against floods, with a clock made of numbers.

use std::time::Duration;

use proptest::prelude::*;

use super::urgency::OVERDUE_AFTER;
use super::*;

const PRIORITIES: [Priority; 4] = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];

/// Time in seconds since a moment that does not matter.
struct Clock(Instant);

impl Clock {
    fn at(&self, seconds: u64) -> Instant {
        self.0 + Duration::from_secs(seconds)
    }

    fn standing(&self, id: u64, priority: Priority, deadline: u64, arrived: u64) -> Standing {
        Standing::new(SequenceId(id), priority, self.at(deadline), self.at(arrived))
    }
}

/// Lets run who can, and tells who began and who had to make room.
fn run(scheduler: &mut Scheduler, now: Instant) -> (Vec<u64>, Vec<u64>) {
    let turns = turns(scheduler, now);
    let rested = turns.iter().filter_map(|turn| turn.instead_of).map(|id| id.0).collect();
    (turns.iter().map(|turn| turn.id.0).collect(), rested)
}

fn turns(scheduler: &mut Scheduler, now: Instant) -> Vec<Turn> {
    let mut turns = Vec::new();
    while let Some(turn) = scheduler.overdue(now).or_else(|| scheduler.next(now)) {
        if let Some(id) = turn.instead_of {
            scheduler.rest(id, now);
        }
        scheduler.start(turn.id, now);
        turns.push(turn);
    }
    turns
}

#[test]
fn the_most_urgent_goes_first_then_the_earliest_deadline_then_who_came_first() {
    let clock = Clock(Instant::now());
    let mut scheduler = Scheduler::new(16, 16);
    let asked =
        [(1, Priority::Low, 5), (2, Priority::Normal, 90), (3, Priority::Normal, 50), (4, Priority::Normal, 90)];
    asked.into_iter().for_each(|(id, priority, due)| scheduler.enqueue(clock.standing(id, priority, due, 0)));
    scheduler.enqueue(clock.standing(5, Priority::Critical, 99, 0));
    assert_eq!(run(&mut scheduler, clock.at(0)).0, [5, 3, 2, 4, 1]);
}

#[test]
fn who_waits_rises_up_to_high_and_nobody_goes_before_critical() {
    let clock = Clock(Instant::now());
    let order_after = |waited| {
        let mut scheduler = Scheduler::new(16, 1);
        scheduler.enqueue(clock.standing(1, Priority::Low, 500, 0));
        PRIORITIES.iter().zip(2..).for_each(|(priority, id)| {
            scheduler.enqueue(clock.standing(id, *priority, 900, waited));
        });
        let mut order = Vec::new();
        while let Some(turn) = scheduler.next(clock.at(waited)) {
            scheduler.leave(turn.id);
            order.push(turn.id.0);
        }
        order
    };
    assert_eq!(order_after(4), [5, 4, 3, 1, 2]);
    assert_eq!(order_after(5), [5, 4, 1, 3, 2]);
    assert_eq!(order_after(10), [5, 1, 4, 3, 2]);
    assert_eq!(order_after(500), [5, 1, 4, 3, 2]);
}

#[test]
fn who_is_two_priorities_above_takes_the_place_of_the_least_urgent() {
    let clock = Clock(Instant::now());
    for (waits, runs, is_taken) in [
        (Priority::Critical, Priority::Low, true),
        (Priority::Critical, Priority::Normal, true),
        (Priority::Critical, Priority::High, false),
        (Priority::High, Priority::Low, true),
        (Priority::High, Priority::Normal, false),
        (Priority::Normal, Priority::Low, false),
    ] {
        let mut scheduler = Scheduler::new(4, 2);
        scheduler.enqueue(clock.standing(1, Priority::Critical, 9, 0));
        scheduler.enqueue(clock.standing(2, runs, 9, 0));
        run(&mut scheduler, clock.at(0));
        scheduler.enqueue(clock.standing(3, waits, 9, 1));
        let expected = if is_taken { (vec![3], vec![2]) } else { (vec![], vec![]) };
        assert_eq!(run(&mut scheduler, clock.at(1)), expected, "{waits:?} over {runs:?}");
    }
}

#[test]
fn those_two_priorities_below_the_highest_may_be_left_out_but_one_of_them_not_for_ever() {
    let clock = Clock(Instant::now());
    let mut scheduler = Scheduler::new(9, 9);
    let asked = [(1, Priority::Low), (2, Priority::Normal), (3, Priority::High), (4, Priority::Low)];
    asked.into_iter().for_each(|(id, priority)| scheduler.enqueue(clock.standing(id, priority, 900, 0)));
    run(&mut scheduler, clock.at(0));
    let outranked = |scheduler: &Scheduler, at| -> Vec<u64> {
        let mut ids: Vec<u64> = outranked(scheduler.running(), clock.at(at)).into_iter().map(|id| id.0).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(outranked(&scheduler, 1), [1, 4], "high over low");
    scheduler.enqueue(clock.standing(5, Priority::Critical, 900, 1));
    run(&mut scheduler, clock.at(1));
    assert_eq!(outranked(&scheduler, 1), [1, 2, 4], "critical over all but high");
    assert_eq!(outranked(&scheduler, OVERDUE_AFTER.as_secs()), [2, 4], "who came first is due");
    scheduler.leave(SequenceId(1));
    scheduler.leave(SequenceId(5));
    scheduler.leave(SequenceId(3));
    assert_eq!(outranked(&scheduler, 1), [0; 0], "nobody is above");
}

#[test]
fn age_gives_a_turn_but_takes_nobody_s_place() {
    let clock = Clock(Instant::now());
    let mut scheduler = Scheduler::new(4, 1);
    scheduler.enqueue(clock.standing(1, Priority::Low, 900, 0));
    run(&mut scheduler, clock.at(0));
    scheduler.enqueue(clock.standing(2, Priority::Low, 900, 0));
    assert_eq!(run(&mut scheduler, clock.at(300)), (vec![], vec![]));
}

#[test]
fn the_place_of_the_overdue_is_taken_from_nobody() {
    let clock = Clock(Instant::now());
    let mut scheduler = Scheduler::new(9, 2);
    scheduler.enqueue(clock.standing(1, Priority::Low, 900, 0));
    (2..4).for_each(|id| scheduler.enqueue(clock.standing(id, Priority::Critical, 900, 0)));
    assert_eq!(run(&mut scheduler, clock.at(0)).0, [2, 3]);
    let late = OVERDUE_AFTER.as_secs();
    scheduler.leave(SequenceId(2));
    scheduler.enqueue(clock.standing(4, Priority::Critical, 900, late));
    assert_eq!(run(&mut scheduler, clock.at(late)), (vec![1], vec![]));
    assert_eq!(scheduler.preemptible(Priority::Critical), None);
}

#[test]
fn the_queue_is_bounded_and_who_left_never_runs() {
    let clock = Clock(Instant::now());
    let mut scheduler = Scheduler::new(2, 1);
    (1..3).for_each(|id| scheduler.enqueue(clock.standing(id, Priority::Normal, 9, 0)));
    assert!(!scheduler.has_room());
    scheduler.leave(SequenceId(1));
    assert!(scheduler.has_room());
    assert_eq!(run(&mut scheduler, clock.at(0)).0, [2]);
}

/// Somebody comes: priority, seconds until the deadline, seconds on the device.
fn arrivals() -> impl Strategy<Value = Vec<Vec<(usize, u64, u64)>>> {
    let one = (0usize..4, 5u64..60, 1u64..9);
    prop::collection::vec(prop::collection::vec(one, 0..3), 1..150)
}

proptest! {
    #[test]
    fn whatever_comes_the_bounds_hold_and_nobody_is_overtaken_without_a_reason(
        seconds in arrivals(), running_max in 1usize..5,
    ) {
        let clock = Clock(Instant::now());
        let mut scheduler = Scheduler::new(1_000, running_max);
        let mut left = std::collections::BTreeMap::new();
        let mut names = 0u64..;
        for (second, coming) in (0u64..).zip(&seconds) {
            for (priority, due, takes) in coming {
                let id = names.next().unwrap_or_default();
                left.insert(id, *takes);
                scheduler.enqueue(clock.standing(id, PRIORITIES[*priority], second + due, second));
            }
            let now = clock.at(second);
            let turns = turns(&mut scheduler, now);
            prop_assert!(scheduler.running().len() <= running_max);
            prop_assert!(scheduler.waiting().is_empty() || scheduler.is_full(), "a place is empty while somebody waits");
            prop_assert!(scheduler.running().iter().filter(|standing| standing.is_overdue).count() <= 1);
            // Nobody who got a free place is less urgent than somebody who still waits, but for the place of the overdue.
            let came_free = |id| turns.contains(&Turn { id, instead_of: None });
            for waiting in scheduler.waiting() {
                let overtaken = scheduler.running().iter().filter(|running| {
                    came_free(running.id) && !running.is_overdue
                        && running.urgency(running.waited) < waiting.urgency(waiting.waited_until(now))
                        // Who was preempted just now made room for somebody more urgent.
                        && waiting.since < now
                });
                prop_assert_eq!(overtaken.count(), 0);
            }
            let done: Vec<SequenceId> = scheduler.running().iter().map(|standing| standing.id).filter(|id| {
                left.get_mut(&id.0).is_some_and(|takes| { *takes -= 1; *takes == 0 })
            }).collect();
            done.into_iter().for_each(|id| scheduler.leave(id));
        }
    }

    #[test]
    fn under_an_endless_flood_everybody_s_turn_comes(
        priority in 0usize..4, flood in 0usize..4, running_max in 2usize..5, takes in 1u64..6,
    ) {
        let clock = Clock(Instant::now());
        let mut scheduler = Scheduler::new(100_000, running_max);
        // It has all the time in the world, so that its deadline never makes it urgent.
        scheduler.enqueue(clock.standing(0, PRIORITIES[priority], 1_000_000, 0));
        let mut ends = std::collections::BTreeMap::new();
        let mut ran = 0;
        for second in 0u64..400 {
            let now = clock.at(second);
            // More than can be served, and all of it due sooner.
            for index in 0..running_max as u64 {
                let id = 1 + second * running_max as u64 + index;
                scheduler.enqueue(clock.standing(id, PRIORITIES[flood], second + 10, second));
            }
            for id in run(&mut scheduler, now).0 {
                ends.insert(id, second + takes);
            }
            ran += u64::from(scheduler.running().iter().any(|standing| standing.id.0 == 0));
            if ran >= takes {
                return Ok(());
            }
            let done: Vec<SequenceId> = scheduler.running().iter().map(|standing| standing.id)
                .filter(|id| id.0 != 0 && ends[&id.0] <= second + 1).collect();
            done.into_iter().for_each(|id| scheduler.leave(id));
        }
        prop_assert!(false, "it starved");
    }

    #[test]
    fn shares_give_all_who_decode_what_they_need_and_prompts_the_rest(
        unread in prop::collection::vec((0usize..300, any::<bool>(), 0usize..4), 1..20),
        tokens_max in 16usize..400, chunk_tokens in 16usize..400, low_chunk_tokens in 16usize..400,
    ) {
        let clock = Clock(Instant::now());
        let mut scheduler = Scheduler::new(100, 100);
        for (id, (_, _, priority)) in (0u64..).zip(&unread) {
            scheduler.enqueue(clock.standing(id, PRIORITIES[*priority], 50, 0));
        }
        run(&mut scheduler, clock.at(0));
        let of = |id: SequenceId| {
            let (ids, is_prompt, _) = unread[id.0 as usize];
            Unread { ids: if is_prompt { ids } else { ids.min(3) }, is_prompt }
        };
        let shares = shares(scheduler.running(), StepRoom { tokens_max, chunk_tokens, low_chunk_tokens }, of);
        let given = |id: u64| shares.iter().find(|(name, _)| name.0 == id).map_or(0, |(_, ids)| *ids);
        let (mut decoded, mut read, mut wanted, mut low_wanted) = (0, 0, 0, 0);
        for id in 0..unread.len() as u64 {
            let Unread { ids, is_prompt } = of(SequenceId(id));
            if is_prompt {
                prop_assert!(given(id) <= ids);
                (read, wanted) = (read + given(id), wanted + ids);
                low_wanted += if unread[id as usize].2 == 0 { ids } else { 0 };
            } else {
                prop_assert_eq!(given(id), ids);
                decoded += ids;
            }
        }
        let room = tokens_max.saturating_sub(decoded).min(chunk_tokens).max(16);
        let low_room = room.min(low_chunk_tokens.max(16));
        let others = wanted - low_wanted;
        prop_assert_eq!(read, if others >= low_room { others.min(room) } else { wanted.min(low_room) });
        // A more urgent prompt is never cut short for a less urgent one.
        let cut = (0..unread.len() as u64).filter(|id| of(SequenceId(*id)).is_prompt && given(*id) < of(SequenceId(*id)).ids);
        for id in cut {
            let lesser = (0..unread.len() as u64).filter(|other| unread[*other as usize].2 < unread[id as usize].2);
            prop_assert!(lesser.filter(|other| of(SequenceId(*other)).is_prompt).all(|other| given(other) == 0));
        }
        prop_assert!(shares.iter().all(|(_, ids)| *ids > 0));
    }
}
