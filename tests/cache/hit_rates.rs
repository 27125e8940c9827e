//! How much of three traces the cache answers at its default size, against the best that can be done.

use lede_origin::cache::TieredCache;
use lede_tests::policies::{Fared, bound, optimum};
use lede_tests::traces::{self, Trace};

use crate::cached_trace::{CachedTrace, DEFAULT_SIZE, bytes_in_all, weighed};

/// At the default size, and at best.
fn fared(trace: Trace) -> (Fared, Fared) {
    let trace = weighed(trace);
    let cache = TieredCache::new(DEFAULT_SIZE, None);
    let fared = CachedTrace::new(&trace).replayed(&trace, &cache);
    (fared, optimum(&trace, bytes_in_all(&trace, &DEFAULT_SIZE)))
}

fn is_nine_tenths_of((fared, optimum): (Fared, Fared)) -> bool {
    fared.hit_rate() >= 0.9 * optimum.hit_rate()
}

#[test]
fn of_a_hundred_thousand_captions_at_least_nineteen_requests_in_twenty_are_hits() {
    let (fared, optimum) = fared(traces::zipf());
    assert!(fared.hit_rate() >= 0.95, "{fared:?}");
    assert!(is_nine_tenths_of((fared, optimum)), "{fared:?} {optimum:?}");
}

#[test]
fn what_is_popular_today_is_kept_today() {
    let both = fared(traces::drifting());
    assert!(is_nine_tenths_of(both), "{both:?}");
}

#[test]
fn who_has_a_catalogue_written_does_not_drive_out_what_others_ask_for() {
    let both = fared(traces::scanned());
    assert!(is_nine_tenths_of(both), "{both:?}");
}

#[test]
fn the_optimum_is_near_the_bound_that_nothing_can_pass() {
    let mut trace = traces::drifting();
    trace.requests.truncate(200_000);
    let bytes_max = trace.bytes() / 10;
    let (optimum, bound) = (optimum(&trace, bytes_max), bound(&trace, bytes_max));
    let missing = bound.hit_rate() - optimum.hit_rate();
    assert!((0.0..0.015).contains(&missing), "{optimum:?} {bound:?}");
}
