//! Damaged examples against everything that reads what somebody sent. `PROPTEST_CASES` makes it long; the libFuzzer
//! programs of `tests/fuzz`, which share the targets, look deeper (CONTRIBUTING.md).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its fixture has failed")]

#[path = "../../tests/fuzz/damaged.rs"]
mod damaged;
#[path = "../../tests/fuzz/targets.rs"]
#[expect(unreachable_pub, reason = "the fuzzing programs use it from outside")]
mod targets;

use std::sync::LazyLock;

use lede_shared::clock::UnixMillis;
use lede_shared::plan::Plan;
use lede_shared::quota::{LeaseBook, Ledger, Limits};
use proptest::prelude::*;
use serde_json::Value;

use damaged::damaged;

/// Enough to be quick; long runs set `PROPTEST_CASES`.
const CASES: u32 = 2_000;

/// Golden examples by what they are.
static EXAMPLES: LazyLock<Examples> = LazyLock::new(Examples::read);

struct Examples {
    bodies: Vec<Vec<u8>>,
    queries: Vec<Vec<u8>>,
    batches: Vec<Vec<u8>>,
    stored: Vec<Vec<u8>>,
    signatures: Vec<Vec<u8>>,
    streams: Vec<Vec<u8>>,
    quotas: Vec<Vec<u8>>,
    headers: Vec<Vec<u8>>,
}

impl Examples {
    fn read() -> Self {
        let requests = golden(include_str!("../../tests/fixtures/wire/requests.json"));
        let refusals = golden(include_str!("../../tests/fixtures/wire/refusals.json"));
        let batch = golden(include_str!("../../tests/fixtures/wire/batch.json"));
        let response = golden(include_str!("../../tests/fixtures/wire/response.json"));
        let problem = golden(include_str!("../../tests/fixtures/wire/problem.json"));
        let signatures = golden(include_str!("../../tests/fixtures/wire/signatures.json"));
        let texts = |cases: &Value, member: &str| -> Vec<Vec<u8>> {
            let cases = cases.as_array().unwrap().iter();
            cases.filter_map(|case| case[member].as_str()).map(|text| text.as_bytes().to_vec()).collect()
        };
        let json = |value: &Value| value.to_string().into_bytes();
        Self {
            bodies: [texts(&requests, "body"), texts(&refusals, "body")].concat(),
            queries: [texts(&requests, "query"), vec![b"content_description=a+b&seed=1".to_vec()]].concat(),
            batches: vec![json(&batch["request"])],
            stored: vec![json(&response), json(&problem), json(&batch["response"])],
            signatures: signatures.as_array().unwrap().iter().map(signature_lines).collect(),
            streams: vec![include_bytes!("../../tests/fixtures/wire/stream.txt").to_vec()],
            quotas: quotas(),
            headers: HEADERS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        }
    }
}

const HEADERS: [&str; 4] = [
    "Bearer lede_test_0123456789abcdef\nacme=0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a,beta=",
    "k1=0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b,k2=",
    "no-store, max-age=10, only-if-cached, max-age=\"99999999999999999999\"\napplication/json; charset=utf-8",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nmy-own-request-id-1",
];

/// A question, its answer and the ledger after it.
fn quotas() -> Vec<Vec<u8>> {
    let (limits, now) = (Limits::of(&Plan::default()), UnixMillis(1_800_000_000_000));
    let question = LeaseBook::new(now).question(now, 10, limits);
    let mut ledger = Ledger::new(now);
    let answer = ledger.answer(now, &question);
    [question.encode(), answer.encode(), ledger.encode()].map(String::into_bytes).to_vec()
}

fn golden(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn signature_lines(case: &Value) -> Vec<u8> {
    let order = ["x-lede-key-id", "x-lede-claims", "x-lede-timestamp-ms", "x-lede-nonce", "x-lede-signature"];
    let lines =
        order.map(|name| case["headers"][name].as_str().unwrap_or_else(|| panic!("{name} in {case}")).to_owned());
    lines.join("\n").into_bytes()
}

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(CASES), max_shrink_iters: 10_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_body_makes_reading_a_request_panic(bytes in damaged(&EXAMPLES.bodies)) {
        targets::request_body(&bytes);
    }

    #[test]
    fn no_query_string_makes_reading_a_request_panic(bytes in damaged(&EXAMPLES.queries)) {
        targets::query(&bytes);
    }

    #[test]
    fn no_body_makes_reading_a_batch_panic(bytes in damaged(&EXAMPLES.batches)) {
        targets::batch(&bytes);
    }

    #[test]
    fn no_header_makes_reading_it_panic(bytes in damaged(&EXAMPLES.headers)) {
        targets::headers(&bytes);
    }

    #[test]
    fn no_signature_makes_reading_it_panic_and_a_damaged_one_is_refused(bytes in damaged(&EXAMPLES.signatures)) {
        targets::signature(&bytes);
    }

    #[test]
    fn nothing_stored_or_answered_makes_reading_it_panic(bytes in damaged(&EXAMPLES.stored)) {
        targets::stored(&bytes);
    }

    #[test]
    fn no_stream_makes_reading_it_panic_wherever_it_is_cut(bytes in damaged(&EXAMPLES.streams)) {
        targets::stream(&bytes);
    }

    #[test]
    fn no_message_about_a_quota_makes_reading_it_panic(bytes in damaged(&EXAMPLES.quotas)) {
        targets::quota(&bytes);
    }

    #[test]
    fn no_text_of_any_script_makes_cleaning_it_panic(bytes in damaged(&EXAMPLES.bodies)) {
        targets::text(&bytes);
    }
}
