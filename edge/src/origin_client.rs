//! Asking the pool of origins: whom, signed, with a deadline, within a limit; and telling what went wrong.

mod attempt;
mod course;
mod failure;
mod pool;
mod probe;
mod streaming;

use lede_shared::api::{BATCH_PATH, GENERATE_PATH};
use lede_shared::cache_key::CacheKey;
use lede_shared::clock::UnixMillis;
use lede_shared::headers::{CACHE_STATUS, NDJSON};
use lede_shared::signature::Claims;
use serde::de::DeserializeOwned;

use self::attempt::{Arrived, Extent, Question};
use crate::auth::Principal;
use crate::bindings::IncomingResponse;
use crate::context::RequestContext;
use crate::http::{AGE, JSON};
use crate::response_cache;

pub(crate) use failure::{OriginFailure, unreadable};
pub(crate) use pool::OriginPool;
pub(crate) use probe::ask_ready;
pub(crate) use streaming::{OriginStream, Told, ask_streaming};

/// Eight variants of the longest post text with room around them.
const GENERATE_ANSWER_BYTES_MAX: usize = 256 * 1_024;
/// The same and its frame, as one line of a batch.
pub(crate) const LINE_BYTES_MAX: usize = GENERATE_ANSWER_BYTES_MAX + 1_024;

/// A question to the pool.
#[derive(Debug)]
pub(crate) struct OriginRequest {
    method: &'static str,
    path_and_query: String,
    /// Empty for a `GET`.
    body: Vec<u8>,
    /// What the answer must be.
    media_type: &'static str,
    answer_bytes_max: usize,
    turns: Turns,
    /// When the answer has to be there; `None` for the configured time from now.
    deadline: Option<UnixMillis>,
}

/// In whose order the origins are asked.
#[derive(Debug)]
enum Turns {
    /// Of these bytes' rendezvous.
    Of(Vec<u8>),
    /// This one.
    Given(Vec<usize>),
}

impl OriginRequest {
    /// One caption. `body` is the canonical JSON; origins are asked in the order of `key`.
    pub(crate) fn generate(body: String, key: &CacheKey) -> Self {
        Self {
            method: "POST",
            path_and_query: GENERATE_PATH.to_owned(),
            body: body.into_bytes(),
            media_type: JSON,
            answer_bytes_max: GENERATE_ANSWER_BYTES_MAX,
            turns: Turns::Of(key.0.to_vec()),
            deadline: None,
        }
    }

    /// Many captions, each on a line of its own for [`send`]. `body` is the canonical JSON; origins are asked in the order
    /// of `turns`.
    pub(crate) fn batch(body: String, turns: Vec<usize>, deadline: UnixMillis) -> Self {
        Self {
            method: "POST",
            path_and_query: BATCH_PATH.to_owned(),
            body: body.into_bytes(),
            media_type: NDJSON,
            answer_bytes_max: LINE_BYTES_MAX,
            turns: Turns::Given(turns),
            deadline: Some(deadline),
        }
    }

    /// The same question for an answer of another media type.
    fn accepting(self, media_type: &'static str) -> Self {
        Self { media_type, ..self }
    }

    /// A `GET` of one of the routes that are for the edge alone.
    fn internal(path_and_query: String, answer_bytes_max: usize) -> Self {
        let turns = Turns::Of(path_and_query.clone().into_bytes());
        let body = Vec::new();
        Self { method: "GET", path_and_query, body, media_type: JSON, answer_bytes_max, turns, deadline: None }
    }

    fn deadline(&self, context: &RequestContext) -> UnixMillis {
        self.deadline.unwrap_or_else(|| context.origin_deadline())
    }

    fn order(&self, context: &RequestContext) -> Vec<usize> {
        match &self.turns {
            Turns::Of(key) => course::order_of(context, key),
            Turns::Given(order) => order.clone(),
        }
    }
}

/// The origins in the order of `key`, those in front that would be asked now.
pub(crate) fn turns_of(context: &RequestContext, key: &CacheKey) -> Vec<usize> {
    context.bindings.isolate.pool.sound_first(course::order_of(context, &key.0), context.now())
}

/// What the origin answered.
#[derive(Debug)]
pub(crate) struct OriginAnswer<T> {
    pub(crate) content: T,
    /// The same as it came, to be passed on.
    pub(crate) body: Vec<u8>,
    pub(crate) cache_status: Option<String>,
    /// When the content was generated, as far as the origin says.
    pub(crate) created: UnixMillis,
}

/// An answer whose head has come and is good.
pub(crate) struct Sent {
    /// Status 200 and the media type that was asked for; the body is still to be read.
    pub(crate) response: IncomingResponse,
    /// Who answers, for [`leave_broken_off`].
    pub(crate) origin: usize,
    /// When the content was generated, as far as the origin says.
    pub(crate) created: UnixMillis,
}

/// Asks for an answer whose body is read as it comes. Fails over until the head of a good answer is there.
///
/// # Errors
/// A problem that the caller may be told.
pub(crate) async fn send(
    context: &RequestContext,
    claims: &Claims,
    request: &OriginRequest,
) -> Result<Sent, OriginFailure> {
    let (opened, deadline) = (context.now(), request.deadline(context));
    let question = Question { context, claims, request, deadline, extent: Extent::Head };
    let (Arrived { response, .. }, origin) = course::run(question, &mut |_| Ok(())).await?;
    let created = created(&response, opened);
    Ok(Sent { response, origin, created })
}

/// The body of an answer from [`send`] broke off or came to a stop. May another origin be asked for the rest? Then a
/// retry has been taken out of the budget, unless everybody leaves that origin.
pub(crate) fn leave_broken_off(context: &RequestContext, origin: usize, cause: &str) -> bool {
    report_broken_off(context, origin, cause);
    let (pool, now) = (&context.bindings.isolate.pool, context.now());
    pool.is_passed_over(origin, now) || pool.take_retry()
}

fn report_broken_off(context: &RequestContext, origin: usize, cause: &str) {
    context.warn("origin_answer_broken_off", cause);
    if context.bindings.isolate.pool.report_broken_off(origin, context.now()) {
        context.warn("origin_breaker_opened", "after an answer that broke off");
    }
}

/// Sends `request` for the caller of `claims`, signed, and reads an answer of the contract.
///
/// # Errors
/// A problem that the caller may be told.
pub(crate) async fn ask<T: DeserializeOwned>(
    context: &RequestContext,
    claims: &Claims,
    request: &OriginRequest,
) -> Result<OriginAnswer<T>, OriginFailure> {
    let (opened, deadline) = (context.now(), request.deadline(context));
    let question = Question { context, claims, request, deadline, extent: Extent::Whole };
    let mut content = None;
    let mut check = |arrived: &Arrived| {
        let parsed = serde_json::from_slice(&arrived.body);
        content = Some(parsed.map_err(|error| {
            // The error's own words may quote a caption.
            format!("not of the contract at line {}, column {}", error.line(), error.column())
        })?);
        Ok(())
    };
    let (Arrived { response, body }, _) = course::run(question, &mut check).await?;
    let content = content.ok_or_else(|| unreadable(context, "an answer that was not read"))?;
    let created = created(&response, opened);
    let cache_status = response.headers.get(CACHE_STATUS).map(str::to_owned);
    Ok(OriginAnswer { content, body, cache_status, created })
}

/// `GET`s one of the origins' routes that are for the edge alone, on nobody's behalf.
///
/// # Errors
/// Those of [`ask`]; the origin's own problem, such as a 404, keeps its code.
pub(crate) async fn ask_internal<T: DeserializeOwned>(
    context: &RequestContext,
    path_and_query: String,
    answer_bytes_max: usize,
) -> Result<OriginAnswer<T>, OriginFailure> {
    ask(context, &Claims::of_the_edge(), &OriginRequest::internal(path_and_query, answer_bytes_max)).await
}

/// The same question to one of the configured origins, counted from 0, and to no other: each knows something else.
///
/// # Errors
/// Those of [`ask`].
pub(crate) async fn ask_internal_of<T: DeserializeOwned>(
    context: &RequestContext,
    origin: usize,
    path_and_query: String,
    answer_bytes_max: usize,
) -> Result<OriginAnswer<T>, OriginFailure> {
    let request = OriginRequest::internal(path_and_query, answer_bytes_max);
    let request = OriginRequest { turns: Turns::Given(vec![origin]), ..request };
    ask(context, &Claims::of_the_edge(), &request).await
}

/// The answer cannot have been made later than it was asked for, less the time it has lain at the origin.
fn created(response: &IncomingResponse, opened: UnixMillis) -> UnixMillis {
    let age_s: u64 = response.headers.get(AGE).and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    UnixMillis(opened.0.saturating_sub(age_s.saturating_mul(1_000)))
}

/// What the origin is told of the caller.
pub(crate) fn claims(context: &RequestContext, principal: &Principal) -> Claims {
    let record = &principal.record;
    Claims {
        tenant: record.tenant.clone(),
        priority: record.plan.priority.lowered_to(context.priority.as_deref()),
        cache_epoch: response_cache::epoch_in_use(context, principal),
        cache_is_private: record.plan.cache_is_private,
    }
}
