//! How old an answer may be, and whether it may be kept at all. One record travels through every tier.

use serde::{Deserialize, Serialize};

use crate::api::{CaptionResponse, WarningCode};
use crate::clock::UnixMillis;

/// How long an answer may be used. The three spans follow one another: fresh, then stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreshnessRecord {
    /// When the answer was generated.
    pub created_ms: UnixMillis,
    /// How long it is fresh.
    pub fresh_for_ms: u64,
    /// How long after that it may be served while it is refreshed behind the caller's back.
    pub stale_while_revalidate_ms: u64,
    /// How long after freshness it may be served when no new answer can be had.
    pub stale_if_error_ms: u64,
}

/// What a record says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Serve it.
    Fresh {
        /// Milliseconds until it is stale.
        ttl_ms: u64,
    },
    /// Past its time. What it may still be used for is said by the two flags, at least one of which is set.
    Stale {
        /// Serve it now and refresh it behind.
        while_revalidate: bool,
        /// Serve it when a new answer cannot be had.
        if_error: bool,
    },
    /// Use it for nothing.
    Expired,
}

impl FreshnessRecord {
    /// Milliseconds since the answer was generated; 0 when the clock stepped back.
    #[must_use]
    pub const fn age_ms(&self, now: UnixMillis) -> u64 {
        now.since(self.created_ms)
    }

    /// What may be done with the answer at `now`.
    #[must_use]
    pub const fn at(&self, now: UnixMillis) -> Freshness {
        let age_ms = self.age_ms(now);
        if age_ms < self.fresh_for_ms {
            return Freshness::Fresh { ttl_ms: self.fresh_for_ms - age_ms };
        }
        let stale_for_ms = age_ms - self.fresh_for_ms;
        let while_revalidate = stale_for_ms < self.stale_while_revalidate_ms;
        let if_error = stale_for_ms < self.stale_if_error_ms;
        if while_revalidate || if_error {
            Freshness::Stale { while_revalidate, if_error }
        } else {
            Freshness::Expired
        }
    }

    /// Seconds of freshness left, as `Cache-Status` says it: rounded down, below zero once stale.
    #[must_use]
    pub fn ttl_s(&self, now: UnixMillis) -> i64 {
        let seconds = |duration_ms: u64| i64::try_from(duration_ms / 1_000).unwrap_or(i64::MAX - 1);
        match self.at(now) {
            Freshness::Fresh { ttl_ms } => seconds(ttl_ms),
            _ => -(seconds(self.age_ms(now) - self.fresh_for_ms) + 1),
        }
    }

    /// Milliseconds from `now` until the record is good for nothing: what a store's own expiry should be.
    #[must_use]
    pub fn useful_for_ms(&self, now: UnixMillis) -> u64 {
        let longest_stale_ms = self.stale_while_revalidate_ms.max(self.stale_if_error_ms);
        self.fresh_for_ms.saturating_add(longest_stale_ms).saturating_sub(self.age_ms(now))
    }
}

/// May an answer be kept?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cacheability {
    /// Yes.
    Storable,
    /// No, and why. The reason goes into `Cache-Status` and the log.
    NotStorable(NotStorable),
}

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum NotStorable {
    /// The caller sent `Cache-Control: no-store`.
    NoStoreRequested,
    /// The generation stopped before it had everything that was asked for.
    Incomplete,
    /// The answer comes from another model than the one in the key.
    OtherModel,
    /// The answer was made under another policy than the one in the key.
    OtherPolicy,
    /// The answer was made for a description that is nearly the same.
    NearDuplicate,
}

/// Decides whether `response` may be kept under a key for `model` and `policy_version`.
#[must_use]
pub fn cacheability(
    response: &CaptionResponse,
    model: &str,
    policy_version: &str,
    no_store_requested: bool,
) -> Cacheability {
    if no_store_requested {
        Cacheability::NotStorable(NotStorable::NoStoreRequested)
    } else if response.model != model {
        Cacheability::NotStorable(NotStorable::OtherModel)
    } else if response.policy_version != policy_version {
        Cacheability::NotStorable(NotStorable::OtherPolicy)
    } else {
        let refusal = response.warnings.iter().find_map(|warning| unstorable_for(warning.code));
        refusal.map_or(Cacheability::Storable, Cacheability::NotStorable)
    }
}

/// Why an answer with this warning is not kept, if it is not.
const fn unstorable_for(code: WarningCode) -> Option<NotStorable> {
    match code {
        WarningCode::HashtagsIncomplete | WarningCode::CaptionTruncated => Some(NotStorable::Incomplete),
        // Also where the fallback goes by the same name.
        WarningCode::AnsweredByFallback => Some(NotStorable::OtherModel),
        WarningCode::AnsweredByNearDuplicate => Some(NotStorable::NearDuplicate),
        WarningCode::HashtagsAbovePolicy
        | WarningCode::DescriptionTruncated
        | WarningCode::LanguageNotSupported
        | WarningCode::BrandVoiceNotFollowed
        | WarningCode::LengthForced
        | WarningCode::FactsOmitted => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Warning;
    use proptest::prelude::*;

    fn record() -> FreshnessRecord {
        FreshnessRecord {
            created_ms: UnixMillis(1_000),
            fresh_for_ms: 100,
            stale_while_revalidate_ms: 50,
            stale_if_error_ms: 200,
        }
    }

    #[test]
    fn an_answer_is_fresh_then_revalidated_then_kept_for_errors_then_expired() {
        let record = record();
        let cases = [
            (1_000, Freshness::Fresh { ttl_ms: 100 }),
            (1_099, Freshness::Fresh { ttl_ms: 1 }),
            (1_100, Freshness::Stale { while_revalidate: true, if_error: true }),
            (1_150, Freshness::Stale { while_revalidate: false, if_error: true }),
            (1_300, Freshness::Expired),
        ];
        for (now, expected) in cases {
            assert_eq!(record.at(UnixMillis(now)), expected, "at {now}");
        }
    }

    #[test]
    fn seconds_left_are_negative_once_stale() {
        let record = FreshnessRecord { fresh_for_ms: 100_000, ..record() };
        let at = |age_ms: u64| record.ttl_s(record.created_ms.plus(age_ms));
        assert_eq!((at(0), at(99_999), at(100_000), at(101_000)), (100, 0, -1, -2));
    }

    #[test]
    fn a_clock_that_stepped_back_leaves_an_answer_fresh() {
        assert_eq!(record().at(UnixMillis(0)), Freshness::Fresh { ttl_ms: 100 });
    }

    fn response(warnings: &[WarningCode]) -> CaptionResponse {
        let golden = include_str!("../../tests/fixtures/wire/response.json");
        let mut response: CaptionResponse = serde_json::from_str(golden).unwrap();
        response.warnings = warnings.iter().map(|code| Warning { code: *code, detail: String::new() }).collect();
        response
    }

    #[test]
    fn only_complete_answers_of_the_model_and_policy_in_the_key_are_kept() {
        use NotStorable::{Incomplete, NearDuplicate, NoStoreRequested, OtherModel, OtherPolicy};
        let whole = response(&[
            WarningCode::HashtagsAbovePolicy,
            WarningCode::DescriptionTruncated,
            WarningCode::LanguageNotSupported,
            WarningCode::BrandVoiceNotFollowed,
            WarningCode::LengthForced,
            WarningCode::FactsOmitted,
        ]);
        let verdict =
            |answer: &CaptionResponse, model, policy, no_store| cacheability(answer, model, policy, no_store);
        assert_eq!(verdict(&whole, "lede-nano-1", "2025-12", false), Cacheability::Storable);
        let refused = [
            (verdict(&whole, "lede-nano-1", "2025-12", true), NoStoreRequested),
            (verdict(&whole, "lede-nano-2", "2025-12", false), OtherModel),
            (verdict(&whole, "lede-nano-1", "2026-01", false), OtherPolicy),
            (verdict(&response(&[WarningCode::HashtagsIncomplete]), "lede-nano-1", "2025-12", false), Incomplete),
            (verdict(&response(&[WarningCode::CaptionTruncated]), "lede-nano-1", "2025-12", false), Incomplete),
            (verdict(&response(&[WarningCode::AnsweredByFallback]), "lede-nano-1", "2025-12", false), OtherModel),
            (
                verdict(&response(&[WarningCode::AnsweredByNearDuplicate]), "lede-nano-1", "2025-12", false),
                NearDuplicate,
            ),
        ];
        for (verdict, why) in refused {
            assert_eq!(verdict, Cacheability::NotStorable(why));
        }
    }

    proptest! {
        #[test]
        fn an_answer_never_becomes_better_with_time(
            created in 0u64..1_000, fresh in 0u64..1_000, revalidate in 0u64..1_000, error in 0u64..1_000,
            early in 0u64..5_000, later in 0u64..5_000,
        ) {
            let record = FreshnessRecord {
                created_ms: UnixMillis(created), fresh_for_ms: fresh,
                stale_while_revalidate_ms: revalidate, stale_if_error_ms: error,
            };
            let rank = |now| match record.at(UnixMillis(now)) {
                Freshness::Fresh { .. } => 3,
                Freshness::Stale { while_revalidate: true, .. } => 2,
                Freshness::Stale { .. } => 1,
                Freshness::Expired => 0,
            };
            let (early, later) = (early.min(later), early.max(later));
            prop_assert!(rank(early) >= rank(later));
            prop_assert_eq!(record.useful_for_ms(UnixMillis(later)) == 0,
                record.at(UnixMillis(later)) == Freshness::Expired);
        }
    }
}
