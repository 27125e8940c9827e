//! What a service is and takes: `GET /api/v14/info`.

use serde::{Deserialize, Serialize};

use super::{
    API_VERSION, BANNED_WORD_CHARS_MAX, BANNED_WORDS_MAX, BATCH_REQUESTS_MAX, BRAND_VOICE_CHARS_MAX, CallToAction,
    DESCRIPTION_CHARS_MAX, EmojiLevel, HASHTAG_COUNT_MAX, LANGUAGE_CHARS_MAX, MAX_LENGTH_MAX, MAX_LENGTH_MIN,
    MUST_INCLUDE_CHARS_MAX, MUST_INCLUDE_ITEMS_MAX, OptimizationLevel, Style, VARIANTS_MAX,
};
use crate::policy::POLICY;

/// What a service is and takes.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// `lede`.
    pub name: String,
    /// Which side answers: `edge` or `origin`.
    pub side: String,
    /// Version of the software.
    pub version: String,
    /// Version of the API.
    pub api_version: String,
    /// The model's id.
    pub model: String,
    /// The policy table in force.
    pub policy_version: String,
    /// Values of `style`.
    pub styles: Vec<Style>,
    /// Values of `optimization_level`.
    pub optimization_levels: Vec<OptimizationLevel>,
    /// Values of `emoji`.
    pub emoji_levels: Vec<EmojiLevel>,
    /// Values of `call_to_action`.
    pub calls_to_action: Vec<CallToAction>,
    /// The limits of a request.
    pub limits: ServiceLimits,
}

/// The limits of a request and of a post.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLimits {
    /// Longest `content_description`.
    pub description_chars_max: usize,
    /// Largest `hashtag_count`.
    pub hashtag_count_max: u8,
    /// Most hashtags in a `post_text`.
    pub post_hashtags_max: usize,
    /// Longest `post_text`, in UTF-16 code units.
    pub post_characters_max: usize,
    /// Largest `variants`.
    pub variants_max: u8,
    /// Longest `language`.
    pub language_chars_max: usize,
    /// Most texts in `must_include`.
    pub must_include_items_max: usize,
    /// Longest text in `must_include`.
    pub must_include_chars_max: usize,
    /// Most entries of `banned_words`.
    pub banned_words_max: usize,
    /// Longest entry of `banned_words`.
    pub banned_word_chars_max: usize,
    /// Longest `brand_voice`.
    pub brand_voice_chars_max: usize,
    /// Smallest `max_length`, in UTF-16 code units.
    pub max_length_min: u16,
    /// Largest `max_length`, in UTF-16 code units.
    pub max_length_max: u16,
    /// Most requests in a batch.
    pub batch_requests_max: usize,
}

impl ServiceInfo {
    /// The answer of `side`, running software `version` with `model`.
    #[must_use]
    pub fn new(side: &str, version: &str, model: &str) -> Self {
        Self {
            name: "lede".to_owned(),
            side: side.to_owned(),
            version: version.to_owned(),
            api_version: API_VERSION.to_owned(),
            model: model.to_owned(),
            policy_version: POLICY.version.to_owned(),
            styles: Style::ALL.to_vec(),
            optimization_levels: OptimizationLevel::ALL.to_vec(),
            emoji_levels: EmojiLevel::ALL.to_vec(),
            calls_to_action: CallToAction::ALL.to_vec(),
            limits: ServiceLimits {
                description_chars_max: DESCRIPTION_CHARS_MAX,
                hashtag_count_max: HASHTAG_COUNT_MAX,
                post_hashtags_max: POLICY.hashtags_max,
                post_characters_max: POLICY.post_utf16_max,
                variants_max: VARIANTS_MAX,
                language_chars_max: LANGUAGE_CHARS_MAX,
                must_include_items_max: MUST_INCLUDE_ITEMS_MAX,
                must_include_chars_max: MUST_INCLUDE_CHARS_MAX,
                banned_words_max: BANNED_WORDS_MAX,
                banned_word_chars_max: BANNED_WORD_CHARS_MAX,
                brand_voice_chars_max: BRAND_VOICE_CHARS_MAX,
                max_length_min: MAX_LENGTH_MIN,
                max_length_max: MAX_LENGTH_MAX,
                batch_requests_max: BATCH_REQUESTS_MAX,
            },
        }
    }
}
