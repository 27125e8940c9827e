//! Calls to a store that may hang or fail: each has a timeout, and after some failures in a row none is made for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use lede_shared::breaker::{Breaker, BreakerSettings, Pass};

use super::{ColdError, ColdStore};

/// With the usual read timeout a store that hangs is left alone after 300 ms.
const BREAKER: BreakerSettings = BreakerSettings { failures_to_open: 3, open_for_ms: 1_000 };

/// The only way to the store.
#[derive(Debug)]
pub(super) struct Guard {
    store: Arc<dyn ColdStore>,
    breaker: Mutex<Breaker>,
    started_at: Instant,
    failures: AtomicU64,
}

impl Guard {
    pub(super) fn new(store: Arc<dyn ColdStore>) -> Self {
        Self {
            store,
            breaker: Mutex::new(Breaker::new(BREAKER)),
            started_at: Instant::now(),
            failures: AtomicU64::new(0),
        }
    }

    /// What the store says within `timeout`; `None` when it fails, is late or is being left alone.
    pub(super) async fn call<'a, T>(
        &'a self,
        timeout: Duration,
        ask: impl FnOnce(&'a dyn ColdStore) -> BoxFuture<'a, Result<T, ColdError>>,
    ) -> Option<T> {
        let pass = self.breaker().pass(self.now_ms()).ok()?;
        let call = Call { guard: self, pass: Some(pass) };
        let said = tokio::time::timeout(timeout, ask(self.store.as_ref())).await;
        let said = said.unwrap_or_else(|_| Err(ColdError("no answer in time".to_owned())));
        call.end(said)
    }

    /// Is the store being left alone?
    pub(super) fn is_open(&self) -> bool {
        !self.breaker().is_closed()
    }

    /// Calls that failed or were late, since the start.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. Who gives it up has learnt nothing about the store.
struct Call<'a> {
    guard: &'a Guard,
    pass: Option<Pass>,
}

impl Call<'_> {
    fn end<T>(mut self, said: Result<T, ColdError>) -> Option<T> {
        let pass = self.pass.take()?;
        let mut breaker = self.guard.breaker();
        match said {
            Ok(value) => {
                breaker.succeeded(pass);
                Some(value)
            }
            Err(error) => {
                self.guard.failures.fetch_add(1, Ordering::Relaxed);
                if breaker.failed(pass, self.guard.now_ms()) {
                    tracing::warn!(%error, "the cold tier fails and is left alone for a while");
                }
                None
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.guard.breaker().abandoned(pass);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::AtomicUsize;

    use bytes::Bytes;
    use lede_shared::cache_key::CacheKey;

    use super::*;
    use crate::cache::cold::{ColdSize, ColdWrite};

    /// Never says anything.
    #[derive(Debug, Default)]
    struct Silent {
        asked: AtomicUsize,
    }

    impl ColdStore for Silent {
        fn get<'a>(&'a self, _: &'a CacheKey) -> BoxFuture<'a, Result<Option<Bytes>, ColdError>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(pending())
        }

        fn put_many(&self, _: Vec<ColdWrite>) -> BoxFuture<'_, Result<(), ColdError>> {
            Box::pin(pending())
        }

        fn remove<'a>(&'a self, _: &'a CacheKey) -> BoxFuture<'a, Result<(), ColdError>> {
            Box::pin(pending())
        }

        fn clear(&self) -> BoxFuture<'_, Result<(), ColdError>> {
            Box::pin(pending())
        }

        fn size(&self) -> BoxFuture<'_, Result<ColdSize, ColdError>> {
            Box::pin(pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_left_alone_after_three_waits() {
        let store = Arc::new(Silent::default());
        let guard = Guard::new(Arc::clone(&store) as Arc<dyn ColdStore>);
        let key = CacheKey([0; 32]);
        for _ in 0..10 {
            assert_eq!(guard.call(Duration::from_millis(100), |store| store.get(&key)).await, None);
        }
        assert_eq!((store.asked.load(Ordering::SeqCst), guard.is_open()), (3, true));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_says_nothing_against_the_store() {
        let store = Arc::new(Silent::default());
        let guard = Guard::new(Arc::clone(&store) as Arc<dyn ColdStore>);
        let key = CacheKey([0; 32]);
        for _ in 0..10 {
            let call = guard.call(Duration::from_secs(1), |store| store.get(&key));
            assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
        }
        assert!(!guard.is_open());
    }
}
