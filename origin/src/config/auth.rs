//! Who is let in.

use std::path::PathBuf;

use figment::Figment;
use lede_shared::api_key::ApiKeyTable;
use lede_shared::signature::SigningKey;

use super::ConfigError;

/// Nonces remembered unless set otherwise: at 8,000 signed requests a second, all of the last two minutes.
const NONCES_MAX_DEFAULT: u64 = 1_000_000;

/// Who is let in. Its parts show no secret when printed.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// `LEDE_API_KEY_HASHES`: `tenant=<SHA-256 of the key in hex>,…`. Without it no key opens the door.
    pub api_keys: ApiKeyTable,
    /// `LEDE_KEYS_FILE`: the file of keys with their scopes and plans (`lede-origin keys …`). Default none.
    pub keys_file: Option<PathBuf>,
    /// `LEDE_EDGE_SIGNING_KEYS`: `id=<64 hex digits>,…`. Without it no edge is believed.
    pub signing_keys: Vec<SigningKey>,
    /// `LEDE_NONCES_MAX`: nonces remembered against replays. Default 1,000,000 (about 100 MB when full).
    pub nonces_max: u64,
}

impl AuthConfig {
    /// Reads the four settings. Errors repeat nothing of what was set.
    pub(super) fn read(source: &Figment) -> Result<Self, ConfigError> {
        let api_keys = text(source, "api_key_hashes")?;
        let keys_file = Some(text(source, "keys_file")?).filter(|path| !path.is_empty());
        let signing_keys = text(source, "edge_signing_keys")?;
        let nonces_max = match source.find_value("nonces_max") {
            Ok(value) => {
                value.to_u128().and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
            }
            Err(_) => Some(NONCES_MAX_DEFAULT),
        };
        Ok(Self {
            api_keys: ApiKeyTable::parse(&api_keys).map_err(|error| ConfigError::new("api_key_hashes", error))?,
            keys_file: keys_file.map(PathBuf::from),
            signing_keys: SigningKey::parse_list(&signing_keys)
                .map_err(|error| ConfigError::new("edge_signing_keys", error))?,
            nonces_max: nonces_max.ok_or_else(|| ConfigError::new("nonces_max", "must be an integer above 0"))?,
        })
    }
}

/// A setting that must be text; empty when it is not set.
fn text(source: &Figment, name: &str) -> Result<String, ConfigError> {
    match source.find_value(name) {
        Ok(value) => value.into_string().ok_or_else(|| ConfigError::new(name, "must be text")),
        Err(_) => Ok(String::new()),
    }
}
