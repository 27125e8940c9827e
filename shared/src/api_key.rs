//! API keys as both sides hold them: as SHA-256 hashes, never in the clear.
//!
//! A key is 32 random bytes behind a prefix, so a plain hash cannot be guessed back and needs no salt.
//!
//! Whoever looks a hash up in a map chooses the bucket by a hash of this hash. What the time of that tells is at most
//! something of a SHA-256, and from a whole SHA-256 nobody gets back to 32 random bytes. The comparison that lets
//! somebody in takes the same time wherever two hashes differ.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// Most keys that a table may hold.
pub const API_KEYS_MAX: usize = 1_024;
/// Longest key that is looked at.
pub const API_KEY_BYTES_MAX: usize = 256;
const TENANT_BYTES_MAX: usize = 64;

/// Whose request it is: 1 to 64 characters of `a-z 0-9 - _`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

impl TenantId {
    /// A tenant id, when the text is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let safe = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        ((1..=TENANT_BYTES_MAX).contains(&text.len()) && safe).then(|| Self(text.to_owned()))
    }

    /// The edge itself, when it asks on nobody's behalf. No key may be given to it.
    #[must_use]
    pub fn edge() -> Self {
        Self("lede-edge".to_owned())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TenantId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a tenant id is 1 to 64 characters of a-z 0-9 - _")
    }
}

impl From<TenantId> for String {
    fn from(tenant: TenantId) -> Self {
        tenant.0
    }
}

/// The SHA-256 of an API key. Two are compared in constant time.
#[derive(Clone, Copy)]
pub struct ApiKeyHash([u8; 32]);

impl ApiKeyHash {
    /// Hashes a key as presented by a caller.
    #[must_use]
    pub fn of(api_key: &str) -> Self {
        Self(Sha256::digest(api_key.as_bytes()).into())
    }

    /// A hash from its only form in text, 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        (!text.bytes().any(|byte| byte.is_ascii_uppercase())).then_some(Self(bytes))
    }
}

impl ConstantTimeEq for ApiKeyHash {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for ApiKeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for ApiKeyHash {}

impl Hash for ApiKeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for ApiKeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKeyHash(…)")
    }
}

/// Why a table of keys could not be read. Entries are counted from 1; their text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyTableError {
    /// An entry is not `tenant=<64 hex digits>`.
    #[error("entry {0} is not tenant=<64 hex digits of the key's SHA-256>")]
    Entry(usize),
    /// An entry is for the tenant that the edge itself goes by.
    #[error("entry {0} is for a tenant that no key may be given to")]
    Reserved(usize),
    /// Too many entries.
    #[error("more than {API_KEYS_MAX} keys")]
    TooMany,
}

/// The keys that are let in, each with its tenant. A tenant may have several.
#[derive(Clone, Debug, Default)]
pub struct ApiKeyTable(Vec<(TenantId, ApiKeyHash)>);

impl ApiKeyTable {
    /// Reads `tenant=hash,tenant=hash,…`; the empty text is a table that lets nobody in.
    ///
    /// # Errors
    /// When an entry is malformed or there are more than [`API_KEYS_MAX`].
    pub fn parse(text: &str) -> Result<Self, ApiKeyTableError> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let keys = entries
            .enumerate()
            .map(|(index, entry)| {
                let (tenant, hash) = parse_entry(entry).ok_or(ApiKeyTableError::Entry(index + 1))?;
                if tenant == TenantId::edge() {
                    Err(ApiKeyTableError::Reserved(index + 1))
                } else {
                    Ok((tenant, hash))
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        if keys.len() > API_KEYS_MAX {
            return Err(ApiKeyTableError::TooMany);
        }
        Ok(Self(keys))
    }

    /// Whose key has this hash. Every entry is compared, in constant time, whether or not an earlier one matched.
    #[must_use]
    pub fn tenant_of(&self, presented: &ApiKeyHash) -> Option<&TenantId> {
        let mut found = u32::MAX;
        for (index, (_, hash)) in (0u32..).zip(&self.0) {
            found = u32::conditional_select(&found, &index, hash.ct_eq(presented));
        }
        self.0.get(usize::try_from(found).ok()?).map(|(tenant, _)| tenant)
    }
}

fn parse_entry(entry: &str) -> Option<(TenantId, ApiKeyHash)> {
    let (tenant, hash) = entry.split_once('=')?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash.trim(), &mut bytes).ok()?;
    Some((TenantId::parse(tenant.trim())?, ApiKeyHash(bytes)))
}

/// The hash of a key as presented; `None` for what is too long to be one.
#[must_use]
pub fn presented_hash(api_key: &str) -> Option<ApiKeyHash> {
    (api_key.len() <= API_KEY_BYTES_MAX).then(|| ApiKeyHash::of(api_key))
}

/// The credentials of `Authorization: Bearer …` (RFC 6750), when the header has that form.
#[must_use]
pub fn bearer_credentials(authorization: &str) -> Option<&str> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    let credentials = credentials.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !credentials.is_empty()).then_some(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ApiKeyTable {
        let entries = format!("acme={}, beta={}", ApiKeyHash::of("key-a"), ApiKeyHash::of("key-b"));
        ApiKeyTable::parse(&entries).unwrap()
    }

    #[test]
    fn a_known_key_names_its_tenant_and_an_unknown_one_nobody() {
        let table = table();
        let tenant_of = |api_key| table.tenant_of(&ApiKeyHash::of(api_key));
        assert_eq!(tenant_of("key-b").map(TenantId::as_str), Some("beta"));
        assert_eq!(tenant_of("key-c"), None);
        assert_eq!(tenant_of(""), None);
        assert_eq!(ApiKeyTable::default().tenant_of(&ApiKeyHash::of("key-a")), None);
    }

    #[test]
    fn the_edge_s_own_tenant_is_given_no_key() {
        let text = format!("acme={0},lede-edge={0}", ApiKeyHash::of("key-a"));
        assert_eq!(ApiKeyTable::parse(&text).unwrap_err(), ApiKeyTableError::Reserved(2));
    }

    #[test]
    fn a_hash_has_one_form_in_text() {
        let text = ApiKeyHash::of("key-a").to_string();
        assert_eq!(ApiKeyHash::parse(&text), Some(ApiKeyHash::of("key-a")));
        for other in [text.to_uppercase(), format!(" {text}"), text[1..].to_owned(), "x".repeat(64)] {
            assert_eq!(ApiKeyHash::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_key_is_not_hashed() {
        assert!(presented_hash(&"k".repeat(API_KEY_BYTES_MAX)).is_some());
        assert_eq!(presented_hash(&"k".repeat(API_KEY_BYTES_MAX + 1)), None);
    }

    #[test]
    fn a_broken_table_names_the_entry_but_not_its_text() {
        let text = format!("acme={},beta=secretlooking", ApiKeyHash::of("key-a"));
        let error = ApiKeyTable::parse(&text).unwrap_err();
        assert_eq!(error, ApiKeyTableError::Entry(2));
        assert!(!error.to_string().contains("secretlooking"));
    }

    #[test]
    fn bearer_credentials_are_read_in_any_case_of_the_scheme() {
        assert_eq!(bearer_credentials("bearer abc"), Some("abc"));
        assert_eq!(bearer_credentials("Basic abc"), None);
        assert_eq!(bearer_credentials("Bearer  "), None);
    }

    #[test]
    fn debug_output_shows_no_hash() {
        assert!(!format!("{:?}", table()).contains(&ApiKeyHash::of("key-a").to_string()));
    }
}
