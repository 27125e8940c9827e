//! The caption as it is being written: replayed from the cache, passed on from the origin, cut, and left.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use lede_shared::api::stream::{STREAM_EVENT_BYTES_MAX, SseReader, StreamEvent, replayed};
use lede_shared::api::{CaptionResponse, GENERATE_PATH};
use lede_shared::headers::{CACHE_STATUS, EVENT_STREAM, X_REQUEST_ID};
use lede_shared::problem::{Problem, ProblemCode};

use super::deployment::{Deployment, FRESH_S, STALE_WHILE_REVALIDATE_S, generate, json, problem, request, with};
use super::fixtures::{answer, caption_response, origin_down, problem_answer};
use crate::bindings::in_memory::{ChunksInMemory, settled};
use crate::bindings::{BindingError, ByteSource, FetchError, IncomingResponse};
use crate::http::{ACCEPT, AGE, Body, CACHE_CONTROL, CONTENT_TYPE, Headers, JSON, Method, Request, Response};

const SUNSET: &str = r#"{"content_description": "Sunset over the ocean"}"#;

fn streaming(request: Request) -> Request {
    with(request, ACCEPT, "text/event-stream")
}

/// An origin's answer that is a stream of `source`.
fn stream_of(source: impl ByteSource + 'static) -> IncomingResponse {
    let headers = Headers(vec![(CONTENT_TYPE, EVENT_STREAM.to_owned())]);
    IncomingResponse { status: 200, headers, body: Some(Box::new(source)) }
}

/// The whole stream in pieces of `size` bytes, which end anywhere.
fn pieces(size: usize) -> ChunksInMemory {
    let whole = replayed(&caption_response("Hello"));
    ChunksInMemory::new(&whole.as_bytes().chunks(size).collect::<Vec<_>>())
}

/// Everything that the caller gets, piece by piece; each piece is whole events.
fn read(response: &mut Response) -> Vec<StreamEvent> {
    let mut reader = SseReader::new(STREAM_EVENT_BYTES_MAX);
    let mut events = Vec::new();
    let mut take = |bytes: &[u8]| {
        events.extend(reader.push(bytes).unwrap());
        assert_eq!(reader.unfinished_bytes(), 0, "a piece ends with an event");
    };
    match &mut response.body {
        Body::Whole(body) => take(body),
        Body::Streamed(source) => {
            while let Some(piece) = settled(source.next_chunk()).expect("the twin has more").unwrap() {
                take(&piece);
            }
        }
    }
    events.iter().map(|event| StreamEvent::read(event).unwrap().unwrap()).collect()
}

fn done(events: &[StreamEvent]) -> &CaptionResponse {
    match events.last() {
        Some(StreamEvent::Done(response)) => response,
        other => panic!("the last event is {other:?}"),
    }
}

fn error(events: &[StreamEvent]) -> &Problem {
    match events.last() {
        Some(StreamEvent::Error(problem)) => problem,
        other => panic!("the last event is {other:?}"),
    }
}

fn cache_status(response: &Response) -> &str {
    response.headers.get(CACHE_STATUS).unwrap_or_default()
}

#[test]
fn the_origin_s_stream_is_passed_on_whole_whatever_its_pieces_and_stored_when_it_is_complete() {
    for size in [1, 7, 100, 100_000] {
        let deployment = Deployment::with_origin(move |_| Ok(stream_of(pieces(size))));
        let mut response = deployment.send(streaming(generate(SUNSET)));
        assert_eq!(response.status, 200);
        for (name, value) in
            [(CONTENT_TYPE, EVENT_STREAM), (CACHE_CONTROL, "no-store"), ("x-accel-buffering", "no")]
        {
            assert_eq!(response.headers.get(name), Some(value), "{name}");
        }
        assert_eq!(cache_status(&response), "lede-edge; fwd=uri-miss; detail=streamed");
        assert!(response.headers.get(X_REQUEST_ID).is_some());
        assert_eq!(read(&mut response), StreamEvent::of_answer(&caption_response("Hello")), "{size}");
        assert_eq!(deployment.origin.requests.borrow()[0].headers.get(ACCEPT), Some("text/event-stream"));

        deployment.background.finish();
        let hit = deployment.send(generate(SUNSET));
        assert_eq!(json(&hit)["caption"], "Hello");
        assert!(cache_status(&hit).starts_with("lede-edge; hit"), "{}", cache_status(&hit));
        assert_eq!(deployment.origin_requests(), 1);
    }
}

#[test]
fn a_hit_is_replayed_as_a_stream_by_post_and_by_get() {
    let deployment = Deployment::new();
    deployment.send_and_finish(generate(SUNSET));
    let query = format!("{GENERATE_PATH}?content_description=Sunset+over+the+ocean");
    for asked in [generate(SUNSET), request(Method::Get, &query)] {
        let mut response = deployment.send(streaming(asked));
        assert_eq!(cache_status(&response), "lede-edge; hit; ttl=100; detail=isolate");
        assert_eq!(response.headers.get(CACHE_CONTROL), Some("no-store"));
        let events = read(&mut response);
        let answer = done(&events);
        assert_eq!(answer.caption, "About Sunset over the ocean");
        assert!(answer.performance_metrics.cache_hit);
        assert_eq!(events, StreamEvent::of_answer(answer));
    }
    assert_eq!(deployment.origin_requests(), 1);
}

#[test]
fn a_stale_entry_is_replayed_and_revalidated_behind_the_answer() {
    let deployment = Deployment::new();
    deployment.send_and_finish(generate(SUNSET));
    deployment.clock.advance_s(FRESH_S);
    let mut stale = deployment.send(streaming(generate(SUNSET)));
    assert_eq!(done(&read(&mut stale)).caption, "About Sunset over the ocean");
    deployment.background.finish();
    assert_eq!(deployment.origin_requests(), 2);
}

#[test]
fn an_origin_that_fails_before_its_first_event_fails_as_it_always_does() {
    let deployment = Deployment::with_origin(origin_down);
    let refused = deployment.send(streaming(generate(SUNSET)));
    assert_eq!(problem(&refused).code, ProblemCode::OriginUnavailable);
    assert_eq!(deployment.origin_requests(), 2, "a connection that failed is tried again");

    let overloaded = Problem::new(ProblemCode::Overloaded, "full").retry_after(3);
    let deployment = Deployment::with_origin(move |_| Ok(problem_answer(&overloaded)));
    assert_eq!(problem(&deployment.send(streaming(generate(SUNSET)))).code, ProblemCode::Overloaded);

    let beginnings: [fn() -> IncomingResponse; 4] = [
        || stream_of(ChunksInMemory::new(&[])),
        || stream_of(ChunksInMemory::broken_after(&[b"event: start\n"])),
        || stream_of(ChunksInMemory::new(&[&vec![b'x'; STREAM_EVENT_BYTES_MAX + 1]])),
        || answer(200, JSON, "{}"),
    ];
    for beginning in beginnings {
        let deployment = Deployment::with_origin(move |_| Ok(beginning()));
        let refused = deployment.send(streaming(generate(SUNSET)));
        assert_eq!(problem(&refused).code, ProblemCode::OriginUnavailable);
        assert!(deployment.log.has("origin_answer_unreadable"));
    }
}

#[test]
fn a_stale_entry_is_replayed_when_the_origin_fails_before_its_first_event() {
    let deployment = Deployment::new();
    deployment.send_and_finish(generate(SUNSET));
    deployment.clock.advance_s(FRESH_S + STALE_WHILE_REVALIDATE_S);
    let failures: [fn() -> Result<IncomingResponse, FetchError>; 2] =
        [|| Err(FetchError::TimedOut), || Ok(stream_of(ChunksInMemory::broken_after(&[b"event: sta"])))];
    for failure in failures {
        deployment.set_origin(move |_| failure());
        let mut response = deployment.send(streaming(generate(SUNSET)));
        assert_eq!(cache_status(&response), "lede-edge; hit; ttl=-51; detail=isolate");
        assert_eq!(done(&read(&mut response)).caption, "About Sunset over the ocean");
    }
}

#[test]
fn a_stream_that_is_cut_ends_with_an_error_and_is_not_stored() {
    let whole = replayed(&caption_response("Hello"));
    let last = whole.find("event: done").unwrap();
    // Between two events, inside of one, and inside of the last.
    for cut in [whole.find("event: variant").unwrap(), whole.find("event: variant").unwrap() + 30, last + 40] {
        let beginning = whole.as_bytes()[..cut].to_vec();
        let deployment =
            Deployment::with_origin(move |_| Ok(stream_of(ChunksInMemory::broken_after(&[&beginning]))));
        let mut response = deployment.send(streaming(generate(SUNSET)));
        let request_id = response.headers.get(X_REQUEST_ID).map(str::to_owned);
        let events = read(&mut response);
        assert!(matches!(events[0], StreamEvent::Start(_)), "{cut}");
        let problem = error(&events);
        assert_eq!((problem.code, &problem.request_id), (ProblemCode::OriginUnavailable, &request_id), "{cut}");
        assert_eq!(events.iter().filter(|event| matches!(event, StreamEvent::Error(_))).count(), 1);
        deployment.background.finish();
        assert!(deployment.keeps_nothing());
        assert!(deployment.log.has("origin_answer_unreadable"));
    }
}

#[test]
fn a_stream_that_stops_coming_ends_with_a_504() {
    let deployment = Deployment::new();
    let clock = deployment.clock.clone();
    deployment.set_origin(move |_| {
        // The platform cuts the body when the request's time is over.
        let (clock, whole) = (clock.clone(), replayed(&caption_response("Hello")));
        let start = whole.as_bytes()[..whole.find("\n\n").unwrap() + 2].to_vec();
        Ok(stream_of(Late { first: Some(start), clock }))
    });
    let events = read(&mut deployment.send(streaming(generate(SUNSET))));
    assert_eq!(error(&events).code, ProblemCode::DeadlineExceeded);
}

/// A body whose second piece does not come in time.
struct Late {
    first: Option<Vec<u8>>,
    clock: Rc<crate::bindings::in_memory::ClockInMemory>,
}

impl ByteSource for Late {
    fn whole(&mut self) -> LocalBoxFuture<'_, Result<Vec<u8>, BindingError>> {
        unreachable!("a stream is read piece by piece")
    }

    fn next_chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, BindingError>> {
        let first = self.first.take();
        if first.is_none() {
            self.clock.advance_s(20);
        }
        let late = BindingError { operation: "reading a body", cause: "aborted".to_owned() };
        futures_util::future::ready(first.map_or(Err(late), |first| Ok(Some(first)))).boxed_local()
    }
}

#[test]
fn an_error_of_the_origin_is_the_last_event_and_nothing_is_stored() {
    let whole = replayed(&caption_response("Hello"));
    let problem = Problem::new(ProblemCode::GenerationFailed, "nothing postable");
    let told = whole.replace(&whole[whole.find("event: done").unwrap()..], &StreamEvent::Error(problem).to_sse());
    let deployment = Deployment::with_origin(move |_| Ok(stream_of(ChunksInMemory::new(&[told.as_bytes()]))));
    let events = read(&mut deployment.send(streaming(generate(SUNSET))));
    assert_eq!(error(&events).code, ProblemCode::GenerationFailed);
    deployment.background.finish();
    assert!(deployment.keeps_nothing());
}

#[test]
fn what_must_not_be_kept_is_streamed_and_not_stored() {
    let no_store = Deployment::with_origin(|_| Ok(stream_of(pieces(50))));
    let mut response = no_store.send(with(streaming(generate(SUNSET)), CACHE_CONTROL, "no-store"));
    assert_eq!(done(&read(&mut response)).caption, "Hello");
    let other_model = replayed(&caption_response("Hello")).replace("lede-nano-1", "lede-nano-2");
    let other = Deployment::with_origin(move |_| Ok(stream_of(ChunksInMemory::new(&[other_model.as_bytes()]))));
    assert_eq!(done(&read(&mut other.send(streaming(generate(SUNSET))))).model, "lede-nano-2");
    for deployment in [no_store, other] {
        deployment.background.finish();
        assert!(deployment.keeps_nothing());
    }
}

#[test]
fn only_if_cached_is_refused_and_a_head_asks_for_no_stream() {
    let deployment = Deployment::new();
    let refused = deployment.send(with(streaming(generate(SUNSET)), CACHE_CONTROL, "only-if-cached"));
    assert_eq!(problem(&refused).code, ProblemCode::NotCached);
    let query = format!("{GENERATE_PATH}?content_description=Sunset");
    let head = deployment.send(streaming(request(Method::Head, &query)));
    assert_eq!(head.headers.get(CONTENT_TYPE), Some(JSON));
}

#[test]
fn the_time_that_an_answer_has_lain_at_the_origin_counts() {
    let deployment = Deployment::with_origin(|_| {
        let mut response = stream_of(pieces(1_000));
        response.headers.push(AGE, "30");
        response.headers.push(CACHE_STATUS, "lede-origin; hit; ttl=9");
        Ok(response)
    });
    let mut response = deployment.send(streaming(generate(SUNSET)));
    let expected = "lede-origin; hit; ttl=9, lede-edge; fwd=uri-miss; detail=streamed";
    assert_eq!(cache_status(&response), expected);
    read(&mut response);
    deployment.background.finish();
    assert_eq!(cache_status(&deployment.send(generate(SUNSET))), "lede-edge; hit; ttl=70; detail=isolate");
}

/// A body that tells when it is dropped.
struct Watched {
    chunks: ChunksInMemory,
    is_dropped: Rc<Cell<bool>>,
}

impl ByteSource for Watched {
    fn whole(&mut self) -> LocalBoxFuture<'_, Result<Vec<u8>, BindingError>> {
        self.chunks.whole()
    }

    fn next_chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, BindingError>> {
        self.chunks.next_chunk()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.is_dropped.set(true);
    }
}

#[test]
fn a_caller_who_leaves_lets_go_of_the_origin_and_nothing_is_stored() {
    let is_dropped = Rc::new(Cell::new(false));
    let noted = Rc::clone(&is_dropped);
    let deployment = Deployment::with_origin(move |_| {
        let whole = replayed(&caption_response("Hello"));
        let beginning = &whole.as_bytes()[..whole.find("event: done").unwrap()];
        Ok(stream_of(Watched {
            chunks: ChunksInMemory::hanging_after(&[beginning]),
            is_dropped: Rc::clone(&noted),
        }))
    });
    let Body::Streamed(mut body) = deployment.send(streaming(generate(SUNSET))).body else { panic!("no stream") };
    assert!(settled(body.next_chunk()).unwrap().unwrap().is_some());
    assert!(settled(body.next_chunk()).is_none(), "the origin is still writing");
    assert!(!is_dropped.get());
    drop(body);
    assert!(is_dropped.get());
    deployment.background.finish();
    assert!(deployment.keeps_nothing());
}

#[test]
fn an_origin_that_breaks_off_before_its_first_event_is_left_for_another() {
    let beginnings: [fn() -> ChunksInMemory; 2] =
        [|| ChunksInMemory::broken_after(&[b"event: sta"]), || ChunksInMemory::new(&[b": keep-alive\n"])];
    for beginning in beginnings {
        let deployment = Deployment::with_origins("https://a.example,https://b.example", move |request| {
            Ok(stream_of(if request.url.starts_with("https://a.example") { beginning() } else { pieces(100) }))
        });
        for number in 0..20 {
            let body = format!(r#"{{"content_description": "Post number {number}"}}"#);
            assert_eq!(done(&read(&mut deployment.send(streaming(generate(&body))))).caption, "Hello");
        }
        assert!(deployment.log.has("origin_answer_broken_off"));
    }
}

/// Cells that are left, by `RateLimit`.
fn cells_left(deployment: &Deployment) -> u64 {
    let answer = deployment.send(with(generate(SUNSET), CACHE_CONTROL, "max-age=0"));
    let limits = answer.headers.get("ratelimit").unwrap_or_else(|| panic!("{:?}", answer.headers)).to_owned();
    let left = limits.split("r=").nth(1).and_then(|rest| rest.split([';', ',']).next());
    left.and_then(|left| left.parse().ok()).unwrap_or_else(|| panic!("{limits}"))
}

#[test]
fn what_is_generated_costs_what_it_always_does_and_anything_else_costs_a_hit() {
    let spent = |told: CaptionResponse, cut: bool| {
        let deployment = Deployment::with_origin(move |request| {
            if request.headers.get(ACCEPT) != Some("text/event-stream") {
                return origin_down(request);
            }
            let whole = replayed(&told).into_bytes();
            let end = if cut { whole.len() - 5 } else { whole.len() };
            Ok(stream_of(ChunksInMemory::broken_after(&[&whole[..end]])))
        });
        let before = cells_left(&deployment);
        read(&mut deployment.send(streaming(with(generate(SUNSET), CACHE_CONTROL, "no-store"))));
        // The question itself costs a hit, since nobody answers it.
        before - cells_left(&deployment) - 1
    };
    let generated = caption_response("Hello");
    let hit = generated.clone().served_from(lede_shared::api::CacheTier::Hot, 1.0);
    assert_eq!((spent(generated.clone(), false), spent(hit, false), spent(generated, true)), (10, 1, 1));
}
