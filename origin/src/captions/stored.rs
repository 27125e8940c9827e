//! A response as it is kept: its JSON without the metrics, which differ with every serving and come last.

use bytes::{BufMut, Bytes, BytesMut};
use lede_shared::api::{CaptionResponse, PerformanceMetrics};

const METRICS_FIELD: &str = r#","performance_metrics":"#;

/// The response's JSON up to where its metrics begin.
///
/// # Errors
/// When the response's JSON does not end with its metrics; for the log.
pub(super) fn without_metrics(response: &CaptionResponse) -> Result<Bytes, String> {
    let whole = serde_json::to_string(response).map_err(|error| error.to_string())?;
    let end = whole.rfind(METRICS_FIELD).ok_or("the response's JSON does not end with its metrics")?;
    Ok(Bytes::copy_from_slice(&whole.as_bytes()[..end]))
}

/// The whole JSON again, with these metrics.
pub(super) fn with_metrics(stored: &Bytes, metrics: &PerformanceMetrics) -> Result<Bytes, String> {
    const METRICS_BYTES_TYPICAL: usize = 192;
    let mut body = BytesMut::with_capacity(stored.len() + METRICS_BYTES_TYPICAL);
    body.put_slice(stored);
    body.put_slice(METRICS_FIELD.as_bytes());
    let mut body = body.writer();
    serde_json::to_writer(&mut body, metrics).map_err(|error| error.to_string())?;
    let mut body = body.into_inner();
    body.put_u8(b'}');
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use lede_shared::api::{CacheTier, Usage};

    use super::*;

    fn response(caption: &str) -> CaptionResponse {
        let performance_metrics = PerformanceMetrics {
            processing_time: 12.5,
            cache_hit: false,
            cache_tier: None,
            queue_time: 0.5,
            tokens_per_second: Some(99.0),
        };
        CaptionResponse {
            id: "cap_0".to_owned(),
            caption: caption.to_owned(),
            hashtags: vec!["#a".to_owned()],
            variants: Vec::new(),
            policy_version: "2025-12".to_owned(),
            warnings: Vec::new(),
            model: "m".to_owned(),
            usage: Usage::default(),
            performance_metrics,
        }
    }

    #[test]
    fn what_was_kept_comes_back_with_new_metrics_and_nothing_else_changed() {
        // The caption holds what the cut looks for, as a caller could bring the model to write.
        let original = response(r#"x","performance_metrics":{"a":1}}"#);
        let stored = without_metrics(&original).unwrap();
        let served = with_metrics(&stored, &PerformanceMetrics::of_hit(CacheTier::Hot, 0.25)).unwrap();
        let served: CaptionResponse = serde_json::from_slice(&served).unwrap();
        assert_eq!(served, original.served_from(CacheTier::Hot, 0.25));
    }
}
