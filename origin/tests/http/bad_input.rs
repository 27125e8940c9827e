//! Whatever is sent, the answer is a problem that names what is wrong, and the process lives.

use axum::body::Body;
use axum::http::Request;
use lede_origin::clock;
use lede_shared::api::BATCH_BODY_BYTES_MAX;
use lede_shared::clock::UnixMillis;
use serde_json::json;

use crate::support::{API_KEY, GENERATE, TestApp, json_request, signed_request};

const GOOD: &str = r#"{"content_description": "a lighthouse at dusk"}"#;

fn without(name: &str, mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().remove(name);
    request
}

fn with(name: &'static str, value: &str, mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_with_400() {
    let app = TestApp::start().await;
    for (what, body) in [
        ("no body", &b""[..]),
        ("not JSON", b"content_description=x"),
        ("half a JSON", br#"{"content_description": "#),
        ("invalid UTF-8", b"{\"content_description\": \"\xff\xfe\"}"),
    ] {
        let answer = app.send(json_request("POST", GENERATE, body)).await;
        assert!(answer.assert_problem(400, "malformed_request", what).is_empty());
    }
    let nothing = without("content-type", json_request("POST", GENERATE, Body::empty()));
    app.send(nothing).await.assert_problem(400, "malformed_request", "no body and no type");
}

#[tokio::test]
async fn fields_at_fault_are_refused_with_422_and_a_pointer_each() {
    let app = TestApp::start().await;
    let description = "a lighthouse at dusk";
    for (what, body, pointers) in [
        ("not an object", json!([1]), vec![""]),
        ("wrong type", json!({"content_description": 7}), vec!["/content_description"]),
        ("no description", json!({}), vec!["/content_description"]),
        ("0 characters", json!({"content_description": ""}), vec!["/content_description"]),
        ("2,001 characters", json!({"content_description": "x".repeat(2_001)}), vec!["/content_description"]),
        ("unknown style", json!({"content_description": description, "style": "loud"}), vec!["/style"]),
        ("-1 hashtags", json!({"content_description": description, "hashtag_count": -1}), vec!["/hashtag_count"]),
        ("31 hashtags", json!({"content_description": description, "hashtag_count": 31}), vec!["/hashtag_count"]),
        ("9 variants", json!({"content_description": description, "variants": 9}), vec!["/variants"]),
        ("an unknown field", json!({"content_description": description, "styel": "bold"}), vec!["/styel"]),
        ("two faults", json!({"style": 1, "seed": -1, "content_description": "x"}), vec!["/style", "/seed"]),
    ] {
        let answer = app.post(body).await;
        assert_eq!(answer.assert_problem(422, "invalid_fields", what), pointers, "{what}");
    }
    assert_eq!(app.post(json!({"content_description": "é".repeat(2_000)})).await.status, 200);
}

#[tokio::test]
async fn a_query_at_fault_is_refused_like_a_body() {
    let app = TestApp::start().await;
    for (query, status, code, pointers) in [
        ("", 422, "invalid_fields", vec!["/content_description"]),
        ("?content_description=x&hashtag_count=31", 422, "invalid_fields", vec!["/hashtag_count"]),
        ("?content_description=x&style=loud", 422, "invalid_fields", vec!["/style"]),
        ("?content_description=%ff", 400, "malformed_request", vec![]),
        ("?content_description=x&content_description=y", 400, "malformed_request", vec![]),
    ] {
        let answer = app.get(&format!("{GENERATE}{query}"), &[]).await;
        assert_eq!(answer.assert_problem(status, code, query), pointers, "{query}");
    }
}

#[tokio::test]
async fn a_body_too_large_is_refused_before_it_has_arrived() {
    let app = TestApp::start().await;
    // This body never ends: only an answer that does not wait for it comes at all.
    let endless = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let announced = with("content-length", "10000000", json_request("POST", GENERATE, endless));
    app.send(announced).await.assert_problem(413, "body_too_large", "10 MB announced");
    let ten_megabytes = futures_util::stream::iter(
        (0..1_000).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 10_000]))),
    );
    let unannounced = json_request("POST", GENERATE, Body::from_stream(ten_megabytes));
    app.send(unannounced).await.assert_problem(413, "body_too_large", "10 MB in chunks");
    let batch = json_request("POST", "/api/v14/batch", vec![b' '; BATCH_BODY_BYTES_MAX + 1]);
    app.send(batch).await.assert_problem(413, "body_too_large", "a batch over its limit");
}

#[tokio::test]
async fn what_matches_no_route_is_a_problem_too() {
    let app = TestApp::start().await;
    let unknown = app.get("/api/v13/generate", &[]).await;
    unknown.assert_problem(404, "not_found", "unknown route");
    let put = app.send(json_request("PUT", GENERATE, GOOD)).await;
    put.assert_problem(405, "method_not_allowed", "wrong method");
    assert!(put.header("allow").contains("POST") && put.header("allow").contains("GET"));
    let get = app.get("/api/v14/batch", &[]).await;
    get.assert_problem(405, "method_not_allowed", "GET batch");
}

#[tokio::test]
async fn a_body_that_is_not_announced_as_json_is_refused_with_415() {
    let app = TestApp::start().await;
    let plain = with("content-type", "text/plain", json_request("POST", GENERATE, GOOD));
    app.send(plain).await.assert_problem(415, "unsupported_media_type", "text/plain");
    let untyped = without("content-type", json_request("POST", GENERATE, GOOD));
    app.send(untyped).await.assert_problem(415, "unsupported_media_type", "no type");
    let charset = with("content-type", "application/json; charset=utf-8", json_request("POST", GENERATE, GOOD));
    assert_eq!(app.send(charset).await.status, 200);
}

#[tokio::test]
async fn nobody_gets_in_without_a_known_key() {
    let app = TestApp::start().await;
    for path in [GENERATE, "/api/v14/batch"] {
        let no_key = without("authorization", json_request("POST", path, GOOD));
        let answer = app.send(no_key).await;
        answer.assert_problem(401, "missing_api_key", path);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for value in ["Bearer wrong", "Bearer", "Basic YTpi", &format!("Bearer {API_KEY}x"), &"x".repeat(5_000)] {
        let wrong = with("authorization", value, json_request("POST", GENERATE, GOOD));
        app.send(wrong).await.assert_problem(401, "invalid_api_key", value);
    }
    let get = Request::get(format!("{GENERATE}?content_description=x")).body(Body::empty()).unwrap();
    app.send(get).await.assert_problem(401, "missing_api_key", "GET");
    // A stranger learns nothing about the body's faults.
    let both = without("authorization", json_request("POST", GENERATE, "nonsense"));
    app.send(both).await.assert_problem(401, "missing_api_key", "no key and a bad body");
}

#[tokio::test]
async fn a_signed_request_of_the_edge_is_let_in_with_and_without_a_body() {
    let app = TestApp::start().await;
    let post = app.send(signed_request("POST", GENERATE, GOOD, 1, clock::now())).await;
    assert_eq!(post.status, 200);
    let path = format!("{GENERATE}?content_description=tea");
    let get = app.send(signed_request("GET", &path, "", 2, clock::now())).await;
    assert_eq!(get.status, 200);
}

#[tokio::test]
async fn a_replayed_signature_is_refused() {
    let app = TestApp::start().await;
    let signed = signed_request("POST", GENERATE, GOOD, 3, clock::now());
    let copy = {
        let mut copy = Request::post(GENERATE).body(Body::from(GOOD)).unwrap();
        *copy.headers_mut() = signed.headers().clone();
        copy
    };
    assert_eq!(app.send(signed).await.status, 200);
    app.send(copy).await.assert_problem(401, "replayed_signature", "byte for byte the same");
}

#[tokio::test]
async fn an_altered_signature_or_request_is_refused() {
    let app = TestApp::start().await;
    let signed = || signed_request("POST", GENERATE, GOOD, 4, clock::now());
    let wrong_mac = format!("v2={}", "0".repeat(64));
    for (what, request) in [
        ("another signature", with("x-lede-signature", &wrong_mac, signed())),
        ("no version", with("x-lede-signature", "abc", signed())),
        ("another tenant", with("x-lede-claims", "tenant=mallory; priority=normal; epoch=0", signed())),
        ("another nonce", with("x-lede-nonce", &"1f".repeat(16), signed())),
        ("an unknown key", with("x-lede-key-id", "k9", signed())),
        ("no timestamp", without("x-lede-timestamp-ms", signed())),
        ("signed long ago", signed_request("POST", GENERATE, GOOD, 5, UnixMillis(clock::now().0 - 120_000))),
        ("signed in the future", signed_request("POST", GENERATE, GOOD, 6, clock::now().plus(120_000))),
        ("signed for another path", {
            let mut moved = signed_request("POST", "/api/v14/batch", GOOD, 7, clock::now());
            *moved.uri_mut() = GENERATE.parse().unwrap();
            moved
        }),
        ("another body", signed().map(|_| Body::from(GOOD.replace("dusk", "dawn")))),
        ("a key beside a bad signature", {
            let request = with("x-lede-signature", &wrong_mac, signed());
            with("authorization", &format!("Bearer {API_KEY}"), request)
        }),
    ] {
        app.send(request).await.assert_problem(401, "invalid_signature", what);
    }
    // None of that used the nonce up.
    assert_eq!(app.send(signed()).await.status, 200);
}

#[tokio::test]
async fn a_batch_answers_each_item_on_its_own() {
    let app = TestApp::start().await;
    let requests = json!({"requests": [
        {"content_description": "tea"}, {"content_description": "tea", "style": "loud"}, 7, {"content_description": "sea"},
    ]});
    let answer = app.send(json_request("POST", "/api/v14/batch", requests.to_string())).await;
    assert_eq!(answer.status, 200);
    let results = answer.json()["results"].clone();
    let statuses: Vec<u64> =
        results.as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 422, 422, 200]);
    assert_eq!(results[1]["problem"]["errors"][0]["pointer"], "/requests/1/style");
    assert_eq!(results[3]["index"], 3);
    assert!(results[3]["response"]["caption"].as_str().is_some_and(|caption| !caption.is_empty()));
}

#[tokio::test]
async fn a_batch_whose_frame_is_wrong_is_refused_as_a_whole() {
    let app = TestApp::start().await;
    let too_many: Vec<_> = (0..101).map(|_| json!({"content_description": "x"})).collect();
    for body in [json!({}), json!({"requests": 1}), json!({"requests": []}), json!({"requests": too_many})] {
        let answer = app.send(json_request("POST", "/api/v14/batch", body.to_string())).await;
        assert_eq!(answer.assert_problem(422, "invalid_fields", "frame"), ["/requests"]);
    }
}
