use std::time::Duration;

use lede_tests::{API_KEY, Edge, Origin, client, ok_json, post, sunset};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

const GENERATE: &str = "/api/v14/generate";

fn cache_status(headers: &HeaderMap) -> String {
    headers["cache-status"].to_str().unwrap().to_owned()
}

/// The entry is written behind the answer, so the second request asks until it is there.
async fn hit(edge: &Edge, body: &Value) -> (HeaderMap, Value) {
    for _ in 0..100 {
        let (headers, answer) = ok_json(post(&edge.url, GENERATE, body)).await;
        if cache_status(&headers).contains("lede-edge; hit") {
            return (headers, answer);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no hit at the edge");
}

#[tokio::test]
async fn a_miss_comes_from_the_model_and_the_same_request_again_from_the_isolate() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let (headers, miss) = ok_json(post(&edge.url, GENERATE, &sunset())).await;
    let caption = miss["caption"].as_str().unwrap().to_lowercase();
    assert!(caption.contains("sunset") || caption.contains("ocean"), "{caption}");
    assert_eq!(miss["performance_metrics"]["cache_hit"], false);
    let status = cache_status(&headers);
    assert!(
        status.contains("lede-origin; fwd=uri-miss") && status.contains("lede-edge; fwd=uri-miss"),
        "{status}"
    );

    let (headers, again) = hit(&edge, &sunset()).await;
    assert!(cache_status(&headers).contains("detail=isolate"), "{}", cache_status(&headers));
    assert_eq!(again["performance_metrics"]["cache_hit"], true);
    assert_eq!(again["performance_metrics"]["cache_tier"], "isolate");
    assert_eq!(again["variants"], miss["variants"]);
    for name in ["x-request-id", "server-timing"] {
        assert!(headers.contains_key(name), "{name} is missing: {headers:?}");
    }
}

#[tokio::test]
async fn another_seed_gives_another_caption_through_the_edge() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let body = |seed: u64| json!({ "content_description": "a lighthouse in the storm", "seed": seed });
    let (_, one) = ok_json(post(&edge.url, GENERATE, &body(1))).await;
    let (_, two) = ok_json(post(&edge.url, GENERATE, &body(2))).await;
    assert_ne!(one["caption"], two["caption"]);
    let fresh = client().post(format!("{}{GENERATE}", edge.url)).header("cache-control", "no-cache");
    let (_, again) = ok_json(fresh.bearer_auth(API_KEY).json(&body(1))).await;
    assert_eq!(one["variants"], again["variants"]);
}

#[tokio::test]
async fn a_get_and_a_post_of_the_same_request_share_one_entry() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let body = json!({ "content_description": "tea in the garden", "hashtag_count": 2 });
    let (_, posted) = hit(&edge, &body).await;
    let url = format!("{}{GENERATE}?content_description=tea+in+the+garden&hashtag_count=2", edge.url);
    let response = client().get(&url).bearer_auth(API_KEY).send().await.unwrap();
    assert!(cache_status(response.headers()).contains("lede-edge; hit"), "{:?}", response.headers());
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("s-maxage="));
    let etag = response.headers()["etag"].clone();
    assert_eq!(response.json::<Value>().await.unwrap()["variants"], posted["variants"]);
    let unchanged = client().get(&url).bearer_auth(API_KEY).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(unchanged.status().as_u16(), 304);
}

#[tokio::test]
async fn the_caller_steers_the_cache_with_http_s_own_words() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let send = |directive: &'static str, description: &'static str| {
        let request = client().post(format!("{}{GENERATE}", edge.url)).header("cache-control", directive);
        request.bearer_auth(API_KEY).json(&json!({ "content_description": description })).send()
    };
    let refused = lede_tests::problem_of(send("only-if-cached", "a picnic").await.unwrap()).await;
    assert_eq!(refused.code.as_str(), "not_cached");
    let unkept = send("no-store", "a picnic").await.unwrap();
    assert!(unkept.status().is_success() && !cache_status(unkept.headers()).contains("stored"));
    hit(&edge, &json!({ "content_description": "a picnic" })).await;
    assert!(send("only-if-cached", "a picnic").await.unwrap().status().is_success());
    let anew = send("no-cache", "a picnic").await.unwrap();
    assert!(!cache_status(anew.headers()).contains("lede-edge; hit"), "{:?}", anew.headers());
}

#[tokio::test]
async fn a_batch_takes_hits_from_the_edge_and_only_misses_from_the_origin() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let known = json!({ "content_description": "first snow on the roofs" });
    let (_, single) = hit(&edge, &known).await;
    let body = json!({ "requests": [
        { "content_description": "street musicians in Oranvel" }, known, { "content_description": "x", "style": 7 },
    ]});
    let (_, answer) = ok_json(post(&edge.url, "/api/v14/batch", &body)).await;
    let results = answer["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 422]);
    assert_eq!(results[0]["response"]["performance_metrics"]["cache_hit"], false);
    assert_eq!(results[1]["response"]["performance_metrics"]["cache_tier"], "isolate");
    assert_eq!(results[1]["response"]["variants"], single["variants"]);
    assert_eq!(results[2]["problem"]["errors"][0]["pointer"], "/requests/2/style");
}

#[tokio::test]
async fn a_request_id_is_taken_over_and_reaches_the_origin_s_log() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let request = post(&edge.url, GENERATE, &sunset()).header("x-request-id", "my-own-request-id-1");
    let (headers, _) = ok_json(request).await;
    assert_eq!(headers["x-request-id"], "my-own-request-id-1");
    assert!(origin.log().contains("my-own-request-id-1"), "{}", origin.log());
}

#[tokio::test]
async fn info_and_health_need_no_key() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let (_, info) = ok_json(client().get(format!("{}/api/v14/info", edge.url))).await;
    assert_eq!((info["side"].as_str(), info["policy_version"].as_str()), (Some("edge"), Some("2025-12")));
    for path in ["/health", "/health/live", "/health/ready"] {
        ok_json(client().get(format!("{}{path}", edge.url))).await;
    }
}
