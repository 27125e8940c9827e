//! What is told to everybody who listens on a channel.

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisError, RedisResult};
use tokio::time::timeout;

use super::connection::CONNECT_TIMEOUT;
use super::{RedisAddress, RedisFault, pause_before};

/// How long silence is trusted: then the connection has to show that it lives.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Listening, for the first time or again: what was told before has been missed.
    Joined,
    /// A message. Anybody may have written it.
    Message(Vec<u8>),
}

/// One who listens, on a connection of its own, and goes back whenever that breaks.
pub struct Subscription {
    address: RedisAddress,
    channel: &'static str,
    live: Option<(PubSubSink, PubSubStream)>,
    tries: u32,
}

impl Subscription {
    /// One who will listen on `channel`; nothing is connected yet.
    #[must_use]
    pub const fn new(address: RedisAddress, channel: &'static str) -> Self {
        Self { address, channel, live: None, tries: 0 }
    }

    /// What comes next, however long that takes.
    pub async fn next(&mut self) -> Told {
        loop {
            let Some((sink, stream)) = &mut self.live else {
                if self.join().await {
                    return Told::Joined;
                }
                continue;
            };
            match timeout(PING_EVERY, stream.next()).await {
                Ok(Some(message)) => return Told::Message(message.get_payload_bytes().to_vec()),
                Ok(None) => self.live = None,
                Err(_) => {
                    let pong = timeout(PING_TIMEOUT, sink.ping::<redis::Value>()).await;
                    if !matches!(pong, Ok(Ok(_))) {
                        self.live = None;
                    }
                }
            }
        }
    }

    /// One try, after a pause that grows. In a cluster every node passes on what is told to any of them.
    async fn join(&mut self) -> bool {
        if self.tries > 0 {
            tokio::time::sleep(pause_before(self.tries)).await;
        }
        let joined = timeout(CONNECT_TIMEOUT, self.listen()).await;
        match joined {
            Ok(Ok(live)) => {
                self.live = Some(live);
                self.tries = 0;
            }
            Ok(Err(error)) => {
                tracing::debug!(fault = %RedisFault::from(&error), "not listening to Redis");
                self.tries = self.tries.saturating_add(1);
            }
            Err(_) => self.tries = self.tries.saturating_add(1),
        }
        self.live.is_some()
    }

    async fn listen(&self) -> RedisResult<(PubSubSink, PubSubStream)> {
        let nodes = self.address.nodes();
        let index = self.tries as usize % nodes.len().max(1);
        let node = nodes.get(index).ok_or_else(no_node)?;
        let (mut sink, stream) = Client::open(node.clone())?.get_async_pubsub().await?.split();
        sink.subscribe(self.channel).await?;
        Ok((sink, stream))
    }
}

fn no_node() -> RedisError {
    (redis::ErrorKind::InvalidClientConfig, "no node").into()
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Subscription({}, {})", self.address, self.channel)
    }
}
