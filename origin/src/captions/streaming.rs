//! An answer told as it is written. The same look-up, the same flights and the same outcome as for an answer told at
//! once; only the waiting is filled.

use bytes::Bytes;
use lede_shared::api::stream::{DraftReset, StreamEvent, replayed, sse_event};
use lede_shared::api::{CaptionResponse, ValidRequest};
use lede_shared::cache_key::CacheKey;
use lede_shared::cache_status::{CacheOutcome, ForwardReason};

use super::progress::{Progress, ProgressReader, joined};
use super::{Answer, Asking, CaptionError, Captions, LEADERS_MAX, LookUp, Made, Outcome, hit, miss};
use crate::cache::Found;
use crate::cache::single_flight::Waiting;

/// What `Cache-Status` says of an answer whose fate is not known yet.
const DETAIL: &str = "streamed";

/// An answer on its way. Dropping it is leaving.
#[derive(Debug)]
pub struct AnswerStream {
    /// What the cache did, as far as it is known when the stream begins.
    pub cache: CacheOutcome,
    /// Which tier answers, or that it is being written.
    pub cache_detail: Option<&'static str>,
    /// How long the answer has lain in the cache.
    pub age_ms: u64,
    /// What is to be told first.
    first: Option<Bytes>,
    /// Where the rest comes from; none when the first is all.
    rest: Option<Box<Following>>,
}

impl AnswerStream {
    /// The next events as they stand on the wire; none after the last. An error is the last.
    ///
    /// Giving up the wait loses nothing.
    pub async fn next(&mut self) -> Option<Result<Bytes, CaptionError>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        let told = self.rest.as_mut()?.next().await;
        if !matches!(told, Ok(Told::More(_))) {
            self.rest = None;
        }
        Some(told.and_then(|told| match told {
            Told::More(events) | Told::Last(events) => Ok(events),
            Told::Kept(answer) => Ok(replayed(&response_of(&answer.body)?).into()),
        }))
    }

    fn of_kept(answer: &Answer) -> Result<Self, CaptionError> {
        let events = replayed(&response_of(&answer.body)?).into();
        let age_ms = answer.freshness.age_ms(crate::clock::now());
        Ok(Self {
            cache: answer.cache,
            cache_detail: answer.cache_detail,
            age_ms,
            first: Some(events),
            rest: None,
        })
    }
}

impl Captions {
    /// Answers like [`Self::answer`], event by event. Returns when the first event is there, so that a failure before
    /// it is an ordinary failure.
    ///
    /// # Errors
    /// See [`CaptionError`].
    pub async fn answer_streaming(
        &self,
        request: ValidRequest,
        key: CacheKey,
        asking: Asking,
    ) -> Result<AnswerStream, CaptionError> {
        let why = match self.look_up(&request, &key, asking).await? {
            LookUp::Kept(found) => return AnswerStream::of_kept(&hit(key, &found, asking.started_at)?),
            LookUp::Nothing(why) => why,
        };
        if why == ForwardReason::UriMiss
            && let Some(near) = self.near_answer(&request, asking)
        {
            return AnswerStream::of_kept(&near?);
        }
        let mut following = Following::of(self, request, key, (asking, why))?;
        let (first, has_more) = match following.next().await? {
            Told::Kept(answer) => return AnswerStream::of_kept(&answer),
            Told::More(events) => (events, true),
            Told::Last(events) => (events, false),
        };
        let cache = CacheOutcome::Forwarded { why, stored: false, collapsed: following.collapsed };
        let rest = has_more.then(|| Box::new(following));
        Ok(AnswerStream { cache, cache_detail: Some(DETAIL), age_ms: 0, first: Some(first), rest })
    }
}

/// What was told.
enum Told {
    /// Events, and more will follow.
    More(Bytes),
    /// The last events.
    Last(Bytes),
    /// Nothing had been told, and an answer was there already.
    Kept(Answer),
}

/// One who waits for an answer and hears how it comes about.
#[derive(Debug)]
struct Following {
    captions: Captions,
    request: ValidRequest,
    key: CacheKey,
    asking: Asking,
    why: ForwardReason,
    waiting: Waiting<Progress, Outcome>,
    collapsed: bool,
    reader: ProgressReader,
    leaders_left: usize,
    /// Void drafts, to be told of before anything else.
    resets: Option<Bytes>,
}

impl Following {
    fn of(
        captions: &Captions,
        request: ValidRequest,
        key: CacheKey,
        (asking, why): (Asking, ForwardReason),
    ) -> Result<Self, CaptionError> {
        let captions = captions.clone();
        let waiting = captions.join(&request, key, asking)?;
        let (collapsed, reader) = (waiting.collapsed, waiting.progress.reader());
        let leaders_left = LEADERS_MAX - 1;
        let resets = None;
        Ok(Self { captions, request, key, asking, why, waiting, collapsed, reader, leaders_left, resets })
    }

    async fn next(&mut self) -> Result<Told, CaptionError> {
        match self.wait().await {
            Err(error) => match self.captions.stand_in(&self.key, &error) {
                Some(found) => self.told_instead(&found),
                None => Err(error),
            },
            told => told,
        }
    }

    /// What comes first: more events, the outcome or the deadline.
    async fn wait(&mut self) -> Result<Told, CaptionError> {
        loop {
            if let Some(events) = self.resets.take().or_else(|| self.reader.take()) {
                return Ok(Told::More(events));
            }
            let outcome = tokio::select! {
                biased;
                () = self.reader.changed() => continue,
                outcome = self.waiting.landed() => outcome,
                () = tokio::time::sleep_until(self.asking.deadline.into()) => Some(Err(CaptionError::DeadlineExceeded)),
            };
            let is_late = tokio::time::Instant::now() >= self.asking.deadline.into();
            match outcome {
                Some(Ok(made)) if !made.suits(self.asking.cache_control) => self.join_again()?,
                Some(Ok(Made::Kept(found))) => return self.told_instead(&found),
                Some(Ok(Made::Generated(generated))) => {
                    let answer = miss(self.key, &generated, (self.why, self.collapsed), self.asking.started_at)?;
                    let rest = self.reader.take().unwrap_or_default();
                    return Ok(Told::Last(joined([rest, done(&answer)].iter())));
                }
                // The leader was in more of a hurry than we are, or was lost: another leads.
                Some(Err(CaptionError::DeadlineExceeded)) if self.collapsed && !is_late => self.join_again()?,
                None => self.join_again()?,
                Some(Err(error)) => return Err(error),
            }
        }
    }

    fn join_again(&mut self) -> Result<(), CaptionError> {
        if self.leaders_left == 0 {
            return Err(super::every_leader_was_lost());
        }
        self.leaders_left -= 1;
        self.waiting = self.captions.join(&self.request, self.key, self.asking)?;
        self.collapsed = self.waiting.collapsed;
        self.resets = self.reader.has_told().then(|| resets(self.request.variants()));
        self.reader = self.waiting.progress.reader().after(&self.reader);
        Ok(())
    }

    /// An answer that is kept, in place of the rest.
    fn told_instead(&self, found: &Found) -> Result<Told, CaptionError> {
        let answer = hit(self.key, found, self.asking.started_at)?;
        if !self.reader.has_told() {
            return Ok(Told::Kept(answer));
        }
        let events = StreamEvent::of_answer(&response_of(&answer.body)?);
        let told: String = events.iter().skip(1).map(StreamEvent::to_sse).collect();
        Ok(Told::Last(joined([resets(self.request.variants()), told.into()].iter())))
    }
}

/// Every draft so far is void.
fn resets(variants: u8) -> Bytes {
    let reset = |variant: u8| StreamEvent::DraftReset(DraftReset { variant: variant.into() }).to_sse();
    (0..variants).map(reset).collect::<String>().into()
}

/// The last event. The answer's JSON is one line already.
fn done(answer: &Answer) -> Bytes {
    sse_event("done", &String::from_utf8_lossy(&answer.body)).into()
}

fn response_of(body: &Bytes) -> Result<CaptionResponse, CaptionError> {
    serde_json::from_slice(body).map_err(|error| CaptionError::Internal(error.to_string()))
}
