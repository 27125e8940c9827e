//! The golden vectors of `tests/fixtures/wire` against the code. `LEDE_BLESS=1` writes the computed parts anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its fixture has failed")]

use std::path::PathBuf;

use lede_shared::api::stream::{STREAM_EVENT_BYTES_MAX, SseReader, StreamEvent};
use lede_shared::api::{BatchItem, BatchRequest, BatchResponse, CaptionRequest, CaptionResponse, ValidRequest};
use lede_shared::api_key::TenantId;
use lede_shared::cache_key::{CacheKey, CacheNamespace, canonical_form};
use lede_shared::clock::UnixMillis;
use lede_shared::plan::KeyRecord;
use lede_shared::problem::Problem;
use lede_shared::signature::{Claims, SignatureHeaders, SignedRequest, SigningKey};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wire").join(name)
}

fn read(name: &str) -> Value {
    let text = std::fs::read_to_string(path(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Compares what the file says with what the code says, or writes the latter.
fn check(name: &str, computed: &Value) {
    if std::env::var_os("LEDE_BLESS").is_some() {
        std::fs::write(path(name), serde_json::to_string_pretty(computed).unwrap() + "\n").unwrap();
    }
    let golden = read(name);
    assert_eq!(&golden, computed, "{name} differs from the code");
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("{member} is missing in {value}"))
}

fn request_of(case: &Value) -> Result<ValidRequest, Problem> {
    let request = match case.get("query") {
        Some(query) => CaptionRequest::from_query(query.as_str().unwrap()),
        None => CaptionRequest::from_json(text(case, "body").as_bytes()),
    };
    request.and_then(|request| request.validate())
}

#[test]
fn accepted_requests_have_the_golden_canonical_form_and_key() {
    let mut cases = read("requests.json");
    for case in cases.as_array_mut().unwrap() {
        let request = request_of(case).unwrap();
        let namespace = case["namespace"].clone();
        let namespace = CacheNamespace {
            model: text(&namespace, "model"),
            policy_version: text(&namespace, "policy_version"),
            epoch: namespace["epoch"].as_u64().unwrap(),
            tenant: namespace["tenant"].as_str(),
        };
        case["canonical_json"] = request.to_json().into();
        case["canonical_form_hex"] = hex::encode(canonical_form(&namespace, &request)).into();
        case["cache_key"] = CacheKey::of(&namespace, &request).to_string().into();
    }
    check("requests.json", &cases);
}

#[test]
fn refused_requests_have_the_golden_problem() {
    let mut cases = read("refusals.json");
    for case in cases.as_array_mut().unwrap() {
        let problem = request_of(case).unwrap_err();
        let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        case["status"] = problem.status.into();
        case["code"] = problem.code.as_str().into();
        case["pointers"] = pointers.into();
    }
    check("refusals.json", &cases);
}

#[test]
fn signatures_are_golden_and_verify() {
    let mut cases = read("signatures.json");
    for case in cases.as_array_mut().unwrap() {
        let key = SigningKey::parse(text(case, "signing_key")).unwrap();
        let claims = Claims::of(TenantId::parse(text(case, "tenant")).unwrap());
        let now = UnixMillis(case["timestamp_ms"].as_u64().unwrap());
        let mut nonce = [0; 16];
        hex::decode_to_slice(text(case, "nonce"), &mut nonce).unwrap();
        let (method, path_and_query) = (text(case, "method"), text(case, "path_and_query"));
        let request = SignedRequest { method, path_and_query, body: text(case, "body").as_bytes() };
        let signed = SignatureHeaders::sign(&key, &request, &claims, now, nonce);
        assert_eq!(signed.verify(&[key], &request, now), Ok(()));
        let headers = signed.pairs().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        case["headers"] = Value::Object(headers.collect());
    }
    check("signatures.json", &cases);
}

fn survives_the_wire<T: DeserializeOwned + Serialize>(name: &str, golden: &Value) {
    let typed: T = serde_json::from_value(golden.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(&serde_json::to_value(&typed).unwrap(), golden, "{name} does not survive reading and writing");
}

#[test]
fn answers_survive_reading_and_writing_unchanged() {
    survives_the_wire::<CaptionResponse>("response.json", &read("response.json"));
    survives_the_wire::<KeyRecord>("key_record.json", &read("key_record.json"));
    survives_the_wire::<Problem>("problem.json", &read("problem.json"));
    let batch = read("batch.json");
    survives_the_wire::<BatchResponse>("batch.json", &batch["response"]);
    let items = BatchRequest::from_json(batch["request"].to_string().as_bytes()).unwrap().items;
    assert_eq!(items.len(), batch["response"]["results"].as_array().unwrap().len());
    assert!(items[0].is_ok() && items[1].is_err());
    for result in batch["response"]["results"].as_array().unwrap() {
        survives_the_wire::<BatchItem>("batch.json", result);
        let line = serde_json::to_string(&serde_json::from_value::<BatchItem>(result.clone()).unwrap()).unwrap();
        assert!(!line.contains('\n'), "as NDJSON each result is one line");
    }
}

#[test]
fn a_stream_is_read_and_written_byte_by_byte_as_in_the_golden_one() {
    let golden = std::fs::read_to_string(path("stream.txt")).unwrap();
    let events = SseReader::new(STREAM_EVENT_BYTES_MAX).push(golden.as_bytes()).unwrap();
    let events: Vec<StreamEvent> = events.iter().map(|event| StreamEvent::read(event).unwrap().unwrap()).collect();
    let written: String = events.iter().map(StreamEvent::to_sse).collect();
    if std::env::var_os("LEDE_BLESS").is_some() {
        std::fs::write(path("stream.txt"), &written).unwrap();
    }
    assert_eq!(written, golden, "stream.txt differs from the code");
    let kinds: Vec<_> = golden.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(kinds, ["start", "draft", "draft_reset", "draft", "draft", "variant", "done", "error"]);
}
