//! Which answer there is for what is nearly the same. Bounded, in memory, and lost with the process: what it points to is
//! found anew as requests come.

use std::sync::atomic::{AtomicU64, Ordering};

use lede_shared::api::ValidRequest;
use lede_shared::cache_key::{CacheKey, NamespaceDigest, form_about};
use sha2::{Digest, Sha256};

use super::DescriptionSignature;
use super::guards::Guards;

/// SHA-256 of everything that decides an answer, with the description's signature in its place.
type NearKey = [u8; 32];

/// What came of looking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NearStats {
    /// Look-ups.
    pub asked: u64,
    /// Those that found an answer.
    pub found: u64,
    /// Those that found one and whose numbers, names, negations or pictures were others after all.
    pub guarded: u64,
    /// Entries of the index.
    pub entries: u64,
}

/// One for each group of requests that would be given the same answer: the key of the latest.
#[derive(Debug)]
pub struct NearIndex {
    latest: moka::sync::Cache<NearKey, (CacheKey, Guards)>,
    asked: AtomicU64,
    found: AtomicU64,
    guarded: AtomicU64,
}

impl NearIndex {
    /// An index of at most `entries_max` groups, some 300 bytes each.
    #[must_use]
    pub fn new(entries_max: u64) -> Self {
        let latest = moka::sync::Cache::new(entries_max);
        Self { latest, asked: AtomicU64::new(0), found: AtomicU64::new(0), guarded: AtomicU64::new(0) }
    }

    /// The key of an answer to nearly the same as `request`, with what `kept` has under it.
    pub fn find<T>(
        &self,
        namespace: NamespaceDigest,
        request: &ValidRequest,
        kept: impl FnOnce(&CacheKey) -> Option<T>,
    ) -> Option<(CacheKey, T)> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (near_key, signature) = signed(namespace, request);
        let (key, guards) = self.latest.get(&near_key)?;
        if guards != signature.guards {
            self.guarded.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let kept = kept(&key)?;
        self.found.fetch_add(1, Ordering::Relaxed);
        Some((key, kept))
    }

    /// The answer to `request` is kept under `key`.
    pub fn put(&self, namespace: NamespaceDigest, request: &ValidRequest, key: CacheKey) {
        let (near_key, signature) = signed(namespace, request);
        self.latest.insert(near_key, (key, signature.guards));
    }

    /// What came of it so far.
    #[must_use]
    pub fn stats(&self) -> NearStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let entries = self.latest.entry_count();
        NearStats { asked: count(&self.asked), found: count(&self.found), guarded: count(&self.guarded), entries }
    }
}

fn signed(namespace: NamespaceDigest, request: &ValidRequest) -> (NearKey, DescriptionSignature) {
    let signature = DescriptionSignature::of(request.content_description(), request.language());
    (Sha256::digest(form_about(namespace, request, signature.bytes())).into(), signature)
}

#[cfg(test)]
mod tests {
    use lede_shared::api::CaptionRequest;
    use lede_shared::cache_key::CacheNamespace;
    use serde_json::{Value, json};

    use super::*;

    const KEY: CacheKey = CacheKey([7; 32]);
    const HERE: CacheNamespace<'static> =
        CacheNamespace { model: "lede-nano-1", policy_version: "2025-12", epoch: 1, tenant: None };

    fn request(body: &Value) -> ValidRequest {
        CaptionRequest::from_json(body.to_string().as_bytes()).unwrap().validate().unwrap()
    }

    fn about(description: &str) -> ValidRequest {
        request(&json!({"content_description": description}))
    }

    fn found(index: &NearIndex, within: CacheNamespace<'_>, request: &ValidRequest) -> bool {
        index.find(NamespaceDigest::of(&within), request, |_| Some(())) == Some((KEY, ()))
    }

    fn index() -> NearIndex {
        let index = NearIndex::new(100);
        index.put(NamespaceDigest::of(&HERE), &about("Sunset over the lake, with Anna"), KEY);
        index
    }

    #[test]
    fn the_same_typed_otherwise_is_found() {
        let index = index();
        for near in ["sunset over the lake, with Anna!", "A photo of sunset over the lake - with Anna"] {
            assert!(found(&index, HERE, &about(near)), "{near}");
        }
        assert!(!found(&index, HERE, &about("sunset over the lake, without Anna")));
        assert_eq!((index.stats().asked, index.stats().found), (3, 2));
    }

    #[test]
    fn nothing_is_found_across_tenants_models_policies_and_epochs() {
        let (index, near) = (index(), about("sunset over the lake, with Anna!"));
        for elsewhere in [
            CacheNamespace { model: "lede-nano-2", ..HERE },
            CacheNamespace { policy_version: "2026-01", ..HERE },
            CacheNamespace { epoch: 2, ..HERE },
            CacheNamespace { tenant: Some("acme"), ..HERE },
        ] {
            assert!(!found(&index, elsewhere, &near), "{elsewhere:?}");
        }
    }

    #[test]
    fn nothing_is_found_for_a_request_that_asks_for_something_else() {
        let index = index();
        for other in [
            json!({"style": "luxury"}),
            json!({"hashtag_count": 6}),
            json!({"optimization_level": "quality"}),
            json!({"variants": 2}),
            json!({"language": "en-GB"}),
            json!({"emoji": "rich"}),
            json!({"call_to_action": "save"}),
            json!({"must_include": ["lake"]}),
            json!({"banned_words": ["lake"]}),
            json!({"brand_voice": "dry"}),
            json!({"max_length": 200}),
            json!({"seed": 1}),
        ] {
            let mut body = other.clone();
            body["content_description"] = "sunset over the lake, with Anna!".into();
            assert!(!found(&index, HERE, &request(&body)), "{other}");
        }
    }

    #[test]
    fn what_is_not_kept_any_more_is_not_found_and_the_number_of_entries_is_bounded() {
        let index = NearIndex::new(10);
        let namespace = NamespaceDigest::of(&HERE);
        for number in 0..1_000 {
            index.put(namespace, &about(&format!("lake number {number}")), KEY);
        }
        index.latest.run_pending_tasks();
        assert!(index.stats().entries <= 10);
        index.put(namespace, &about("a lake"), KEY);
        assert_eq!(index.find(namespace, &about("A lake."), |_| None::<()>), None);
    }
}
