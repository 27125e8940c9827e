//! A remote provider that writes captions: an OpenAI-compatible API asked for JSON by a schema.
//!
//! It knows messages and texts, not requests: what it brings back is material that somebody else has to judge.

mod call;
mod key;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lede_shared::breaker::{Breaker, BreakerSettings, Pass, RetryBudget, backoff_ms};
use reqwest::Url;
use tokio::sync::Semaphore;

pub use self::call::CallError;
use self::call::{Caller, Health};
pub use self::key::ProviderKey;
use self::wire::Completion;
pub use self::wire::{ContentFault, Message, Proposal};

/// Most retries of one call, whatever the budget says.
const RETRIES_MAX: u32 = 3;
/// Retries that may be saved up in the budget.
const RETRIES_RESERVE: u32 = 10;
/// The first retry waits up to this, the next up to twice as long, and so on.
const BACKOFF_BASE_MS: u64 = 200;
/// No retry waits longer, unless the provider itself names a time.
const BACKOFF_CAP_MS: u64 = 5_000;

/// How the provider is reached.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    /// Where `chat/completions` stands; https unless it is this machine.
    pub base_url: Url,
    /// Sent as a bearer key.
    pub api_key: Option<ProviderKey>,
    /// The model's name there.
    pub model: String,
    /// For one attempt, from connecting to the last byte.
    pub timeout: Duration,
    /// Most calls at once.
    pub concurrency_max: usize,
    /// Retries in a hundred calls.
    pub retry_percent: u32,
    /// When the provider is left alone.
    pub breaker: BreakerSettings,
    /// Largest answer that is read, in bytes.
    pub response_bytes_max: usize,
}

/// The HTTP client cannot be made, for instance because the machine has no root certificates.
#[derive(Debug, thiserror::Error)]
#[error("the client of the remote provider cannot be made: {0}")]
pub struct ClientError(String);

/// What the provider is asked.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The conversation so far.
    pub messages: &'a [Message<'a>],
    /// How many captions are wanted.
    pub variants: usize,
    /// For providers that can repeat themselves.
    pub seed: Option<u64>,
    /// Asked before, about the same request, and got nothing that could be used? That counts as a retry.
    pub is_again: bool,
    /// When nobody waits any more.
    pub deadline: Instant,
}

/// What the provider wrote. None of it is checked but its form.
#[derive(Clone, Debug)]
pub struct Written {
    /// At most as many as were asked for, or why there are none.
    pub proposals: Result<Vec<Proposal>, ContentFault>,
    /// Read by the provider's model, by its own count; 0 when it does not say.
    pub prompt_tokens: u32,
    /// Written by the provider's model, by its own count; 0 when it does not say.
    pub completion_tokens: u32,
    /// When the attempt that succeeded began and ended.
    pub ran: (Instant, Instant),
}

/// Why the provider wrote nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// It failed too often and is left alone for a while.
    #[error("the provider is left alone for another {wait_ms} ms")]
    LeftAlone {
        /// Until it is asked again.
        wait_ms: u64,
    },
    /// As many calls are running as are allowed.
    #[error("all places for calls to the provider are taken")]
    Full,
    /// The caller's deadline passed first.
    #[error("the deadline passed before the provider had answered")]
    DeadlineExceeded,
    /// The budget has no retry left.
    #[error("the budget of retries is spent")]
    BudgetSpent,
    /// The last attempt failed.
    #[error(transparent)]
    Failed(#[from] CallError),
}

/// The way to the provider. Clones share limits, budget and breaker.
#[derive(Clone, Debug)]
pub struct Remote(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    caller: Caller,
    model: String,
    timeout: Duration,
    places: Semaphore,
    breaker: Mutex<Breaker>,
    budget: Mutex<RetryBudget>,
    /// Where the breaker's clock starts.
    epoch: Instant,
}

impl Remote {
    /// A way to the provider; nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(settings: RemoteSettings) -> Result<Self, ClientError> {
        Ok(Self(Arc::new(Inner {
            caller: Caller::new(&settings).map_err(|error| ClientError(error.to_string()))?,
            model: settings.model,
            timeout: settings.timeout,
            places: Semaphore::new(settings.concurrency_max),
            breaker: Mutex::new(Breaker::new(settings.breaker)),
            budget: Mutex::new(RetryBudget::new(settings.retry_percent, RETRIES_RESERVE)),
            epoch: Instant::now(),
        })))
    }

    /// The model's name.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.0.model
    }

    /// Would it be asked now?
    #[must_use]
    pub fn is_usable(&self) -> bool {
        lock(&self.0.breaker).open_for_ms(self.0.now_ms()) == 0
    }

    /// Asks for captions, again where that may help and the budget allows it.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub async fn write(&self, ask: &Ask<'_>) -> Result<Written, RemoteError> {
        let inner = &self.0;
        let _place = inner.places.try_acquire().map_err(|_| RemoteError::Full)?;
        if !ask.is_again {
            lock(&inner.budget).first_try();
        } else if !lock(&inner.budget).take() {
            return Err(RemoteError::BudgetSpent);
        }
        let body = wire::request_body(&inner.model, ask).map_err(CallError::not_sent)?;
        let mut retry = 0;
        loop {
            let error = match inner.attempt(&body, ask.deadline).await {
                Ok((completion, ran)) => return Ok(written(completion, ask.variants, ran)),
                Err(RemoteError::Failed(error)) => error,
                Err(other) => return Err(other),
            };
            let Some(wait) = inner.wait_before(retry, &error, ask.deadline) else { return Err(error.into()) };
            tracing::debug!(%error, retry, wait_ms = milliseconds(wait), "the provider is asked again");
            tokio::time::sleep(wait).await;
            retry += 1;
        }
    }
}

/// When an attempt began and ended.
type Span = (Instant, Instant);

impl Inner {
    /// One call, with what it says about the provider's health told to the breaker.
    async fn attempt(&self, body: &Bytes, deadline: Instant) -> Result<(Completion, Span), RemoteError> {
        let pass = lock(&self.breaker).pass(self.now_ms());
        let pass = pass.map_err(|open| RemoteError::LeftAlone { wait_ms: open.wait_ms })?;
        let mut running = RunningCall { inner: self, pass: Some(pass) };
        let started = Instant::now();
        let left = deadline.saturating_duration_since(started);
        let timeout = left.min(self.timeout);
        let outcome = tokio::time::timeout(timeout, self.caller.call(body.clone())).await;
        let outcome = outcome.unwrap_or(Err(CallError::TimedOut));
        let health = match &outcome {
            Ok(_) => Health::Up,
            // Someone in a hurry says nothing about the provider.
            Err(CallError::TimedOut) if timeout < self.timeout / 2 => Health::Unknown,
            Err(error) => error.health(),
        };
        running.ended(health);
        match outcome {
            Ok(completion) => Ok((completion, (started, Instant::now()))),
            Err(CallError::TimedOut) if left <= self.timeout => Err(RemoteError::DeadlineExceeded),
            Err(error) => Err(error.into()),
        }
    }

    /// How long to wait before asking again; `None` when it would not help, not fit or not be in the budget.
    fn wait_before(&self, retry: u32, error: &CallError, deadline: Instant) -> Option<Duration> {
        if retry >= RETRIES_MAX || !error.is_retryable() {
            return None;
        }
        // Without entropy all wait the longest: late is better than together.
        let entropy = getrandom::u64().unwrap_or(u64::MAX);
        let backoff = Duration::from_millis(backoff_ms(BACKOFF_BASE_MS, BACKOFF_CAP_MS, retry, entropy));
        let wait = error.retry_after().unwrap_or(backoff);
        let fits = wait < deadline.saturating_duration_since(Instant::now());
        let is_left_alone = Duration::from_millis(lock(&self.breaker).open_for_ms(self.now_ms())) > wait;
        (fits && !is_left_alone && lock(&self.budget).take()).then_some(wait)
    }

    fn now_ms(&self) -> u64 {
        milliseconds(self.epoch.elapsed())
    }
}

/// A call that the breaker waits for; one that is dropped on the way is told as abandoned.
struct RunningCall<'a> {
    inner: &'a Inner,
    pass: Option<Pass>,
}

impl RunningCall<'_> {
    fn ended(&mut self, health: Health) {
        let Some(pass) = self.pass.take() else { return };
        let mut breaker = lock(&self.inner.breaker);
        match health {
            Health::Up => breaker.succeeded(pass),
            Health::Unknown => breaker.abandoned(pass),
            Health::Down => {
                if breaker.failed(pass, self.inner.now_ms()) {
                    tracing::warn!("the provider keeps failing and is left alone for a while");
                }
            }
        }
    }
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.ended(Health::Unknown);
    }
}

fn written(completion: Completion, variants: usize, ran: Span) -> Written {
    let (prompt_tokens, completion_tokens) = (completion.prompt_tokens, completion.completion_tokens);
    let took_ms = milliseconds(ran.1.duration_since(ran.0));
    tracing::info!(prompt_tokens, completion_tokens, took_ms, "the provider answered");
    let proposals = completion.proposals(variants);
    Written { proposals, prompt_tokens, completion_tokens, ran }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is complete in itself, so a poisoned state is still a good one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
