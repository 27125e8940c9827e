//! The public API's types (v14), as both sides read and write them.

mod batch;
mod info;
mod request;
mod response;
mod vocabulary;

pub use batch::{BatchItem, BatchOutcome, BatchRequest, BatchResponse};
pub use info::{ServiceInfo, ServiceLimits};
pub use request::{CaptionRequest, ValidRequest};
pub use response::{CacheTier, CaptionResponse, Counts, PerformanceMetrics, Usage, Variant, Warning, WarningCode};
pub use vocabulary::{OptimizationLevel, Style};

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
/// Largest seed: the largest integer that every JSON reader keeps exactly (2^53 − 1).
pub const SEED_MAX: u64 = (1 << 53) - 1;
/// Most requests in one batch.
pub const BATCH_REQUESTS_MAX: usize = 100;
/// Largest body of a single request, in bytes: 2,000 characters as `\uXXXX\uXXXX` escapes and room around them.
pub const GENERATE_BODY_BYTES_MAX: usize = 64 * 1_024;
/// Largest body of a batch, in bytes.
pub const BATCH_BODY_BYTES_MAX: usize = 1_024 * 1_024;
/// Longest query string of a GET, in bytes.
pub const QUERY_BYTES_MAX: usize = 32 * 1_024;
