//! Prediction on made traces: where there are habits it pays, where there are none it stops by itself.

mod simulation;

use simulation::{Kind, Outcome, play, trace};

/// The default of `LEDE_PREFETCH_PROBABILITY_MIN`.
const PROBABILITY_MIN: f64 = 0.4;

fn with_and_without(kind: Kind, days: u64, probability_min: f64) -> (Outcome, Outcome) {
    let trace = trace(kind, days);
    (play(&trace, Some(probability_min)), play(&trace, None))
}

#[test]
fn on_habits_more_is_answered_from_the_cache_and_most_of_what_was_made_is_used() {
    let (with, without) = with_and_without(Kind::Habits, 28, PROBABILITY_MIN);
    let (made, used, wasted) = with.guesses;
    assert!(with.hit_percent() >= without.hit_percent() + 10.0, "{with:?} {without:?}");
    assert!(used * 2 > made && made == used + wasted, "{with:?}");
    let (for_callers, on_guesses, on_wasted) = with.device_ms;
    assert!(for_callers + on_guesses - on_wasted <= without.device_ms.0, "nothing is made twice: {with:?}");
    assert!(with.closed.is_empty(), "{with:?}");
}

#[test]
fn on_noise_hardly_anything_is_made_and_whoever_believes_everything_is_stopped() {
    let (with, _) = with_and_without(Kind::Noise, 28, PROBABILITY_MIN);
    assert!(with.guesses.0 * 100 < with.look_ups, "{with:?}");
    let (credulous, _) = with_and_without(Kind::Noise, 28, 0.001);
    assert!(!credulous.closed.is_empty(), "{credulous:?}");
    assert!(credulous.guesses.0 * 25 < credulous.look_ups, "{credulous:?}");
}

#[test]
fn when_habits_end_so_does_prefetching() {
    let (with, _) = with_and_without(Kind::HabitsThatEnd, 42, PROBABILITY_MIN);
    let (habits, _) = with_and_without(Kind::Habits, 21, PROBABILITY_MIN);
    let made_after = with.guesses.0 - habits.guesses.0;
    assert!(made_after < 500, "{with:?} {habits:?}");
}
