use lede_tests::{API_KEY, Origin, client, ok_json, post, sunset};
use serde_json::{Value, json};

const GENERATE: &str = "/api/v14/generate";

async fn caption(origin: &Origin, body: &Value) -> Value {
    ok_json(post(&origin.url, GENERATE, body)).await.1
}

/// Descriptions from nobody's training text, with the words of which a caption must have at least one.
const DESCRIPTIONS: [(&str, &[&str]); 8] = [
    ("Beautiful sunset over the ocean", &["sunset", "ocean"]),
    ("my golden retriever puppy at the beach", &["puppy", "beach", "retriever"]),
    ("fresh croissants from Talvessa bakery", &["croissant", "talvessa", "bakery"]),
    ("first snow on the roofs", &["snow", "roof"]),
    ("street musicians in Oranvel", &["musician", "oranvel", "street"]),
    ("a Voltrix espresso machine", &["voltrix", "espresso", "machine"]),
    ("the quiet harbour of Melquista at dawn", &["harbour", "melquista", "dawn"]),
    ("handmade ceramic mugs, 20% off", &["mug", "ceramic", "20%"]),
];

#[tokio::test]
async fn a_caption_is_about_what_the_description_says() {
    // The model's card says how often it strays; a broken prompt or tokenizer strays every time.
    const ABOUT_IT_MIN: usize = 6;
    let origin = Origin::start().await;
    let mut strayed = Vec::new();
    for (description, words) in DESCRIPTIONS {
        let answer = caption(&origin, &json!({ "content_description": description, "seed": 1 })).await;
        let text = answer["caption"].as_str().unwrap().to_lowercase();
        if !words.iter().any(|word| text.contains(word)) {
            strayed.push((description, text));
        }
    }
    assert!(DESCRIPTIONS.len() - strayed.len() >= ABOUT_IT_MIN, "{strayed:#?}");
}

#[tokio::test]
async fn an_answer_has_every_part_that_the_api_promises() {
    let origin = Origin::start().await;
    let body = json!({ "content_description": "a quiet harbour at dawn", "hashtag_count": 7, "variants": 3 });
    let (headers, answer) = ok_json(post(&origin.url, GENERATE, &body)).await;
    assert_eq!(answer["variants"].as_array().unwrap().len(), 3);
    for variant in answer["variants"].as_array().unwrap() {
        let (caption, hook) = (variant["caption"].as_str().unwrap(), variant["hook"].as_str().unwrap());
        assert!(
            !caption.is_empty() && caption.starts_with(hook) && hook.encode_utf16().count() <= 125,
            "{variant}"
        );
        let post_text = variant["post_text"].as_str().unwrap();
        assert!(post_text.starts_with(caption) && post_text.matches('#').count() <= 5, "{variant}");
        assert_eq!(variant["counts"]["characters"], post_text.encode_utf16().count(), "{variant}");
        let mut hashtags: Vec<_> = variant["hashtags"].as_array().unwrap().iter().map(Value::to_string).collect();
        hashtags.sort();
        hashtags.dedup();
        assert_eq!(hashtags.len(), 7, "hashtags repeat: {variant}");
    }
    assert_eq!(answer["caption"], answer["variants"][0]["caption"]);
    assert_eq!(answer["warnings"][0]["code"], "hashtags_above_policy");
    assert_eq!(answer["performance_metrics"]["cache_hit"], false);
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() > 10);
    for name in ["x-request-id", "cache-status", "server-timing"] {
        assert!(headers.contains_key(name), "{name} is missing: {headers:?}");
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_caption_also_after_a_restart_and_another_seed_another() {
    let body = |seed: u64| json!({ "content_description": "rain on the old library window", "seed": seed });
    let first = {
        let origin = Origin::start().await;
        let (one, two) = (caption(&origin, &body(1)).await, caption(&origin, &body(2)).await);
        assert_ne!(one["caption"], two["caption"]);
        one
    };
    let restarted = Origin::start().await;
    let again = caption(&restarted, &body(1)).await;
    assert_eq!(again["performance_metrics"]["cache_hit"], false);
    assert_eq!((&first["variants"], &first["id"]), (&again["variants"], &again["id"]));
}

#[tokio::test]
async fn the_second_of_two_equal_requests_is_a_hit_of_the_hot_tier() {
    let origin = Origin::start().await;
    let (headers, miss) = ok_json(post(&origin.url, GENERATE, &sunset())).await;
    assert!(headers["cache-status"].to_str().unwrap().contains("fwd=uri-miss"), "{headers:?}");
    let (headers, hit) = ok_json(post(&origin.url, GENERATE, &sunset())).await;
    let status = headers["cache-status"].to_str().unwrap();
    assert!(status.contains("lede-origin; hit") && status.contains("hot"), "{status}");
    assert_eq!(hit["performance_metrics"]["cache_hit"], true);
    assert_eq!(hit["performance_metrics"]["cache_tier"], "hot");
    assert_eq!(hit["variants"], miss["variants"]);
}

#[tokio::test]
async fn many_equal_requests_at_once_reach_the_model_once() {
    let origin = Origin::start().await;
    let body = json!({ "content_description": "market stall full of oranges", "optimization_level": "quality" });
    let requests = (0..40).map(|_| tokio::spawn(post(&origin.url, GENERATE, &body).send()));
    let mut generated = 0;
    for request in requests.collect::<Vec<_>>() {
        let response = request.await.unwrap().unwrap();
        let status = response.headers()["cache-status"].to_str().unwrap().to_owned();
        assert!(response.status().is_success());
        generated += usize::from(status.contains("fwd=") && !status.contains("collapsed"));
    }
    assert_eq!(generated, 1);
}

#[tokio::test]
async fn a_get_has_validators_and_a_repeated_get_need_not_be_sent_again() {
    let origin = Origin::start().await;
    let url = format!("{}/api/v14/generate?content_description=tea+in+the+garden&hashtag_count=2", origin.url);
    let first = client().get(&url).bearer_auth(API_KEY).send().await.unwrap();
    assert!(first.status().is_success());
    let cache_control = first.headers()["cache-control"].to_str().unwrap();
    assert!(cache_control.contains("s-maxage=") && cache_control.contains("stale-while-revalidate="));
    let etag = first.headers()["etag"].clone();
    let again = client().get(&url).bearer_auth(API_KEY).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(again.status().as_u16(), 304);
    assert!(again.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_answers_each_item_on_its_own_and_in_order() {
    let origin = Origin::start().await;
    let body = json!({ "requests": [
        { "content_description": "first snow on the roofs" },
        { "content_description": "x", "style": "loud" },
        { "content_description": "street musicians in Oranvel" },
    ]});
    let (_, answer) = ok_json(post(&origin.url, "/api/v14/batch", &body)).await;
    let results = answer["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 422, 200]);
    assert_eq!(results[1]["problem"]["errors"][0]["pointer"], "/requests/1/style");
    assert!(results[2]["response"]["caption"].as_str().is_some_and(|caption| !caption.is_empty()));
}

#[tokio::test]
async fn a_description_longer_than_the_model_reads_is_answered_with_a_warning() {
    let origin = Origin::start().await;
    let body = json!({ "content_description": "a long walk along the river ".repeat(70) });
    let answer = caption(&origin, &body).await;
    let codes: Vec<_> = answer["warnings"].as_array().unwrap().iter().map(|warning| &warning["code"]).collect();
    assert!(codes.contains(&&json!("description_truncated")), "{codes:?}");
}
