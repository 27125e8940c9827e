//! An answer that an origin tells as it writes it.

use lede_shared::api::CaptionResponse;
use lede_shared::api::stream::{STREAM_EVENT_BYTES_MAX, SseEvent, SseReader};
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::headers::{CACHE_STATUS, EVENT_STREAM_ESSENCE};
use lede_shared::signature::Claims;

use super::{
    OriginFailure, OriginRequest, Sent, Turns, failure, leave_broken_off, report_broken_off, send, turns_of,
};
use crate::bindings::{ByteSource, FetchError, within};
use crate::context::RequestContext;

/// Most bytes of one stream: the drafts that an origin notes at most, and what is final beside them.
const STREAM_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// How long the end of a connection is waited for when everything has been told, so that it can be used again.
const END_WAIT_MS: u64 = 1_000;

/// An answer of an origin, as far as it has come. Dropping it is leaving.
pub(crate) struct OriginStream {
    source: Box<dyn ByteSource>,
    reader: SseReader,
    origin: usize,
    deadline: UnixMillis,
    /// The beginning of an event whose end has not come.
    unfinished: Vec<u8>,
    bytes_read: usize,
    has_ended: bool,
    pub(crate) cache_status: Option<String>,
    /// When the content was generated, as far as the origin says.
    pub(crate) created: UnixMillis,
}

/// Something that the origin has told.
pub(crate) struct Told {
    /// Whole events, as they came.
    pub(crate) events: Vec<u8>,
    /// The answer, when it is complete with them.
    pub(crate) done: Option<CaptionResponse>,
}

/// Asks for the caption of `body` as a stream, and waits until it begins: an origin that fails before its first event
/// has failed like any other, and another one may be asked.
///
/// # Errors
/// A problem that the caller may be told.
pub(crate) async fn ask_streaming(
    context: &RequestContext,
    claims: &Claims,
    (body, key): (String, &CacheKey),
) -> Result<(OriginStream, Told), OriginFailure> {
    let deadline = context.origin_deadline();
    let mut turns = turns_of(context, key);
    loop {
        let request = OriginRequest {
            turns: Turns::Given(turns.clone()),
            deadline: Some(deadline),
            ..OriginRequest::generate(body.clone(), key).accepting(EVENT_STREAM_ESSENCE)
        };
        let sent = send(context, claims, &request).await?;
        let origin = sent.origin;
        let cause = match OriginStream::begin(sent, deadline).await {
            Ok(begun) => return Ok(begun),
            Err(cause) => cause,
        };
        turns.retain(|turn| *turn != origin);
        let is_over = turns.is_empty() || context.now() >= deadline;
        if !leave_broken_off(context, origin, &cause) || is_over {
            return Err(broken_off(context, deadline, &cause));
        }
    }
}

/// As the caller is told.
fn broken_off(context: &RequestContext, deadline: UnixMillis, cause: &str) -> OriginFailure {
    // The time to answer ends the reading too, and that is seen here as a body that broke off.
    if context.now() >= deadline {
        return failure::from_fetch_error(context, &FetchError::TimedOut).failure;
    }
    failure::unreadable(context, cause)
}

impl OriginStream {
    /// The stream and its first events, or why there are none.
    async fn begin(sent: Sent, deadline: UnixMillis) -> Result<(Self, Told), String> {
        let Sent { response, origin, created } = sent;
        let cache_status = response.headers.get(CACHE_STATUS).map(str::to_owned);
        let mut stream = Self {
            source: response.body.ok_or("a stream without a body")?,
            reader: SseReader::new(STREAM_EVENT_BYTES_MAX),
            origin,
            deadline,
            unfinished: Vec::new(),
            bytes_read: 0,
            has_ended: false,
            cache_status,
            created,
        };
        let first = stream.read().await?;
        Ok((stream, first))
    }

    /// The next events; `None` after the last.
    ///
    /// # Errors
    /// When the stream breaks off before its last event or is not of the contract.
    pub(crate) async fn next(&mut self, context: &RequestContext) -> Result<Option<Told>, OriginFailure> {
        if self.has_ended {
            within(context.bindings.clock.as_ref(), END_WAIT_MS, self.source.next_chunk()).await;
            return Ok(None);
        }
        self.read().await.map(Some).map_err(|cause| {
            report_broken_off(context, self.origin, &cause);
            broken_off(context, self.deadline, &cause)
        })
    }

    /// Events are passed on whole, so that a stream that is cut is never cut inside of one.
    async fn read(&mut self) -> Result<Told, String> {
        loop {
            let chunk = self.source.next_chunk().await.map_err(|error| error.to_string())?;
            let told = self.take(&chunk.ok_or("a stream ended before its last event")?)?;
            if !told.events.is_empty() {
                return Ok(told);
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<Told, String> {
        self.bytes_read += chunk.len();
        if self.bytes_read > STREAM_BYTES_MAX {
            return Err(format!("a stream of more than {STREAM_BYTES_MAX} bytes"));
        }
        let mut done = None;
        for event in self.reader.push(chunk).map_err(|error| error.to_string())? {
            done = self.note(&event)?.or(done);
        }
        self.unfinished.extend_from_slice(chunk);
        let whole = self.unfinished.len().saturating_sub(self.reader.unfinished_bytes());
        let rest = self.unfinished.split_off(whole);
        Ok(Told { events: std::mem::replace(&mut self.unfinished, rest), done })
    }

    /// Only the last events are looked into.
    fn note(&mut self, event: &SseEvent) -> Result<Option<CaptionResponse>, String> {
        self.has_ended |= matches!(event.name.as_str(), "done" | "error");
        if event.name != "done" {
            return Ok(None);
        }
        // As bytes, like every other answer: reading text would be compiled a second time.
        let read = serde_json::from_slice(event.data.as_bytes());
        // The error's own words may quote a caption.
        read.map(Some).map_err(|error| format!("done is not of the contract at column {}", error.column()))
    }
}
