//! Checks keys and signatures, and remembers nonces.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use lede_shared::api_key::{ApiKeyHash, bearer_credentials, presented_hash};
use lede_shared::headers::X_LEDE_SIGNATURE;
use lede_shared::plan::KeyRecord;
use lede_shared::problem::ProblemCode;
use lede_shared::signature::{Claims, SIGNATURE_SKEW_MS, SignatureHeaders, SignedRequest, SigningKey};
use moka::policy::EvictionPolicy;

use super::{Principal, Via};
use crate::clock;
use crate::config::AuthConfig;
use crate::error::ApiError;
use crate::keys::{KeyStore, KeysError};

/// Longer than a signature can be valid: it may be signed ahead by the skew and used behind by it.
const NONCE_REMEMBERED: Duration = Duration::from_millis(2 * SIGNATURE_SKEW_MS + 10_000);

/// Who is let in, and which nonces have been used.
#[derive(Debug)]
pub struct Authenticator {
    keys: KeyStore,
    signing_keys: Vec<SigningKey>,
    /// The oldest is forgotten first when there are too many.
    nonces: moka::sync::Cache<String, ()>,
}

impl Authenticator {
    /// Lets in whom `config` names.
    ///
    /// # Errors
    /// When the file of keys cannot be read.
    pub fn new(config: &AuthConfig) -> Result<Self, KeysError> {
        let nonces = moka::sync::Cache::builder()
            .max_capacity(config.nonces_max)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(NONCE_REMEMBERED)
            .build();
        let keys = KeyStore::open(config.api_keys.clone(), config.keys_file.as_deref())?;
        Ok(Self { keys, signing_keys: config.signing_keys.clone(), nonces })
    }

    /// Does the request claim to come from the edge?
    #[must_use]
    pub fn is_signed(headers: &HeaderMap) -> bool {
        headers.contains_key(X_LEDE_SIGNATURE)
    }

    /// What the key with this hash is good for; `None` for one that is unknown or revoked.
    #[must_use]
    pub fn key_record(&self, hash: &ApiKeyHash) -> Option<Arc<KeyRecord>> {
        self.keys.record(hash, clock::now())
    }

    /// Whose API key this is.
    ///
    /// # Errors
    /// 401 when there is no key or it is not known.
    pub fn by_api_key(&self, headers: &HeaderMap) -> Result<Principal, ApiError> {
        let Some(authorization) = headers.get(header::AUTHORIZATION) else {
            let detail = "send your key as Authorization: Bearer <key>";
            return Err(ApiError::new(ProblemCode::MissingApiKey, detail));
        };
        let key = authorization.to_str().ok().and_then(bearer_credentials);
        let record = key.and_then(presented_hash).and_then(|hash| self.key_record(&hash));
        let refused = || ApiError::new(ProblemCode::InvalidApiKey, "check that the whole key was sent");
        let record = record.ok_or_else(refused)?;
        let claims = Claims {
            priority: record.plan.priority,
            cache_is_private: record.plan.cache_is_private,
            ..Claims::of(record.tenant.clone())
        };
        Ok(Principal { claims, via: Via::ApiKey, key: Some(record) })
    }

    /// The tenant for whom the edge has signed `request`.
    ///
    /// # Errors
    /// 401 when the signature is not valid or its nonce was used before.
    pub fn by_signature(&self, headers: &HeaderMap, request: &SignedRequest<'_>) -> Result<Principal, ApiError> {
        let lookup = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let signed = SignatureHeaders::read(lookup);
        let signed = signed.and_then(|signed| {
            signed.verify(&self.signing_keys, request, clock::now())?;
            Ok(signed)
        });
        let signed = signed.map_err(|reason| {
            ApiError::new(ProblemCode::InvalidSignature, "sign anew, with a clock that is right").because(reason)
        })?;
        // Only now: an unsigned stranger must not be able to fill the memory of nonces.
        let nonce = format!("{}:{}", signed.key_id, signed.nonce);
        if !self.nonces.entry(nonce).or_insert(()).is_fresh() {
            return Err(ApiError::new(ProblemCode::ReplayedSignature, "sign each attempt with a new nonce"));
        }
        Ok(Principal { claims: signed.claims, via: Via::Edge, key: None })
    }
}
