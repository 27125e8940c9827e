//! How the edge proves to the origin that a request is its own: HMAC-SHA256 over method, path, body hash,
//! what it claims of the caller, timestamp and nonce.
//!
//! The origin also remembers nonces for twice [`SIGNATURE_SKEW_MS`]; that memory is its own, not this module's.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::api_key::TenantId;
use crate::clock::UnixMillis;
use crate::headers;
use crate::plan::Priority;

/// How far the two clocks may be apart.
pub const SIGNATURE_SKEW_MS: u64 = 60_000;
/// Most signing keys that may be valid at once; two are enough for a rotation.
pub const SIGNING_KEYS_MAX: usize = 8;
const SCHEME: &str = "v2=";
const NONCE_HEX_DIGITS: usize = 32;
const KEY_ID_BYTES_MAX: usize = 32;

/// One secret shared by edge and origin, with the name it goes by.
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    /// The keyed hash before any message; cloned for each signature.
    keyed: Hmac<Sha256>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({}, …)", self.id)
    }
}

/// A signing key could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing key is id=<64 hex digits>, the id 1 to 32 characters of a-z 0-9 - _")]
pub struct SigningKeyError;

impl SigningKey {
    /// Reads `id=<64 hex digits>`.
    ///
    /// # Errors
    /// When the text has another form. The error does not repeat it.
    pub fn parse(text: &str) -> Result<Self, SigningKeyError> {
        let (id, secret_hex) = text.trim().split_once('=').ok_or(SigningKeyError)?;
        let mut secret = [0; 32];
        hex::decode_to_slice(secret_hex, &mut secret).map_err(|_| SigningKeyError)?;
        if !key_id_is_valid(id) {
            return Err(SigningKeyError);
        }
        let keyed = Hmac::new_from_slice(&secret).map_err(|_| SigningKeyError)?;
        Ok(Self { id: id.to_owned(), keyed })
    }

    /// Reads `id=hex,id=hex,…`, at most [`SIGNING_KEYS_MAX`].
    ///
    /// # Errors
    /// When one of them has another form or there are too many.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, SigningKeyError> {
        let entries = text.split(',').filter(|entry| !entry.trim().is_empty());
        let keys = entries.map(Self::parse).collect::<Result<Vec<_>, _>>()?;
        if keys.len() > SIGNING_KEYS_MAX {
            return Err(SigningKeyError);
        }
        Ok(keys)
    }

    fn mac(&self, message: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(message);
        mac
    }
}

/// What the edge says of the caller, and the origin believes because it is signed.
/// On the wire `tenant=acme; priority=normal; epoch=3; private`, the last only where it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whose request it is.
    pub tenant: TenantId,
    /// Who goes first when the device is busy.
    pub priority: Priority,
    /// Purges that the edge knows of; part of the origin's cache keys, so that one purge reaches both sides.
    pub cache_epoch: u64,
    /// Cached answers are the tenant's own.
    pub cache_is_private: bool,
}

impl Claims {
    /// What is said of an ordinary caller.
    #[must_use]
    pub const fn of(tenant: TenantId) -> Self {
        Self { tenant, priority: Priority::Normal, cache_epoch: 0, cache_is_private: false }
    }

    /// What the edge says when it asks on nobody's behalf: for a key's record, for what is popular.
    #[must_use]
    pub fn of_the_edge() -> Self {
        Self::of(TenantId::edge())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split("; ");
        let mut named = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix('=');
        let tenant = TenantId::parse(named("tenant")?)?;
        let priority = named("priority")?.parse().ok()?;
        let cache_epoch = named("epoch")?.parse().ok()?;
        let cache_is_private = match parts.next() {
            None => false,
            Some("private") => true,
            Some(_) => return None,
        };
        parts.next().is_none().then_some(Self { tenant, priority, cache_epoch, cache_is_private })
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, priority, cache_epoch, cache_is_private } = self;
        let priority: &str = priority.into();
        write!(formatter, "tenant={}; priority={priority}; epoch={cache_epoch}", tenant.as_str())?;
        if *cache_is_private { formatter.write_str("; private") } else { Ok(()) }
    }
}

/// What is signed about the request itself.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// Upper-case HTTP method.
    pub method: &'a str,
    /// Path and query as sent to the origin.
    pub path_and_query: &'a str,
    /// The whole body.
    pub body: &'a [u8],
}

/// The five headers that carry a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// Name of the signing key.
    pub key_id: String,
    /// What the edge knows of the caller.
    pub claims: Claims,
    /// When it was signed.
    pub timestamp_ms: UnixMillis,
    /// 32 hex digits, used once.
    pub nonce: String,
    /// `v2=` and 64 hex digits.
    pub signature: String,
}

/// Why a signature is not accepted. For the log; the caller learns only that it is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing or has another form.
    #[error("signature header {0} is missing or malformed")]
    Malformed(&'static str),
    /// No key of that name.
    #[error("the signing key is not known")]
    UnknownKey,
    /// Signed too long ago or in the future.
    #[error("the timestamp is outside the window")]
    OutsideWindow,
    /// The request is not the one that was signed.
    #[error("the signature does not match")]
    Mismatch,
}

impl SignatureHeaders {
    /// Signs `request` for the caller of `claims`. `nonce_entropy` must be fresh random bytes for each attempt.
    #[must_use]
    pub fn sign(
        key: &SigningKey,
        request: &SignedRequest<'_>,
        claims: &Claims,
        now: UnixMillis,
        nonce_entropy: [u8; 16],
    ) -> Self {
        let mut signed = Self {
            key_id: key.id.clone(),
            claims: claims.clone(),
            timestamp_ms: now,
            nonce: hex::encode(nonce_entropy),
            signature: String::new(),
        };
        let tag = key.mac(&signed.message(request)).finalize().into_bytes();
        signed.signature = format!("{SCHEME}{}", hex::encode(tag));
        signed
    }

    /// Reads the five headers through `header`, which looks a name up.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`] with the name of the first header that is missing or malformed.
    pub fn read<'h>(header: impl Fn(&'static str) -> Option<&'h str>) -> Result<Self, SignatureError> {
        let get = |name: &'static str| header(name).ok_or(SignatureError::Malformed(name));
        let claims = get(headers::X_LEDE_CLAIMS)?;
        let timestamp = get(headers::X_LEDE_TIMESTAMP_MS)?;
        let nonce = get(headers::X_LEDE_NONCE)?;
        let nonce_is_hex = nonce.len() == NONCE_HEX_DIGITS && nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !nonce_is_hex {
            return Err(SignatureError::Malformed(headers::X_LEDE_NONCE));
        }
        let timestamp_ms =
            timestamp.parse().map_err(|_| SignatureError::Malformed(headers::X_LEDE_TIMESTAMP_MS))?;
        Ok(Self {
            key_id: get(headers::X_LEDE_KEY_ID)?.to_owned(),
            claims: Claims::parse(claims).ok_or(SignatureError::Malformed(headers::X_LEDE_CLAIMS))?,
            timestamp_ms: UnixMillis(timestamp_ms),
            nonce: nonce.to_ascii_lowercase(),
            signature: get(headers::X_LEDE_SIGNATURE)?.to_owned(),
        })
    }

    /// Name and value of each header.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, String); 5] {
        [
            (headers::X_LEDE_KEY_ID, self.key_id.clone()),
            (headers::X_LEDE_CLAIMS, self.claims.to_string()),
            (headers::X_LEDE_TIMESTAMP_MS, self.timestamp_ms.0.to_string()),
            (headers::X_LEDE_NONCE, self.nonce.clone()),
            (headers::X_LEDE_SIGNATURE, self.signature.clone()),
        ]
    }

    /// Is this `request`, signed by one of `keys`, within [`SIGNATURE_SKEW_MS`] of `now`?
    /// The comparison takes constant time. A replay inside the window is for the caller to find, by the nonce.
    ///
    /// # Errors
    /// The reason, for the log.
    pub fn verify(
        &self,
        keys: &[SigningKey],
        request: &SignedRequest<'_>,
        now: UnixMillis,
    ) -> Result<(), SignatureError> {
        let key = keys.iter().find(|key| key.id == self.key_id).ok_or(SignatureError::UnknownKey)?;
        let apart_ms = now.since(self.timestamp_ms).max(self.timestamp_ms.since(now));
        if apart_ms > SIGNATURE_SKEW_MS {
            return Err(SignatureError::OutsideWindow);
        }
        let malformed = SignatureError::Malformed(headers::X_LEDE_SIGNATURE);
        let tag_hex = self.signature.strip_prefix(SCHEME).ok_or(malformed)?;
        let mut tag = [0; 32];
        hex::decode_to_slice(tag_hex, &mut tag).map_err(|_| malformed)?;
        key.mac(&self.message(request)).verify_slice(&tag).map_err(|_| SignatureError::Mismatch)
    }

    /// One line each; no part can contain a line break, so no two requests share a message.
    fn message(&self, request: &SignedRequest<'_>) -> Vec<u8> {
        let body_hash = hex::encode(Sha256::digest(request.body));
        let Self { key_id, claims, timestamp_ms, nonce, signature: _ } = self;
        let SignedRequest { method, path_and_query, body: _ } = request;
        format!(
            "lede-signature/2\n{key_id}\n{method}\n{path_and_query}\n{body_hash}\n{claims}\n{}\n{nonce}\n",
            timestamp_ms.0,
        )
        .into_bytes()
    }
}

fn key_id_is_valid(id: &str) -> bool {
    (1..=KEY_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn key() -> SigningKey {
        SigningKey::parse(&format!("k1={}", "0b".repeat(32))).unwrap()
    }

    fn claims(tenant: &str) -> Claims {
        Claims::of(TenantId::parse(tenant).unwrap())
    }

    fn request(body: &[u8]) -> SignedRequest<'_> {
        SignedRequest { method: "POST", path_and_query: "/api/v14/generate", body }
    }

    fn signed(body: &[u8]) -> SignatureHeaders {
        SignatureHeaders::sign(&key(), &request(body), &claims("acme"), NOW, [7; 16])
    }

    #[test]
    fn what_was_signed_is_accepted_also_after_travelling_as_headers() {
        let pairs = signed(b"{}").pairs();
        let lookup = |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        let read = SignatureHeaders::read(lookup).unwrap();
        assert_eq!(read.verify(&[key()], &request(b"{}"), NOW.plus(SIGNATURE_SKEW_MS)), Ok(()));
    }

    #[test]
    fn a_missing_header_is_named() {
        let pairs = signed(b"{}").pairs();
        for (missing, _) in &pairs {
            let lookup = |name: &'static str| {
                pairs.iter().find(|(known, _)| *known == name && known != missing).map(|(_, value)| value.as_str())
            };
            assert_eq!(SignatureHeaders::read(lookup), Err(SignatureError::Malformed(missing)));
        }
    }

    #[test]
    fn an_old_or_future_signature_is_refused() {
        for now in [NOW.plus(SIGNATURE_SKEW_MS + 1), UnixMillis(NOW.0 - SIGNATURE_SKEW_MS - 1)] {
            let verdict = signed(b"{}").verify(&[key()], &request(b"{}"), now);
            assert_eq!(verdict, Err(SignatureError::OutsideWindow));
        }
    }

    #[test]
    fn another_key_under_the_same_name_is_refused_and_an_unknown_name_too() {
        let other = SigningKey::parse(&format!("k1={}", "0c".repeat(32))).unwrap();
        assert_eq!(signed(b"{}").verify(&[other], &request(b"{}"), NOW), Err(SignatureError::Mismatch));
        assert_eq!(signed(b"{}").verify(&[], &request(b"{}"), NOW), Err(SignatureError::UnknownKey));
    }

    #[test]
    fn a_key_s_debug_output_and_parse_error_show_no_secret() {
        assert_eq!(format!("{:?}", key()), "SigningKey(k1, …)");
        let error = SigningKey::parse("k1=notsecret").unwrap_err();
        assert!(!error.to_string().contains("notsecret"));
    }

    #[test]
    fn claims_survive_the_wire_and_nothing_else_is_read_as_claims() {
        for priority in [Priority::Low, Priority::Normal, Priority::High, Priority::Critical] {
            for cache_is_private in [false, true] {
                let claims = Claims { priority, cache_epoch: 7, cache_is_private, ..claims("acme") };
                assert_eq!(Claims::parse(&claims.to_string()), Some(claims));
            }
        }
        let sound = "tenant=acme; priority=normal; epoch=0";
        for text in [
            "",
            "tenant=acme",
            &format!("{sound}; public"),
            &format!("{sound}; private; private"),
            "tenant=A; priority=normal; epoch=0",
        ] {
            assert_eq!(Claims::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_altered_part_is_refused(body in prop::collection::vec(any::<u8>(), 0..64), part in 0usize..6) {
            let good = signed(&body);
            let mut changed = good.clone();
            let mut altered = request(&body);
            let other_body = [body.as_slice(), b"x"].concat();
            match part {
                0 => altered.method = "GET",
                1 => altered.path_and_query = "/api/v14/batch",
                2 => altered.body = &other_body,
                3 => changed.claims = claims("mallory"),
                4 => changed.timestamp_ms = NOW.plus(1),
                _ => changed.nonce = "00".repeat(16),
            }
            prop_assert_eq!(changed.verify(&[key()], &altered, NOW), Err(SignatureError::Mismatch));
            prop_assert_eq!(good.verify(&[key()], &request(&body), NOW), Ok(()));
        }
    }
}
