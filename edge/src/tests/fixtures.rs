//! Answers to test with, and the origins that give them.

use lede_shared::api::{
    BATCH_PATH, BatchItem, BatchRequest, CaptionRequest, CaptionResponse, Counts, GENERATE_PATH,
    PerformanceMetrics, Usage, ValidRequest, Variant,
};
use lede_shared::clock::UnixMillis;
use lede_shared::headers::{CACHE_STATUS, NDJSON, X_DEADLINE_MS};
use lede_shared::policy::{POLICY, utf16_len};
use lede_shared::problem::{Problem, ProblemCode};
use lede_shared::signature::{SignatureHeaders, SignedRequest, SigningKey};

use super::deployment::NOW_MS;
use crate::bindings::in_memory::ChunksInMemory;
use crate::bindings::{BindingError, FetchError, IncomingResponse, OutgoingRequest};
use crate::http::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, Headers, JSON, path_and_query};

pub(crate) const MODEL: &str = "lede-nano-1";
pub(crate) const SIGNING_KEY: &str = "k1=0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

/// A complete answer of the model, with `caption` in it.
pub(crate) fn caption_response(caption: &str) -> CaptionResponse {
    let hashtags = vec!["#ocean".to_owned()];
    let post_text = POLICY.post_text(caption, &hashtags);
    let variant = Variant {
        caption: caption.to_owned(),
        hook: POLICY.hook(caption).to_owned(),
        hashtags: hashtags.clone(),
        counts: Counts { characters: utf16_len(&post_text), hashtags: 1 },
        post_text,
    };
    CaptionResponse {
        id: format!("cap_{}", "0a".repeat(12)),
        caption: caption.to_owned(),
        hashtags,
        variants: vec![variant],
        policy_version: POLICY.version.to_owned(),
        warnings: Vec::new(),
        model: MODEL.to_owned(),
        usage: Usage { prompt_tokens: 12, completion_tokens: 34 },
        performance_metrics: PerformanceMetrics {
            processing_time: 210.5,
            cache_hit: false,
            cache_tier: None,
            queue_time: 1.5,
            tokens_per_second: Some(160.0),
        },
    }
}

/// An origin that checks what a real one checks, then writes a caption that repeats the description.
pub(super) fn sound_origin(request: &OutgoingRequest) -> Result<IncomingResponse, FetchError> {
    if request.url.contains("/internal/keys/") {
        return Ok(problem_answer(&Problem::new(ProblemCode::NotFound, "no key has this hash")));
    }
    let Some(body) = &request.body else {
        return Ok(answer(200, JSON, "{}"));
    };
    check_signature(request, body);
    let (path, _) = path_and_query(&request.url);
    let (media_type, body) = match path {
        GENERATE_PATH => {
            let wanted =
                CaptionRequest::from_json(body).and_then(|request| request.validate()).expect("canonical");
            (JSON, serde_json::json!(caption_for(&wanted)).to_string())
        }
        BATCH_PATH => {
            assert_eq!(request.headers.get(ACCEPT), Some(NDJSON));
            (NDJSON, batch_lines(body).concat())
        }
        other => panic!("the origin has no route {other}"),
    };
    let mut response = answer(200, media_type, &body);
    response.headers.push(CACHE_STATUS, "lede-origin; fwd=uri-miss; stored");
    Ok(response)
}

fn check_signature(request: &OutgoingRequest, body: &[u8]) {
    let signed = SignatureHeaders::read(|name| request.headers.get(name)).expect("five headers");
    let (path_and_query, _) = path_and_query(&request.url);
    let key = SigningKey::parse(SIGNING_KEY).expect("a key");
    let signed_request = SignedRequest { method: "POST", path_and_query, body };
    signed.verify(&[key], &signed_request, signed.timestamp_ms).expect("a sound signature");
    assert_eq!(signed.claims.tenant.as_str(), "acme");
    assert!(signed.timestamp_ms >= UnixMillis(NOW_MS));
    assert!(request.headers.get(X_DEADLINE_MS).is_some());
}

pub(super) fn caption_for(request: &ValidRequest) -> CaptionResponse {
    caption_response(&format!("About {}", request.content_description()))
}

/// The lines of the answer, the last request's first: an origin writes them as they are ready. Items whose description
/// holds “unlucky” end with a problem of their own.
pub(super) fn batch_lines(body: &[u8]) -> Vec<String> {
    let batch = BatchRequest::from_json(body).expect("a sound batch");
    let items = batch.items.into_iter().enumerate().map(|(index, item)| {
        let request = item.expect("only valid requests are forwarded");
        let unlucky = request.content_description().contains("unlucky");
        let failed = || Problem::new(ProblemCode::GenerationFailed, "nothing postable came out");
        BatchItem::new(index, if unlucky { Err(failed()) } else { Ok(caption_for(&request)) })
    });
    items.rev().map(|item| format!("{}\n", serde_json::json!(item))).collect()
}

/// An answer as it comes over the wire.
pub(super) fn answer(status: u16, content_type: &str, body: &str) -> IncomingResponse {
    let headers = Headers(vec![(CONTENT_TYPE, content_type.to_owned()), (CONTENT_LENGTH, body.len().to_string())]);
    IncomingResponse { status, headers, body: Some(Box::new(ChunksInMemory::new(&[body.as_bytes()]))) }
}

/// An answer with a problem document.
pub(super) fn problem_answer(problem: &Problem) -> IncomingResponse {
    answer(problem.status, "application/problem+json", &serde_json::json!(problem).to_string())
}

/// No connection.
pub(super) fn origin_down(_: &OutgoingRequest) -> Result<IncomingResponse, FetchError> {
    let cause = "connection refused".to_owned();
    Err(FetchError::NotConnected(BindingError { operation: "fetching", cause }))
}
