use std::time::{SystemTime, UNIX_EPOCH};

use lede_shared::api_key::TenantId;
use lede_shared::clock::UnixMillis;
use lede_shared::problem::ProblemCode;
use lede_shared::signature::{Claims, SIGNATURE_SKEW_MS, SignatureHeaders, SignedRequest, SigningKey};
use lede_tests::{Origin, SIGNING_KEY, TENANT, client, problem_of};
use reqwest::RequestBuilder;

const PATH: &str = "/api/v14/generate";
const BODY: &str = r#"{"content_description":"a kite above the dunes"}"#;

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMillis(u64::try_from(since.as_millis()).unwrap())
}

fn claims(tenant: &str) -> Claims {
    Claims::of(TenantId::parse(tenant).unwrap())
}

fn signed_by(key: &str, at: UnixMillis, nonce: u8) -> SignatureHeaders {
    let request = SignedRequest { method: "POST", path_and_query: PATH, body: BODY.as_bytes() };
    let key = SigningKey::parse(key).unwrap();
    SignatureHeaders::sign(&key, &request, &claims(TENANT), at, [nonce; 16])
}

fn request(origin: &Origin, signature: &SignatureHeaders, body: &'static str) -> RequestBuilder {
    let mut request = client().post(format!("{}{PATH}", origin.url)).header("content-type", "application/json");
    for (name, value) in signature.pairs() {
        request = request.header(name, value);
    }
    request.body(body)
}

async fn refusal(origin: &Origin, signature: &SignatureHeaders, body: &'static str) -> ProblemCode {
    problem_of(request(origin, signature, body).send().await.unwrap()).await.code
}

#[tokio::test]
async fn a_request_signed_by_the_edge_is_answered_once_and_its_replay_refused() {
    let origin = Origin::start().await;
    let signature = signed_by(SIGNING_KEY, now(), 1);
    assert!(request(&origin, &signature, BODY).send().await.unwrap().status().is_success());
    assert_eq!(refusal(&origin, &signature, BODY).await, ProblemCode::ReplayedSignature);
}

#[tokio::test]
async fn an_altered_request_is_refused() {
    let origin = Origin::start().await;
    let other_body = r#"{"content_description":"another picture"}"#;
    let signature = signed_by(SIGNING_KEY, now(), 2);
    assert_eq!(refusal(&origin, &signature, other_body).await, ProblemCode::InvalidSignature);
    let other_tenant = SignatureHeaders { claims: claims("mallory"), ..signature.clone() };
    assert_eq!(refusal(&origin, &other_tenant, BODY).await, ProblemCode::InvalidSignature);
    let later = SignatureHeaders { timestamp_ms: signature.timestamp_ms.plus(1), ..signature };
    assert_eq!(refusal(&origin, &later, BODY).await, ProblemCode::InvalidSignature);
}

#[tokio::test]
async fn an_old_signature_another_s_key_and_an_incomplete_set_of_headers_are_refused() {
    let origin = Origin::start().await;
    let old = signed_by(SIGNING_KEY, UnixMillis(now().0 - SIGNATURE_SKEW_MS - 5_000), 3);
    assert_eq!(refusal(&origin, &old, BODY).await, ProblemCode::InvalidSignature);
    let stranger = signed_by(&SIGNING_KEY.replace("0b", "0c"), now(), 4);
    assert_eq!(refusal(&origin, &stranger, BODY).await, ProblemCode::InvalidSignature);
    let whole = signed_by(SIGNING_KEY, now(), 5);
    let (name, value) = whole.pairs()[0].clone();
    let partial = client().post(format!("{}{PATH}", origin.url)).header(name, value).body(BODY);
    let code = problem_of(partial.send().await.unwrap()).await.code;
    assert!(matches!(code, ProblemCode::InvalidSignature | ProblemCode::MissingApiKey), "{code:?}");
}

#[tokio::test]
async fn an_altered_request_does_not_use_up_the_nonce_of_the_true_one() {
    let origin = Origin::start().await;
    let signature = signed_by(SIGNING_KEY, now(), 6);
    let other_body = r#"{"content_description":"another picture"}"#;
    assert_eq!(refusal(&origin, &signature, other_body).await, ProblemCode::InvalidSignature);
    assert!(request(&origin, &signature, BODY).send().await.unwrap().status().is_success());
}
