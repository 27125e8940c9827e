//! The way to Redis, kept up in the background.
//!
//! Nobody waits for a connection: while there is none, who asks is told so at once. One task connects, in bounded time and
//! with growing pauses, greets (reads what has to be known before anything from Redis may be believed), and only
//! then lends the connection out. It asks for a heartbeat several times a second, and again whenever somebody's call
//! broke; two that stay away end the connection. Who calls a Redis that is there but too slow is held back by a breaker.

mod address;
mod connection;
mod subscription;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use lede_shared::breaker::{Breaker, BreakerSettings, Pass, backoff_ms};
use redis::{Cmd, FromRedisValue, Pipeline, RedisResult};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

pub use self::address::{AddressError, RedisAddress};
pub use self::connection::{RedisConnection, RedisFault};
pub use self::subscription::{Subscription, Told};

/// Stands before everything of ours in Redis. The number changes with the meaning of what is kept.
pub const PREFIX: &str = "lede:r1:";
/// Under this name stands how often the cold tier has been cleared.
pub(crate) const GENERATION: &str = "lede:r1:generation";

/// How often the connection has to show that it lives, and within which time.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(250);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(350);
/// Heartbeats in a row that stay away when a connection is given up: one may be lost to a busy machine.
const HEARTBEATS_MISSED_MAX: u32 = 2;
/// For connecting to all nodes of a cluster and for the greeting.
const GREETING_TIMEOUT: Duration = Duration::from_millis(2_000);
/// Pauses between tries to connect.
const PAUSE_BASE_MS: u64 = 50;
const PAUSE_MAX_MS: u64 = 1_000;
const BREAKER: BreakerSettings = BreakerSettings { failures_to_open: 3, open_for_ms: 1_000 };

/// What is done with a new connection before anybody else may use it.
pub type Greeting = Box<dyn Fn(RedisConnection) -> BoxFuture<'static, RedisResult<()>> + Send + Sync>;

/// The way to Redis. Clones share it; the last one ends it.
#[derive(Clone, Debug)]
pub struct RedisLink {
    state: Arc<State>,
    _keeper: Arc<Keeper>,
}

#[derive(Debug)]
struct State {
    address: RedisAddress,
    connection: RwLock<Option<RedisConnection>>,
    breaker: Mutex<Breaker>,
    /// Somebody's call broke.
    doubted: Notify,
    generation: AtomicU64,
    /// Where the breaker's clock starts.
    started_at: Instant,
}

/// The task that keeps the connection up; it ends with the last who uses it.
#[derive(Debug)]
struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RedisLink {
    /// Begins to connect, and goes on for as long as the link lives. Needs a tokio runtime.
    #[must_use]
    pub fn start(address: RedisAddress, greeting: Greeting) -> Self {
        let state = Arc::new(State {
            address,
            connection: RwLock::default(),
            breaker: Mutex::new(Breaker::new(BREAKER)),
            doubted: Notify::new(),
            generation: AtomicU64::new(0),
            started_at: Instant::now(),
        });
        let keeper = tokio::spawn(keep_up(Arc::clone(&state), greeting));
        Self { state, _keeper: Arc::new(Keeper(keeper.abort_handle())) }
    }

    /// Where Redis is.
    #[must_use]
    pub fn address(&self) -> &RedisAddress {
        &self.state.address
    }

    /// Is there a connection, and do calls pass?
    #[must_use]
    pub fn is_up(&self) -> bool {
        let is_lent = read(&self.state.connection).is_some();
        is_lent && lock(&self.state.breaker).open_for_ms(self.state.now_ms()) == 0
    }

    /// How often the cold tier has been cleared, as the latest heartbeat said.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.state.generation.load(Ordering::Relaxed)
    }

    /// Takes over a generation that is known sooner than the next heartbeat.
    pub(crate) fn set_generation(&self, generation: u64) {
        self.state.generation.store(generation, Ordering::Relaxed);
    }

    /// One command, for at most that long.
    ///
    /// # Errors
    /// See [`RedisFault`].
    pub async fn ask<T: FromRedisValue>(&self, command: Cmd, at_most: Duration) -> Result<T, RedisFault> {
        self.with(at_most, |mut connection| async move { command.query_async(&mut connection).await }).await
    }

    /// Several commands in one go, for at most that long. In a cluster their keys must lie together.
    ///
    /// # Errors
    /// See [`RedisFault`].
    pub async fn ask_all<T: FromRedisValue>(
        &self,
        commands: Pipeline,
        at_most: Duration,
    ) -> Result<T, RedisFault> {
        self.with(at_most, |mut connection| async move { commands.query_async(&mut connection).await }).await
    }

    /// Whatever `call` does with the connection, for at most that long.
    ///
    /// # Errors
    /// See [`RedisFault`].
    pub async fn with<T, F>(
        &self,
        at_most: Duration,
        call: impl FnOnce(RedisConnection) -> F,
    ) -> Result<T, RedisFault>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let state = &*self.state;
        let connection = read(&state.connection).clone().ok_or(RedisFault::Down)?;
        let pass = lock(&state.breaker).pass(state.now_ms());
        let pass = pass.map_err(|open| RedisFault::LeftAlone { wait_ms: open.wait_ms })?;
        let mut running = RunningCall { state, pass: Some(pass), began: Instant::now(), at_most };
        let answer = match timeout(at_most, call(connection)).await {
            Ok(answer) => answer.map_err(|error| RedisFault::from(&error)),
            Err(_) => Err(RedisFault::TimedOut),
        };
        running.ended(answer.as_ref().map_or_else(RedisFault::is_an_answer, |_| true));
        answer
    }
}

/// A call that the breaker waits for. Who gives one up after half of its time has seen a failure; who does so before has
/// seen nothing.
struct RunningCall<'a> {
    state: &'a State,
    pass: Option<Pass>,
    began: Instant,
    at_most: Duration,
}

impl RunningCall<'_> {
    fn ended(&mut self, is_well: bool) {
        let Some(pass) = self.pass.take() else { return };
        if is_well {
            return lock(&self.state.breaker).succeeded(pass);
        }
        let opened = lock(&self.state.breaker).failed(pass, self.state.now_ms());
        if opened {
            tracing::warn!(open_ms = BREAKER.open_for_ms, "Redis keeps failing and is left alone for a while");
        }
        self.state.doubted.notify_one();
    }
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        if self.began.elapsed() > self.at_most / 2 {
            self.ended(false);
        } else if let Some(pass) = self.pass.take() {
            lock(&self.state.breaker).abandoned(pass);
        }
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lend(&self, connection: Option<RedisConnection>) {
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    async fn heartbeat(&self, mut connection: RedisConnection) -> Result<(), RedisFault> {
        let asked = redis::cmd("GET").arg(GENERATION).to_owned();
        let generation = timeout(HEARTBEAT_TIMEOUT, asked.query_async::<redis::Value>(&mut connection)).await;
        let generation =
            generation.map_err(|_| RedisFault::TimedOut)?.map_err(|error| RedisFault::from(&error))?;
        // Anybody may have written anything there; what is no number is none.
        let generation = redis::from_redis_value::<Option<u64>>(generation).ok().flatten().unwrap_or(0);
        self.generation.store(generation, Ordering::Relaxed);
        Ok(())
    }
}

async fn keep_up(state: Arc<State>, greeting: Greeting) {
    let mut tries = 0;
    loop {
        match connect(&state, &greeting).await {
            Ok(connection) => {
                tracing::info!(address = %state.address, "connected to Redis");
                tries = 0;
                *lock(&state.breaker) = Breaker::new(BREAKER);
                state.lend(Some(connection.clone()));
                let fault = heartbeats_until_lost(&state, &connection).await;
                state.lend(None);
                tracing::warn!(%fault, "Redis is lost; the cache goes on without it");
            }
            Err(fault) if tries == 0 => {
                tracing::warn!(address = %state.address, %fault, "Redis cannot be reached")
            }
            Err(_) => {}
        }
        tries += 1;
        tokio::time::sleep(pause_before(tries)).await;
    }
}

async fn connect(state: &State, greeting: &Greeting) -> Result<RedisConnection, RedisFault> {
    let connecting = async {
        let mut connection = RedisConnection::open(&state.address).await?;
        prove(&mut connection).await?;
        greeting(connection.clone()).await?;
        Ok(connection)
    };
    let connected = timeout(GREETING_TIMEOUT, connecting).await.map_err(|_| RedisFault::TimedOut)?;
    let connection = connected.map_err(|error| RedisFault::from(&error))?;
    state.heartbeat(connection.clone()).await?;
    Ok(connection)
}

/// Whoever says yes to everything is no Redis: it has to repeat what it cannot guess.
async fn prove(connection: &mut RedisConnection) -> RedisResult<()> {
    let riddle = getrandom::u64().unwrap_or_default().to_string();
    let answer: String = redis::cmd("PING").arg(&riddle).to_owned().query_async(connection).await?;
    if answer == riddle { Ok(()) } else { Err((redis::ErrorKind::UnexpectedReturnType, "no Redis").into()) }
}

async fn heartbeats_until_lost(state: &State, connection: &RedisConnection) -> RedisFault {
    let mut missed = 0;
    loop {
        if missed == 0 {
            // Who is doubted shows at once that it lives.
            let _ = timeout(HEARTBEAT_EVERY, state.doubted.notified()).await;
        }
        match state.heartbeat(connection.clone()).await {
            Ok(()) => missed = 0,
            Err(RedisFault::TimedOut) if missed + 1 < HEARTBEATS_MISSED_MAX => missed += 1,
            Err(fault) => return fault,
        }
    }
}

/// The pause before try number `tries`.
fn pause_before(tries: u32) -> Duration {
    // Without entropy all wait the longest: late is better than together.
    let entropy = getrandom::u64().unwrap_or(u64::MAX);
    Duration::from_millis(backoff_ms(PAUSE_BASE_MS, PAUSE_MAX_MS, tries, entropy))
}

fn read<T>(value: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    value.read().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is complete in itself, so a poisoned state is still a good one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
