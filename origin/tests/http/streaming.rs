//! The caption as it is being written: server-sent events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, HeaderValue, Request, header};
use futures_util::StreamExt;
use lede_origin::clock;
use lede_origin::router::router;
use lede_shared::api::CaptionResponse;
use lede_shared::api::stream::{STREAM_EVENT_BYTES_MAX, SseReader, StreamEvent};
use lede_shared::problem::{Problem, ProblemCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{
    Answer, CAPTION, GENERATE, TestApp, eventually, json_request, letters, letters_while_not, since_marker,
};

/// A step of a device that is slow enough to be caught at work: an answer takes about a third of a second.
const SLOW: Duration = Duration::from_millis(8);

/// A request of one sequence.
fn about(seed: usize) -> Value {
    json!({"content_description": "a picture", "seed": seed, "optimization_level": "ultra_fast"})
}

/// An open stream and the events that have been read of it.
struct Stream {
    headers: HeaderMap,
    body: BodyDataStream,
    reader: SseReader,
    events: Vec<StreamEvent>,
    bytes: Vec<u8>,
}

impl Stream {
    async fn open(app: &TestApp, body: &Value) -> Self {
        Self::ask(app, json_request("POST", GENERATE, body.to_string())).await.unwrap_or_else(|answer| {
            panic!("no stream but {}: {}", answer.status, String::from_utf8_lossy(&answer.body))
        })
    }

    /// A stream, or the answer that came instead.
    async fn ask(app: &TestApp, mut request: Request<Body>) -> Result<Self, Answer> {
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let response = router(app.state.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        if parts.headers["content-type"] != "text/event-stream; charset=utf-8" {
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec();
            return Err(Answer { status: parts.status, headers: parts.headers, body });
        }
        let (reader, events) = (SseReader::new(STREAM_EVENT_BYTES_MAX), Vec::new());
        Ok(Self { headers: parts.headers, body: body.into_data_stream(), reader, events, bytes: Vec::new() })
    }

    /// Reads one piece; false at the end.
    async fn read(&mut self) -> bool {
        let Some(piece) = self.body.next().await else { return false };
        let piece = piece.unwrap();
        self.bytes.extend_from_slice(&piece);
        let events = self.reader.push(&piece).unwrap();
        assert_eq!(self.reader.unfinished_bytes(), 0, "a piece ends with an event");
        self.events.extend(events.iter().map(|event| StreamEvent::read(event).unwrap().unwrap()));
        true
    }

    async fn read_to_end(mut self) -> Vec<StreamEvent> {
        while self.read().await {}
        self.events
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// What the drafts since the last reset make of each variant.
fn drafted(events: &[StreamEvent], variants: usize) -> Vec<String> {
    let mut texts = vec![String::new(); variants];
    for event in events {
        match event {
            StreamEvent::Draft(draft) => texts[draft.variant].push_str(&draft.text),
            StreamEvent::DraftReset(reset) => texts[reset.variant].clear(),
            _ => {}
        }
    }
    texts
}

fn drafts(events: &[StreamEvent]) -> usize {
    events.iter().filter(|event| matches!(event, StreamEvent::Draft(_))).count()
}

fn answer_of(events: &[StreamEvent]) -> &CaptionResponse {
    match events.last() {
        Some(StreamEvent::Done(answer)) => answer,
        other => panic!("the last event is {other:?}"),
    }
}

fn problem_of(events: &[StreamEvent]) -> &Problem {
    match events.last() {
        Some(StreamEvent::Error(problem)) => problem,
        other => panic!("the last event is {other:?}"),
    }
}

/// `start` first, drafts, each variant once and in order, `done` last; and the drafts make the captions.
fn assert_whole(events: &[StreamEvent]) {
    let answer = answer_of(events);
    let Some(StreamEvent::Start(start)) = events.first() else {
        panic!("the first event is {:?}", events.first())
    };
    assert_eq!((&start.id, &start.model), (&answer.id, &answer.model));
    assert_eq!(usize::from(start.variants), answer.variants.len());
    let variants: Vec<_> = events
        .iter()
        .filter_map(|event| if let StreamEvent::Variant(last) = event { Some(last) } else { None })
        .collect();
    assert!(variants.iter().enumerate().all(|(index, last)| last.index == index));
    assert!(variants.iter().map(|last| &last.variant).eq(&answer.variants));
    let captions: Vec<_> = answer.variants.iter().map(|variant| variant.caption.clone()).collect();
    assert_eq!(drafted(events, captions.len()), captions);
    let first_final = events.iter().position(|event| matches!(event, StreamEvent::Variant(_))).unwrap();
    let starts = events.iter().filter(|event| matches!(event, StreamEvent::Start(_))).count();
    assert_eq!(
        (starts, events.len() - 1),
        (1, events.iter().position(|event| matches!(event, StreamEvent::Done(_))).unwrap())
    );
    assert!(first_final > 0);
}

#[tokio::test]
async fn a_caption_is_told_letter_by_letter_and_done_is_what_everybody_else_gets() {
    let app = TestApp::start().await;
    let body = json!({"content_description": "a lighthouse at dusk", "variants": 3, "hashtag_count": 2});
    let stream = Stream::open(&app, &body).await;
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("cache-status", "lede-origin; fwd=uri-miss; detail=streamed"),
        ("age", "0"),
    ] {
        assert_eq!(stream.header(name), value, "{name}");
    }
    assert!(!stream.header("x-request-id").is_empty() && !stream.header("server-timing").is_empty());
    let events = stream.read_to_end().await;
    assert_whole(&events);
    assert!(drafts(&events) > 3 * 8, "{} drafts", drafts(&events));

    let told: Value = serde_json::to_value(answer_of(&events)).unwrap();
    assert_eq!(told["performance_metrics"]["cache_hit"], false);
    let hit = app.post(body).await;
    assert!(hit.header("cache-status").starts_with("lede-origin; hit"), "it was kept");
    let hit = hit.json();
    for same in ["id", "caption", "hashtags", "variants", "usage", "model", "policy_version", "warnings"] {
        assert_eq!(told[same], hit[same], "{same}");
    }
    assert_eq!(
        TestApp::start()
            .await
            .post(json!({"content_description": "a lighthouse at dusk", "variants": 3,
        "hashtag_count": 2}))
            .await
            .json()["variants"],
        told["variants"],
        "as one that was not streamed"
    );
}

#[tokio::test]
async fn the_first_letter_comes_long_before_the_last() {
    let app = TestApp::with(&[], SLOW, letters()).await;
    let started = std::time::Instant::now();
    let mut stream = Stream::open(&app, &about(1)).await;
    assert!(stream.read().await);
    let first = started.elapsed();
    assert!(
        matches!(stream.events[0], StreamEvent::Start(_)) && drafts(&stream.events) == 1,
        "{:?}",
        stream.events
    );
    assert_whole(&stream.read_to_end().await);
    assert!(started.elapsed() > first * 3, "{first:?} of {:?}", started.elapsed());
}

#[tokio::test]
async fn a_hit_is_told_as_a_stream_by_post_and_by_get() {
    let app = TestApp::start().await;
    app.post(json!({"content_description": "a picture"})).await;
    let posted = Stream::open(&app, &json!({"content_description": "a picture"})).await;
    assert!(posted.header("cache-status").starts_with("lede-origin; hit; ttl="));
    let events = posted.read_to_end().await;
    assert_whole(&events);
    assert!(answer_of(&events).performance_metrics.cache_hit);

    let path = format!("{GENERATE}?content_description=a+picture");
    let get = Stream::ask(&app, json_request("GET", &path, Body::empty())).await.ok().unwrap();
    assert_eq!(get.header("cache-control"), "no-store");
    assert_whole(&get.read_to_end().await);
    assert_eq!(app.get(&path, &[]).await.header("vary"), "accept", "caches tell the two apart");
}

#[tokio::test]
async fn who_joins_late_is_told_everything_from_the_beginning() {
    let app = TestApp::with(&[], SLOW, letters()).await;
    let mut early = Stream::open(&app, &about(1)).await;
    while drafts(&early.events) < 5 {
        assert!(early.read().await);
    }
    let late = Stream::open(&app, &about(1)).await;
    assert!(late.header("cache-status").contains("; collapsed"));
    let (early, late, at_once) = tokio::join!(early.read_to_end(), late.read_to_end(), app.post(about(1)));
    assert_whole(&early);
    assert_whole(&late);
    assert_eq!(drafted(&early, 1), drafted(&late, 1));
    assert_eq!(at_once.caption(), answer_of(&late).caption);
    assert_eq!(app.state.engine.counters().finished.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn one_who_leaves_a_stream_frees_the_device_unless_somebody_still_waits() {
    let app = TestApp::with(&[], SLOW, letters()).await;
    let dropped = || app.state.engine.counters().dropped.load(Ordering::Relaxed);
    for cache_control in ["max-age=60", "no-store"] {
        let before = dropped();
        let mut request = json_request("POST", GENERATE, about(1).to_string());
        request.headers_mut().insert("cache-control", cache_control.parse().unwrap());
        let mut alone = Stream::ask(&app, request).await.ok().unwrap();
        assert!(alone.read().await);
        drop(alone);
        assert!(eventually(|| dropped() == before + 1).await, "{cache_control}");
    }
    let before = dropped();
    let mut leaving = Stream::open(&app, &about(2)).await;
    assert!(leaving.read().await);
    let staying = Stream::open(&app, &about(2)).await;
    drop(leaving);
    assert_whole(&staying.read_to_end().await);
    assert_eq!(dropped(), before);
}

#[tokio::test]
async fn one_who_reads_slowly_holds_up_nobody_and_misses_nothing() {
    let app = TestApp::start().await;
    let mut slow = Stream::open(&app, &about(1)).await;
    assert!(slow.read().await);
    assert_eq!(app.post(about(1)).await.status, 200);
    assert_whole(&Stream::open(&app, &about(2)).await.read_to_end().await);
    assert_whole(&slow.read_to_end().await);
}

#[tokio::test]
async fn what_fails_before_the_first_event_is_a_problem_with_its_status() {
    let app = TestApp::with(&[("waiting_sequences_max", json!(48))], SLOW, letters()).await;
    let refused = |request: Request<Body>| async { Stream::ask(&app, request).await.err().unwrap() };
    let posted = |body: Value| json_request("POST", GENERATE, body.to_string());
    refused(posted(json!({"style": 7}))).await.assert_problem(422, "invalid_fields", "no description");
    let with = |name: &'static str, value: &str| {
        let mut request = posted(about(1));
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    refused(with("cache-control", "only-if-cached")).await.assert_problem(504, "not_cached", "not cached");
    refused(with("x-deadline-ms", "1")).await.assert_problem(504, "deadline_exceeded", "long ago");
    let many = json!({"content_description": "a picture", "variants": 8, "optimization_level": "quality"});
    let mut full = Stream::ask(&app, posted(many.clone())).await;
    for _ in 0..100 {
        // What the one before had begun leaves its place a moment after its caller.
        if full.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        full = Stream::ask(&app, posted(many.clone())).await;
    }
    assert!(full.is_ok());
    refused(posted(about(2))).await.assert_problem(503, "overloaded", "full");
    drop(full);
}

/// How long somebody in a hurry waits: long enough for a few letters on any machine.
const HURRY: Duration = Duration::from_secs(2);

/// Asks in a hurry.
async fn ask_in_a_hurry(app: &TestApp, body: &Value) -> Stream {
    let mut request = json_request("POST", GENERATE, body.to_string());
    let deadline = clock::now().plus(HURRY.as_millis() as u64).0.to_string();
    request.headers_mut().insert("x-deadline-ms", deadline.parse().unwrap());
    Stream::ask(app, request).await.ok().unwrap()
}

#[tokio::test]
async fn what_fails_later_is_the_last_event() {
    let held = Arc::new(AtomicBool::new(true));
    let app = TestApp::with(&[], Duration::ZERO, letters_while_not(&held)).await;
    let stream = ask_in_a_hurry(&app, &about(1)).await;
    let request_id = stream.header("x-request-id").to_owned();
    let events = stream.read_to_end().await;
    held.store(false, Ordering::Relaxed);
    assert!(drafts(&events) > 0);
    let problem = problem_of(&events);
    assert_eq!((problem.code, problem.status), (ProblemCode::DeadlineExceeded, 504));
    assert_eq!(problem.request_id.as_deref(), Some(request_id.as_str()));
}

#[tokio::test]
async fn a_follower_with_more_time_begins_anew_when_its_leader_gives_up() {
    let held = Arc::new(AtomicBool::new(true));
    let app = TestApp::with(&[], Duration::ZERO, letters_while_not(&held)).await;
    let hurried = ask_in_a_hurry(&app, &about(1)).await;
    let patient = Stream::open(&app, &about(1)).await;
    let hurried = async {
        let events = hurried.read_to_end().await;
        held.store(false, Ordering::Relaxed);
        events
    };
    let (hurried, patient) = tokio::join!(hurried, patient.read_to_end());
    assert_eq!(problem_of(&hurried).code, ProblemCode::DeadlineExceeded);
    assert_whole(&patient);
    assert!(patient.iter().any(|event| matches!(event, StreamEvent::DraftReset(_))), "{patient:?}");
}

#[tokio::test]
async fn no_store_is_streamed_and_not_kept() {
    let app = TestApp::start().await;
    let mut request = json_request("POST", GENERATE, about(1).to_string());
    request.headers_mut().insert("cache-control", "no-store".parse().unwrap());
    assert_whole(&Stream::ask(&app, request).await.ok().unwrap().read_to_end().await);
    assert!(app.post(about(1)).await.header("cache-status").contains("fwd=uri-miss"));
}

#[tokio::test]
async fn when_another_candidate_wins_the_draft_is_taken_back() {
    let app = TestApp::start().await;
    let mut taken_back = 0;
    for seed in 0..20 {
        let body = json!({"content_description": "a picture", "seed": seed, "optimization_level": "quality"});
        let events = Stream::open(&app, &body).await.read_to_end().await;
        assert_whole(&events);
        taken_back += usize::from(events.iter().any(|event| matches!(event, StreamEvent::DraftReset(_))));
    }
    assert!(taken_back > 5, "{taken_back} of 20");
}

#[tokio::test]
async fn a_stream_with_nothing_to_say_shows_signs_of_life_and_loses_nothing_by_it() {
    let app = TestApp::with(&[("stream_keep_alive_ms", json!(3))], SLOW, letters()).await;
    let mut stream = Stream::open(&app, &about(1)).await;
    while stream.read().await {}
    let signs = String::from_utf8_lossy(&stream.bytes).matches(": keep-alive\n\n").count();
    assert!(signs > 10, "{signs}");
    assert_whole(&stream.events);
}

#[tokio::test]
async fn a_stale_answer_stands_in_for_a_stream_that_fails_in_its_middle() {
    let failing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = std::sync::Arc::clone(&failing);
    let mut write = letters();
    let script: lede_origin::backend::scripted::Script = Box::new(move |history, logits| {
        let is_half_way = since_marker(history) == (CAPTION, 4);
        if is_half_way && failing.load(Ordering::SeqCst) { logits.fill(f32::NAN) } else { write(history, logits) }
    });
    let settings = [("fresh_ms", json!(1)), ("stale_while_revalidate_ms", json!(0))];
    let app = TestApp::with(&settings, SLOW, script).await;
    let caption = app.post(about(1)).await.caption();
    tokio::time::sleep(Duration::from_millis(10)).await;
    switch.store(true, Ordering::SeqCst);
    let events = Stream::open(&app, &about(1)).await.read_to_end().await;
    assert_whole(&events);
    assert_eq!(answer_of(&events).caption, caption);
    assert!(answer_of(&events).performance_metrics.cache_hit);
    assert!(events.iter().any(|event| matches!(event, StreamEvent::DraftReset(_))), "{events:?}");
    let nothing_kept = Stream::open(&app, &about(2)).await.read_to_end().await;
    assert_eq!(problem_of(&nothing_kept).code, ProblemCode::InternalError);
}
