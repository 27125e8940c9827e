//! What the origin's failures mean to a caller. Each goes to the log with its cause and to the caller without.

use lede_shared::headers::{CACHE_STATUS, PROBLEM_JSON};
use lede_shared::problem::{Problem, ProblemCode};

use crate::bindings::{BindingError, FetchError, IncomingResponse};
use crate::body::read_bounded;
use crate::context::RequestContext;
use crate::http::{CONTENT_TYPE, Headers, RETRY_AFTER};

use super::pool::Shown;

/// A problem document from the origin is no longer than this.
const PROBLEM_BYTES_MAX: usize = 64 * 1_024;
/// Long enough for a process to be restarted, short enough to be tried again by a person.
const RETRY_AFTER_S: u32 = 5;

/// The origin gave no caption.
#[derive(Clone, Debug)]
pub(crate) struct OriginFailure {
    /// What the caller is told.
    pub(crate) problem: Problem,
    /// What the origin's cache did, when the answer says so.
    pub(crate) cache_status: Option<String>,
}

impl OriginFailure {
    /// Is it the origin's failure, so that a stale answer is better than this one?
    pub(crate) fn is_outage(&self) -> bool {
        self.problem.status >= 500
    }

    fn unavailable(detail: &str) -> Self {
        let problem = Problem::new(ProblemCode::OriginUnavailable, detail).retry_after(RETRY_AFTER_S);
        Self { problem, cache_status: None }
    }

    /// Every origin fails, so none is asked; one may be after `wait_ms`.
    pub(super) fn all_away(context: &RequestContext, wait_ms: u64) -> Self {
        context.warn("origins_away", "every breaker is open");
        let wait_s = u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(RETRY_AFTER_S).clamp(1, RETRY_AFTER_S);
        let problem = Problem::new(ProblemCode::OriginUnavailable, "no origin can be reached; try again");
        Self { problem: problem.retry_after(wait_s), cache_status: None }
    }
}

/// An attempt that brought no answer, or one that is a problem.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) failure: OriginFailure,
    /// What it shows of the origin.
    pub(super) shown: Shown,
    pub(super) remedy: Remedy,
}

/// What may help. Generation is idempotent by key, so asking again is always safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing: another origin would say the same.
    None,
    /// Another origin.
    Another,
    /// Another origin, or the same one a little later.
    Again,
}

/// A failure that another origin may not have.
impl From<OriginFailure> for Lost {
    fn from(failure: OriginFailure) -> Self {
        Self { failure, shown: Shown::Failing, remedy: Remedy::Another }
    }
}

/// No answer at all.
pub(super) fn from_fetch_error(context: &RequestContext, error: &FetchError) -> Lost {
    context.warn("origin_request_failed", &error.to_string());
    match error {
        FetchError::TimedOut => {
            let problem = Problem::new(ProblemCode::DeadlineExceeded, "the origin did not answer in time");
            let failure = OriginFailure { problem, cache_status: None };
            Lost { failure, shown: Shown::Silent, remedy: Remedy::Another }
        }
        FetchError::NotConnected(_) => {
            let failure = OriginFailure::unavailable("no origin can be reached; try again");
            Lost { failure, shown: Shown::Failing, remedy: Remedy::Again }
        }
    }
}

/// An answer that cannot be read or is not what the contract says.
pub(crate) fn unreadable(context: &RequestContext, cause: &str) -> OriginFailure {
    context.warn("origin_answer_unreadable", cause);
    OriginFailure::unavailable("the origin's answer could not be read; try again")
}

/// An answer whose body did not come to its end.
pub(super) fn broken_off(context: &RequestContext, cause: &str) -> Lost {
    Lost { remedy: Remedy::Again, ..unreadable(context, cause).into() }
}

/// Without entropy there is no nonce, and without a nonce no signature.
pub(super) fn cannot_sign(context: &RequestContext, error: &BindingError) -> Lost {
    context.warn("signing_failed", &error.to_string());
    let problem = Problem::new(ProblemCode::InternalError, "the request could not be signed");
    let failure = OriginFailure { problem, cache_status: None };
    Lost { failure, shown: Shown::Nothing, remedy: Remedy::None }
}

/// An answer with another status than 200.
pub(super) async fn from_response(context: &RequestContext, mut response: IncomingResponse) -> Lost {
    let status = response.status;
    let Some(problem) = read_problem(&mut response).await else {
        return unreadable(context, &format!("status {status} without a problem document")).into();
    };
    context.warn("origin_problem", &format!("status {status}, code {}", problem.code.as_str()));
    // The caller has been authenticated here. That the origin does not believe us is not theirs to mend.
    if matches!(status, 401 | 403) {
        return OriginFailure::unavailable("the origin does not accept this edge").into();
    }
    let retry_after_s = problem.retry_after_s.or_else(|| retry_after_s(&response.headers));
    let (shown, remedy) = what_it_shows(problem.code, retry_after_s);
    let cache_status = response.headers.get(CACHE_STATUS).map(str::to_owned);
    Lost { failure: OriginFailure { problem: Problem { retry_after_s, ..problem }, cache_status }, shown, remedy }
}

/// A full origin still answers what it has, so it is asked again for its own keys; what it refuses, others may take as
/// far as the retry budget goes, so that one origin's rush does not become everybody's.
fn what_it_shows(code: ProblemCode, retry_after_s: Option<u32>) -> (Shown, Remedy) {
    match code {
        ProblemCode::InternalError => (Shown::Failing, Remedy::Another),
        ProblemCode::Overloaded => (Shown::Alive, Remedy::Another),
        ProblemCode::NotReady => {
            (Shown::NotReady(u64::from(retry_after_s.unwrap_or(1)).saturating_mul(1_000)), Remedy::Another)
        }
        _ => (Shown::Alive, Remedy::None),
    }
}

/// The document, when it is one and speaks of the status it came with.
async fn read_problem(response: &mut IncomingResponse) -> Option<Problem> {
    let content_type = response.headers.get(CONTENT_TYPE)?;
    if !content_type.trim().starts_with(PROBLEM_JSON) {
        return None;
    }
    let declared = response.headers.content_length();
    let body = read_bounded(response.body.as_mut()?.as_mut(), declared, PROBLEM_BYTES_MAX).await.ok()?;
    let problem: Problem = serde_json::from_slice(&body).ok()?;
    (problem.status == response.status && (400..=599).contains(&problem.status)).then_some(problem)
}

fn retry_after_s(headers: &Headers) -> Option<u32> {
    headers.get(RETRY_AFTER)?.trim().parse().ok()
}
