//! The bindings' twins: the same contracts kept in memory, with faults that can be switched on.

mod limits;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, pending, ready};
use lede_shared::clock::UnixMillis;

use super::{
    Background, BindingError, ByteSource, Clock, ColoCache, Entropy, Fetch, FetchError, IncomingResponse, LogSink,
    OutgoingRequest, WorkersKv,
};

pub(crate) use limits::{FloodLimiterInMemory, QuotaObjectsInMemory};
/// Runs `work` for as long as it goes on by itself. `None` when it waits for something that will not come: nobody waits
/// for a twin.
pub(crate) fn settled<T>(work: impl Future<Output = T>) -> Option<T> {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let (waker, mut work) = (Waker::from(Arc::clone(&woken)), std::pin::pin!(work));
    while woken.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(output) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
    }
    None
}

/// What a store does when it is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StoreHealth {
    #[default]
    Sound,
    /// Every call fails at once.
    Failing,
    /// No call ever ends.
    Hanging,
}

/// A value and the seconds it was to be kept.
type Kept = (Vec<u8>, u64);

/// Workers KV without its delays: a write is seen at once.
#[derive(Default)]
pub(crate) struct WorkersKvInMemory {
    pub(crate) entries: RefCell<BTreeMap<String, Kept>>,
    /// Of reads and writes.
    pub(crate) health: Cell<StoreHealth>,
    /// Of writes alone, where it is worse: the platform refuses writes that are too many.
    pub(crate) write_health: Cell<StoreHealth>,
    pub(crate) reads: Cell<u64>,
    pub(crate) writes: Cell<u64>,
}

impl StoreHealth {
    fn call<T: 'static>(
        self,
        operation: &'static str,
        outcome: T,
    ) -> LocalBoxFuture<'static, Result<T, BindingError>> {
        match self {
            Self::Sound => ready(Ok(outcome)).boxed_local(),
            Self::Failing => {
                ready(Err(BindingError { operation, cause: "switched off".to_owned() })).boxed_local()
            }
            Self::Hanging => pending().boxed_local(),
        }
    }
}

impl WorkersKvInMemory {
    /// What lies under names that begin so.
    pub(crate) fn names(&self, beginning: &str) -> Vec<String> {
        self.entries.borrow().keys().filter(|name| name.starts_with(beginning)).cloned().collect()
    }
}

impl WorkersKv for WorkersKvInMemory {
    fn read<'a>(
        &'a self,
        name: &'a str,
        cache_ttl_s: u64,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>, BindingError>> {
        assert!(cache_ttl_s >= 60, "the platform refuses a shorter cacheTtl");
        self.reads.set(self.reads.get() + 1);
        self.health
            .get()
            .call("calling Workers KV", self.entries.borrow().get(name).map(|(value, _)| value.clone()))
    }

    fn write<'a>(
        &'a self,
        name: &'a str,
        value: &'a [u8],
        expiration_ttl_s: u64,
    ) -> LocalBoxFuture<'a, Result<(), BindingError>> {
        assert!(expiration_ttl_s >= 60, "the platform refuses a shorter expirationTtl");
        self.writes.set(self.writes.get() + 1);
        let health = if self.health.get() == StoreHealth::Sound { &self.write_health } else { &self.health };
        if health.get() == StoreHealth::Sound {
            self.entries.borrow_mut().insert(name.to_owned(), (value.to_vec(), expiration_ttl_s));
        }
        health.get().call("calling Workers KV", ())
    }
}

/// Workers KV as one data centre sees it: what it has read, "nothing there" included, it keeps for the reader's
/// `cacheTtl`, whatever is written elsewhere meanwhile. Such reads are billed like all others.
pub(crate) struct WorkersKvFromAfar {
    store: Rc<WorkersKvInMemory>,
    clock: Rc<ClockInMemory>,
    seen: RefCell<BTreeMap<String, (Option<Vec<u8>>, UnixMillis)>>,
}

impl WorkersKvFromAfar {
    pub(crate) fn new(store: Rc<WorkersKvInMemory>, clock: Rc<ClockInMemory>) -> Self {
        Self { store, clock, seen: RefCell::default() }
    }
}

impl WorkersKv for WorkersKvFromAfar {
    fn read<'a>(
        &'a self,
        name: &'a str,
        cache_ttl_s: u64,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>, BindingError>> {
        async move {
            let now = self.clock.now();
            if let Some((value, until)) = self.seen.borrow().get(name)
                && now < *until
            {
                self.store.reads.set(self.store.reads.get() + 1);
                return Ok(value.clone());
            }
            let value = self.store.read(name, cache_ttl_s).await?;
            let until = now.plus(cache_ttl_s * 1_000);
            self.seen.borrow_mut().insert(name.to_owned(), (value.clone(), until));
            Ok(value)
        }
        .boxed_local()
    }

    fn write<'a>(
        &'a self,
        name: &'a str,
        value: &'a [u8],
        expiration_ttl_s: u64,
    ) -> LocalBoxFuture<'a, Result<(), BindingError>> {
        self.store.write(name, value, expiration_ttl_s)
    }
}

/// The cache of one data centre.
#[derive(Default)]
pub(crate) struct ColoCacheInMemory {
    /// Nothing is kept, as with the Cache API on `*.workers.dev`.
    pub(crate) is_absent: Cell<bool>,
    pub(crate) entries: RefCell<BTreeMap<String, Kept>>,
    pub(crate) health: Cell<StoreHealth>,
    pub(crate) reads: Cell<u64>,
    pub(crate) writes: Cell<u64>,
}

impl ColoCache for ColoCacheInMemory {
    fn read<'a>(&'a self, url: &'a str) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>, BindingError>> {
        self.reads.set(self.reads.get() + 1);
        self.health
            .get()
            .call("calling the colo cache", self.entries.borrow().get(url).map(|(value, _)| value.clone()))
    }

    fn write<'a>(
        &'a self,
        url: &'a str,
        value: &'a [u8],
        max_age_s: u64,
    ) -> LocalBoxFuture<'a, Result<(), BindingError>> {
        self.writes.set(self.writes.get() + 1);
        if self.health.get() == StoreHealth::Sound && !self.is_absent.get() {
            self.entries.borrow_mut().insert(url.to_owned(), (value.to_vec(), max_age_s));
        }
        self.health.get().call("calling the colo cache", ())
    }
}

type Answering = dyn Fn(&OutgoingRequest) -> Result<IncomingResponse, FetchError>;

/// Other servers, answered by a function that can be exchanged; every request is kept.
pub(crate) struct FetchInMemory {
    pub(crate) answering: RefCell<Box<Answering>>,
    pub(crate) requests: RefCell<Vec<OutgoingRequest>>,
    /// Beginnings of URLs from which no answer ever comes.
    pub(crate) silent: RefCell<Vec<String>>,
}

impl Fetch for FetchInMemory {
    fn send(&self, request: OutgoingRequest) -> LocalBoxFuture<'_, Result<IncomingResponse, FetchError>> {
        if self.silent.borrow().iter().any(|silent| request.url.starts_with(silent)) {
            self.requests.borrow_mut().push(request);
            return pending().boxed_local();
        }
        let answer = self.answering.borrow()(&request);
        self.requests.borrow_mut().push(request);
        ready(answer).boxed_local()
    }
}

/// A body in pieces, with a count of what was read.
pub(crate) struct ChunksInMemory {
    chunks: VecDeque<Vec<u8>>,
    bytes_read: usize,
    end: BodyEnd,
}

/// What comes after the last piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyEnd {
    /// The end of the body.
    Complete,
    /// The sender leaves.
    Broken,
    /// Nothing, ever.
    Hanging,
}

impl ChunksInMemory {
    pub(crate) fn new(chunks: &[&[u8]]) -> Self {
        let chunks = chunks.iter().map(|chunk| chunk.to_vec()).collect();
        Self { chunks, bytes_read: 0, end: BodyEnd::Complete }
    }

    /// A body whose sender leaves before the end.
    pub(crate) fn broken_after(chunks: &[&[u8]]) -> Self {
        Self { end: BodyEnd::Broken, ..Self::new(chunks) }
    }

    /// A body whose sender stays and sends nothing more.
    pub(crate) fn hanging_after(chunks: &[&[u8]]) -> Self {
        Self { end: BodyEnd::Hanging, ..Self::new(chunks) }
    }

    pub(crate) fn bytes_read(&self) -> usize {
        self.bytes_read
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, BindingError> {
        if let Some(chunk) = self.chunks.pop_front() {
            self.bytes_read += chunk.len();
            return Ok(Some(chunk));
        }
        match self.end {
            BodyEnd::Complete => Ok(None),
            BodyEnd::Broken => Err(BindingError { operation: "reading a body", cause: "cut".to_owned() }),
            BodyEnd::Hanging => pending().await,
        }
    }

    async fn all(&mut self) -> Result<Vec<u8>, BindingError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.next().await? {
            body.extend(chunk);
        }
        Ok(body)
    }
}

impl ByteSource for ChunksInMemory {
    fn whole(&mut self) -> LocalBoxFuture<'_, Result<Vec<u8>, BindingError>> {
        self.all().boxed_local()
    }

    fn next_chunk(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, BindingError>> {
        self.next().boxed_local()
    }
}

/// A clock that stands until it is moved. Sleeping is over as soon as somebody waits for it, and moves the clock: nobody
/// waits for a twin, yet a deadline passes.
pub(crate) struct ClockInMemory(pub(crate) Rc<Cell<u64>>);

impl ClockInMemory {
    pub(crate) fn at(now_ms: u64) -> Self {
        Self(Rc::new(Cell::new(now_ms)))
    }

    pub(crate) fn advance_s(&self, seconds: u64) {
        self.0.set(self.0.get() + seconds * 1_000);
    }
}

impl Clock for ClockInMemory {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.get())
    }

    fn sleep(&self, duration_ms: u64) -> LocalBoxFuture<'static, ()> {
        let (clock, until_ms) = (Rc::clone(&self.0), self.0.get() + duration_ms);
        async move { clock.set(clock.get().max(until_ms)) }.boxed_local()
    }
}

/// Counts instead of guessing, so that no two values are equal and every run is the same.
#[derive(Default)]
pub(crate) struct EntropyInMemory {
    drawn: Cell<u64>,
    pub(crate) failing: Cell<bool>,
}

impl Entropy for EntropyInMemory {
    fn bytes16(&self) -> Result<[u8; 16], BindingError> {
        if self.failing.get() {
            return Err(BindingError { operation: "getting random bytes", cause: "switched off".to_owned() });
        }
        self.drawn.set(self.drawn.get() + 1);
        let half = self.drawn.get().to_be_bytes();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&half);
        bytes[8..].copy_from_slice(&half);
        Ok(bytes)
    }
}

/// Work behind the answer, kept until it is asked for.
#[derive(Default)]
pub(crate) struct BackgroundInMemory(RefCell<Vec<LocalBoxFuture<'static, ()>>>);

impl BackgroundInMemory {
    /// Does all of it, also what comes of it. Returns how many pieces there were.
    pub(crate) fn finish(&self) -> usize {
        let mut finished = 0;
        while let Some(work) = { self.0.borrow_mut().pop() } {
            settled(work).expect("twins do not wait");
            finished += 1;
        }
        finished
    }
}

impl Background for BackgroundInMemory {
    fn wait_until(&self, work: LocalBoxFuture<'static, ()>) {
        self.0.borrow_mut().push(work);
    }
}

/// Log lines, kept.
#[derive(Default)]
pub(crate) struct LogInMemory(pub(crate) RefCell<Vec<String>>);

impl LogInMemory {
    /// Was there a line about `event`?
    pub(crate) fn has(&self, event: &str) -> bool {
        let member = format!(r#""event":"{event}""#);
        self.0.borrow().iter().any(|line| line.contains(&member))
    }
}

impl LogSink for LogInMemory {
    fn write(&self, line: &str) {
        self.0.borrow_mut().push(line.to_owned());
    }
}
