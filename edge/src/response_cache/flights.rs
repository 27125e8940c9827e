//! Misses of one isolate that ask for the same at once: one asks the origin, the others look again and again whether its
//! answer is here. Nobody waits for another request's future, which the platform would cancel with its request.

use std::rc::Rc;

use lede_shared::api::CacheTier;
use lede_shared::cache_key::CacheKey;

use super::under_way::UnderWay;
use super::{CachedAnswer, Lookup, decide, memory, read};
use crate::context::RequestContext;
use crate::isolate::Isolate;

/// Flights at once; who finds no place asks alone.
const FLIGHTS_MAX: usize = 1_024;
/// A flight that lasts longer is waited for no more: its leader may be gone.
const FLIGHT_MS_MAX: u64 = 10_000;
/// Between two looks: short at first, because some answers are quick, then longer, because thousands may be looking.
const LOOK_AGAIN_MS: std::ops::RangeInclusive<u64> = 16..=256;

/// The keys that are being asked for.
pub(super) type Flights = UnderWay<FLIGHTS_MAX, FLIGHT_MS_MAX>;

/// The duty to end a flight, however it ends.
pub(crate) struct Leading {
    isolate: Rc<Isolate>,
    key: CacheKey,
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.isolate.response_cache.flights.borrow_mut().end(&self.key);
    }
}

/// What a miss does next.
pub(crate) enum Flight {
    /// Ask the origin; others wait for the answer until the guard is dropped.
    Leads(Leading),
    /// Somebody else has asked, and here is the answer.
    Landed(CachedAnswer),
    /// Ask the origin; nobody waits.
    Alone,
}

/// Joins those of this isolate who miss `key`. Who wants nothing kept, or nothing that was kept, stays alone.
pub(crate) async fn join(context: &Rc<RequestContext>, key: &CacheKey) -> Flight {
    if context.directives.no_store || context.directives.no_cache {
        return Flight::Alone;
    }
    let (isolate, opened) = (&context.bindings.isolate, context.now());
    if memory(context).flights.borrow_mut().begin(key, opened) {
        return Flight::Leads(Leading { isolate: Rc::clone(isolate), key: *key });
    }
    let mut pause_ms = *LOOK_AGAIN_MS.start();
    while memory(context).flights.borrow().is_under_way(key, context.now())
        && context.now().since(opened) < FLIGHT_MS_MAX
    {
        context.bindings.clock.sleep(pause_ms).await;
        pause_ms = (2 * pause_ms).min(*LOOK_AGAIN_MS.end());
        if let Some(answer) = landed(context, key).await {
            return Flight::Landed(answer);
        }
    }
    Flight::Alone
}

async fn landed(context: &Rc<RequestContext>, key: &CacheKey) -> Option<CachedAnswer> {
    let found = read(context, CacheTier::Isolate, key).await;
    match decide(found, &context.directives, context.now()) {
        Lookup::Hit { answer, revalidate: false } => Some(answer),
        Lookup::Hit { .. } | Lookup::Miss { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use lede_shared::clock::UnixMillis;

    use super::*;
    use crate::bindings::in_memory::settled;
    use crate::response_cache::keep_here;
    use crate::tests::deployment::Deployment;
    use crate::tests::fixtures::caption_response;

    const KEY: CacheKey = CacheKey([7; 32]);

    fn joined(context: &Rc<RequestContext>) -> Flight {
        settled(join(context, &KEY)).expect("twins do not wait")
    }

    #[test]
    fn the_first_leads_and_the_next_takes_its_answer() {
        let context = Deployment::new().context();
        let Flight::Leads(leading) = joined(&context) else { panic!("nobody else asks") };
        let freshness = context.config.lifetimes.record(context.now());
        keep_here(&context, &KEY, freshness, &caption_response("Hello")).expect("it is kept");
        let Flight::Landed(answer) = joined(&context) else { panic!("the answer is here") };
        assert_eq!(answer.tier, CacheTier::Isolate);
        drop(leading);
        assert!(matches!(joined(&context), Flight::Leads(_)), "the flight has ended");
    }

    #[test]
    fn a_flight_that_does_not_end_is_waited_for_only_so_long() {
        let context = Deployment::new().context();
        let _leading = joined(&context);
        let begun = context.now();
        assert!(matches!(joined(&context), Flight::Alone));
        let waited_ms = context.now().since(begun);
        assert!((FLIGHT_MS_MAX..=FLIGHT_MS_MAX + LOOK_AGAIN_MS.end()).contains(&waited_ms), "{waited_ms}");
    }

    #[test]
    fn there_are_only_so_many_flights_and_who_finds_no_place_asks_alone() {
        let mut flights = Flights::default();
        let mut key = |name: u16| {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&name.to_be_bytes());
            flights.begin(&CacheKey(key), UnixMillis(0))
        };
        assert_eq!((0..2_000).filter(|name| key(*name)).count(), FLIGHTS_MAX);
    }
}
