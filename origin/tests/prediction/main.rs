//! Prediction on made traces: where there are habits it pays, where there are none it stops by itself.

mod simulation;

use simulation::{DEFAULT, Kind, Prefetch, play, trace};

#[test]
fn on_habits_more_is_answered_from_the_cache_and_most_of_what_was_made_is_used() {
    let trace = trace(Kind::Habits, 28);
    let (with, without) = (play(&trace, Some(DEFAULT)), play(&trace, None));
    let (made, used, wasted) = with.guesses;
    assert!(with.hit_percent() >= without.hit_percent() + 10.0, "{with:?} {without:?}");
    assert!(used * 2 > made && made == used + wasted, "{with:?}");
    assert!(with.closed.is_empty(), "{with:?}");
    let (for_callers, on_guesses, on_wasted) = with.device_ms;
    assert!(for_callers < without.device_ms.0 && on_wasted * 4 < on_guesses, "{with:?} {without:?}");
}

#[test]
fn on_noise_hardly_anything_is_made_and_whoever_believes_everything_is_stopped() {
    let trace = trace(Kind::Noise, 28);
    let cautious = play(&trace, Some(DEFAULT));
    assert!(cautious.guesses.0 * 100 < cautious.look_ups, "{cautious:?}");
    let credulous = play(&trace, Some(Prefetch { probability_min: 0.001, ..DEFAULT }));
    let unstopped = play(&trace, Some(Prefetch { probability_min: 0.001, used_share_min: 0.0 }));
    assert!(!credulous.closed.is_empty(), "{credulous:?}");
    assert!(credulous.guesses.0 * 3 < unstopped.guesses.0, "{credulous:?} {unstopped:?}");
}

#[test]
fn when_habits_end_so_does_prefetching() {
    let trace = trace(Kind::HabitsThatEnd, 42);
    let unstopped = play(&trace, Some(Prefetch { used_share_min: 0.0, ..DEFAULT }));
    let with = play(&trace, Some(DEFAULT));
    assert!(!with.closed.is_empty() && with.guesses.2 < unstopped.guesses.2, "{with:?} {unstopped:?}");
}
