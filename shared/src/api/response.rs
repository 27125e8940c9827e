//! What a caller gets.

use serde::{Deserialize, Serialize};

/// A caption with its variants and how it was made.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptionResponse {
    /// `cap_` and 24 hex digits; equal requests have equal ids.
    pub id: String,
    /// The first variant's caption, without hashtags.
    pub caption: String,
    /// The first variant's hashtags, each with its `#`.
    pub hashtags: Vec<String>,
    /// All variants, 1 to 8.
    pub variants: Vec<Variant>,
    /// The policy table under which `post_text` was made.
    pub policy_version: String,
    /// What the caller should know.
    pub warnings: Vec<Warning>,
    /// The model's id.
    pub model: String,
    /// What it cost.
    pub usage: Usage,
    /// How long it took and where it came from.
    pub performance_metrics: PerformanceMetrics,
}

impl CaptionResponse {
    /// The same answer, as a hit of `tier` that took `processing_time_ms`.
    #[must_use]
    pub fn served_from(mut self, tier: CacheTier, processing_time_ms: f64) -> Self {
        self.performance_metrics = PerformanceMetrics::of_hit(tier, processing_time_ms);
        self
    }
}

/// One caption.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The text, without hashtags.
    pub caption: String,
    /// What is visible before “more”.
    pub hook: String,
    /// As many as were asked for, each with its `#`.
    pub hashtags: Vec<String>,
    /// What to paste: caption and as many hashtags as Instagram accepts.
    pub post_text: String,
    /// Lengths of `post_text`.
    pub counts: Counts,
}

/// Lengths of a post text.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// UTF-16 code units, the safe reading of the platform's limit.
    pub characters: usize,
    /// Hashtags in it.
    pub hashtags: usize,
}

/// Something the caller should know; never a fault of the request.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Machine-readable.
    pub code: WarningCode,
    /// For a person.
    pub detail: String,
}

/// What a caller is warned of.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// More hashtags were asked for than Instagram accepts; `post_text` has fewer.
    HashtagsAbovePolicy,
    /// The model ran out of different hashtags.
    HashtagsIncomplete,
    /// The model read only the beginning of the description.
    DescriptionTruncated,
    /// The caption was cut where the model's context ended.
    CaptionTruncated,
    /// The model does not write the language that was asked for; the caption is in one that it writes.
    LanguageNotSupported,
    /// The model cannot follow `brand_voice`, or only from afar.
    BrandVoiceNotFollowed,
    /// What had to stand in the caption was put at its end, where the room for it ran out.
    LengthForced,
    /// Names, numbers or dates of the description are not in the caption.
    FactsOmitted,
    /// Another model than the configured one answered; such an answer is not kept.
    AnsweredByFallback,
    /// The caption was written for a description that differs only in how it is typed; such an answer is not kept as this
    /// request's own.
    AnsweredByNearDuplicate,
}

/// Tokens of all variants together.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Read by the model.
    pub prompt_tokens: u32,
    /// Written by the model.
    pub completion_tokens: u32,
}

/// How an answer was made. Times are milliseconds.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerformanceMetrics {
    /// From reading the request to the answer, on the side that answered.
    pub processing_time: f64,
    /// Did it come from a cache?
    pub cache_hit: bool,
    /// Which tier; `null` for a generated caption.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub cache_tier: Option<CacheTier>,
    /// Waiting for the device.
    pub queue_time: f64,
    /// Tokens written per second of device time; `null` for a hit.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub tokens_per_second: Option<f64>,
}

impl PerformanceMetrics {
    /// The metrics of a hit of `tier` that took `processing_time_ms`.
    #[must_use]
    pub const fn of_hit(tier: CacheTier, processing_time_ms: f64) -> Self {
        Self {
            processing_time: processing_time_ms,
            cache_hit: true,
            cache_tier: Some(tier),
            queue_time: 0.0,
            tokens_per_second: None,
        }
    }
}

/// The tiers of the response cache, from the caller inwards.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CacheTier {
    /// The memory of one isolate, at the edge.
    Isolate,
    /// The data centre's cache, at the edge.
    Colo,
    /// Workers KV, at the edge.
    WorkersKv,
    /// The origin's memory.
    Hot,
    /// The origin's memory, compressed.
    Warm,
    /// The origin's disk, or the store that all origins share.
    Cold,
}
