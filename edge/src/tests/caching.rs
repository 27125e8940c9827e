//! Hit, miss, stale, and the caller's own wishes.

use lede_shared::api::{GENERATE_PATH, Warning, WarningCode};
use lede_shared::headers::CACHE_STATUS;
use lede_shared::problem::ProblemCode;

use super::deployment::{
    Deployment, FRESH_S, STALE_IF_ERROR_S, STALE_WHILE_REVALIDATE_S, generate, json, problem, request, whole, with,
};
use super::fixtures::{answer, caption_response, origin_down, sound_origin};
use crate::http::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, JSON, Method, Response};

const SUNSET: &str = r#"{"content_description": "Sunset over the ocean", "style": "inspirational"}"#;

fn cache_status(response: &Response) -> &str {
    response.headers.get(CACHE_STATUS).unwrap_or_default()
}

fn is_hit(response: &Response) -> bool {
    json(response)["performance_metrics"]["cache_hit"].as_bool().unwrap()
}

/// A deployment that holds the sunset's caption.
fn warmed() -> Deployment {
    let deployment = Deployment::new();
    assert_eq!(deployment.send_and_finish(generate(SUNSET)).status, 200);
    deployment
}

#[test]
fn a_miss_is_generated_and_the_next_caller_is_answered_from_the_isolate() {
    let deployment = Deployment::new();
    let miss = deployment.send_and_finish(generate(SUNSET));
    assert_eq!(miss.status, 200);
    assert_eq!(json(&miss)["caption"], "About Sunset over the ocean");
    assert!(!is_hit(&miss));
    assert_eq!(cache_status(&miss), "lede-origin; fwd=uri-miss; stored, lede-edge; fwd=uri-miss; stored");

    deployment.clock.advance_s(10);
    let hit = deployment.send_and_finish(generate(SUNSET));
    assert_eq!(json(&hit)["caption"], "About Sunset over the ocean");
    assert!(is_hit(&hit));
    assert_eq!(json(&hit)["performance_metrics"]["cache_tier"], "isolate");
    assert_eq!(cache_status(&hit), "lede-edge; hit; ttl=90; detail=isolate");
    assert_eq!(deployment.origin_requests(), 1);
}

#[test]
fn the_origin_s_bytes_reach_the_caller_unchanged() {
    let body = serde_json::json!(caption_response("Hello")).to_string();
    let sent = body.clone();
    let deployment = Deployment::with_origin(move |_| Ok(answer(200, JSON, &sent)));
    assert_eq!(whole(&deployment.send(generate(SUNSET))), body.as_bytes());
}

#[test]
fn a_level_with_a_model_of_its_own_keeps_that_models_answers_and_no_others() {
    let deployment = Deployment::with_models("lede-nano-1;quality=large");
    let best = r#"{"content_description": "Sunset over the ocean", "optimization_level": "quality"}"#;
    let is_stored = |body: &str| {
        let answered = deployment.send_and_finish(generate(body));
        cache_status(&answered).ends_with("; stored")
    };
    assert!(is_stored(SUNSET), "the origin's model is the one of all other levels");
    assert!(!is_stored(best), "it is not this level's");
    let mut own = caption_response("Hello");
    own.model = "large".to_owned();
    let sent = serde_json::json!(own).to_string();
    deployment.set_origin(move |_| Ok(answer(200, JSON, &sent)));
    assert!(is_stored(best));
    assert!(is_hit(&deployment.send(generate(best))) && is_hit(&deployment.send(generate(SUNSET))));
}

#[test]
fn an_answer_to_nearly_the_same_is_passed_on_and_kept_nowhere() {
    let mut near = caption_response("Hello");
    near.warnings.push(Warning { code: WarningCode::AnsweredByNearDuplicate, detail: "nearly".to_owned() });
    let sent = serde_json::json!(near).to_string();
    let deployment = Deployment::with_origin(move |_| Ok(answer(200, JSON, &sent)));
    for asked in 1..=2 {
        let response = deployment.send_and_finish(generate(SUNSET));
        assert_eq!(json(&response)["warnings"][0]["code"], "answered_by_near_duplicate");
        let status = cache_status(&response);
        assert!(status.ends_with("lede-edge; fwd=uri-miss; detail=near_duplicate"), "{status}");
        assert_eq!(deployment.origin_requests(), asked);
    }
}

#[test]
fn a_get_and_a_post_of_the_same_request_share_one_entry() {
    let deployment = warmed();
    let query = format!("{GENERATE_PATH}?style=inspirational&content_description=Sunset+over%20the%20ocean");
    let response = deployment.send(request(Method::Get, &query));
    assert!(is_hit(&response));
    assert_eq!(deployment.origin_requests(), 1);
}

#[test]
fn another_value_of_any_field_is_another_entry() {
    let deployment = warmed();
    for field in [
        r#""hashtag_count": 3"#,
        r#""optimization_level": "quality""#,
        r#""variants": 2"#,
        r#""language": "de""#,
        r#""emoji": "rich""#,
        r#""call_to_action": "save""#,
        r#""must_include": ["20% off"]"#,
        r#""banned_words": ["cheap"]"#,
        r#""brand_voice": "dry""#,
        r#""max_length": 200"#,
        r#""seed": 7"#,
    ] {
        let other = SUNSET.replace('}', &format!(", {field}}}"));
        assert!(!is_hit(&deployment.send_and_finish(generate(&other))), "{field}");
        assert!(is_hit(&deployment.send_and_finish(generate(&other))), "{field}");
    }
}

#[test]
fn banned_words_in_another_order_are_the_same_entry() {
    let deployment = Deployment::new();
    let banning = |words: &str| generate(&SUNSET.replace('}', &format!(r#", "banned_words": {words}}}"#)));
    deployment.send_and_finish(banning(r#"["cheap", "Deal"]"#));
    assert!(is_hit(&deployment.send_and_finish(banning(r#"["deal", "CHEAP", "cheap"]"#))));
}

#[test]
fn a_stale_entry_is_served_and_revalidated_behind_the_answer() {
    let deployment = warmed();
    deployment.clock.advance_s(FRESH_S);
    let stale = deployment.send(generate(SUNSET));
    assert!(is_hit(&stale));
    assert_eq!(cache_status(&stale), "lede-edge; hit; ttl=-1; detail=isolate");
    assert_eq!(deployment.origin_requests(), 1, "the caller does not wait for the origin");

    assert_eq!(deployment.background.finish(), 1);
    assert_eq!(deployment.origin_requests(), 2);
    let fresh = deployment.send(generate(SUNSET));
    assert_eq!(cache_status(&fresh), format!("lede-edge; hit; ttl={FRESH_S}; detail=isolate"));
}

#[test]
fn a_failed_revalidation_leaves_the_entry_as_it_was() {
    let deployment = warmed();
    deployment.clock.advance_s(FRESH_S);
    deployment.set_origin(origin_down);
    assert_eq!(deployment.send_and_finish(generate(SUNSET)).status, 200);
    assert_eq!(cache_status(&deployment.send(generate(SUNSET))), "lede-edge; hit; ttl=-1; detail=isolate");
}

#[test]
fn an_entry_too_old_to_revalidate_is_served_only_when_the_origin_fails() {
    let deployment = warmed();
    deployment.clock.advance_s(FRESH_S + STALE_WHILE_REVALIDATE_S);
    deployment.set_origin(origin_down);
    let stale = deployment.send_and_finish(generate(SUNSET));
    assert_eq!(stale.status, 200);
    assert_eq!(cache_status(&stale), "lede-edge; hit; ttl=-51; detail=isolate");
    assert!(deployment.log.has("served_stale_if_error"));

    deployment.set_origin(sound_origin);
    let fresh = deployment.send_and_finish(generate(SUNSET));
    assert_eq!(cache_status(&fresh), "lede-origin; fwd=uri-miss; stored, lede-edge; fwd=stale; stored");

    deployment.clock.advance_s(FRESH_S + STALE_IF_ERROR_S);
    deployment.set_origin(origin_down);
    assert_eq!(deployment.send(generate(SUNSET)).status, 503, "expired is good for nothing");
}

#[test]
fn no_store_is_answered_from_the_cache_but_never_kept() {
    let deployment = Deployment::new();
    let no_store = || with(generate(SUNSET), CACHE_CONTROL, "no-store");
    let response = deployment.send_and_finish(no_store());
    assert!(cache_status(&response).ends_with("lede-edge; fwd=uri-miss; detail=no_store_requested"));
    assert!(deployment.keeps_nothing());
    assert_eq!(deployment.origin.requests.borrow()[0].headers.get(CACHE_CONTROL), Some("no-store"));

    deployment.send_and_finish(generate(SUNSET));
    assert!(is_hit(&deployment.send(no_store())));
}

#[test]
fn no_cache_goes_to_the_origin_and_its_answer_is_kept() {
    let deployment = warmed();
    let reads = || (deployment.captions.reads.get(), deployment.colo.reads.get());
    let reads_before = reads();
    let response = deployment.send_and_finish(with(generate(SUNSET), CACHE_CONTROL, "no-cache"));
    assert!(cache_status(&response).ends_with("lede-edge; fwd=request; stored"));
    assert_eq!(reads(), reads_before);
    assert_eq!(deployment.origin_requests(), 2);
}

#[test]
fn max_age_is_honoured() {
    let deployment = warmed();
    deployment.clock.advance_s(20);
    assert!(is_hit(&deployment.send(with(generate(SUNSET), CACHE_CONTROL, "max-age=20"))));
    assert!(!is_hit(&deployment.send(with(generate(SUNSET), CACHE_CONTROL, "max-age=19"))));
}

#[test]
fn only_if_cached_never_asks_the_origin() {
    let deployment = Deployment::new();
    let only_if_cached = || with(generate(SUNSET), CACHE_CONTROL, "only-if-cached");
    let response = deployment.send(only_if_cached());
    assert_eq!(problem(&response).code, ProblemCode::NotCached);
    assert_eq!(deployment.origin_requests(), 0);

    deployment.send_and_finish(generate(SUNSET));
    deployment.clock.advance_s(FRESH_S);
    assert!(is_hit(&deployment.send_and_finish(only_if_cached())));
    assert_eq!(deployment.origin_requests(), 1, "a stale entry is served without revalidation");
}

#[test]
fn an_incomplete_answer_or_one_of_another_model_is_not_kept() {
    let other_model =
        serde_json::json!(caption_response("Hello")).to_string().replace("lede-nano-1", "lede-nano-2");
    let deployment = Deployment::with_origin(move |_| Ok(answer(200, JSON, &other_model)));
    let response = deployment.send_and_finish(generate(SUNSET));
    assert_eq!(cache_status(&response), "lede-edge; fwd=uri-miss; detail=other_model");
    assert!(deployment.keeps_nothing());
    assert!(!is_hit(&deployment.send(generate(SUNSET))));
}

#[test]
fn a_get_says_how_long_it_may_be_kept_and_is_not_sent_twice() {
    let deployment = warmed();
    deployment.clock.advance_s(40);
    let query = format!("{GENERATE_PATH}?style=inspirational&content_description=Sunset%20over%20the%20ocean");
    let first = deployment.send(request(Method::Get, &query));
    let expected = "s-maxage=60, stale-while-revalidate=50, stale-if-error=500";
    assert_eq!(first.headers.get(CACHE_CONTROL), Some(expected));
    let etag = first.headers.get(ETAG).unwrap();

    let second = deployment.send(with(request(Method::Get, &query), IF_NONE_MATCH, etag));
    assert_eq!((second.status, whole(&second).len()), (304, 0));
    assert_eq!(second.headers.get(ETAG), Some(etag));
    assert_eq!(second.headers.get(CACHE_CONTROL), Some(expected));

    let head = deployment.send(request(Method::Head, &query));
    assert_eq!((head.status, whole(&head).len()), (200, 0));
}

#[test]
fn a_post_is_not_kept_by_caches_in_between() {
    let response = warmed().send(generate(SUNSET));
    assert_eq!(response.headers.get(CACHE_CONTROL), Some("no-store"));
    assert!(response.headers.get(ETAG).is_some());
}
