//! Many requests in one.

use lede_shared::api::{BATCH_PATH, BatchItem, BatchRequest};
use lede_shared::headers::{CACHE_STATUS, NDJSON};
use serde_json::Value;

use super::deployment::{Deployment, FRESH_S, STALE_WHILE_REVALIDATE_S, batch, generate, json, with};
use super::fixtures::{answer, batch_lines, origin_down, sound_origin};
use crate::bindings::in_memory::{ChunksInMemory, settled};
use crate::bindings::{IncomingResponse, OutgoingRequest};
use crate::http::{ACCEPT, Body, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, JSON, Response};

const SUNSET: &str = r#"{"content_description": "Sunset"}"#;
const HARBOUR: &str = r#"{"content_description": "Harbour"}"#;

fn batch_of(requests: &[&str]) -> String {
    format!(r#"{{"requests": [{}]}}"#, requests.join(","))
}

/// Status and caption, or problem code, of each item; the indices must be 0, 1, 2…
fn outcomes(response: &Response) -> Vec<(u64, String)> {
    let body = json(response);
    let results = body["results"].as_array().unwrap();
    let outcome = |(position, item): (usize, &Value)| {
        assert_eq!(item["index"], position);
        let word = item["response"]["caption"].as_str().or_else(|| item["problem"]["code"].as_str());
        (item["status"].as_u64().unwrap(), word.unwrap().to_owned())
    };
    results.iter().enumerate().map(outcome).collect()
}

#[test]
fn hits_misses_and_faults_come_back_in_order_and_only_misses_are_forwarded() {
    let deployment = Deployment::new();
    deployment.send_and_finish(generate(SUNSET));
    let unlucky = r#"{"content_description": "An unlucky day"}"#;
    let body = batch_of(&[HARBOUR, SUNSET, r#"{"content_description": "x", "style": "gothic"}"#, "5", unlucky]);
    let response = deployment.send_and_finish(batch(&body));

    assert_eq!(response.status, 200);
    let expected = [
        (200, "About Harbour"),
        (200, "About Sunset"),
        (422, "invalid_fields"),
        (422, "invalid_fields"),
        (500, "generation_failed"),
    ];
    assert_eq!(outcomes(&response), expected.map(|(status, word)| (status, word.to_owned())));
    let results = &json(&response)["results"];
    assert_eq!(results[2]["problem"]["errors"][0]["pointer"], "/requests/2/style");
    assert_eq!(results[1]["response"]["performance_metrics"]["cache_hit"], true);
    assert_eq!(results[0]["response"]["performance_metrics"]["cache_hit"], false);

    let requests = deployment.origin.requests.borrow();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].url.ends_with(BATCH_PATH));
    let forwarded = BatchRequest::from_json(requests[1].body.as_ref().unwrap()).unwrap();
    let descriptions: Vec<_> =
        forwarded.items.iter().map(|item| item.as_ref().unwrap().content_description()).collect();
    assert_eq!(descriptions, ["Harbour", "An unlucky day"]);
}

#[test]
fn what_a_batch_generated_is_kept_for_the_next_caller() {
    let deployment = Deployment::new();
    let first = deployment.send_and_finish(batch(&batch_of(&[SUNSET, HARBOUR])));
    let expected = "lede-origin; fwd=uri-miss; stored, lede-edge; fwd=uri-miss; stored; detail=hits-0-of-2";
    assert_eq!(first.headers.get(CACHE_STATUS), Some(expected));
    let second = deployment.send_and_finish(batch(&batch_of(&[HARBOUR, SUNSET])));
    assert_eq!(second.headers.get(CACHE_STATUS), Some("lede-edge; hit; ttl=100"));
    assert_eq!(deployment.send(generate(SUNSET)).status, 200);
    assert_eq!(deployment.origin_requests(), 1);
}

#[test]
fn with_the_origin_down_hits_and_stale_entries_are_answered_and_misses_are_problems() {
    let deployment = Deployment::new();
    deployment.send_and_finish(generate(SUNSET));
    deployment.clock.advance_s(FRESH_S + STALE_WHILE_REVALIDATE_S);
    deployment.set_origin(origin_down);
    let response = deployment.send_and_finish(batch(&batch_of(&[SUNSET, HARBOUR])));
    let expected = [(200, "About Sunset".to_owned()), (503, "origin_unavailable".to_owned())];
    assert_eq!(outcomes(&response), expected);
    assert_eq!(json(&response)["results"][1]["problem"]["retry_after_s"], 5);
}

#[test]
fn stale_items_are_answered_and_revalidated_in_one_request() {
    let deployment = Deployment::new();
    deployment.send_and_finish(batch(&batch_of(&[SUNSET, HARBOUR])));
    deployment.clock.advance_s(FRESH_S);
    let response = deployment.send(batch(&batch_of(&[SUNSET, HARBOUR])));
    assert_eq!(response.headers.get(CACHE_STATUS), Some("lede-edge; hit; ttl=-1"));
    assert_eq!(deployment.origin_requests(), 1);
    deployment.background.finish();
    assert_eq!(deployment.origin_requests(), 2);
    let response = deployment.send(batch(&batch_of(&[SUNSET, HARBOUR])));
    assert_eq!(response.headers.get(CACHE_STATUS), Some("lede-edge; hit; ttl=100"));
}

#[test]
fn only_if_cached_forwards_nothing() {
    let deployment = Deployment::new();
    let response = deployment.send(with(batch(&batch_of(&[SUNSET])), CACHE_CONTROL, "only-if-cached"));
    assert_eq!(outcomes(&response), [(504, "not_cached".to_owned())]);
    assert_eq!(deployment.origin_requests(), 0);
}

#[test]
fn results_that_are_not_those_of_the_requests_are_refused() {
    let deployment = Deployment::with_origin(|request| {
        let mut short = sound_origin(request)?;
        let body = r#"{"results": []}"#;
        short.body = answer(200, JSON, body).body;
        Ok(short)
    });
    let response = deployment.send_and_finish(batch(&batch_of(&[SUNSET])));
    assert_eq!(outcomes(&response), [(503, "origin_unavailable".to_owned())]);
    assert!(deployment.keeps_nothing());
}

const A: &str = "https://a.example";
const BOTH: &str = "https://a.example,https://b.example";

/// A batch of different posts.
fn many(count: usize) -> String {
    let requests: Vec<String> =
        (0..count).map(|number| format!(r#"{{"content_description": "Post number {number}"}}"#)).collect();
    batch_of(&requests.iter().map(String::as_str).collect::<Vec<_>>())
}

fn statuses(response: &Response) -> Vec<u64> {
    outcomes(response).into_iter().map(|(status, _)| status).collect()
}

#[test]
fn equal_items_are_asked_for_once_and_each_gets_the_answer() {
    let deployment = Deployment::new();
    // The isolate's very first request also reads which purges there were.
    deployment.send_and_finish(generate(r#"{"content_description": "Meadow"}"#));
    let reads_before = deployment.captions.reads.get();
    let response = deployment.send_and_finish(batch(&batch_of(&[SUNSET, HARBOUR, SUNSET, SUNSET])));
    let expected = ["About Sunset", "About Harbour", "About Sunset", "About Sunset"];
    assert_eq!(outcomes(&response), expected.map(|caption| (200, caption.to_owned())));
    let requests = deployment.origin.requests.borrow();
    assert_eq!(BatchRequest::from_json(requests[1].body.as_ref().unwrap()).unwrap().items.len(), 2);
    assert_eq!(deployment.captions.reads.get() - reads_before, 2);
}

#[test]
fn each_origin_is_asked_for_its_own_keys_in_one_request() {
    let deployment = Deployment::with_origins(BOTH, sound_origin);
    let response = deployment.send_and_finish(batch(&many(100)));
    assert_eq!(statuses(&response), [200; 100]);
    assert_eq!((deployment.requests_to(A), deployment.origin_requests()), (1, 2));
    let alone = Deployment::with_origins(BOTH, sound_origin);
    for number in 0..10 {
        alone.send_and_finish(generate(&format!(r#"{{"content_description": "Post number {number}"}}"#)));
    }
    let batched = deployment.origin.requests.borrow();
    for request in alone.origin.requests.borrow().iter() {
        let same_host = batched.iter().find(|batch| batch.url[..18] == request.url[..18]).unwrap();
        let (sent, wanted) = (same_host.body.as_ref().unwrap(), request.body.as_ref().unwrap());
        assert!(
            sent.windows(wanted.len()).any(|window| window == wanted.as_slice()),
            "the same origin either way"
        );
    }
}

/// The answer of a sound origin to a batch, as far as its first `lines` lines, and then `end`.
fn first_lines(request: &OutgoingRequest, lines: usize, end: fn(&[&[u8]]) -> ChunksInMemory) -> IncomingResponse {
    let lines = batch_lines(request.body.as_ref().unwrap())[..lines].concat();
    let mut response = answer(200, NDJSON, "");
    response.headers.0.retain(|(name, _)| *name != CONTENT_LENGTH);
    response.body = Some(Box::new(end(&[lines.as_bytes()])));
    response
}

/// How a body ends after its first pieces.
type End = fn(&[&[u8]]) -> ChunksInMemory;

#[test]
fn what_an_origin_has_not_answered_when_it_fails_is_asked_of_the_next() {
    let ends: [(&str, End); 4] = [
        ("cut", ChunksInMemory::broken_after),
        ("too short", ChunksInMemory::new),
        ("stalled", ChunksInMemory::hanging_after),
        ("garbage", |lines| ChunksInMemory::new(&[lines[0], b"<html>\n"])),
    ];
    for (name, end) in ends {
        let deployment = Deployment::with_origins(BOTH, move |request| {
            if request.url.starts_with(A) { Ok(first_lines(request, 3, end)) } else { sound_origin(request) }
        });
        let response = deployment.send_and_finish(batch(&many(40)));
        assert_eq!(statuses(&response), [200; 40], "{name}");
        assert_eq!((deployment.requests_to(A), deployment.origin_requests()), (1, 3), "{name}");
        assert!(deployment.log.has("origin_answer_broken_off"), "{name}");
        let requests = deployment.origin.requests.borrow();
        let asked = |at: usize| BatchRequest::from_json(requests[at].body.as_ref().unwrap()).unwrap().items.len();
        assert_eq!(asked(0) + asked(1), 40);
        assert!(asked(2) + 3 == asked(0) || asked(2) + 3 == asked(1), "{name}: only what is left");
        assert_eq!(deployment.colo.entries.borrow().len(), 40, "{name}: all are kept");
    }
}

#[test]
fn an_origin_that_is_gone_loses_no_item_and_without_any_each_has_its_problem() {
    let deployment = Deployment::with_origins(BOTH, |request| {
        if request.url.starts_with(A) { origin_down(request) } else { sound_origin(request) }
    });
    assert_eq!(statuses(&deployment.send_and_finish(batch(&many(40)))), [200; 40]);
    deployment.set_origin(origin_down);
    let other = many(40).replace("Post", "Story");
    assert_eq!(statuses(&deployment.send_and_finish(batch(&other))), [503; 40]);
}

#[test]
fn a_single_origin_that_breaks_off_is_asked_for_the_rest_and_not_for_ever() {
    let deployment = Deployment::with_origin(|request| Ok(first_lines(request, 1, ChunksInMemory::broken_after)));
    let response = deployment.send_and_finish(batch(&many(10)));
    let answered = statuses(&response).into_iter().filter(|status| *status == 200).count();
    assert_eq!((answered, deployment.origin_requests()), (3, 3));
}

#[test]
fn lines_come_as_they_are_ready_hits_first_and_each_item_once() {
    let deployment = Deployment::new();
    deployment.send_and_finish(generate(SUNSET));
    let body = batch_of(&[HARBOUR, SUNSET, "5", r#"{"content_description": "Meadow"}"#, SUNSET]);
    let response = deployment.send(with(batch(&body), ACCEPT, NDJSON));
    assert_eq!((response.status, response.headers.get(CONTENT_TYPE)), (200, Some(NDJSON)));
    let Body::Streamed(mut source) = response.body else { panic!("a stream") };
    assert_eq!(deployment.origin_requests(), 1, "nothing is asked before somebody reads");
    let mut next = || -> Option<Vec<BatchItem>> {
        let chunk = settled(source.next_chunk()).unwrap().unwrap()?;
        let lines = chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Some(lines.map(|line| serde_json::from_slice(line).unwrap()).collect())
    };
    let indices = |items: &[BatchItem]| items.iter().map(|item| item.index).collect::<Vec<_>>();
    let mut known = indices(&next().unwrap());
    known.sort_unstable();
    assert_eq!(known, [1, 2, 4]);
    assert_eq!(indices(&next().unwrap()), [3], "the twin answers the last first");
    assert_eq!(indices(&next().unwrap()), [0]);
    assert!(next().is_none());
    deployment.background.finish();
    assert_eq!(deployment.colo.entries.borrow().len(), 3);
}

#[test]
fn the_first_line_does_not_wait_for_the_last() {
    let deployment = Deployment::with_origin(|request| Ok(first_lines(request, 1, ChunksInMemory::hanging_after)));
    let response = deployment.send(with(batch(&many(3)), ACCEPT, NDJSON));
    let Body::Streamed(mut source) = response.body else { panic!("a stream") };
    let first = settled(source.next_chunk()).unwrap().unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<BatchItem>(&first).unwrap().status, 200);
    let rest = settled(source.whole()).unwrap().unwrap();
    assert_eq!(
        rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(),
        2,
        "problems in the end"
    );
}
