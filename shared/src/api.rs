//! The public API's types (v14), as both sides read and write them.

#[cfg(any(test, feature = "proptest"))]
pub mod arbitrary;
mod batch;
mod info;
mod language;
mod popular;
mod request;
mod response;
mod splice;
pub mod stream;
pub mod text;
mod vocabulary;

pub use batch::{BatchItem, BatchOutcome, BatchRequest, BatchResponse};
pub use info::{ServiceInfo, ServiceLimits};
pub use language::LanguageTag;
pub use popular::{POPULAR_CAPTIONS_MAX, POPULAR_PATH, PopularCaption, PopularCaptions};
pub use request::{CaptionRequest, ValidRequest};
pub use response::{CacheTier, CaptionResponse, Counts, PerformanceMetrics, Usage, Variant, Warning, WarningCode};
pub use splice::json_with_metrics;
pub use vocabulary::{CallToAction, EmojiLevel, OptimizationLevel, Style};

/// Version of the public API, as it stands in every path.
pub const API_VERSION: &str = "v14";
/// One caption request.
pub const GENERATE_PATH: &str = "/api/v14/generate";
/// Many caption requests.
pub const BATCH_PATH: &str = "/api/v14/batch";
/// What this service is and takes.
pub const INFO_PATH: &str = "/api/v14/info";

/// Longest description, in characters after normalisation.
pub const DESCRIPTION_CHARS_MAX: usize = 2_000;
/// Most hashtags that may be asked for. More than the policy accepts is honoured in `hashtags` only.
pub const HASHTAG_COUNT_MAX: u8 = 30;
/// Hashtags when the request does not say.
pub const HASHTAG_COUNT_DEFAULT: u8 = 5;
/// Most variants of one request.
pub const VARIANTS_MAX: u8 = 8;
/// Longest `language`, in characters.
pub const LANGUAGE_CHARS_MAX: usize = 35;
/// Most texts in `must_include`.
pub const MUST_INCLUDE_ITEMS_MAX: usize = 8;
/// Longest text in `must_include`, in characters after normalisation.
pub const MUST_INCLUDE_CHARS_MAX: usize = 60;
/// Most entries of `banned_words`.
pub const BANNED_WORDS_MAX: usize = 50;
/// Longest entry of `banned_words`, in characters after normalisation.
pub const BANNED_WORD_CHARS_MAX: usize = 40;
/// Longest `brand_voice`, in characters after normalisation.
pub const BRAND_VOICE_CHARS_MAX: usize = 280;
/// Smallest `max_length`, in UTF-16 code units.
pub const MAX_LENGTH_MIN: u16 = 40;
/// Largest `max_length`, in UTF-16 code units: what a post may have.
pub const MAX_LENGTH_MAX: u16 = 2_200;
/// What a `must_include` text needs in a caption besides its own length, in UTF-16 code units.
pub const MUST_INCLUDE_JOINT_UTF16: usize = 2;
/// What a call to action needs in a caption, in UTF-16 code units.
pub const CALL_TO_ACTION_UTF16_MAX: usize = 60;
/// Largest seed: the largest integer that every JSON reader keeps exactly (2^53 − 1).
pub const SEED_MAX: u64 = (1 << 53) - 1;
/// Most requests in one batch.
pub const BATCH_REQUESTS_MAX: usize = 100;
/// Largest body of a single request, in bytes: every field at its limit as `\uXXXX\uXXXX` escapes, and room around them.
pub const GENERATE_BODY_BYTES_MAX: usize = 64 * 1_024;
/// Largest body of a batch, in bytes: any 100 valid requests in canonical form, so that what the edge took the origin
/// takes as well.
pub const BATCH_BODY_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// Longest query string of a GET, in bytes.
pub const QUERY_BYTES_MAX: usize = 32 * 1_024;
