//! What is done with an answer that is kept: whether it is good enough, by its age, the caller's directives and the state
//! of whoever would have to write a new one. Plain answers, streams and leaders go by the same.

use lede_shared::cache_status::ForwardReason;
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::{Freshness, FreshnessRecord};
use lede_shared::request_cache_control::RequestCacheControl;

/// What is done with a kept answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the answer.
    Serve,
    /// It is the answer, and a new one is made when there is time for it.
    ServeAndRefresh,
    /// Another is made, and why. The kept one may stand in when that fails.
    Make(ForwardReason),
}

/// Judges a kept answer at `now`. Past the span in which it may be served while a new one is made, it is good enough only
/// while no new one `can_be_made` in time, which is asked for only then.
pub(super) fn judge(
    kept: &FreshnessRecord,
    now: UnixMillis,
    wanted: RequestCacheControl,
    can_be_made: impl FnOnce() -> bool,
) -> Verdict {
    if !wanted.accepts_age_ms(kept.age_ms(now)) {
        let is_fresh = matches!(kept.at(now), Freshness::Fresh { .. });
        return Verdict::Make(if is_fresh { ForwardReason::Request } else { ForwardReason::Stale });
    }
    match kept.at(now) {
        Freshness::Fresh { .. } => Verdict::Serve,
        Freshness::Stale { while_revalidate: true, .. } => served(wanted),
        Freshness::Stale { if_error: true, .. } if !can_be_made() => served(wanted),
        Freshness::Stale { .. } | Freshness::Expired => Verdict::Make(ForwardReason::Stale),
    }
}

/// Who asks for `only-if-cached` wants nothing made on their behalf.
const fn served(wanted: RequestCacheControl) -> Verdict {
    if wanted.only_if_cached { Verdict::Serve } else { Verdict::ServeAndRefresh }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: FreshnessRecord = FreshnessRecord {
        created_ms: UnixMillis(1_000),
        fresh_for_ms: 100,
        stale_while_revalidate_ms: 50,
        stale_if_error_ms: 200,
    };

    fn judged(age_ms: u64, wanted: &str, can_be_made: bool) -> Verdict {
        judge(&KEPT, UnixMillis(1_000 + age_ms), RequestCacheControl::parse(wanted), || can_be_made)
    }

    #[test]
    fn a_stale_answer_is_served_at_once_while_it_is_renewed_and_later_only_while_no_new_one_can_be_had() {
        let make = Verdict::Make(ForwardReason::Stale);
        for (age_ms, can_be_made, expected) in [
            (99, true, Verdict::Serve),
            (100, true, Verdict::ServeAndRefresh),
            (149, false, Verdict::ServeAndRefresh),
            (150, true, make),
            (150, false, Verdict::ServeAndRefresh),
            (299, false, Verdict::ServeAndRefresh),
            (300, false, make),
        ] {
            assert_eq!(judged(age_ms, "", can_be_made), expected, "{age_ms} ms");
        }
    }

    #[test]
    fn the_caller_s_directives_come_first() {
        assert_eq!(judged(10, "no-cache", false), Verdict::Make(ForwardReason::Request));
        assert_eq!(judged(120, "no-cache", false), Verdict::Make(ForwardReason::Stale));
        assert_eq!(judged(10, "max-age=0", true), Verdict::Make(ForwardReason::Request));
        assert_eq!(judged(120, "max-age=1", true), Verdict::ServeAndRefresh);
        assert_eq!(judged(120, "only-if-cached", true), Verdict::Serve, "nothing is made on their behalf");
        assert_eq!(judged(150, "only-if-cached", true), Verdict::Make(ForwardReason::Stale));
    }

    #[test]
    fn nobody_is_asked_how_busy_the_device_is_while_the_answer_is_good_enough() {
        let not_asked = || panic!("asked");
        assert_eq!(
            judge(&KEPT, UnixMillis(1_120), RequestCacheControl::default(), not_asked),
            Verdict::ServeAndRefresh
        );
    }
}
