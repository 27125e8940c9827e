//! What is done when the device fails.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, within};
use crate::engine::SurvivalLimits;

const HOUR_MS: u64 = 3_600_000;

/// What is done when the device fails.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct SurvivalConfig {
    /// `LEDE_DEVICE_CALL_STALLED_MS`: a call of the device that takes longer makes the process say that it is not ready, until
    /// the call comes back. Default 4 s.
    pub device_call_stalled_ms: u64,
    /// `LEDE_DEVICE_CALL_MAX_MS`: a call that takes longer is given up, and the model is opened again. Default 15 s.
    pub device_call_max_ms: u64,
    /// `LEDE_BACKEND_OPEN_MAX_MS`: for the model to be opened. Default 15 min.
    pub backend_open_max_ms: u64,
    /// `LEDE_BACKEND_RETURN_MS`: while another backend of the chain serves, the first is tried again this often. Default 5 min.
    pub backend_return_ms: u64,
}

impl Default for SurvivalConfig {
    fn default() -> Self {
        let SurvivalLimits { call_stalled, call_max, open_max, return_after, .. } = SurvivalLimits::default();
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            device_call_stalled_ms: ms(call_stalled),
            device_call_max_ms: ms(call_max),
            backend_open_max_ms: ms(open_max),
            backend_return_ms: ms(return_after),
        }
    }
}

impl SurvivalConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("device_call_stalled_ms", self.device_call_stalled_ms, 1, HOUR_MS)?;
        within("device_call_max_ms", self.device_call_max_ms, self.device_call_stalled_ms, HOUR_MS)?;
        within("backend_open_max_ms", self.backend_open_max_ms, 1, HOUR_MS)?;
        within("backend_return_ms", self.backend_return_ms, 1, 24 * HOUR_MS)
    }

    /// The part that the engine works with.
    #[must_use]
    pub fn limits(&self) -> SurvivalLimits {
        SurvivalLimits {
            call_stalled: Duration::from_millis(self.device_call_stalled_ms),
            call_max: Duration::from_millis(self.device_call_max_ms),
            open_max: Duration::from_millis(self.backend_open_max_ms),
            return_after: Duration::from_millis(self.backend_return_ms),
            ..SurvivalLimits::default()
        }
    }
}
