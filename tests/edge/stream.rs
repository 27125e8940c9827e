//! The caption as it is being written, through workerd from the real model.

use std::time::{Duration, Instant};

use lede_shared::api::CaptionResponse;
use lede_shared::api::stream::{STREAM_EVENT_BYTES_MAX, SseReader, StreamEvent};
use lede_shared::problem::ProblemCode;
use lede_tests::{Edge, Origin, ok_json, post, problem_of};
use reqwest::Response;
use serde_json::{Value, json};

const GENERATE: &str = "/api/v14/generate";

/// Enough work for a person to see it going on: 48 sequences.
fn long(description: &str) -> Value {
    json!({ "content_description": description, "variants": 8, "optimization_level": "quality", "hashtag_count": 5 })
}

/// An open stream and the events that have come, each with its time.
struct Stream {
    response: Response,
    reader: SseReader,
    opened: Instant,
    events: Vec<(Duration, StreamEvent)>,
}

impl Stream {
    async fn open(edge: &Edge, body: &Value) -> Self {
        let opened = Instant::now();
        let response = post(&edge.url, GENERATE, body).header("accept", "text/event-stream").send().await.unwrap();
        if response.status() != 200 {
            panic!("{:?}", problem_of(response).await);
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(
            response.headers().contains_key("x-request-id") && response.headers().contains_key("server-timing")
        );
        Self { response, reader: SseReader::new(STREAM_EVENT_BYTES_MAX), opened, events: Vec::new() }
    }

    /// Reads one piece; false at the end.
    async fn read(&mut self) -> bool {
        let Some(piece) = self.response.chunk().await.unwrap() else { return false };
        let events = self.reader.push(&piece).unwrap();
        let at = self.opened.elapsed();
        self.events.extend(events.iter().map(|event| (at, StreamEvent::read(event).unwrap().unwrap())));
        true
    }

    async fn read_to_end(&mut self) -> &StreamEvent {
        while self.read().await {}
        &self.events.last().unwrap().1
    }

    async fn read_a_draft(&mut self) {
        while !self.events.iter().any(|(_, event)| matches!(event, StreamEvent::Draft(_))) {
            assert!(self.read().await, "{:?}", self.events);
        }
    }

    async fn done(mut self) -> (CaptionResponse, Self) {
        match self.read_to_end().await.clone() {
            StreamEvent::Done(response) => (*response, self),
            other => panic!("the last event is {other:?}"),
        }
    }

    fn cache_status(&self) -> &str {
        self.response.headers()["cache-status"].to_str().unwrap()
    }

    /// What the drafts since the last reset of a variant make.
    fn drafted(&self, index: usize) -> String {
        self.events.iter().fold(String::new(), |text, (_, event)| match event {
            StreamEvent::Draft(draft) if draft.variant == index => text + &draft.text,
            StreamEvent::DraftReset(reset) if reset.variant == index => String::new(),
            _ => text,
        })
    }
}

/// Sequences that the origin's engine has dropped while they ran, by its own log.
fn dropped(origin: &Origin) -> u64 {
    let log = origin.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_drops = lines.filter(|line| line["message"] == "sequences dropped");
    of_drops.filter_map(|line| line["running"].as_u64()).sum()
}

async fn eventually(is_so: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    while !is_so() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    is_so()
}

/// The entry is written behind the answer.
async fn is_stored(edge: &Edge, body: &Value) -> bool {
    for _ in 0..50 {
        let only_if_cached = post(&edge.url, GENERATE, body).header("cache-control", "only-if-cached");
        if only_if_cached.send().await.unwrap().status() == 200 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn a_miss_is_seen_being_written_and_the_next_caller_gets_it_from_the_cache_either_way() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let body = long("a lighthouse at dusk above the harbour");
    let (answer, stream) = Stream::open(&edge, &body).await.done().await;
    let (first, last) = (stream.events[0].0, stream.events[stream.events.len() - 1].0);
    assert!(matches!(stream.events[0].1, StreamEvent::Start(_)));
    assert!(first * 2 < last, "the first event came after {first:?}, the last after {last:?}");
    for (index, variant) in answer.variants.iter().enumerate() {
        assert_eq!(stream.drafted(index), variant.caption);
    }
    let status = stream.cache_status();
    assert!(
        status.contains("lede-origin; fwd=uri-miss") && status.contains("lede-edge; fwd=uri-miss"),
        "{status}"
    );

    assert!(is_stored(&edge, &body).await);
    let (headers, hit) = ok_json(post(&edge.url, GENERATE, &body)).await;
    assert!(headers["cache-status"].to_str().unwrap().contains("lede-edge; hit"), "{headers:?}");
    assert_eq!(hit["variants"], serde_json::to_value(&answer.variants).unwrap());
    let (replayed, stream) = Stream::open(&edge, &body).await.done().await;
    assert!(stream.cache_status().starts_with("lede-edge; hit"), "{}", stream.cache_status());
    assert_eq!(replayed.variants, answer.variants);
    assert!(replayed.performance_metrics.cache_hit);
    assert_eq!(dropped(&origin), 0, "one who stays to the end drops nothing:\n{}", origin.log());
}

#[tokio::test]
async fn a_stream_cut_by_a_dying_origin_ends_with_an_error_and_is_not_stored() {
    let mut origin = Origin::start().await;
    let edge = Edge::start(&origin.url);
    let body = long("street musicians under the arcades");
    let mut stream = Stream::open(&edge, &body).await;
    stream.read_a_draft().await;
    origin.kill();
    match stream.read_to_end().await {
        StreamEvent::Error(problem) => {
            assert_eq!((problem.code, problem.status), (ProblemCode::OriginUnavailable, 503));
            assert!(problem.retry_after_s.is_some() && problem.request_id.is_some(), "{problem:?}");
        }
        other => panic!("the last event is {other:?}"),
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let only_if_cached = post(&edge.url, GENERATE, &body).header("cache-control", "only-if-cached");
    assert_eq!(problem_of(only_if_cached.send().await.unwrap()).await.code, ProblemCode::NotCached);
}

#[tokio::test]
async fn one_who_leaves_a_stream_stops_the_origin_s_work() {
    let origin = Origin::start().await;
    let mut edge = Edge::start(&origin.url);
    let mut stream = Stream::open(&edge, &long("a bakery before sunrise")).await;
    stream.read_a_draft().await;
    assert_eq!(dropped(&origin), 0);
    let left = Instant::now();
    drop(stream);
    assert!(
        eventually(|| dropped(&origin) > 0).await,
        "the origin still writes:\n{}\n{}",
        origin.log(),
        edge.log()
    );
    assert!(left.elapsed() < Duration::from_secs(1), "it took {:?}", left.elapsed());
    let log = origin.log();
    assert!(log.contains("a caller left a stream before its end"), "{log}");
    // The isolate is none the worse for it.
    let (answer, _) = Stream::open(&edge, &json!({ "content_description": "a bakery" })).await.done().await;
    assert!(!answer.caption.is_empty() && edge.is_running());
    assert!(!edge.log().contains("panicked") && !edge.log().contains("Uncaught"), "{}", edge.log());
}

#[tokio::test]
async fn a_stream_that_stops_coming_ends_when_its_time_is_over() {
    // Begins an answer and says nothing more: the head and one event, then silence.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let event = "event: start\ndata: {\"id\":\"cap_0\",\"model\":\"m\",\"variants\":1}\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = format!("{head}{:x}\r\n{event}\r\n", event.len());
        tokio::io::AsyncWriteExt::write_all(&mut connection, answer.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let edge = Edge::start_with(&url, &json!({ "ORIGIN_TIMEOUT_MS": "600" }));
    let mut stream = Stream::open(&edge, &json!({ "content_description": "a bakery" })).await;
    match stream.read_to_end().await {
        StreamEvent::Error(problem) => assert_eq!(problem.code, ProblemCode::DeadlineExceeded),
        other => panic!("the last event is {other:?}"),
    }
}
