//! What the deployment says: vars and secrets, read once per isolate.

mod origins;

use lede_shared::api_key::ApiKeyTable;
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::FreshnessRecord;
use lede_shared::key_standing::KeyLifetimes;
use lede_shared::plan::Plan;
use lede_shared::served_models::ServedModels;
use lede_shared::signature::SigningKey;

pub(crate) use origins::OriginAddress;

/// The Workers KV namespace of the response cache.
pub(crate) const CAPTIONS: &str = "CAPTIONS";

/// The Workers KV namespace of what is known of keys.
pub(crate) const KEYS: &str = "KEYS";

const ORIGIN_TIMEOUT_MS_DEFAULT: u64 = 20_000;
/// `wait_until` lasts 30 s, and revalidation must end within it.
const ORIGIN_TIMEOUT_MS_MAX: u64 = 30_000;
const DAY_S: u64 = 86_400;

/// Settings of one deployment.
#[derive(Debug)]
pub(crate) struct Config {
    /// One at least.
    pub(crate) origins: Vec<OriginAddress>,
    /// Which model writes at which level; the id of a request's is part of its cache key.
    pub(crate) models: ServedModels,
    /// Raised to purge everything at once.
    pub(crate) cache_epoch: u64,
    /// From the first byte sent to an origin to the last byte of an answer, other origins' tries included.
    pub(crate) origin_timeout_ms: u64,
    pub(crate) lifetimes: Lifetimes,
    /// Look-ups of a caption in one isolate after which it is worth a write to Workers KV; 15 at most.
    pub(crate) popular_after_lookups: u64,
    /// Writes of captions to Workers KV that one isolate may make in a minute.
    pub(crate) workers_kv_writes_per_minute: u64,
    /// Captions that one cron event may write to Workers KV.
    pub(crate) warm_writes_max: u64,
    /// Keys that need no origin; empty for most deployments.
    pub(crate) api_keys: ApiKeyTable,
    /// The plan of those keys.
    pub(crate) api_key_plan: Plan,
    pub(crate) key_lifetimes: KeyLifetimes,
    pub(crate) signing_key: SigningKey,
}

/// How long answers may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    pub(crate) fresh_s: u64,
    pub(crate) stale_while_revalidate_s: u64,
    pub(crate) stale_if_error_s: u64,
}

impl Lifetimes {
    /// The record of an answer generated at `created`.
    pub(crate) fn record(&self, created: UnixMillis) -> FreshnessRecord {
        FreshnessRecord {
            created_ms: created,
            fresh_for_ms: self.fresh_s.saturating_mul(1_000),
            stale_while_revalidate_ms: self.stale_while_revalidate_s.saturating_mul(1_000),
            stale_if_error_ms: self.stale_if_error_s.saturating_mul(1_000),
        }
    }
}

/// The deployment is incomplete. Names the binding, never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// Not set, or not text.
    #[error("the binding {0} is missing")]
    Missing(&'static str),
    /// Set to something else than it should be.
    #[error("the binding {name} must be {expected}")]
    Invalid { name: &'static str, expected: &'static str },
}

impl Config {
    /// Reads every var and secret through `text`, which looks one up by name.
    ///
    /// # Errors
    /// The first binding that is missing or malformed.
    pub(crate) fn read(text: impl Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let required = |name| text(name).ok_or(ConfigError::Missing(name));
        let number = |name, default, max| whole_number(name, text(name), default, max);
        Ok(Self {
            origins: origins::parse(&required("ORIGINS")?)?,
            models: ServedModels::parse(&required("MODEL")?),
            cache_epoch: number("CACHE_EPOCH", 1, u64::MAX)?,
            origin_timeout_ms: number("ORIGIN_TIMEOUT_MS", ORIGIN_TIMEOUT_MS_DEFAULT, ORIGIN_TIMEOUT_MS_MAX)?,
            lifetimes: Lifetimes {
                fresh_s: number("CACHE_FRESH_S", DAY_S, 30 * DAY_S)?,
                stale_while_revalidate_s: number("CACHE_STALE_WHILE_REVALIDATE_S", DAY_S, 30 * DAY_S)?,
                stale_if_error_s: number("CACHE_STALE_IF_ERROR_S", 7 * DAY_S, 30 * DAY_S)?,
            },
            api_keys: api_keys(&text("API_KEY_HASHES").unwrap_or_default())?,
            key_lifetimes: KeyLifetimes::fresh_for(number(
                "KEY_FRESH_S",
                KeyLifetimes::FRESH_S_MAX,
                KeyLifetimes::FRESH_S_MAX,
            )?),
            popular_after_lookups: number("POPULAR_AFTER_LOOKUPS", 2, 15)?,
            workers_kv_writes_per_minute: number("WORKERS_KV_WRITES_PER_MINUTE", 30, 600)?,
            warm_writes_max: number("WARM_WRITES_MAX", 100, 400)?,
            api_key_plan: api_key_plan(text("API_KEY_PLAN"))?,
            signing_key: signing_key(&required("EDGE_SIGNING_KEY")?)?,
        })
    }
}

fn whole_number(name: &'static str, text: Option<String>, default: u64, max: u64) -> Result<u64, ConfigError> {
    let Some(text) = text else { return Ok(default) };
    let number = text.trim().parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or(ConfigError::Invalid { name, expected: "a whole number within its limits" })
}

fn api_keys(text: &str) -> Result<ApiKeyTable, ConfigError> {
    let expected = "tenant=<64 hex digits of the key's SHA-256>, several with commas";
    ApiKeyTable::parse(text).map_err(|_| ConfigError::Invalid { name: "API_KEY_HASHES", expected })
}

fn api_key_plan(text: Option<String>) -> Result<Plan, ConfigError> {
    let Some(text) = text else { return Ok(Plan::default()) };
    let expected = "a plan as JSON, with every field";
    serde_json::from_slice(text.as_bytes()).map_err(|_| ConfigError::Invalid { name: "API_KEY_PLAN", expected })
}

fn signing_key(text: &str) -> Result<SigningKey, ConfigError> {
    let expected = "id=<64 hex digits>";
    SigningKey::parse(text).map_err(|_| ConfigError::Invalid { name: "EDGE_SIGNING_KEY", expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &[(&str, Option<&str>)]) -> Result<Config, ConfigError> {
        let hash = format!("acme={}", "0a".repeat(32));
        let key = format!("k1={}", "0b".repeat(32));
        let sound = [
            ("ORIGINS", "https://origin.example:8140/"),
            ("MODEL", "lede-nano-1"),
            ("API_KEY_HASHES", &hash),
            ("EDGE_SIGNING_KEY", &key),
        ];
        Config::read(|name| {
            let changed = changes.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value);
            let value = changed.unwrap_or_else(|| sound.iter().find(|(known, _)| *known == name).map(|(_, v)| *v));
            value.map(str::to_owned)
        })
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let config = read(&[]).unwrap();
        assert_eq!(config.origins[0].url, "https://origin.example:8140");
        assert_eq!(config.origin_timeout_ms, ORIGIN_TIMEOUT_MS_DEFAULT);
        assert_eq!(config.cache_epoch, 1);
        assert_eq!(config.key_lifetimes, KeyLifetimes::fresh_for(60));
        assert_eq!(config.api_key_plan, Plan::default());
        let expected = Lifetimes { fresh_s: DAY_S, stale_while_revalidate_s: DAY_S, stale_if_error_s: 7 * DAY_S };
        assert_eq!(config.lifetimes, expected);
    }

    #[test]
    fn a_missing_binding_is_named() {
        for name in ["ORIGINS", "MODEL", "EDGE_SIGNING_KEY"] {
            assert_eq!(read(&[(name, None)]).unwrap_err(), ConfigError::Missing(name));
        }
    }

    #[test]
    fn a_deployment_needs_no_keys_of_its_own() {
        let config = read(&[("API_KEY_HASHES", None)]).unwrap();
        assert_eq!(config.api_keys.tenant_of(&lede_shared::api_key::ApiKeyHash::of("key-a")), None);
    }

    #[test]
    fn a_malformed_binding_is_named_without_its_value() {
        for (name, value) in [
            ("ORIGINS", "ftp://hidden"),
            ("ORIGINS", "https://hidden.example/path"),
            ("ORIGINS", "https://user:hidden@host"),
            ("ORIGIN_TIMEOUT_MS", "hidden"),
            ("ORIGIN_TIMEOUT_MS", "30001"),
            ("CACHE_EPOCH", "-1"),
            ("CACHE_FRESH_S", "0"),
            ("KEY_FRESH_S", "61"),
            ("POPULAR_AFTER_LOOKUPS", "16"),
            ("WORKERS_KV_WRITES_PER_MINUTE", "601"),
            ("WARM_WRITES_MAX", "401"),
            ("API_KEY_HASHES", "acme=hidden"),
            ("API_KEY_PLAN", "hidden"),
            ("EDGE_SIGNING_KEY", "k1=hidden"),
        ] {
            let error = read(&[(name, Some(value))]).unwrap_err();
            assert!(matches!(error, ConfigError::Invalid { name: named, .. } if named == name), "{name}={value}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }
}
