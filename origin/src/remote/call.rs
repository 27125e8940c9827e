//! One HTTP call: bounded in size, following nobody elsewhere, and saying what its failure means.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect, retry};

use super::RemoteSettings;
use super::wire::Completion;

/// How long an unused connection is kept open.
const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(30);
const TOO_MANY_REQUESTS: u16 = 429;

/// Why a call brought no completion. Shows nothing of what was sent or received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request could not be written out.
    #[error("the request to the provider could not be made: {0}")]
    NotSent(String),
    /// No connection, or none that can be trusted.
    #[error("the provider cannot be reached: {0}")]
    Unreachable(String),
    /// The connection ended before the answer did.
    #[error("the connection to the provider was cut: {0}")]
    Cut(String),
    /// No answer in time.
    #[error("the provider did not answer in time")]
    TimedOut,
    /// Another status than 200.
    #[error("the provider answered with status {status}")]
    Status {
        /// The status.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// A longer answer than is read.
    #[error("the provider's answer is longer than {0} bytes")]
    TooLarge(usize),
    /// An answer that is no chat completion.
    #[error("the provider's answer is not a chat completion")]
    NotACompletion,
}

/// What the end of a call says about the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Up,
    Down,
    Unknown,
}

impl CallError {
    pub(super) fn not_sent(error: serde_json::Error) -> Self {
        Self::NotSent(error.to_string())
    }

    /// Is the very same call worth making again?
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status { status, .. } => *status == TOO_MANY_REQUESTS || *status >= 500,
            _ => false,
        }
    }

    /// How long the provider asks to be left alone.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A provider that refuses one request for what stands in it is up; one that refuses the key is not.
    pub(super) const fn health(&self) -> Health {
        match self {
            Self::NotSent(_) => Health::Unknown,
            Self::Status { status: 400 | 413 | 415 | 422, .. } => Health::Up,
            _ => Health::Down,
        }
    }
}

/// The HTTP client, set up for one provider.
#[derive(Debug)]
pub(super) struct Caller {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    response_bytes_max: usize,
}

impl Caller {
    pub(super) fn new(settings: &RemoteSettings) -> reqwest::Result<Self> {
        // An error means that one is installed already, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(settings.timeout)
            .pool_idle_timeout(IDLE_CONNECTION_MAX)
            .pool_max_idle_per_host(settings.concurrency_max)
            .user_agent(concat!("lede-origin/", env!("CARGO_PKG_VERSION")));
        // On this machine there is neither a proxy nor a certificate on the way.
        let is_plain = settings.base_url.scheme() == "http";
        let builder = if is_plain { builder.no_proxy().tls_certs_only([]) } else { builder.https_only(true) };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &settings.api_key {
            headers.insert(AUTHORIZATION, key.authorization());
        }
        let client = builder.build()?;
        let endpoint = endpoint(&settings.base_url);
        Ok(Self { client, endpoint, headers, response_bytes_max: settings.response_bytes_max })
    }

    /// Sends `body` and reads the completion that it is answered with.
    pub(super) async fn call(&self, body: Bytes) -> Result<Completion, CallError> {
        let request = self.client.post(self.endpoint.clone()).headers(self.headers.clone()).body(body);
        let response = request.send().await.map_err(|error| not_answered(&error))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(CallError::Status { status, retry_after: retry_after(response.headers()) });
        }
        let body = self.read(response).await?;
        Completion::read(&body).ok_or(CallError::NotACompletion)
    }

    async fn read(&self, mut response: Response) -> Result<Bytes, CallError> {
        let bytes_max = self.response_bytes_max;
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        if announced > bytes_max {
            return Err(CallError::TooLarge(bytes_max));
        }
        let mut body = BytesMut::with_capacity(announced);
        while let Some(chunk) = response.chunk().await.map_err(|error| CallError::Cut(cause(&error)))? {
            if body.len() + chunk.len() > bytes_max {
                return Err(CallError::TooLarge(bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// `chat/completions` under the base, whether that ends with a slash or not.
fn endpoint(base_url: &Url) -> Url {
    let mut endpoint = base_url.clone();
    let path = format!("{}/chat/completions", base_url.path().trim_end_matches('/'));
    endpoint.set_path(&path);
    endpoint
}

fn not_answered(error: &reqwest::Error) -> CallError {
    if error.is_connect() { CallError::Unreachable(cause(error)) } else { CallError::Cut(cause(error)) }
}

/// The innermost reason; what is around it repeats the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Seconds; a date is not worth reading for the short waits that fit a deadline.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_stands_under_the_base_with_or_without_a_slash() {
        for (base, expected) in [
            ("https://api.example.com/v1", "https://api.example.com/v1/chat/completions"),
            ("https://api.example.com/v1/", "https://api.example.com/v1/chat/completions"),
            ("http://localhost:8000", "http://localhost:8000/chat/completions"),
        ] {
            assert_eq!(endpoint(&base.parse().unwrap()).as_str(), expected);
        }
    }

    #[test]
    fn only_a_busy_failing_or_unreachable_provider_is_asked_again() {
        let status = |status| CallError::Status { status, retry_after: None };
        for retryable in [status(429), status(500), status(503), CallError::Unreachable(String::new())] {
            assert!(retryable.is_retryable() && retryable.health() == Health::Down, "{retryable}");
        }
        for down in [status(301), status(401), status(404), CallError::TimedOut, CallError::NotACompletion] {
            assert!(!down.is_retryable() && down.health() == Health::Down, "{down}");
        }
        assert!(!status(400).is_retryable() && status(400).health() == Health::Up);
    }

    #[test]
    fn only_seconds_are_read_as_a_wait() {
        for (value, expected) in [
            ("3", Some(3)),
            (" 3 ", Some(3)),
            ("-1", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("1e9", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{value}");
        }
    }
}
