//! An answer that the origin tells as it writes it.

use lede_shared::api::CaptionResponse;
use lede_shared::api::stream::{STREAM_EVENT_BYTES_MAX, SseEvent, SseReader};
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::headers::CACHE_STATUS;
use lede_shared::signature::Claims;

use super::{OriginFailure, OriginRequest, Sent, failure, leave_broken_off, note_broken_off, send, turns_of};
use crate::bindings::{ByteSource, FetchError, within};
use crate::context::RequestContext;

/// Most bytes of one stream: the drafts that an origin notes at most, and what is final beside them.
const STREAM_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// How many origins, or times one origin, a stream may fail to begin.
const ATTEMPTS_MAX: u32 = 3;
/// How long the end of a connection is waited for when everything has been told, so that it can be used again.
const END_WAIT_MS: u64 = 1_000;

/// An answer of the origin, as far as it has come.
pub(crate) struct OriginStream {
    source: Box<dyn ByteSource>,
    reader: SseReader,
    /// Who tells, as its position in the pool.
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
/// has failed like any other, and another one is asked. Dropping the stream is leaving.
///
/// # Errors
/// A problem that the caller may be told.
pub(crate) async fn ask_streaming(
    context: &RequestContext,
    claims: &Claims,
    (body, key): (String, &CacheKey),
) -> Result<(OriginStream, Told), OriginFailure> {
    let (deadline, mut turns) = (context.origin_deadline(), turns_of(context, key));
    let mut attempts_left = ATTEMPTS_MAX;
    loop {
        attempts_left -= 1;
        let request = OriginRequest::stream(body.clone(), turns.clone(), deadline);
        let sent = send(context, claims, &request).await?;
        let origin = sent.origin;
        let failure = match OriginStream::open(context, sent, deadline)?.begun(context).await {
            Ok(begun) => return Ok(begun),
            Err(failure) => failure,
        };
        turns.retain(|turn| *turn != origin);
        turns.push(origin);
        let may_go_on = attempts_left > 0 && context.now() < deadline;
        if !may_go_on || !leave_broken_off(context, origin, "a stream without an event") {
            return Err(failure);
        }
    }
}

impl OriginStream {
    fn open(context: &RequestContext, sent: Sent, deadline: UnixMillis) -> Result<Self, OriginFailure> {
        let Sent { response, origin, created } = sent;
        let source = response.body.ok_or_else(|| failure::unreadable(context, "a stream without a body"))?;
        Ok(Self {
            source,
            reader: SseReader::new(STREAM_EVENT_BYTES_MAX),
            origin,
            deadline,
            unfinished: Vec::new(),
            bytes_read: 0,
            has_ended: false,
            cache_status: response.headers.get(CACHE_STATUS).map(str::to_owned),
            created,
        })
    }

    /// The stream with its first events.
    async fn begun(mut self, context: &RequestContext) -> Result<(Self, Told), OriginFailure> {
        match self.read(context).await? {
            Some(first) => Ok((self, first)),
            None => Err(failure::unreadable(context, "a stream without an event")),
        }
    }

    /// The next events; `None` after the last.
    ///
    /// # Errors
    /// When the stream breaks off before its last event or is not of the contract.
    pub(crate) async fn next(&mut self, context: &RequestContext) -> Result<Option<Told>, OriginFailure> {
        let read = self.read(context).await;
        read.inspect_err(|_| note_broken_off(context, self.origin, "a stream that was cut"))
    }

    async fn read(&mut self, context: &RequestContext) -> Result<Option<Told>, OriginFailure> {
        while !self.has_ended {
            let chunk = self.source.next_chunk().await.map_err(|error| {
                // The time to answer ends the reading too, and that is seen here as a body that broke off.
                if context.now() >= self.deadline {
                    return failure::from_fetch_error(context, &FetchError::TimedOut).failure;
                }
                failure::unreadable(context, &error.to_string())
            })?;
            let chunk =
                chunk.ok_or_else(|| failure::unreadable(context, "a stream ended before its last event"))?;
            let told = self.take(&chunk).map_err(|cause| failure::unreadable(context, &cause))?;
            if !told.events.is_empty() {
                return Ok(Some(told));
            }
        }
        within(context.bindings.clock.as_ref(), END_WAIT_MS, self.source.next_chunk()).await;
        Ok(None)
    }

    /// Whole events are passed on, so that a stream that is cut is never cut inside of one.
    fn take(&mut self, chunk: &[u8]) -> Result<Told, String> {
        self.bytes_read += chunk.len();
        if self.bytes_read > STREAM_BYTES_MAX {
            return Err(format!("a stream of more than {STREAM_BYTES_MAX} bytes"));
        }
        let events = self.reader.push(chunk).map_err(|error| error.to_string())?;
        let mut done = None;
        for event in events {
            if let Some(response) = self.note(&event)? {
                done = Some(response);
            }
        }
        self.unfinished.extend_from_slice(chunk);
        let rest = self.unfinished.split_off(self.unfinished.len() - self.reader.unfinished_bytes());
        Ok(Told { events: std::mem::replace(&mut self.unfinished, rest), done })
    }

    /// Only the last events are looked into.
    fn note(&mut self, event: &SseEvent) -> Result<Option<CaptionResponse>, String> {
        self.has_ended |= matches!(event.name.as_str(), "done" | "error");
        if event.name != "done" {
            return Ok(None);
        }
        let read = serde_json::from_str(&event.data);
        read.map(Some).map_err(|error| format!("done is not of the contract at column {}", error.column()))
    }
}
