//! What a service is and takes: `GET /api/v14/info`.

use serde::{Deserialize, Serialize};

use super::{
    API_VERSION, BATCH_REQUESTS_MAX, DESCRIPTION_CHARS_MAX, HASHTAG_COUNT_MAX, OptimizationLevel, Style,
    VARIANTS_MAX,
};
use crate::policy::POLICY;

/// What a service is and takes.
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
    /// The limits of a request.
    pub limits: ServiceLimits,
}

/// The limits of a request and of a post.
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
            limits: ServiceLimits {
                description_chars_max: DESCRIPTION_CHARS_MAX,
                hashtag_count_max: HASHTAG_COUNT_MAX,
                post_hashtags_max: POLICY.hashtags_max,
                post_characters_max: POLICY.post_utf16_max,
                variants_max: VARIANTS_MAX,
                batch_requests_max: BATCH_REQUESTS_MAX,
            },
        }
    }
}
