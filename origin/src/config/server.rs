//! Connections and time limits.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, within};

const HOUR_MS: u64 = 3_600_000;

/// Connections and time limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ServerConfig {
    /// `LEDE_LISTEN`: address and port. Default 127.0.0.1:8140.
    pub listen: SocketAddr,
    /// `LEDE_CONNECTIONS_MAX`: connections at once; more wait in the kernel. Default 4,096.
    pub connections_max: usize,
    /// `LEDE_HEADER_READ_TIMEOUT_MS`: for a request's head to arrive. Default 10 s.
    pub header_read_timeout_ms: u64,
    /// `LEDE_BODY_READ_TIMEOUT_MS`: for a request's body to arrive. Default 10 s.
    pub body_read_timeout_ms: u64,
    /// `LEDE_REQUEST_TIMEOUT_MS`: for an answer; the edge may ask for less. Default 30 s.
    pub request_timeout_ms: u64,
    /// `LEDE_DRAIN_TIMEOUT_MS`: for what runs to finish after SIGTERM. Default 20 s.
    pub drain_timeout_ms: u64,
    /// `LEDE_BATCH_CONCURRENCY_MAX`: requests of one batch that are worked on at once. Default 4.
    pub batch_concurrency_max: usize,
    /// `LEDE_STREAM_KEEP_ALIVE_MS`: after so long without an event a stream shows a sign of life. Default 10 s.
    pub stream_keep_alive_ms: u64,
    /// `LEDE_ADMIN_REQUESTS_PER_MINUTE`: requests for `/performance/…` that each tenant may send. Default 120.
    pub admin_requests_per_minute: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8140)),
            connections_max: 4_096,
            header_read_timeout_ms: 10_000,
            body_read_timeout_ms: 10_000,
            request_timeout_ms: 30_000,
            drain_timeout_ms: 20_000,
            batch_concurrency_max: 4,
            stream_keep_alive_ms: 10_000,
            admin_requests_per_minute: 120,
        }
    }
}

impl ServerConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("connections_max", self.connections_max, 1, 1_000_000)?;
        within("header_read_timeout_ms", self.header_read_timeout_ms, 1, HOUR_MS)?;
        within("body_read_timeout_ms", self.body_read_timeout_ms, 1, HOUR_MS)?;
        within("request_timeout_ms", self.request_timeout_ms, 1, HOUR_MS)?;
        within("drain_timeout_ms", self.drain_timeout_ms, 0, HOUR_MS)?;
        within("batch_concurrency_max", self.batch_concurrency_max, 1, 100)?;
        within("stream_keep_alive_ms", self.stream_keep_alive_ms, 1, HOUR_MS)?;
        within("admin_requests_per_minute", self.admin_requests_per_minute, 1, 1_000_000)
    }

    /// Time for an answer.
    #[must_use]
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// Time between two signs of life of a stream.
    #[must_use]
    pub const fn stream_keep_alive(&self) -> Duration {
        Duration::from_millis(self.stream_keep_alive_ms)
    }

    /// Time for a body.
    #[must_use]
    pub const fn body_read_timeout(&self) -> Duration {
        Duration::from_millis(self.body_read_timeout_ms)
    }
}
