//! What the platform gives, each thing behind a small trait: Workers KV, the data centre's cache, `fetch`, clock, entropy, `wait_until`
//! and the log. [`workers`] implements them with the real platform, `in_memory` with twins for native tests.
//! Nothing outside this folder names the platform.

#[cfg(test)]
pub(crate) mod in_memory;
pub(crate) mod workers;

use std::rc::Rc;

use futures_util::future::{Either, LocalBoxFuture, select};
use lede_shared::api_key::TenantId;
use lede_shared::clock::UnixMillis;

use crate::http::Headers;
use crate::isolate::Isolate;

/// A call to the platform failed. The text is for the log, never for a caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} failed: {cause}")]
pub(crate) struct BindingError {
    pub(crate) operation: &'static str,
    pub(crate) cause: String,
}

/// A Workers KV namespace: eventually consistent, read from the nearest data centre.
pub(crate) trait WorkersKv {
    /// The value under `name`, which the data centre may keep for `cache_ttl_s` seconds.
    fn read<'a>(
        &'a self,
        name: &'a str,
        cache_ttl_s: u64,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>, BindingError>>;

    /// Writes `value`; the platform forgets it after `expiration_ttl_s` seconds.
    fn write<'a>(
        &'a self,
        name: &'a str,
        value: &'a [u8],
        expiration_ttl_s: u64,
    ) -> LocalBoxFuture<'a, Result<(), BindingError>>;
}

/// The cache of this data centre (colo). It goes by URLs and forgets whenever it likes.
pub(crate) trait ColoCache {
    /// What is kept under `url`.
    fn read<'a>(&'a self, url: &'a str) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>, BindingError>>;

    /// Keeps `value` for `max_age_s` seconds at most.
    fn write<'a>(
        &'a self,
        url: &'a str,
        value: &'a [u8],
        max_age_s: u64,
    ) -> LocalBoxFuture<'a, Result<(), BindingError>>;
}

/// A request to the origin.
#[derive(Debug)]
pub(crate) struct OutgoingRequest {
    /// `GET` or `POST`.
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: Headers,
    pub(crate) body: Option<Vec<u8>>,
    /// For the answer from the first byte sent to the last byte received.
    pub(crate) timeout_ms: u64,
}

/// The origin's answer, as far as it has come.
pub(crate) struct IncomingResponse {
    pub(crate) status: u16,
    /// Those of [`IncomingResponse::HEADERS_READ`] that were sent.
    pub(crate) headers: Headers,
    pub(crate) body: Option<Box<dyn ByteSource>>,
}

impl IncomingResponse {
    /// The headers that are brought over from the platform.
    pub(crate) const HEADERS_READ: [&'static str; 5] = [
        crate::http::AGE,
        crate::http::CONTENT_LENGTH,
        crate::http::CONTENT_TYPE,
        crate::http::RETRY_AFTER,
        lede_shared::headers::CACHE_STATUS,
    ];
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// No answer within the request's time.
    #[error("no answer in time")]
    TimedOut,
    /// No connection, or it broke before the answer's head.
    #[error(transparent)]
    NotConnected(BindingError),
}

/// Requests to other servers. Redirects are not followed: signatures must not travel to another place.
pub(crate) trait Fetch {
    /// Sends one request.
    fn send(&self, request: OutgoingRequest) -> LocalBoxFuture<'_, Result<IncomingResponse, FetchError>>;
}

/// The bytes of a body, as they come.
pub(crate) trait ByteSource {
    /// All of it in one piece. Only for bodies whose length is known to be within the limit.
    fn whole(&mut self) -> LocalBoxFuture<'_, Result<Vec<u8>, BindingError>>;

    /// The next piece; `None` at the end.
    fn next_chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, BindingError>>;
}

/// The only clock. In a Worker it advances when something was waited for, not while code runs.
pub(crate) trait Clock {
    /// Now.
    fn now(&self) -> UnixMillis;

    /// Completes after `duration_ms`.
    fn sleep(&self, duration_ms: u64) -> LocalBoxFuture<'static, ()>;
}

/// The only source of randomness.
pub(crate) trait Entropy {
    /// 16 bytes that nobody can guess.
    fn bytes16(&self) -> Result<[u8; 16], BindingError>;
}

/// The Durable Objects that keep the tenants' quotas, one for each tenant.
pub(crate) trait QuotaObjects {
    /// Sends a [`lede_shared::quota::LeaseQuestion`], encoded, to the tenant's object; the answer is a
    /// [`lede_shared::quota::LeaseAnswer`], encoded.
    fn ask<'a>(
        &'a self,
        tenant: &'a TenantId,
        question: String,
    ) -> LocalBoxFuture<'a, Result<String, BindingError>>;
}

/// The platform's own limiter: requests per key in a period, counted roughly and in each data centre by itself.
pub(crate) trait FloodLimiter {
    /// Counts one request under `key`; `false` when there were too many.
    fn allows<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<bool, BindingError>>;
}

/// Work that goes on after the answer.
pub(crate) trait Background {
    /// Keeps the Worker alive until `work` is done, within the platform's limit of 30 s.
    fn wait_until(&self, work: LocalBoxFuture<'static, ()>);
}

/// Where log lines go.
pub(crate) trait LogSink {
    /// One line of JSON.
    fn write(&self, line: &str);
}

/// Everything the platform gives to one request.
#[derive(Clone)]
pub(crate) struct Bindings {
    pub(crate) isolate: Rc<Isolate>,
    pub(crate) captions: Rc<dyn WorkersKv>,
    pub(crate) keys: Rc<dyn WorkersKv>,
    pub(crate) quota_objects: Rc<dyn QuotaObjects>,
    /// By API key.
    pub(crate) flood_of_keys: Rc<dyn FloodLimiter>,
    /// By address, for callers without a known key.
    pub(crate) flood_of_strangers: Rc<dyn FloodLimiter>,
    pub(crate) colo: Rc<dyn ColoCache>,
    pub(crate) fetch: Rc<dyn Fetch>,
    pub(crate) clock: Rc<dyn Clock>,
    pub(crate) entropy: Rc<dyn Entropy>,
    pub(crate) background: Rc<dyn Background>,
    pub(crate) log: Rc<dyn LogSink>,
}

/// `work`, or `None` when it takes longer than `limit_ms`.
pub(crate) async fn within<T>(clock: &dyn Clock, limit_ms: u64, work: impl Future<Output = T>) -> Option<T> {
    let work = std::pin::pin!(work);
    match select(work, clock.sleep(limit_ms)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
