//! Candidates → response, under the policy in force.

use lede_shared::api::{
    CaptionResponse, Counts, PerformanceMetrics, Usage, ValidRequest, Variant, Warning, WarningCode,
};
use lede_shared::cache_key::CacheKey;
use lede_shared::policy::{POLICY, utf16_len};

use super::candidate::Candidate;
use super::generation::{Cost, Generation};
use super::writers::Author;

/// Characters of the key that stand in an answer's id.
const ID_HEX_DIGITS: usize = 24;

/// The response for a generation. `processing_time_ms` is the time since the request was read.
pub(super) fn compose(
    request: &ValidRequest,
    key: &CacheKey,
    author: Author,
    generation: Generation,
    processing_time_ms: f64,
) -> CaptionResponse {
    let warnings = warnings(request, &author, &generation);
    let cost = generation.cost;
    let variants: Vec<Variant> = generation.variants.into_iter().map(variant).collect();
    let first = variants.first();
    CaptionResponse {
        id: id_of(key),
        caption: first.map(|variant| variant.caption.clone()).unwrap_or_default(),
        hashtags: first.map(|variant| variant.hashtags.clone()).unwrap_or_default(),
        variants,
        policy_version: POLICY.version.to_owned(),
        warnings,
        model: author.model,
        usage: Usage {
            prompt_tokens: count(cost.prompt_tokens),
            completion_tokens: count(cost.completion_tokens),
        },
        performance_metrics: metrics(&cost, processing_time_ms),
    }
}

/// The id of the answer under `key`.
pub(super) fn id_of(key: &CacheKey) -> String {
    let mut id = key.to_string();
    id.truncate(ID_HEX_DIGITS);
    format!("cap_{id}")
}

fn variant(candidate: Candidate) -> Variant {
    let post_text = POLICY.post_text(&candidate.caption, &candidate.hashtags);
    let hashtags = POLICY.hashtags_accepted(&candidate.hashtags).len();
    Variant {
        hook: POLICY.hook(&candidate.caption).to_owned(),
        counts: Counts { characters: utf16_len(&post_text), hashtags },
        caption: candidate.caption,
        hashtags: candidate.hashtags,
        post_text,
    }
}

fn metrics(cost: &Cost, processing_time_ms: f64) -> PerformanceMetrics {
    let device_s = cost.device_time().as_secs_f64();
    PerformanceMetrics {
        processing_time: processing_time_ms,
        cache_hit: false,
        cache_tier: None,
        queue_time: milliseconds(cost.waited.unwrap_or_default().as_secs_f64() * 1_000.0),
        tokens_per_second: (device_s > 0.0).then(|| milliseconds(cost.completion_tokens as f64 / device_s)),
    }
}

/// Rounded to thousandths: more digits would only pretend.
pub(super) fn milliseconds(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

fn warnings(request: &ValidRequest, author: &Author, generation: &Generation) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |applies: bool, code, detail: String| {
        if applies {
            warnings.push(Warning { code, detail });
        }
    };
    let accepted = POLICY.hashtags_max;
    warn(
        usize::from(request.hashtag_count()) > accepted,
        WarningCode::HashtagsAbovePolicy,
        format!("Instagram accepts {accepted} hashtags in a post; post_text has no more"),
    );
    warn(
        generation.variants.iter().any(|candidate| candidate.hashtags_are_missing),
        WarningCode::HashtagsIncomplete,
        "the model ran out of different hashtags".to_owned(),
    );
    warn(
        generation.description_was_cut,
        WarningCode::DescriptionTruncated,
        "the model read only the beginning of content_description".to_owned(),
    );
    warn(
        generation.variants.iter().any(|candidate| candidate.caption_was_cut),
        WarningCode::CaptionTruncated,
        "a caption was cut after its last whole word".to_owned(),
    );
    warn(
        author.is_embedded && request.language().primary() != "en",
        WarningCode::LanguageNotSupported,
        "the model writes English only".to_owned(),
    );
    warn(
        author.is_embedded && request.brand_voice().is_some(),
        WarningCode::BrandVoiceNotFollowed,
        "the model knows the styles and no other voice".to_owned(),
    );
    warn(
        generation.variants.iter().any(|candidate| candidate.length_forced),
        WarningCode::LengthForced,
        "the model left out something that has to stand in the caption; it was put at its end".to_owned(),
    );
    warn(
        generation.variants.iter().any(|candidate| candidate.facts_are_missing),
        WarningCode::FactsOmitted,
        "numbers, dates or codes of content_description are not in the caption".to_owned(),
    );
    warn(
        author.is_fallback,
        WarningCode::AnsweredByFallback,
        "another model than the configured one answered, since that one could not".to_owned(),
    );
    warnings
}
