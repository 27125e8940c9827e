use proptest::prelude::*;

use super::*;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// A Monday, at midnight.
const MONDAY: u64 = 20_601 * DAY_MS;

fn key(name: u32) -> CacheKey {
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = (name.wrapping_mul(2_654_435_761).rotate_left(at as u32 * 5) >> 8) as u8;
    }
    bytes[..4].copy_from_slice(&name.to_le_bytes());
    CacheKey(bytes)
}

fn see(predictor: &mut Predictor<u32>, name: u32, tenant: u64, at: u64) -> Vec<u32> {
    let look_up = LookUp { key: key(name), tenant, at: UnixMillis(at) };
    predictor.seen(&look_up, &name).into_iter().map(|prediction| prediction.value).collect()
}

#[test]
fn what_followed_twice_is_expected_the_third_time() {
    let mut predictor = Predictor::new(0.4);
    for day in 0..2 {
        assert!(see(&mut predictor, 1, 7, day * DAY_MS).is_empty());
        assert!(see(&mut predictor, 2, 7, day * DAY_MS + 60_000).is_empty());
    }
    assert_eq!(see(&mut predictor, 1, 7, 2 * DAY_MS), [2]);
}

#[test]
fn strangers_between_do_not_drive_a_habit_out() {
    let mut predictor = Predictor::new(0.4);
    let mut stranger = 1_000;
    for day in 0..6 {
        let expected = see(&mut predictor, 1, 7, day * DAY_MS);
        assert_eq!(expected.contains(&2), day >= 2, "day {day}");
        see(&mut predictor, 2, 7, day * DAY_MS + 60_000);
        for minute in 2..6 {
            stranger += 1;
            see(&mut predictor, stranger, 7, day * DAY_MS + minute * 60_000);
        }
    }
}

#[test]
fn what_comes_much_later_follows_nothing() {
    let mut predictor = Predictor::new(0.0);
    for day in 0..5 {
        assert!(see(&mut predictor, 1, 7, day * DAY_MS).is_empty());
        assert!(see(&mut predictor, 2, 7, day * DAY_MS + HOUR_MS).is_empty());
    }
}

#[test]
fn old_habits_are_forgotten() {
    let mut predictor = Predictor::new(0.4);
    let mut after_one = Vec::new();
    for time in 0..200 {
        after_one = see(&mut predictor, 1, 7, time * HOUR_MS);
        see(&mut predictor, if time < 60 { 2 } else { 3 }, 7, time * HOUR_MS + 60_000);
    }
    assert_eq!(after_one, [3]);
}

#[test]
fn what_is_asked_for_at_the_same_hour_is_expected_before_it_once() {
    let mut predictor = Predictor::new(0.4);
    for day in 0..5 {
        see(&mut predictor, 1, 7, MONDAY + day * DAY_MS + 9 * HOUR_MS + day * 600_000);
    }
    let shortly_before = UnixMillis(MONDAY + 5 * DAY_MS + 9 * HOUR_MS - 300_000);
    assert!(predictor.due(UnixMillis(shortly_before.0 - HOUR_MS)).is_empty());
    let due = predictor.due(shortly_before);
    assert_eq!(due.iter().map(|one| (one.value, one.source)).collect::<Vec<_>>(), [(1, Source::Hour)]);
    assert_eq!(due[0].until, UnixMillis(MONDAY + 5 * DAY_MS + 10 * HOUR_MS));
    assert!(predictor.due(shortly_before).is_empty());
}

#[test]
fn what_is_asked_for_on_one_weekday_is_expected_on_that_day_only() {
    let mut predictor = Predictor::new(0.4);
    for week in 0..5 {
        see(&mut predictor, 1, 7, MONDAY + week * 7 * DAY_MS + 9 * HOUR_MS);
    }
    let at = |day: u64| UnixMillis(MONDAY + (5 * 7 + day) * DAY_MS + 9 * HOUR_MS - 300_000);
    let due = predictor.due(at(0));
    assert_eq!(due.iter().map(|one| (one.value, one.source)).collect::<Vec<_>>(), [(1, Source::Weekday)]);
    assert!((1..7).all(|day| predictor.due(at(day)).is_empty()));
}

#[test]
fn what_was_asked_for_in_a_week_of_last_year_is_expected_when_that_week_begins() {
    let mut predictor = Predictor::new(0.4);
    for day in 0..4 {
        see(&mut predictor, 1, 7, MONDAY + day * 2 * DAY_MS + day * HOUR_MS);
    }
    let due = (355..372).flat_map(|day| (0..24).map(move |hour| MONDAY + day * DAY_MS + hour * HOUR_MS));
    let due: Vec<_> =
        due.flat_map(|at| predictor.due(UnixMillis(at))).map(|one| (one.value, one.source)).collect();
    assert!(!due.is_empty() && due.iter().all(|one| *one == (1, Source::Season)), "{due:?}");
    assert!(due.len() <= 2, "{due:?}");
}

#[test]
fn a_history_that_is_written_down_and_taken_over_says_the_same() {
    let mut predictor = Predictor::new(0.4);
    for day in 0..6 {
        see(&mut predictor, 1, 7, MONDAY + day * DAY_MS + 9 * HOUR_MS);
    }
    let written = serde_json::to_string(predictor.rhythms().next().unwrap().1).unwrap();
    let mut other = Predictor::new(0.4);
    other.remember(key(1), &1, 6, Some(serde_json::from_str(&written).unwrap()));
    let tomorrow = UnixMillis(MONDAY + 6 * DAY_MS + 9 * HOUR_MS - 300_000);
    assert_eq!(other.due(tomorrow), predictor.due(tomorrow));
    assert_eq!(other.most_first().map(|(_, count, _)| count).collect::<Vec<_>>(), [6]);
}

proptest! {
    #[test]
    fn what_one_tenant_does_teaches_nothing_about_another(
        steps in prop::collection::vec((0u64..3, 0u32..6), 1..150),
    ) {
        // Each tenant has keys of its own here, so that the same habits can be learnt apart.
        let own = |tenant: u64, name: u32| tenant as u32 * 100 + name;
        let mut together = Predictor::new(0.2);
        let mut apart = [Predictor::new(0.2), Predictor::new(0.2), Predictor::new(0.2)];
        for (at, (tenant, name)) in (0u64..).zip(steps) {
            let expected = see(&mut apart[tenant as usize], own(tenant, name), tenant, at * 1_000);
            prop_assert_eq!(see(&mut together, own(tenant, name), tenant, at * 1_000), expected);
        }
    }

    #[test]
    fn predictions_are_few_likely_enough_and_never_of_what_was_just_asked_for(
        steps in prop::collection::vec((0u64..2, 0u32..8, 0u64..900_000), 1..300), least in 0.0f64..1.0,
    ) {
        let mut predictor = Predictor::new(least);
        let mut now = MONDAY;
        for (tenant, name, later_ms) in steps {
            now += later_ms;
            let at = UnixMillis(now);
            let predictions = predictor.seen(&LookUp { key: key(name), tenant, at }, &name);
            prop_assert!(predictions.len() <= 6);
            for one in predictions.iter().chain(&predictor.due(at)) {
                prop_assert!(one.probability >= least && one.probability < 1.0);
                prop_assert!(one.until > at);
            }
            prop_assert!(predictions.iter().all(|one| one.key != key(name)));
        }
    }
}
