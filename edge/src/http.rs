//! Requests and answers as the pipeline sees them: plain Rust, so that it runs natively as well as in a Worker.

use std::fmt;

use serde::Serialize;

use crate::bindings::ByteSource;

pub(crate) const ACCEPT: &str = "accept";
pub(crate) const AGE: &str = "age";
pub(crate) const ALLOW: &str = "allow";
pub(crate) const AUTHORIZATION: &str = "authorization";
pub(crate) const CACHE_CONTROL: &str = "cache-control";
pub(crate) const CONTENT_LENGTH: &str = "content-length";
pub(crate) const CONTENT_TYPE: &str = "content-type";
/// The caller's address, set by the platform whatever the caller sends.
pub(crate) const CF_CONNECTING_IP: &str = "cf-connecting-ip";
pub(crate) const ETAG: &str = "etag";
pub(crate) const IF_NONE_MATCH: &str = "if-none-match";
pub(crate) const RETRY_AFTER: &str = "retry-after";
pub(crate) const VARY: &str = "vary";
pub(crate) const WWW_AUTHENTICATE: &str = "www-authenticate";

/// Media type of every answer that is not a problem.
pub(crate) const JSON: &str = "application/json";

/// Headers by name, which is lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers(pub(crate) Vec<(&'static str, String)>);

impl Headers {
    /// The first value under `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// One more header; the caller sees to it that it is not there yet.
    pub(crate) fn push(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, value.into()));
    }

    /// `content-length`, when it is a number.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.get(CONTENT_LENGTH)?.trim().parse().ok()
    }
}

/// The methods that some route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Options,
    Post,
    /// Any other.
    Other,
}

impl Method {
    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "POST" => Self::Post,
            _ => Self::Other,
        }
    }
}

/// What a caller sent. The body is not read until a route asks for it.
pub(crate) struct Request {
    pub(crate) method: Method,
    /// As sent, without the query.
    pub(crate) path: String,
    /// Without the `?`; empty when there is none.
    pub(crate) query: String,
    /// Those of [`Request::HEADERS_READ`] that were sent.
    pub(crate) headers: Headers,
    pub(crate) body: Option<Box<dyn ByteSource>>,
}

impl Request {
    /// The headers that are brought over from the platform; no others are looked at.
    pub(crate) const HEADERS_READ: [&'static str; 9] = [
        ACCEPT,
        AUTHORIZATION,
        CACHE_CONTROL,
        CF_CONNECTING_IP,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        IF_NONE_MATCH,
        lede_shared::headers::TRACEPARENT,
        lede_shared::headers::X_REQUEST_ID,
    ];
}

/// What the caller gets.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Body,
}

/// The body of an answer.
pub(crate) enum Body {
    /// All of it; empty for an answer without one.
    Whole(Vec<u8>),
    /// As it comes: passed on piece by piece. When the caller leaves, it is dropped, and its sender learns of it.
    Streamed(Box<dyn ByteSource>),
}

impl Body {
    /// The body of an answer without one.
    pub(crate) const fn empty() -> Self {
        Self::Whole(Vec::new())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(body) => write!(formatter, "{}", String::from_utf8_lossy(body)),
            Self::Streamed(_) => formatter.write_str("Streamed(…)"),
        }
    }
}

impl Response {
    /// 200 with a body that is JSON already.
    pub(crate) fn json(body: Vec<u8>) -> Self {
        Self { status: 200, headers: Headers(vec![(CONTENT_TYPE, JSON.to_owned())]), body: Body::Whole(body) }
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// 304: the headers without the body they are about.
    pub(crate) fn not_modified(mut self) -> Self {
        self.status = 304;
        self.headers.0.retain(|(name, _)| *name != CONTENT_TYPE);
        self.body = Body::empty();
        self
    }
}

/// The JSON of one of the contract's types. They have string keys and no part that refuses to be written, so this
/// cannot fail; if it did, an empty object would be easier to bear than a panic.
pub(crate) fn to_json(content: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(content).unwrap_or_else(|_| b"{}".to_vec())
}

/// Path and query of an absolute URL.
pub(crate) fn path_and_query(url: &str) -> (&str, &str) {
    let after_scheme = url.find("://").map_or(url, |index| &url[index + 3..]);
    let target = after_scheme.find(['/', '?']).map_or("/", |index| &after_scheme[index..]);
    let target = target.split('#').next().unwrap_or_default();
    target.split_once('?').unwrap_or((target, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_into_path_and_query() {
        for (url, expected) in [
            ("http://127.0.0.1:8787/api/v14/generate?a=b?c", ("/api/v14/generate", "a=b?c")),
            ("https://lede.example/health", ("/health", "")),
            ("https://lede.example", ("/", "")),
            ("https://lede.example/x?y#z", ("/x", "y")),
        ] {
            assert_eq!(path_and_query(url), expected, "{url}");
        }
    }
}
