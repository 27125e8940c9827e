//! A remote provider of captions.

use std::time::Duration;

use figment::Figment;
use lede_shared::breaker::BreakerSettings;
use reqwest::Url;
use serde::Deserialize;

use super::{ConfigError, section, within};
use crate::remote::{ProviderKey, RemoteSettings};

/// Longest name of a model: it stands in every answer and in the cache key.
const MODEL_CHARS_MAX: usize = 128;
const HOUR_MS: u64 = 3_600_000;

/// What the remote provider is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteRole {
    /// It writes; the local model stands in when it cannot.
    Primary,
    /// It stands in when the local model cannot write.
    Fallback,
}

/// A remote provider of captions: none unless `LEDE_REMOTE_URL` is set.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// What it is for and how it is reached; `None` when no provider is asked.
    pub provider: Option<(RemoteRole, RemoteSettings)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RemoteMode {
    Off,
    Primary,
    Fallback,
}

#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    /// `LEDE_REMOTE_URL`: base URL of an OpenAI-compatible API, such as `https://api.example.com/v1`.
    remote_url: Option<String>,
    /// `LEDE_REMOTE_MODE`: `off`, `primary` or `fallback`. Default fallback when there is a URL, else off.
    remote_mode: Option<RemoteMode>,
    /// `LEDE_REMOTE_MODEL`: the model's name there. Needed with a URL.
    remote_model: Option<String>,
    /// `LEDE_REMOTE_TIMEOUT_MS`: for one attempt. Default 10 s.
    remote_timeout_ms: u64,
    /// `LEDE_REMOTE_CONCURRENCY_MAX`: calls at once; more are not made. Default 32.
    remote_concurrency_max: usize,
    /// `LEDE_REMOTE_RETRY_PERCENT`: calls made again, in a hundred calls. Default 10.
    remote_retry_percent: u32,
    /// `LEDE_REMOTE_FAILURES_TO_OPEN`: failures in a row after which the provider is left alone. Default 5.
    remote_failures_to_open: u32,
    /// `LEDE_REMOTE_OPEN_MS`: for how long. Default 10 s.
    remote_open_ms: u64,
    /// `LEDE_REMOTE_RESPONSE_BYTES_MAX`: largest answer that is read. Default 256 KiB.
    remote_response_bytes_max: usize,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            remote_url: None,
            remote_mode: None,
            remote_model: None,
            remote_timeout_ms: 10_000,
            remote_concurrency_max: 32,
            remote_retry_percent: 10,
            remote_failures_to_open: 5,
            remote_open_ms: 10_000,
            remote_response_bytes_max: 256 * 1_024,
        }
    }
}

impl RemoteConfig {
    /// Reads the settings. Errors repeat nothing of the key.
    pub(super) fn read(source: &Figment) -> Result<Self, ConfigError> {
        let raw: Raw = section(source)?;
        raw.check()?;
        let api_key = api_key(source)?;
        let role = match (raw.remote_mode, &raw.remote_url) {
            (Some(RemoteMode::Off), _) | (None, None) => return Ok(Self { provider: None }),
            (Some(RemoteMode::Primary), _) => RemoteRole::Primary,
            (Some(RemoteMode::Fallback) | None, _) => RemoteRole::Fallback,
        };
        let url = raw.remote_url.as_deref();
        let url =
            url.ok_or_else(|| ConfigError::new("remote_url", "is not set, but LEDE_REMOTE_MODE needs it"))?;
        let settings = RemoteSettings {
            base_url: base_url(url).map_err(|reason| ConfigError::new("remote_url", reason))?,
            api_key,
            model: model(raw.remote_model)?,
            timeout: Duration::from_millis(raw.remote_timeout_ms),
            concurrency_max: raw.remote_concurrency_max,
            retry_percent: raw.remote_retry_percent,
            breaker: BreakerSettings {
                failures_to_open: raw.remote_failures_to_open,
                open_for_ms: raw.remote_open_ms,
            },
            response_bytes_max: raw.remote_response_bytes_max,
        };
        Ok(Self { provider: Some((role, settings)) })
    }
}

impl Raw {
    fn check(&self) -> Result<(), ConfigError> {
        within("remote_timeout_ms", self.remote_timeout_ms, 1, HOUR_MS)?;
        within("remote_concurrency_max", self.remote_concurrency_max, 1, 100_000)?;
        within("remote_retry_percent", self.remote_retry_percent, 0, 100)?;
        within("remote_failures_to_open", self.remote_failures_to_open, 1, 1_000_000)?;
        within("remote_open_ms", self.remote_open_ms, 1, HOUR_MS)?;
        within("remote_response_bytes_max", self.remote_response_bytes_max, 1_024, 64 * 1_024 * 1_024)
    }
}

/// The key, which may come from nowhere but the environment and is repeated in no error.
fn api_key(source: &Figment) -> Result<Option<ProviderKey>, ConfigError> {
    let Ok(value) = source.find_value("remote_api_key") else { return Ok(None) };
    let key = value.into_string().and_then(|text| ProviderKey::parse(&text));
    key.map(Some).ok_or_else(|| ConfigError::new("remote_api_key", "must be visible ASCII text, and not a number"))
}

fn model(name: Option<String>) -> Result<String, ConfigError> {
    let name = name.ok_or_else(|| ConfigError::new("remote_model", "is not set, but LEDE_REMOTE_URL needs it"))?;
    let is_name =
        (1..=MODEL_CHARS_MAX).contains(&name.len()) && name.chars().all(|character| character.is_ascii_graphic());
    let reason = format!("must be 1 to {MODEL_CHARS_MAX} visible ASCII characters");
    is_name.then_some(name).ok_or_else(|| ConfigError::new("remote_model", reason))
}

/// A URL to which descriptions and a key may be sent.
fn base_url(text: &str) -> Result<Url, &'static str> {
    let url: Url = text.parse().map_err(|_| "is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password; LEDE_REMOTE_API_KEY is for the key");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("must be https: http sends descriptions and the key in the clear (loopback excepted)"),
        _ => Err("must begin with https://"),
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use figment::providers::Serialized;

    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<RemoteConfig, ConfigError> {
        let mut source = Figment::new();
        for (name, value) in settings {
            let value: figment::value::Value = value.parse().unwrap();
            source = source.merge(Serialized::default(name, value));
        }
        RemoteConfig::read(&source)
    }

    const URL: (&str, &str) = ("remote_url", "https://api.example.com/v1");
    const MODEL: (&str, &str) = ("remote_model", "writer-1");

    #[test]
    fn without_a_url_or_switched_off_no_provider_is_asked() {
        assert!(read(&[]).unwrap().provider.is_none());
        assert!(read(&[MODEL]).unwrap().provider.is_none());
        assert!(read(&[URL, MODEL, ("remote_mode", "off")]).unwrap().provider.is_none());
    }

    #[test]
    fn a_url_makes_a_fallback_unless_it_is_said_to_be_primary() {
        let role = |settings: &[(&str, &str)]| read(settings).unwrap().provider.unwrap().0;
        assert_eq!(role(&[URL, MODEL]), RemoteRole::Fallback);
        assert_eq!(role(&[URL, MODEL, ("remote_mode", "primary")]), RemoteRole::Primary);
    }

    #[test]
    fn descriptions_and_the_key_are_never_sent_in_the_clear_off_this_machine() {
        let provider = |url: &str| read(&[("remote_url", url), MODEL]);
        for url in ["http://127.0.0.1:8000/v1", "http://localhost:1", "http://[::1]:1/", "https://10.0.0.1/v1"] {
            assert!(provider(url).is_ok(), "{url}");
        }
        for url in [
            "http://api.example.com/v1",
            "http://10.0.0.1",
            "http://127.0.0.1.example.com",
            "ftp://127.0.0.1",
            "https://name:word@example.com",
            "https://example.com/v1?key=x",
            "example.com",
            "/v1",
        ] {
            assert!(provider(url).unwrap_err().to_string().starts_with("LEDE_REMOTE_URL: "), "{url}");
        }
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        let both = [URL, MODEL];
        for (name, value) in [
            ("remote_mode", "both"),
            ("remote_timeout_ms", "0"),
            ("remote_concurrency_max", "0"),
            ("remote_retry_percent", "101"),
            ("remote_failures_to_open", "0"),
            ("remote_open_ms", "0"),
            ("remote_response_bytes_max", "3"),
            ("remote_model", "\"\""),
            ("remote_model", "two words"),
        ] {
            let settings: Vec<_> = both.into_iter().chain([(name, value)]).collect();
            let error = read(&settings).unwrap_err().to_string();
            assert!(error.starts_with(&format!("LEDE_{}: ", name.to_ascii_uppercase())), "{error}");
        }
        let error = read(&[URL]).unwrap_err().to_string();
        assert!(error.starts_with("LEDE_REMOTE_MODEL: is not set"), "{error}");
        let error = read(&[("remote_mode", "primary")]).unwrap_err().to_string();
        assert!(error.starts_with("LEDE_REMOTE_URL: is not set"), "{error}");
    }

    #[test]
    fn the_key_shows_in_no_error_and_no_debug_output() {
        for key in ["12345678901234", "kéy-secret", "\"line\\nsecret\""] {
            let error = read(&[URL, MODEL, ("remote_api_key", key)]).unwrap_err().to_string();
            assert!(error.starts_with("LEDE_REMOTE_API_KEY: "), "{error}");
            assert!(!error.contains("secret") && !error.contains("1234"), "{error}");
        }
        let config = read(&[URL, MODEL, ("remote_api_key", "sk-secret")]).unwrap();
        assert!(!format!("{config:?}").contains("secret"), "{config:?}");
    }
}
