//! The door as a whole.

use proptest::prelude::*;

use super::*;

const PRIORITY: [Priority; PRIORITIES] = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];

fn limits(sequences_max: usize) -> AdmissionLimits {
    let requests_max = ByEndpoint { generate: 1_000, batch: 2, stream: 1 };
    AdmissionLimits { sequences_max, request_sequences_max: 1, rows: 1, requests_max }
}

/// Somebody who has a minute.
fn coming(sequences: usize, priority: Priority) -> Entrance {
    let deadline = Instant::now() + Duration::from_secs(60);
    Entrance { sequences, priority, endpoint: Endpoint::Generate, deadline }
}

#[test]
fn a_full_house_refuses_and_a_departure_makes_room() {
    let admission = Admission::new(limits(3));
    let enter = |sequences| admission.enter(coming(sequences, Priority::Critical));
    let two = enter(2).unwrap();
    let _one = enter(1).unwrap();
    assert_eq!(enter(1).unwrap_err(), Refused { reason: Reason::Full, retry_after_s: RETRY_AFTER_UNKNOWN_S });
    drop(two);
    assert!(enter(3).is_err());
    assert!(enter(2).is_ok());
}

#[test]
fn a_wait_is_told_in_whole_seconds_from_one_to_sixty() {
    for (wait_ms, told_s) in [(0, 1), (1_000, 1), (1_001, 2), (4_000, 4), (3_600_000, RETRY_AFTER_MAX_S)] {
        assert_eq!(in_seconds(Duration::from_millis(wait_ms)), told_s, "{wait_ms} ms");
    }
}

#[test]
fn each_priority_leaves_places_for_those_that_are_more_urgent() {
    let admission = Admission::new(limits(16));
    let mut inside = Vec::new();
    for (priority, places) in PRIORITY.into_iter().zip(PLACES_SIXTEENTHS) {
        while let Ok(permit) = admission.enter(coming(1, priority)) {
            inside.push(permit);
        }
        assert_eq!(admission.sequences(), places, "{priority:?}");
    }
    assert_eq!(admission.stats().sequences, ByPriority { low: 8, normal: 6, high: 1, critical: 1 });
    assert_eq!(admission.stats().refused.low.full, 1);
}

#[test]
fn the_largest_request_finds_room_in_an_empty_house_whatever_its_priority() {
    let admission = Admission::new(AdmissionLimits { request_sequences_max: 12, ..limits(16) });
    let largest = admission.enter(coming(12, Priority::Low)).unwrap();
    assert!(admission.enter(coming(1, Priority::Low)).is_err());
    drop(largest);
    assert!(admission.enter(coming(13, Priority::Low)).is_err());
}

#[test]
fn an_endpoint_has_so_many_places_and_no_more() {
    let admission = Admission::new(limits(16));
    let by = |endpoint| admission.enter(Entrance { endpoint, ..coming(1, Priority::Normal) });
    let stream = by(Endpoint::Stream).unwrap();
    assert_eq!(by(Endpoint::Stream).unwrap_err().reason, Reason::EndpointFull);
    let _batch = (by(Endpoint::Batch).unwrap(), by(Endpoint::Batch).unwrap());
    assert_eq!(by(Endpoint::Batch).unwrap_err().reason, Reason::EndpointFull);
    assert!(by(Endpoint::Generate).is_ok());
    drop(stream);
    assert!(by(Endpoint::Stream).is_ok());
}

/// A door behind which six ordinary sequences have been for ten seconds, one of which leaves each second.
fn one_a_second(now: Instant) -> State {
    let mut drain = Drain::new(1);
    drain.enter(16, now - Duration::from_secs(10));
    (0..10).for_each(|second| drain.leave(1, now - Duration::from_secs(9 - second)));
    State { drain, sequences: [0, 6, 0, 0], requests: [6, 0, 0], counts: Counts::default() }
}

#[test]
fn who_could_not_be_served_in_time_is_told_so_at_once_and_when_it_could() {
    let now = Instant::now();
    let state = one_a_second(now);
    let check = |deadline_s: u64, priority| {
        let entrance = Entrance { deadline: now + Duration::from_secs(deadline_s), ..coming(1, priority) };
        state.check(&limits(64), &entrance, now)
    };
    let too_late = |retry_after_s| Err(Refused { reason: Reason::TooLate, retry_after_s });
    assert_eq!(check(7, Priority::Normal), Ok(()));
    assert_eq!(check(6, Priority::Normal), too_late(1));
    assert_eq!(check(2, Priority::Low), too_late(5));
    assert_eq!(check(1, Priority::High), Ok(()), "nobody inside is as urgent");
}

#[test]
fn a_full_house_tells_when_there_is_room_by_the_rate_at_which_it_empties() {
    let now = Instant::now();
    let refused = one_a_second(now).check(&limits(6), &coming(4, Priority::Critical), now);
    assert_eq!(refused, Err(Refused { reason: Reason::Full, retry_after_s: 4 }));
}

#[test]
fn what_nobody_waits_for_takes_nobody_s_place() {
    let admission = Admission::new(limits(1));
    let behind = admission.enter_behind();
    assert!(admission.is_idle());
    let _one = admission.enter(coming(1, Priority::Critical)).unwrap();
    drop(behind);
    assert!(!admission.is_idle());
}

proptest! {
    #[test]
    fn however_they_come_and_go_no_more_are_inside_than_places_and_all_places_come_back(
        comings in prop::collection::vec((1usize..6, 0usize..4, any::<bool>()), 1..60), places in 1usize..40,
    ) {
        let admission = Admission::new(limits(places));
        let mut inside = Vec::new();
        for (sequences, priority, one_leaves) in comings {
            if one_leaves && !inside.is_empty() {
                inside.swap_remove(0);
            }
            let before = admission.sequences();
            match admission.enter(coming(sequences, PRIORITY[priority])) {
                Ok(permit) => inside.push(permit),
                Err(refused) => {
                    prop_assert_eq!(refused.reason, Reason::Full);
                    prop_assert_eq!(admission.sequences(), before);
                }
            }
            prop_assert!(admission.sequences() <= places);
        }
        inside.clear();
        prop_assert!(admission.is_idle());
        prop_assert_eq!(admission.stats().requests, ByEndpoint::default());
    }
}
