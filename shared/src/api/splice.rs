//! A response as both sides keep it: its JSON without the metrics, which differ with every serving and come last.
//! Serving it is writing two pieces of text one after the other.

use super::{CaptionResponse, PerformanceMetrics};

const METRICS_FIELD: &str = r#","performance_metrics":"#;
/// About what the metrics take.
const METRICS_BYTES_TYPICAL: usize = 192;

impl CaptionResponse {
    /// The JSON up to where the metrics begin.
    ///
    /// # Errors
    /// When the JSON does not end with the metrics; for the log.
    pub fn json_without_metrics(&self) -> Result<String, String> {
        let mut json = serde_json::to_string(self).map_err(|error| error.to_string())?;
        // The last one: within a text the quotation marks would be escaped, and after the metrics nothing comes.
        let end = json.rfind(METRICS_FIELD).ok_or("the response's JSON does not end with its metrics")?;
        json.truncate(end);
        Ok(json)
    }
}

/// The whole JSON again, with these metrics.
///
/// # Errors
/// When the metrics cannot be written; for the log.
pub fn json_with_metrics(without_metrics: &[u8], metrics: &PerformanceMetrics) -> Result<Vec<u8>, String> {
    let mut body = Vec::with_capacity(without_metrics.len() + METRICS_BYTES_TYPICAL);
    body.extend_from_slice(without_metrics);
    body.extend_from_slice(METRICS_FIELD.as_bytes());
    serde_json::to_writer(&mut body, metrics).map_err(|error| error.to_string())?;
    body.push(b'}');
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CacheTier, Usage};

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
        let kept = original.json_without_metrics().unwrap();
        let served =
            json_with_metrics(kept.as_bytes(), &PerformanceMetrics::of_hit(CacheTier::Hot, 0.25)).unwrap();
        let served: CaptionResponse = serde_json::from_slice(&served).unwrap();
        assert_eq!(served, original.served_from(CacheTier::Hot, 0.25));
    }
}
