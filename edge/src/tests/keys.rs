//! API keys through the pipeline: the isolate's memory, Workers KV, the origin, and what is left when one is away.

mod revocation;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lede_shared::api_key::{ApiKeyHash, TenantId};
use lede_shared::clock::UnixMillis;
use lede_shared::plan::{KeyRecord, Plan, Scope};
use lede_shared::problem::{Problem, ProblemCode};
use lede_shared::signature::{SignatureHeaders, SignedRequest, SigningKey};

use super::deployment::{API_KEY, Deployment, batch, binding, generate, problem, with};
use super::fixtures::{SIGNING_KEY, answer, origin_down, problem_answer, sound_origin};
use crate::bindings::in_memory::StoreHealth;
use crate::bindings::{FetchError, IncomingResponse, OutgoingRequest};
use crate::config::Config;
use crate::http::{AUTHORIZATION, JSON, RETRY_AFTER, Request};
use crate::isolate::Isolate;

const HOUR_S: u64 = 3_600;
const QUESTION: &str = "https://origin.example/internal/keys/";

/// The origin's store as far as it concerns one key.
#[derive(Default)]
struct OneKey {
    record: RefCell<Option<KeyRecord>>,
    away: Cell<bool>,
    questions: Cell<usize>,
}

impl OneKey {
    fn answer(&self, request: &OutgoingRequest) -> Result<IncomingResponse, FetchError> {
        let Some(asked) = request.url.strip_prefix(QUESTION) else {
            return if self.away.get() { origin_down(request) } else { sound_origin(request) };
        };
        check_question(request);
        self.questions.set(self.questions.get() + 1);
        if self.away.get() {
            return origin_down(request);
        }
        match self.record.borrow().as_ref().filter(|_| asked == ApiKeyHash::of(API_KEY).to_string()) {
            Some(record) => Ok(answer(200, JSON, &serde_json::json!(record).to_string())),
            None => Ok(problem_answer(&Problem::new(ProblemCode::NotFound, "no key has this hash"))),
        }
    }
}

/// Signed by the edge, for nobody.
fn check_question(request: &OutgoingRequest) {
    let signed = SignatureHeaders::read(|name| request.headers.get(name)).expect("five headers");
    let path_and_query = request.url.strip_prefix("https://origin.example").expect("the origin's address");
    let signed_request = SignedRequest { method: "GET", path_and_query, body: b"" };
    let key = SigningKey::parse(SIGNING_KEY).expect("a key");
    signed.verify(&[key], &signed_request, signed.timestamp_ms).expect("a sound signature");
    assert_eq!(signed.claims.tenant, TenantId::edge());
    assert!(request.headers.get(AUTHORIZATION).is_none());
}

fn standard() -> KeyRecord {
    KeyRecord::standard(TenantId::parse("acme").unwrap())
}

/// A deployment without keys of its own, in front of an origin that knows the one of `request`.
fn deployment() -> (Deployment, Rc<OneKey>) {
    let one_key = Rc::new(OneKey { record: RefCell::new(Some(standard())), ..OneKey::default() });
    let origin = Rc::clone(&one_key);
    let mut deployment = Deployment::with_origin(move |request| origin.answer(request));
    let config = Config::read(|name| binding(name).filter(|_| name != "API_KEY_HASHES"));
    deployment.config = config.map(Rc::new);
    (deployment, one_key)
}

/// A request that says nothing: 422 for whoever is let in, and nothing asked of the origin but about the key.
fn knock() -> Request {
    generate("{}")
}

fn knock_with(api_key: &str) -> Request {
    with(knock(), AUTHORIZATION, &format!("Bearer {api_key}"))
}

const LET_IN: ProblemCode = ProblemCode::InvalidFields;
const REFUSED: ProblemCode = ProblemCode::InvalidApiKey;

impl Deployment {
    fn knocked(&self) -> ProblemCode {
        problem(&self.send_and_finish(knock())).code
    }

    /// What lies in Workers KV about the key.
    fn copy(&self) -> Option<serde_json::Value> {
        let entries = self.keys.entries.borrow();
        let (value, _) = entries.get(&format!("key:{}", ApiKeyHash::of(API_KEY)))?;
        Some(serde_json::from_slice(value).expect("a copy is JSON"))
    }

    fn in_another_isolate(&mut self) {
        self.isolate = Rc::<Isolate>::default();
    }
}

#[test]
fn a_key_is_asked_about_once_and_then_remembered() {
    let (deployment, one_key) = deployment();
    for _ in 0..3 {
        assert_eq!(deployment.knocked(), LET_IN);
        deployment.clock.advance_s(14);
    }
    assert_eq!(one_key.questions.get(), 1);
}

#[test]
fn a_record_that_gets_old_is_renewed_behind_the_answer_by_one_request_alone() {
    let (deployment, one_key) = deployment();
    deployment.knocked();
    deployment.clock.advance_s(45);
    deployment.send(knock());
    assert_eq!(one_key.questions.get(), 1);
    deployment.background.finish();
    assert_eq!(one_key.questions.get(), 2);
    deployment.clock.advance_s(44);
    assert_eq!((deployment.knocked(), one_key.questions.get()), (LET_IN, 2));
}

#[test]
fn a_revoked_key_has_stopped_after_a_minute() {
    let (deployment, one_key) = deployment();
    deployment.knocked();
    *one_key.record.borrow_mut() = None;
    deployment.clock.advance_s(60);
    assert_eq!(deployment.knocked(), REFUSED);
}

#[test]
fn an_unknown_key_is_asked_about_again_after_ten_seconds() {
    let (deployment, one_key) = deployment();
    *one_key.record.borrow_mut() = None;
    assert_eq!(deployment.knocked(), REFUSED);
    *one_key.record.borrow_mut() = Some(standard());
    deployment.clock.advance_s(9);
    assert_eq!((deployment.knocked(), one_key.questions.get()), (REFUSED, 1));
    deployment.clock.advance_s(1);
    assert_eq!((deployment.knocked(), one_key.questions.get()), (LET_IN, 2));
}

#[test]
fn strangers_cause_no_writes_and_push_nobody_out() {
    let (deployment, one_key) = deployment();
    deployment.knocked();
    let written = deployment.keys.entries.borrow().clone();
    for stranger in 0..2_000 {
        let response = deployment.send_and_finish(knock_with(&format!("lede_{stranger}")));
        assert_eq!(problem(&response).code, REFUSED);
    }
    assert_eq!(*deployment.keys.entries.borrow(), written);
    let questions = one_key.questions.get();
    assert_eq!((deployment.knocked(), one_key.questions.get()), (LET_IN, questions));
}

#[test]
fn with_the_origin_away_a_known_key_holds_for_a_day_and_then_no_longer() {
    let (deployment, one_key) = deployment();
    deployment.knocked();
    one_key.away.set(true);
    deployment.clock.advance_s(24 * HOUR_S - 1);
    assert_eq!(deployment.knocked(), LET_IN);
    assert!(deployment.log.has("key_relied_on_in_outage"));
    deployment.clock.advance_s(1);
    assert_eq!(deployment.knocked(), ProblemCode::OriginUnavailable);
}

#[test]
fn with_the_origin_away_an_isolate_that_knows_nothing_goes_by_workers_kv() {
    let (mut deployment, one_key) = deployment();
    deployment.knocked();
    one_key.away.set(true);
    deployment.clock.advance_s(24 * HOUR_S - 1);
    deployment.in_another_isolate();
    assert_eq!(deployment.knocked(), LET_IN);
    deployment.clock.advance_s(1);
    assert_eq!(deployment.knocked(), ProblemCode::OriginUnavailable);
}

#[test]
fn with_the_origin_away_a_key_that_nobody_knows_is_not_called_wrong() {
    let (deployment, one_key) = deployment();
    one_key.away.set(true);
    let response = deployment.send(knock());
    assert_eq!(problem(&response).code, ProblemCode::OriginUnavailable);
    assert!(response.headers.get(RETRY_AFTER).is_some());
}

#[test]
fn with_the_origin_away_it_is_tried_every_five_seconds_and_not_for_every_request() {
    let (deployment, one_key) = deployment();
    deployment.knocked();
    one_key.away.set(true);
    deployment.clock.advance_s(60);
    for _ in 0..10 {
        assert_eq!(deployment.knocked(), LET_IN);
        deployment.clock.advance_s(1);
    }
    // Ten seconds: two tries, each with the one repetition that every question has.
    assert_eq!(one_key.questions.get(), 1 + 2 * 2);
    one_key.away.set(false);
    *one_key.record.borrow_mut() = None;
    deployment.clock.advance_s(5);
    assert_eq!(deployment.knocked(), REFUSED);
}

#[test]
fn an_outage_does_not_bring_a_revoked_key_back_to_life() {
    let (mut deployment, one_key) = deployment();
    deployment.knocked();
    let knew_it = Rc::clone(&deployment.isolate);
    deployment.in_another_isolate();
    deployment.knocked();
    *one_key.record.borrow_mut() = None;
    deployment.clock.advance_s(60);
    assert_eq!(deployment.knocked(), REFUSED);
    one_key.away.set(true);
    deployment.isolate = knew_it;
    assert_eq!(deployment.knocked(), REFUSED);
    deployment.in_another_isolate();
    assert_eq!(deployment.knocked(), REFUSED);
    one_key.away.set(false);
    *one_key.record.borrow_mut() = Some(standard());
    deployment.clock.advance_s(10);
    assert_eq!(deployment.knocked(), LET_IN);
}

#[test]
fn workers_kv_is_written_when_the_record_has_changed_or_the_copy_is_an_hour_old() {
    let (deployment, one_key) = deployment();
    deployment.knocked();
    let first = deployment.copy().unwrap();
    assert_eq!(first["record"]["tenant"], "acme");
    for _ in 0..59 {
        deployment.clock.advance_s(60);
        deployment.knocked();
    }
    assert_eq!(deployment.copy().unwrap(), first);
    deployment.clock.advance_s(60);
    deployment.knocked();
    let second = deployment.copy().unwrap();
    assert_eq!(second["checked_at_ms"].as_u64().unwrap() - first["checked_at_ms"].as_u64().unwrap(), 3_600_000);
    let other_plan = KeyRecord { scopes: vec![Scope::Captions, Scope::Admin], ..standard() };
    *one_key.record.borrow_mut() = Some(other_plan);
    deployment.clock.advance_s(60);
    deployment.knocked();
    assert_eq!(deployment.copy().unwrap()["record"]["scopes"], serde_json::json!(["captions", "admin"]));
}

#[test]
fn a_new_isolate_leaves_a_good_copy_alone() {
    let (mut deployment, _) = deployment();
    deployment.knocked();
    let first = deployment.copy();
    deployment.clock.advance_s(HOUR_S - 1);
    deployment.in_another_isolate();
    assert_eq!((deployment.knocked(), deployment.copy()), (LET_IN, first));
}

#[test]
fn a_store_that_fails_or_holds_something_else_is_a_miss() {
    for health in [StoreHealth::Failing, StoreHealth::Hanging] {
        let (deployment, _) = deployment();
        deployment.keys.health.set(health);
        assert_eq!(deployment.knocked(), LET_IN, "{health:?}");
        assert!(deployment.log.has("key_copy_read_failed") && deployment.log.has("key_copy_write_failed"));
    }
    for garbage in ["", "{}", r#"{"version":1,"checked_at_ms":9,"record":{"tenant":"?"}}"#, "\u{0}"] {
        let (deployment, one_key) = deployment();
        one_key.away.set(true);
        let name = format!("key:{}", ApiKeyHash::of(API_KEY));
        deployment.keys.entries.borrow_mut().insert(name, (garbage.as_bytes().to_vec(), 60));
        assert_eq!(deployment.knocked(), ProblemCode::OriginUnavailable, "{garbage}");
        one_key.away.set(false);
        assert_eq!(deployment.knocked(), LET_IN, "{garbage}");
    }
}

#[test]
fn a_copy_from_the_future_is_nobody_s() {
    let (deployment, one_key) = deployment();
    one_key.away.set(true);
    let forged = serde_json::json!({"version": 1, "checked_at_ms": UnixMillis(u64::MAX), "record": standard()});
    let name = format!("key:{}", ApiKeyHash::of(API_KEY));
    deployment.keys.entries.borrow_mut().insert(name, (forged.to_string().into_bytes(), 60));
    assert_eq!(deployment.knocked(), ProblemCode::OriginUnavailable);
}

#[test]
fn an_origin_that_answers_nonsense_or_is_at_fault_is_away() {
    for status in [200, 400, 401, 403, 404, 500] {
        let (deployment, _) = deployment();
        deployment.knocked();
        deployment.set_origin(move |_| Ok(answer(status, JSON, "{}")));
        deployment.clock.advance_s(60);
        assert_eq!(deployment.knocked(), LET_IN, "{status}");
    }
}

#[test]
fn a_key_of_the_deployment_s_own_table_needs_no_origin() {
    let deployment = Deployment::with_origin(origin_down);
    assert_eq!(deployment.knocked(), LET_IN);
    assert_eq!((deployment.origin_requests(), deployment.keys.reads.get()), (0, 0));
}

#[test]
fn what_is_too_long_for_a_key_is_refused_without_asking_anybody() {
    let (deployment, one_key) = deployment();
    let response = deployment.send(knock_with(&"k".repeat(257)));
    assert_eq!((problem(&response).code, one_key.questions.get(), deployment.keys.reads.get()), (REFUSED, 0, 0));
}

#[test]
fn a_key_without_the_scope_is_forbidden_to_have_captions_made() {
    let (deployment, one_key) = deployment();
    *one_key.record.borrow_mut() = Some(KeyRecord { scopes: vec![Scope::Admin], ..standard() });
    for request in [knock(), batch("{}")] {
        let response = deployment.send(request);
        assert_eq!((response.status, problem(&response).code), (403, ProblemCode::Forbidden));
    }
}

#[test]
fn a_batch_has_as_many_requests_as_the_plan_takes() {
    let (deployment, one_key) = deployment();
    let plan = Plan { batch_requests_max: 1, ..Plan::default() };
    *one_key.record.borrow_mut() = Some(KeyRecord { plan, ..standard() });
    let item = r#"{"content_description": "a"}"#;
    let two = deployment.send(batch(&format!(r#"{{"requests": [{item}, {item}]}}"#)));
    assert_eq!(problem(&two).errors[0].pointer, "/requests");
    assert_eq!(deployment.send(batch(&format!(r#"{{"requests": [{item}]}}"#))).status, 200);
}

#[test]
fn neither_stores_nor_log_nor_origin_ever_see_the_key() {
    let (deployment, one_key) = deployment();
    deployment.knocked();
    one_key.away.set(true);
    deployment.clock.advance_s(60);
    deployment.knocked();
    let seen = format!(
        "{:?} {:?} {:?} {:?}",
        deployment.keys.entries.borrow().keys(),
        deployment.copy(),
        deployment.log.0.borrow(),
        deployment.origin.requests.borrow(),
    );
    assert!(!seen.contains(API_KEY), "{seen}");
    assert!(!deployment.log.0.borrow().iter().any(|line| line.contains(&ApiKeyHash::of(API_KEY).to_string())));
}
