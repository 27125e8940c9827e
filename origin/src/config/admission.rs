//! Who may wait for the device, by the way they came.

use serde::Deserialize;

use super::{ConfigError, within};
use crate::admission::ByEndpoint;

/// More than any machine can hold.
const INSIDE_MAX: usize = 1_000_000;

/// Requests that wait for the device or are on it. What the cache answers is not among them.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct AdmissionConfig {
    /// `LEDE_GENERATE_INSIDE_MAX`: requests for one answer. Default 256.
    pub generate_inside_max: usize,
    /// `LEDE_BATCH_INSIDE_MAX`: requests out of batches, all batches together. Default 128.
    pub batch_inside_max: usize,
    /// `LEDE_STREAM_INSIDE_MAX`: requests for streams. Default 256.
    pub stream_inside_max: usize,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self { generate_inside_max: 256, batch_inside_max: 128, stream_inside_max: 256 }
    }
}

impl AdmissionConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("generate_inside_max", self.generate_inside_max, 1, INSIDE_MAX)?;
        within("batch_inside_max", self.batch_inside_max, 1, INSIDE_MAX)?;
        within("stream_inside_max", self.stream_inside_max, 1, INSIDE_MAX)
    }

    /// Requests of each endpoint that may be inside.
    #[must_use]
    pub const fn requests_max(&self) -> ByEndpoint<usize> {
        ByEndpoint {
            generate: self.generate_inside_max,
            batch: self.batch_inside_max,
            stream: self.stream_inside_max,
        }
    }
}
