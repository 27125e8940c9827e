//! The way of one question through the pool: whom to ask, when to stop waiting for one alone, and whom to ask next.
//!
//! An origin that is silent is not given up: it may be slow and right. After a quarter of the question's time another one
//! is asked as well, and the first good answer wins (a hedge). What fails goes to another origin at once. Hedges and
//! retries come out of the retry budget; leaving an origin that everybody leaves does not.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lede_shared::breaker::backoff_ms;
use lede_shared::clock::UnixMillis;
use lede_shared::rendezvous::{Candidate, order};

use super::attempt::{Arrived, Ended, Question, attempt};
use super::failure::{self, Lost, OriginFailure, Remedy};
use super::pool::{Leave, OriginPool, Shown};
use super::probe;
use crate::bindings::{FetchError, within};
use crate::context::RequestContext;

/// First tries, retries and hedges of one question.
const ATTEMPTS_MAX: u32 = 4;
/// The first and its hedge.
const ATTEMPTS_AT_ONCE_MAX: usize = 2;
/// Less time than this is not worth another attempt.
const ATTEMPT_MS_MIN: u64 = 100;
/// A hedge is sent after this part of a question's time.
const HEDGE_AFTER_PART: u64 = 4;
/// When there is nobody to hedge with, it is tried again after this part of it.
const HEDGE_AGAIN_PART: u64 = 32;
/// Before the same origin is asked again.
const BACKOFF_BASE_MS: u64 = 50;
const BACKOFF_CAP_MS: u64 = 500;

/// Says why an answer is not one.
pub(super) type Check<'a> = dyn FnMut(&Arrived) -> Result<(), String> + 'a;

/// The first good answer, and the position of the origin that gave it.
///
/// # Errors
/// What the last origin that was asked said, or that there is nobody to ask.
pub(super) async fn run(question: Question<'_>, check: &mut Check<'_>) -> Result<(Arrived, usize), OriginFailure> {
    let mut course = Course::new(question);
    let mut attempts = FuturesUnordered::new();
    loop {
        if attempts.is_empty() {
            attempts.push(attempt(question, course.next().await?));
        }
        let ended = within(course.clock(), course.alarm_ms(), attempts.next()).await;
        match ended.flatten() {
            Some(Ended { leave, outcome }) => match outcome.and_then(|arrived| course.checked(arrived, check)) {
                Ok(arrived) => {
                    course.won(leave);
                    return Ok((arrived, leave.origin));
                }
                Err(lost) => course.lost(leave, lost)?,
            },
            None if course.is_over() => return Err(course.timed_out()),
            None => attempts.extend(course.hedge().map(|leave| attempt(question, leave))),
        }
    }
}

/// The positions of the origins in the order in which they should be asked for `key`.
pub(super) fn order_of(context: &RequestContext, key: &[u8]) -> Vec<usize> {
    let origins = context.config.origins.iter();
    let candidates: Vec<Candidate<'_>> =
        origins.map(|origin| Candidate { name: &origin.url, weight: origin.weight }).collect();
    order(key, &candidates)
}

struct Course<'a> {
    question: Question<'a>,
    /// In the order in which they should be asked.
    untried: Vec<usize>,
    running: Vec<Running>,
    attempts_left: u32,
    /// What the last attempt that ended came to, and where.
    last: Option<(usize, Lost)>,
    has_asked_again: bool,
    hedge_at: UnixMillis,
    /// A quarter of the question's time.
    patience_ms: u64,
}

struct Running {
    leave: Leave,
    since: UnixMillis,
}

impl<'a> Course<'a> {
    fn new(question: Question<'a>) -> Self {
        let now = question.context.now();
        question.context.bindings.isolate.pool.first_try();
        Self {
            question,
            untried: question.request.order(question.context),
            running: Vec::new(),
            attempts_left: ATTEMPTS_MAX,
            last: None,
            has_asked_again: false,
            hedge_at: question.deadline,
            patience_ms: question.deadline.since(now) / HEDGE_AFTER_PART,
        }
    }

    fn context(&self) -> &'a RequestContext {
        self.question.context
    }

    fn clock(&self) -> &'a dyn crate::bindings::Clock {
        self.context().bindings.clock.as_ref()
    }

    fn pool(&self) -> &'a OriginPool {
        &self.context().bindings.isolate.pool
    }

    fn started(&mut self, leave: Leave) -> Leave {
        let now = self.context().now();
        self.untried.retain(|origin| *origin != leave.origin);
        self.attempts_left -= 1;
        self.running.push(Running { leave, since: now });
        self.hedge_at = now.plus(self.patience_ms);
        leave
    }

    /// Whom to ask now that nobody is being asked.
    async fn next(&mut self) -> Result<Leave, OriginFailure> {
        if let Some((_, lost)) = &self.last
            && !self.is_worth_another()
        {
            return Err(lost.failure.clone());
        }
        let choice = self.pool().choose(&self.untried, self.context().now());
        for doubtful in choice.doubtful {
            probe::send_behind(self.context(), doubtful);
        }
        match (choice.picked, self.last.take()) {
            (Some(leave), None) => Ok(self.started(leave)),
            (None, None) => Err(OriginFailure::all_away(self.context(), choice.wait_ms)),
            (Some(leave), Some((left, lost))) => {
                if self.may_leave(left) {
                    return Ok(self.started(leave));
                }
                self.pool().report(leave, Shown::Nothing, self.context().now());
                Err(lost.failure)
            }
            (None, Some((left, lost))) => self.ask_again(left, lost).await,
        }
    }

    /// The same origin once more, after a while.
    async fn ask_again(&mut self, origin: usize, lost: Lost) -> Result<Leave, OriginFailure> {
        let may_help = lost.remedy == Remedy::Again && !self.has_asked_again;
        if !may_help || !self.pool().take_retry() {
            return Err(lost.failure);
        }
        self.has_asked_again = true;
        self.clock().sleep(backoff_ms(BACKOFF_BASE_MS, BACKOFF_CAP_MS, 0, self.entropy())).await;
        match self.pool().choose(&[origin], self.context().now()).picked {
            Some(leave) => Ok(self.started(leave)),
            None => Err(lost.failure),
        }
    }

    fn entropy(&self) -> u64 {
        let bytes = self.context().bindings.entropy.bytes16().unwrap_or_default();
        bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Is there time for another attempt?
    fn is_worth_another(&self) -> bool {
        self.attempts_left > 0 && self.question.deadline.since(self.context().now()) >= ATTEMPT_MS_MIN
    }

    /// To leave an origin that everybody leaves costs nothing; any other time it is a retry.
    fn may_leave(&self, origin: usize) -> bool {
        self.pool().is_passed_over(origin, self.context().now()) || self.pool().take_retry()
    }

    fn alarm_ms(&self) -> u64 {
        let may_hedge = self.running.len() < ATTEMPTS_AT_ONCE_MAX && !self.untried.is_empty();
        let at = if may_hedge { self.hedge_at.min(self.question.deadline) } else { self.question.deadline };
        at.since(self.context().now())
    }

    fn is_over(&self) -> bool {
        self.context().now() >= self.question.deadline
    }

    /// Another origin beside the one that is silent.
    fn hedge(&mut self) -> Option<Leave> {
        self.hedge_at = self.context().now().plus(self.patience_ms * HEDGE_AFTER_PART / HEDGE_AGAIN_PART + 1);
        let silent = self.running.last()?.leave.origin;
        if !self.is_worth_another() {
            return None;
        }
        let leave = self.pool().choose_sound(&self.untried, self.context().now())?;
        if self.may_leave(silent) {
            self.context().warn("origin_hedged", &self.name_of(silent));
            return Some(self.started(leave));
        }
        self.pool().report(leave, Shown::Nothing, self.context().now());
        None
    }

    fn checked(&self, arrived: Arrived, check: &mut Check<'_>) -> Result<Arrived, Lost> {
        match check(&arrived) {
            Ok(()) => Ok(arrived),
            Err(cause) => Err(failure::unreadable(self.context(), &cause).into()),
        }
    }

    fn won(&mut self, leave: Leave) {
        self.running.retain(|running| running.leave != leave);
        self.report(leave, Shown::Alive);
        self.give_up_the_silent();
    }

    /// Goes on with another origin where that may help.
    fn lost(&mut self, leave: Leave, lost: Lost) -> Result<(), OriginFailure> {
        self.running.retain(|running| running.leave != leave);
        self.report(leave, lost.shown);
        if lost.remedy == Remedy::None {
            self.give_up_the_silent();
            return Err(lost.failure);
        }
        self.context().warn("origin_attempt_failed", &self.name_of(leave.origin));
        self.last = Some((leave.origin, lost));
        Ok(())
    }

    fn timed_out(&mut self) -> OriginFailure {
        self.give_up_the_silent();
        failure::from_fetch_error(self.context(), &FetchError::TimedOut).failure
    }

    fn give_up_the_silent(&mut self) {
        let now = self.context().now();
        for Running { leave, since } in std::mem::take(&mut self.running) {
            let has_had_time = now.since(since) >= self.patience_ms;
            self.report(leave, if has_had_time { Shown::Silent } else { Shown::Nothing });
        }
    }

    fn report(&self, leave: Leave, shown: Shown) {
        if self.pool().report(leave, shown, self.context().now()) {
            self.context().warn("origin_breaker_opened", &self.name_of(leave.origin));
        }
    }

    /// For the log: its position in the configuration, from 1.
    fn name_of(&self, origin: usize) -> String {
        format!("origin {} of {}", origin + 1, self.context().config.origins.len())
    }
}
