//! What may be done with bytes that anybody sent, and what must hold whatever they are. Above all: no panic.
//!
//! Compiled twice: into `shared/tests/fuzz.rs`, which throws damaged examples at it in every test run, and into the
//! libFuzzer programs of this folder, which are for long runs by hand (CONTRIBUTING.md).

use std::str;

use lede_shared::api::stream::{SseReader, StreamEvent};
use lede_shared::api::text::{contains_word, fold_case, normalise};
use lede_shared::api::{BatchRequest, BatchResponse, CaptionRequest, CaptionResponse, LanguageTag};
use lede_shared::api_key::{ApiKeyHash, ApiKeyTable, TenantId, bearer_credentials};
use lede_shared::cache_key::{CacheKey, CacheNamespace};
use lede_shared::clock::UnixMillis;
use lede_shared::headers::{
    X_LEDE_CLAIMS, X_LEDE_KEY_ID, X_LEDE_NONCE, X_LEDE_SIGNATURE, X_LEDE_TIMESTAMP_MS, content_type_is_json,
    traceparent_is_valid,
};
use lede_shared::plan::KeyRecord;
use lede_shared::problem::Problem;
use lede_shared::quota::{LeaseAnswer, LeaseQuestion, Ledger};
use lede_shared::request_cache_control::RequestCacheControl;
use lede_shared::request_id::RequestId;
use lede_shared::signature::{SignatureHeaders, SignedRequest, SigningKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

const NAMESPACE: CacheNamespace<'static> =
    CacheNamespace { model: "lede-nano-2", policy_version: "2025-12", epoch: 1, tenant: None };

/// In the order of a signature's lines.
const SIGNATURE_HEADERS: [&str; 5] =
    [X_LEDE_KEY_ID, X_LEDE_CLAIMS, X_LEDE_TIMESTAMP_MS, X_LEDE_NONCE, X_LEDE_SIGNATURE];

/// A body of `POST /api/v14/generate`. The canonical form of what is valid is valid and means the same.
pub fn request_body(bytes: &[u8]) {
    same_again(CaptionRequest::from_json(bytes));
}

/// The query string of `GET /api/v14/generate`.
pub fn query(bytes: &[u8]) {
    if let Ok(query) = str::from_utf8(bytes) {
        same_again(CaptionRequest::from_query(query));
    }
}

fn same_again(request: Result<CaptionRequest, Problem>) {
    let Ok(valid) = request.and_then(|request| request.validate()) else { return };
    let canonical = valid.to_json();
    let again = CaptionRequest::from_json(canonical.as_bytes()).and_then(|request| request.validate());
    assert_eq!(again.as_ref(), Ok(&valid), "the canonical form means the same");
    assert_eq!(again.map(|again| CacheKey::of(&NAMESPACE, &again)), Ok(CacheKey::of(&NAMESPACE, &valid)));
}

/// A body of `POST /api/v14/batch`. The canonical batch of its valid requests has exactly those.
pub fn batch(bytes: &[u8]) {
    let Ok(batch) = BatchRequest::from_json(bytes) else { return };
    let valid: Vec<_> = batch.items.into_iter().filter_map(Result::ok).collect();
    if valid.is_empty() {
        return;
    }
    let again = BatchRequest::from_json(BatchRequest::to_json(&valid).as_bytes());
    let again: Result<Vec<_>, _> = again.and_then(|again| again.items.into_iter().collect());
    assert_eq!(again, Ok(valid), "the canonical batch means the same");
}

/// Whatever stands in a caller's headers, and in the deployment's own texts.
pub fn headers(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for value in text.lines() {
        let _ =
            bearer_credentials(value).map(|key| ApiKeyTable::default().tenant_of(&ApiKeyHash::of(key)).is_some());
        let _ = ApiKeyTable::parse(value).map(|table| table.tenant_of(&ApiKeyHash::of(value)).is_some());
        let _ = SigningKey::parse_list(value);
        let _ = (RequestCacheControl::parse(value), content_type_is_json(value), traceparent_is_valid(value));
        if let Some(id) = RequestId::parse(value) {
            assert_eq!(id.as_str(), value, "an id is taken over as it is");
        }
        if let Some(tenant) = TenantId::parse(value) {
            assert_eq!(TenantId::parse(tenant.as_str()), Some(tenant));
        }
    }
}

/// The five headers of a signature, a line each. What can be read is written as it was read, and none is accepted
/// that our key did not sign.
pub fn signature(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut lines = text.lines();
    let values = SIGNATURE_HEADERS.map(|name| (name, lines.next()));
    let read = |name| values.iter().find(|(known, _)| *known == name).and_then(|(_, value)| *value);
    let Ok(signed) = SignatureHeaders::read(read) else { return };
    let pairs = signed.pairs();
    let again = SignatureHeaders::read(|name| {
        pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    });
    assert_eq!(again.as_ref(), Ok(&signed));
    let key = SigningKey::parse(&format!("suite={}", "5a".repeat(32)));
    let request = SignedRequest { method: "POST", path_and_query: "/api/v14/generate", body: b"{}" };
    let keys: Vec<_> = key.into_iter().collect();
    assert!(signed.verify(&keys, &request, signed.timestamp_ms).is_err(), "nobody else has the key");
    let _ = signed.verify(&keys, &request, UnixMillis(0));
}

/// What comes back from an origin or a store: entries of the cache, answers, problems, records of keys.
pub fn stored(bytes: &[u8]) {
    read_and_written::<CaptionResponse>(bytes);
    read_and_written::<BatchResponse>(bytes);
    read_and_written::<Problem>(bytes);
    read_and_written::<KeyRecord>(bytes);
}

fn read_and_written<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    let Ok(content) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_vec(&content).unwrap_or_default();
    assert!(serde_json::from_slice::<T>(&written).is_ok(), "what was read can be written and read again");
}

/// A stream of events in two pieces. Where it is cut changes nothing, and no more is kept than the limit.
pub fn stream(bytes: &[u8]) {
    const EVENT_BYTES_MAX: usize = 4_096;
    let cut = bytes.first().map_or(0, |first| usize::from(*first) % bytes.len());
    let read = |pieces: &[&[u8]]| {
        let mut reader = SseReader::new(EVENT_BYTES_MAX);
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(reader.push(piece).ok()?);
        }
        Some(events)
    };
    let (whole, in_pieces) = (read(&[bytes]), read(&[&bytes[..cut], &bytes[cut..]]));
    assert_eq!(whole, in_pieces, "the same events wherever it is cut");
    for event in whole.into_iter().flatten() {
        let _ = StreamEvent::read(&event);
    }
}

/// What isolates and Durable Objects say to one another, and what an object has stored.
pub fn quota(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(answer) = LeaseAnswer::decode(text) {
        assert_eq!(LeaseAnswer::decode(&answer.encode()).as_ref(), Ok(&answer));
    }
    let question = LeaseQuestion::decode(text);
    if let Ok(question) = &question {
        assert_eq!(LeaseQuestion::decode(&question.encode()).as_ref(), Ok(question));
        let mut ledger = Ledger::new(UnixMillis(1_800_000_000_000));
        let _ = ledger.answer(UnixMillis(1_800_000_000_001), question);
        assert!(Ledger::decode(&ledger.encode()).is_ok(), "what an object writes it can read");
    }
    if let Ok(mut ledger) = Ledger::decode(text) {
        let _ = ledger.held_cells();
        if let Ok(question) = &question {
            // The clock is the platform's, not the sender's: a time in the year 2096.
            let _ = ledger.answer(UnixMillis(4_000_000_000_000), question);
        }
    }
}

/// Texts of any script, halves of characters included. Cleaning a clean text changes nothing.
pub fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let clean = normalise(&text);
    assert_eq!(normalise(&clean), clean);
    let folded = fold_case(&text);
    assert_eq!(fold_case(&folded), folded);
    let _ = contains_word(&text, clean.split(' ').next_back().unwrap_or_default());
    let _ = LanguageTag::parse(&text);
}
