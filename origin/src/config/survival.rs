//! What is done when the device fails.

use std::time::Duration;

use serde::Deserialize;

use super::{BackendChoice, ConfigError, within};
use crate::engine::SurvivalLimits;

const HOUR_MS: u64 = 3_600_000;
/// Not a backend, but who stands in when there is none.
const REMOTE: &str = "remote";

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
    /// `LEDE_BACKEND_FALLBACK`: what takes the place of `LEDE_BACKEND` when it fails, in this order: `ort`, `wgpu` and, as the
    /// last, `remote`, the provider of `LEDE_REMOTE_…`. Default: nothing.
    pub backend_fallback: String,
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
            backend_fallback: String::new(),
            backend_return_ms: ms(return_after),
        }
    }
}

impl SurvivalConfig {
    pub(super) fn check(&self, has_provider: bool) -> Result<(), ConfigError> {
        let unsound = |reason| Err(ConfigError::new("backend_fallback", reason));
        let names: Vec<&str> = self.names().collect();
        for (index, name) in names.iter().enumerate() {
            match (*name, index + 1 == names.len()) {
                (REMOTE, true) if has_provider => {}
                (REMOTE, true) => return unsound("remote is named, and no provider is set"),
                (REMOTE, false) => return unsound("remote must be the last"),
                ("ort" | "wgpu", _) => {}
                _ => return unsound("must be names from ort, wgpu and remote, with commas between them"),
            }
        }
        within("device_call_stalled_ms", self.device_call_stalled_ms, 1, HOUR_MS)?;
        within("device_call_max_ms", self.device_call_max_ms, self.device_call_stalled_ms, HOUR_MS)?;
        within("backend_open_max_ms", self.backend_open_max_ms, 1, HOUR_MS)?;
        within("backend_return_ms", self.backend_return_ms, 1, 24 * HOUR_MS)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.backend_fallback.split(',').map(str::trim).filter(|name| !name.is_empty())
    }

    /// The backends to be opened, the first of them and those that take its place. The provider is none of them: it stands in
    /// for whatever cannot be written here.
    pub fn chain(&self, first: BackendChoice) -> impl Iterator<Item = BackendChoice> {
        std::iter::once(first).chain(self.names().filter_map(|name| name.parse().ok()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_goes_from_the_first_through_those_that_take_its_place() {
        let config =
            |names: &str| SurvivalConfig { backend_fallback: names.to_owned(), ..SurvivalConfig::default() };
        let chain = |names| config(names).chain(BackendChoice::Wgpu).collect::<Vec<_>>();
        assert_eq!(chain(""), [BackendChoice::Wgpu]);
        assert_eq!(chain("ort, remote"), [BackendChoice::Wgpu, BackendChoice::Ort]);
        assert!(config("ort,remote").check(true).is_ok());
        for (names, has_provider) in [("remote", false), ("remote,ort", true), ("cuda", true), ("auto", true)] {
            assert!(config(names).check(has_provider).is_err(), "{names}");
        }
    }
}
