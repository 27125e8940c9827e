//! What can be set, by environment variables that begin with `LEDE_`. One struct for each concern.

mod admission;
mod auth;
mod backend;
mod background;
mod cache;
mod engine;
mod model;
mod remote;
mod server;
mod survival;
mod telemetry;

use std::fmt::Display;

use figment::Figment;
use figment::providers::Env;
use serde::de::DeserializeOwned;

pub use admission::AdmissionConfig;
pub use auth::AuthConfig;
pub use backend::{BackendChoice, BackendConfig};
pub use background::{BackgroundConfig, Switch};
pub use cache::{CacheConfig, RedisUrl};
pub use engine::{EngineConfig, REQUEST_SEQUENCES_MAX};
pub use model::ModelConfig;
pub use remote::{RemoteConfig, RemoteRole};
pub use server::ServerConfig;
pub use survival::SurvivalConfig;
pub use telemetry::{LogFormat, TelemetryConfig};

/// A setting cannot be used. One line, for the operator; never shows a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct ConfigError {
    variable: String,
    reason: String,
}

impl ConfigError {
    pub(crate) fn new(name: &str, reason: impl Display) -> Self {
        // One name is not ours: every platform hands out a Redis under it.
        let variable =
            if name == "redis_url" { name.to_uppercase() } else { format!("LEDE_{name}").to_uppercase() };
        Self { variable, reason: reason.to_string() }
    }
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connections and time limits.
    pub server: ServerConfig,
    /// Who is let in.
    pub auth: AuthConfig,
    /// The response cache.
    pub cache: CacheConfig,
    /// What is done while nobody waits for it.
    pub background: BackgroundConfig,
    /// Which engine runs the model.
    pub backend: BackendConfig,
    /// Who may wait for the device.
    pub admission: AdmissionConfig,
    /// The engine.
    pub engine: EngineConfig,
    /// What is done when the device fails.
    pub survival: SurvivalConfig,
    /// The model and the library that runs it.
    pub model: ModelConfig,
    /// A remote provider of captions.
    pub remote: RemoteConfig,
    /// The log.
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// Names the first variable that cannot be used.
    pub fn from_environment() -> Result<Self, ConfigError> {
        // The name under which every platform hands out a Redis.
        Self::read(&Figment::from(Env::raw().only(&["REDIS_URL"])).merge(Env::prefixed("LEDE_")))
    }

    /// Reads any source whose keys are the variables' names without their prefix, in lower case.
    ///
    /// # Errors
    /// Names the first setting that cannot be used.
    pub fn read(source: &Figment) -> Result<Self, ConfigError> {
        let config = Self {
            server: section(source)?,
            auth: AuthConfig::read(source)?,
            cache: section(source)?,
            background: section(source)?,
            backend: BackendConfig::read(source)?,
            admission: section(source)?,
            engine: section(source)?,
            survival: section(source)?,
            model: ModelConfig::read(source)?,
            remote: RemoteConfig::read(source)?,
            telemetry: section(source)?,
        };
        config.server.check()?;
        config.cache.check()?;
        config.background.check()?;
        config.admission.check()?;
        config.engine.check()?;
        config.survival.check()?;
        Ok(config)
    }
}

fn section<T: DeserializeOwned>(source: &Figment) -> Result<T, ConfigError> {
    source.extract().map_err(|error| ConfigError::new(&error.path.join("_"), &error.kind))
}

/// Refuses a number outside its limits.
fn within<T: PartialOrd + Display + Copy>(name: &str, value: T, least: T, most: T) -> Result<(), ConfigError> {
    if value < least || value > most {
        return Err(ConfigError::new(name, format!("must be {least} to {most}, is {value}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use figment::providers::Serialized;

    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut source = Figment::new();
        for (name, value) in settings {
            // As the environment would give it: numbers where the text is a number.
            let value: figment::value::Value = value.parse().unwrap();
            source = source.merge(Serialized::default(name, value));
        }
        Config::read(&source)
    }

    #[test]
    fn nothing_set_is_a_sound_configuration() {
        let config = read(&[]).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8140");
        assert_eq!(config.cache.hot_entries_max, 10_000);
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        for (name, value) in [
            ("listen", "nowhere"),
            ("sequences_max", "0"),
            ("sequences_max", "many"),
            ("waiting_sequences_max", "3"),
            ("hot_entries_max", "-1"),
            ("execution_providers", "abacus"),
            ("prefetch", "maybe"),
            ("prefetch_used_share_min", "1.5"),
            ("log_format", "xml"),
            ("api_key_hashes", "acme=xyz"),
            ("edge_signing_keys", "12345"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("LEDE_{}: ", name.to_ascii_uppercase())), "{error}");
        }
    }

    #[test]
    fn no_secret_shows_in_errors_or_debug_output() {
        let secret = "5ec7e7".repeat(10) + "beef";
        let error = read(&[("edge_signing_keys", &format!("k1={secret}0"))]).unwrap_err();
        assert!(!error.to_string().contains(&secret));
        let redis_url = format!("redis://user:{secret}@localhost/");
        let config = read(&[("edge_signing_keys", &format!("k1={secret}")), ("redis_url", &redis_url)]).unwrap();
        assert!(!format!("{config:?}").contains(&secret));
    }
}
