//! The facts of one request.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use lede_shared::clock::UnixMillis;
use lede_shared::headers::{TRACEPARENT, X_PRIORITY, X_REQUEST_ID, traceparent_is_valid};
use lede_shared::plan::KeyRecord;
use lede_shared::request_cache_control::RequestCacheControl;
use lede_shared::request_id::RequestId;

use crate::bindings::Bindings;
use crate::config::Config;
use crate::http::{CACHE_CONTROL, Headers};

/// What every step of a request may need to know. Work behind the answer keeps it alive by its `Rc`.
pub(crate) struct RequestContext {
    pub(crate) config: Rc<Config>,
    pub(crate) bindings: Bindings,
    pub(crate) trace: Trace,
    pub(crate) started_at: UnixMillis,
    /// The caller's `Cache-Control`.
    pub(crate) directives: RequestCacheControl,
    /// The same as it was sent, for the origin's caches.
    pub(crate) cache_control: Option<String>,
    /// How urgent the caller says it is.
    pub(crate) priority: Option<String>,
    pub(crate) spans: Spans,
    /// Whose request it is, once that is known; every answer tells them what is left of their quota.
    pub(crate) caller: OnceCell<Rc<KeyRecord>>,
}

impl RequestContext {
    pub(crate) fn new(config: Rc<Config>, bindings: Bindings, trace: Trace, headers: &Headers) -> Rc<Self> {
        let cache_control = headers.get(CACHE_CONTROL).map(str::to_owned);
        Rc::new(Self {
            config,
            trace,
            started_at: bindings.clock.now(),
            bindings,
            directives: cache_control.as_deref().map(RequestCacheControl::parse).unwrap_or_default(),
            cache_control,
            priority: headers.get(X_PRIORITY).map(str::to_owned),
            spans: Spans::default(),
            caller: OnceCell::new(),
        })
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.bindings.clock.now()
    }

    /// Milliseconds since the request came.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.now().since(self.started_at)
    }

    /// When the origin's answer is of no use any more, for work that begins now.
    pub(crate) fn origin_deadline(&self) -> UnixMillis {
        self.now().plus(self.config.origin_timeout_ms)
    }

    /// Waits for `work` and adds its time to one of [`Spans`].
    pub(crate) async fn timed<T>(&self, span: &Cell<Option<u64>>, work: impl Future<Output = T>) -> T {
        let begun = self.now();
        let output = work.await;
        span.set(Some(span.get().unwrap_or(0) + self.now().since(begun)));
        output
    }

    /// Lets `work` go on after the answer.
    pub(crate) fn behind(&self, work: impl Future<Output = ()> + 'static) {
        self.bindings.background.wait_until(Box::pin(work));
    }

    /// One line of JSON for the operator: what happened and why, never what a caller wrote.
    pub(crate) fn warn(&self, event: &'static str, cause: &str) {
        self.log("warning", event, cause);
    }

    /// The same of something that is as it should be.
    pub(crate) fn info(&self, event: &'static str, cause: &str) {
        self.log("info", event, cause);
    }

    fn log(&self, severity: &'static str, event: &'static str, cause: &str) {
        let request_id = self.trace.request_id.as_str();
        let line = serde_json::json!({
            "severity": severity, "event": event, "request_id": request_id, "cause": cause,
        });
        self.bindings.log.write(&line.to_string());
    }
}

/// The names under which a request is found in all logs.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) request_id: RequestId,
    /// W3C trace context, the caller's or a new one.
    pub(crate) traceparent: String,
}

impl Trace {
    /// Takes over what the caller sent when it is well formed, and makes the rest.
    pub(crate) fn of(headers: &Headers, bindings: &Bindings) -> Self {
        // Names need no secrecy, so a platform without entropy still answers.
        let entropy = || bindings.entropy.bytes16().unwrap_or([1; 16]);
        let request_id = headers.get(X_REQUEST_ID).and_then(RequestId::parse);
        let traceparent = headers.get(TRACEPARENT).filter(|value| traceparent_is_valid(value));
        Self {
            request_id: request_id.unwrap_or_else(|| RequestId::from_entropy(entropy())),
            traceparent: traceparent.map_or_else(|| new_traceparent(entropy(), entropy()), str::to_owned),
        }
    }
}

/// Version 00, not sampled.
fn new_traceparent(trace_id: [u8; 16], parent_id: [u8; 16]) -> String {
    format!("00-{}-{}-00", hex::encode(trace_id), hex::encode(&parent_id[..8]))
}

/// Where the milliseconds went; `None` for what was not waited for.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    pub(crate) key_ms: Cell<Option<u64>>,
    /// Looking for a cached answer, all tiers together.
    pub(crate) cache_ms: Cell<Option<u64>>,
    pub(crate) origin_ms: Cell<Option<u64>>,
}

impl Spans {
    /// The value of `Server-Timing`.
    pub(crate) fn server_timing(&self, edge_ms: u64) -> String {
        let mut value = format!("edge;dur={edge_ms}");
        let spans = [("key", &self.key_ms), ("cache", &self.cache_ms), ("origin", &self.origin_ms)];
        for (name, span) in spans {
            if let Some(duration_ms) = span.get() {
                value.push_str(&format!(", {name};dur={duration_ms}"));
            }
        }
        value
    }
}
