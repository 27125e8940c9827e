//! The log.

use serde::Deserialize;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For a terminal.
    Human,
    /// One JSON object on each line.
    Json,
}

/// The log.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// `LEDE_LOG_FORMAT`: `human` or `json`. Default human.
    pub log_format: LogFormat,
    /// `LEDE_LOG`: what is logged, as `level` or `target=level,…`. Default info.
    pub log: String,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log_format: LogFormat::Human, log: "info".to_owned() }
    }
}
