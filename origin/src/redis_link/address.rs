//! Where a Redis is, as `REDIS_URL` says it. The password shows in nothing that is printed.

use std::fmt;

use redis::cluster::ClusterClient;
use redis::{ConnectionInfo, IntoConnectionInfo};

/// Most nodes that may be named; a cluster tells of the others itself.
const NODES_MAX: usize = 64;
const CLUSTER_MARK: &str = "+cluster";

/// One server, or some nodes of a cluster.
#[derive(Clone)]
pub struct RedisAddress {
    nodes: Vec<ConnectionInfo>,
    is_cluster: bool,
}

/// Why a text is no address. It repeats nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No URL of a Redis.
    #[error(
        "must be redis://[user:password@]host[:port][/database] or rediss://…; for a cluster redis+cluster://…, or several with commas between them"
    )]
    NotAUrl,
    /// The nodes of a cluster are reached in one way.
    #[error("the nodes of a cluster must have one user, password, scheme and protocol, and no database but 0")]
    NodesDiffer,
    /// Too many nodes.
    #[error("names more than {NODES_MAX} nodes; some of a cluster's nodes are enough")]
    TooManyNodes,
}

impl RedisAddress {
    /// Reads `redis://user:password@host:port/database`, `rediss://…` (TLS) or `unix:///path`. Several URLs with commas between
    /// them, or one with the scheme `redis+cluster` or `rediss+cluster`, are nodes of a cluster.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let urls: Vec<&str> = text.split(',').map(str::trim).collect();
        if urls.len() > NODES_MAX {
            return Err(AddressError::TooManyNodes);
        }
        let is_cluster = urls.len() > 1 || urls.iter().any(|url| scheme(url).ends_with(CLUSTER_MARK));
        let nodes = urls.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
        let agree = || {
            nodes.iter().all(|node| node.redis_settings().db() == 0) && ClusterClient::new(nodes.clone()).is_ok()
        };
        if is_cluster && !agree() {
            return Err(AddressError::NodesDiffer);
        }
        Ok(Self { nodes, is_cluster })
    }

    /// Is it a cluster?
    #[must_use]
    pub const fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// How each named node is reached; at least one.
    pub(super) fn nodes(&self) -> &[ConnectionInfo] {
        &self.nodes
    }
}

fn scheme(url: &str) -> &str {
    url.split_once("://").map_or("", |(scheme, _)| scheme)
}

fn node(url: &str) -> Result<ConnectionInfo, AddressError> {
    let (scheme, rest) = url.split_once("://").ok_or(AddressError::NotAUrl)?;
    let url = [scheme.trim_end_matches(CLUSTER_MARK), "://", rest].concat();
    let node = url.into_connection_info().map_err(|_| AddressError::NotAUrl)?;
    node.addr().is_supported().then_some(node).ok_or(AddressError::NotAUrl)
}

/// Hosts and ports only.
impl fmt::Display for RedisAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{}", node.addr())?;
        }
        Ok(())
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedisAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_url_is_a_server_and_several_are_a_cluster() {
        let one = RedisAddress::parse("redis://10.0.0.1:6380/2").unwrap();
        assert_eq!((one.is_cluster(), one.to_string().as_str()), (false, "10.0.0.1:6380"));
        let several = RedisAddress::parse("rediss://10.0.0.1, rediss://10.0.0.2:7000").unwrap();
        assert_eq!((several.is_cluster(), several.to_string().as_str()), (true, "10.0.0.1:6379,10.0.0.2:7000"));
        assert!(RedisAddress::parse("redis+cluster://cache.internal").unwrap().is_cluster());
        assert!(!RedisAddress::parse("unix:///run/redis.sock").unwrap().is_cluster());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "redis", "10.0.0.1:6379", "http://10.0.0.1", "redis://10.0.0.1,", "redis://h:port"] {
            assert_eq!(RedisAddress::parse(text).unwrap_err(), AddressError::NotAUrl, "{text}");
        }
        for text in [
            "redis://10.0.0.1/1,redis://10.0.0.2/1",
            "redis://10.0.0.1,rediss://10.0.0.2",
            "redis://u:one@10.0.0.1,redis://u:two@10.0.0.2",
            "unix:///run/one.sock,unix:///run/two.sock",
        ] {
            assert_eq!(RedisAddress::parse(text).unwrap_err(), AddressError::NodesDiffer, "{text}");
        }
        let many = vec!["redis://10.0.0.1"; NODES_MAX + 1].join(",");
        assert_eq!(RedisAddress::parse(&many).unwrap_err(), AddressError::TooManyNodes);
    }

    #[test]
    fn the_password_shows_nowhere() {
        let address = RedisAddress::parse("redis://lede:open-sesame@10.0.0.1").unwrap();
        assert!(!format!("{address} {address:?}").contains("sesame"));
        let error = RedisAddress::parse("redis://lede:open-sesame@10.0.0.1:port").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sesame"));
    }
}
