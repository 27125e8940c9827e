//! Examples, made of the types themselves: they cannot be out of date.

use serde_json::{Value, json};

use crate::api::stream::StreamEvent;
use crate::api::{
    BatchItem, BatchResponse, CaptionResponse, Counts, PerformanceMetrics, ServiceInfo, Usage, Variant,
};
use crate::policy::{POLICY, utf16_len};
use crate::problem::{FieldError, FieldErrorCode, Problem, ProblemCode};

const REQUEST_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

pub(super) fn request() -> Value {
    json!({ "content_description": "Beautiful sunset over the ocean", "style": "inspirational", "hashtag_count": 5 })
}

pub(super) fn batch() -> Value {
    json!({ "requests": [request(), { "content_description": "My dog asleep on the sofa", "style": "playful" }] })
}

pub(super) fn purge() -> Value {
    json!({ "scope": "model", "name": "lede-nano-2" })
}

pub(super) fn answer() -> CaptionResponse {
    let caption = "Beautiful sunset over the ocean. Some evenings ask for nothing but to be looked at.".to_owned();
    let hashtags: Vec<String> =
        ["#sunset", "#ocean", "#outdoors", "#view", "#evening"].map(str::to_owned).to_vec();
    let post_text = POLICY.post_text(&caption, &hashtags);
    let counts = Counts { characters: utf16_len(&post_text), hashtags: hashtags.len() };
    let hook = POLICY.hook(&caption).to_owned();
    let variant = Variant { caption: caption.clone(), hook, hashtags: hashtags.clone(), post_text, counts };
    CaptionResponse {
        id: "cap_437f97975242f9104b46f44f".to_owned(),
        caption,
        hashtags,
        variants: vec![variant],
        policy_version: POLICY.version.to_owned(),
        warnings: Vec::new(),
        model: "lede-nano-2".to_owned(),
        usage: Usage { prompt_tokens: 32, completion_tokens: 108 },
        performance_metrics: PerformanceMetrics {
            processing_time: 77.7,
            cache_hit: false,
            cache_tier: None,
            queue_time: 0.1,
            tokens_per_second: Some(1_483.9),
        },
    }
}

pub(super) fn batch_answer() -> BatchResponse {
    let fault = FieldError {
        pointer: "/requests/1/style".to_owned(),
        code: FieldErrorCode::UnknownValue,
        detail: "must be one of casual, inspirational, …".to_owned(),
    };
    let problem = Problem::invalid_fields(vec![fault]);
    BatchResponse { results: vec![BatchItem::new(0, Ok(answer())), BatchItem::new(1, Err(problem))] }
}

pub(super) fn info(side: &str) -> ServiceInfo {
    ServiceInfo::new(side, env!("CARGO_PKG_VERSION"), "lede-nano-2")
}

/// What a caller with this problem reads.
pub(super) fn problem(code: ProblemCode) -> Problem {
    let problem = match code {
        ProblemCode::InvalidFields => Problem::invalid_fields(vec![FieldError {
            pointer: "/variants".to_owned(),
            code: FieldErrorCode::OutOfRange,
            detail: "must be an integer from 1 to 8".to_owned(),
        }]),
        code => Problem::new(code, detail(code)),
    };
    let waits = matches!(
        code,
        ProblemCode::RateLimited
            | ProblemCode::Overloaded
            | ProblemCode::NotReady
            | ProblemCode::OriginUnavailable
    );
    let problem = problem.for_request(REQUEST_ID);
    if waits { problem.retry_after(2) } else { problem }
}

fn detail(code: ProblemCode) -> &'static str {
    match code {
        ProblemCode::MalformedRequest => "the body is not JSON: fault at line 1, column 9",
        ProblemCode::MissingApiKey => "send your key as Authorization: Bearer …",
        ProblemCode::RateLimited => "your quota is used up; try again in 2 seconds",
        ProblemCode::Overloaded => "all places are taken; try again later",
        ProblemCode::NotCached => "only-if-cached was asked and nothing fit to serve is cached",
        other => other.title(),
    }
}

pub(super) fn purged() -> Value {
    json!({ "scope": "model", "name": "lede-nano-2", "epoch_ms": 1_795_000_000_000_u64, "holds_everywhere_from_ms": 1_795_000_120_000_u64 })
}

/// An answer as it is streamed.
pub(super) fn events() -> String {
    StreamEvent::of_answer(&answer()).iter().map(StreamEvent::to_sse).collect()
}

/// A batch as it is streamed.
pub(super) fn lines() -> String {
    batch_answer().results.iter().map(|item| format!("{}\n", json!(item))).collect()
}
