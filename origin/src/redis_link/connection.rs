//! A connection, to one server or to a cluster, and what went wrong with it.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, Value,
};

use super::RedisAddress;

/// For one node, from its name to its greeting.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// For one answer, where the caller names no shorter time.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Commands in flight on one connection; more of them wait, each for as long as it has.
const IN_FLIGHT_MAX: usize = 1_024;
/// Asking again where a cluster has moved something, and the pause before.
const CLUSTER_RETRIES: u32 = 2;
const CLUSTER_RETRY_WAIT_MS: u64 = 20;

/// A connection that many may use at once. Cheap to clone.
#[derive(Clone)]
pub enum RedisConnection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To as many nodes of a cluster as there are.
    Cluster(ClusterConnection),
}

/// Why Redis gave no answer that can be used. It names neither keys nor what Redis wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisFault {
    /// There is no connection.
    #[error("there is no connection to Redis")]
    Down,
    /// It failed too often and is left alone for a while.
    #[error("Redis is left alone for another {wait_ms} ms")]
    LeftAlone {
        /// Until it is asked again.
        wait_ms: u64,
    },
    /// No answer in time.
    #[error("Redis did not answer in time")]
    TimedOut,
    /// It answered that it will not.
    #[error("Redis refused ({0})")]
    Refused(&'static str),
    /// It answered something else than was asked for.
    #[error("Redis answered nonsense")]
    Nonsense,
    /// The connection broke.
    #[error("the connection to Redis broke")]
    Broken,
}

impl RedisConnection {
    /// Connects.
    pub(super) async fn open(address: &RedisAddress) -> RedisResult<Self> {
        // An error means that one is installed already, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if address.is_cluster() {
            return open_cluster(address).await.map(Self::Cluster);
        }
        let client = first_client(address)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_concurrency_limit(IN_FLIGHT_MAX);
        client.get_multiplexed_async_connection_with_config(&config).await.map(Self::Single)
    }
}

fn first_client(address: &RedisAddress) -> RedisResult<Client> {
    let node = address.nodes().first().ok_or((ErrorKind::InvalidClientConfig, "no node"))?;
    Client::open(node.clone())
}

async fn open_cluster(address: &RedisAddress) -> RedisResult<ClusterConnection> {
    let client = ClusterClient::builder(address.nodes().iter().cloned())
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(RESPONSE_TIMEOUT)
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(CLUSTER_RETRY_WAIT_MS)
        .max_retry_wait(CLUSTER_RETRY_WAIT_MS)
        .connection_concurrency_limit(IN_FLIGHT_MAX)
        .build()?;
    client.get_async_connection().await
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

impl RedisFault {
    /// Is Redis there and healthy, and only will not do this?
    #[must_use]
    pub const fn is_an_answer(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// What Redis wrote is left out: it may repeat what it was told, and that holds keys and a password.
impl From<&RedisError> for RedisFault {
    fn from(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io if error.is_timeout() => Self::TimedOut,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Nonsense,
            ErrorKind::AuthenticationFailed => Self::Refused("authentication failed"),
            ErrorKind::Extension => Self::Refused(of_extension(error.code())),
            ErrorKind::Server(kind) => of_server(kind),
            _ => Self::Broken,
        }
    }
}

/// A node that will do nothing for now is as good as gone; everything else is an answer.
fn of_server(kind: ServerErrorKind) -> RedisFault {
    match kind {
        ServerErrorKind::NoPerm => RedisFault::Refused("no permission"),
        ServerErrorKind::NoScript => RedisFault::Refused("no script"),
        ServerErrorKind::ResponseError | ServerErrorKind::ExecAbort | ServerErrorKind::CrossSlot => {
            RedisFault::Refused("an error")
        }
        _ => RedisFault::Broken,
    }
}

/// Only what is known, because any text could stand there.
fn of_extension(code: Option<&str>) -> &'static str {
    match code {
        Some("OOM") => "out of memory",
        Some("WRONGTYPE") => "wrong type",
        Some("NOAUTH" | "WRONGPASS") => "authentication failed",
        Some("MISCONF") => "it cannot save",
        _ => "an error",
    }
}

impl std::fmt::Debug for RedisConnection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Single(_) => "RedisConnection::Single",
            Self::Cluster(_) => "RedisConnection::Cluster",
        })
    }
}
