//! Real Redis servers, alone, as a replica and as a cluster.

use std::process::Command;
use std::time::{Duration, Instant};

use ::redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::{free_port, path_from_environment};

const READY_WAIT: Duration = Duration::from_secs(20);
/// Slots of a cluster, always.
const SLOTS: u16 = 16_384;
/// After so long without a word a node of the cluster counts as gone.
const NODE_TIMEOUT_MS: &str = "2000";

/// A running server that keeps nothing on disk.
pub struct Redis {
    process: Process,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    /// Starts a server on a free port and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start() -> Self {
        Self::start_with(free_port(), &[]).await
    }

    /// The same on a given port with more settings, as on its command line.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn start_with(port: u16, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(path_from_environment("LEDE_REDIS_SERVER"));
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()]);
        command.arg("--dir").arg(folder.path()).args(settings);
        let mut redis = Self { process: Process::start(command, false), port, _folder: folder };
        let until = Instant::now() + READY_WAIT;
        while redis.ask::<String>(&["PING"]).await.is_err() {
            assert!(!redis.process.has_ended(), "Redis ended:\n{}", redis.process.log());
            assert!(Instant::now() < until, "Redis does not answer:\n{}", redis.process.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        redis
    }

    /// A replica of this server.
    pub async fn replica(&self) -> Self {
        Self::start_with(free_port(), &["--replicaof", "127.0.0.1", &self.port.to_string()]).await
    }

    /// As `REDIS_URL` names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on, also for one started later in its place.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// One command on a connection of its own.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(READY_WAIT))
            .set_response_timeout(Some(READY_WAIT));
        let client = Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let (name, arguments) = words.split_first().expect("a command has a name");
        ::redis::cmd(name).arg(arguments).to_owned().query_async(&mut connection).await
    }

    /// The same where it has to succeed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn told<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.ask(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Stops it as it stands: connections stay open and nothing is answered.
    pub fn hang(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // One that is stopped would not hear that it has to end.
        if !self.process.has_ended() {
            self.go_on();
        }
    }
}

/// Three masters, each with a replica.
pub struct RedisCluster {
    /// The masters, then the replica of each in the same order.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts six servers and waits until they are one cluster.
    ///
    /// # Panics
    /// When they do not become one.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            let bus = free_port().to_string();
            let settings =
                ["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-port", &bus];
            nodes.push((Redis::start_with(free_port(), &settings).await, bus));
        }
        let (first, others) = nodes.split_first().expect("there are six");
        for (index, (master, _)) in nodes.iter().take(3).enumerate() {
            let share = SLOTS / 3 + 1;
            let from = u16::try_from(index).expect("three") * share;
            let to = (from + share - 1).min(SLOTS - 1);
            master.told::<String>(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]).await;
        }
        for (other, bus) in others {
            let port = other.port().to_string();
            first.0.told::<String>(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]).await;
        }
        let nodes: Vec<Redis> = nodes.into_iter().map(|(node, _)| node).collect();
        let cluster = Self { nodes };
        cluster.until("all know each other", |told| told.contains("cluster_known_nodes:6")).await;
        for (master, replica) in cluster.nodes.iter().zip(cluster.nodes.iter().skip(3)) {
            let id: String = master.told(&["CLUSTER", "MYID"]).await;
            replica.told::<String>(&["CLUSTER", "REPLICATE", &id]).await;
        }
        cluster.until("it works", |told| told.contains("cluster_state:ok")).await;
        cluster.until_replicated().await;
        cluster
    }

    /// All nodes, as `REDIS_URL` names them.
    #[must_use]
    pub fn url(&self) -> String {
        self.nodes.iter().map(Redis::url).collect::<Vec<_>>().join(",")
    }

    /// Waits until every node that runs says so in its `CLUSTER INFO`.
    async fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let until = Instant::now() + READY_WAIT;
        for node in &self.nodes {
            while !is_so(&node.told::<String>(&["CLUSTER", "INFO"]).await) {
                assert!(Instant::now() < until, "not before its time: {what}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn until_replicated(&self) {
        let until = Instant::now() + READY_WAIT;
        for replica in self.nodes.iter().skip(3) {
            while !replica.told::<String>(&["INFO", "replication"]).await.contains("master_link_status:up") {
                assert!(Instant::now() < until, "a replica has no link to its master");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
