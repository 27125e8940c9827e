//! Many who ask for the same at once cause one piece of work.
//!
//! The work runs in a task of its own, so a leader whose client leaves loses nothing for the followers. The work is
//! cancelled when the last who waits has left. If it is lost (it panicked), everybody who waits is told, and
//! whoever joins next leads again. What becomes known while it goes on is shared too: a handle `P` that the work writes
//! to and all who wait may read.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

type Outcome<V> = watch::Sender<Option<V>>;
type Flights<K, P, V> = HashMap<K, (P, Arc<Outcome<V>>)>;

/// Work in flight, by key.
#[derive(Debug)]
pub struct SingleFlight<K, P, V> {
    flights: Arc<Mutex<Flights<K, P, V>>>,
    flights_max: usize,
}

/// A place among those who wait for one piece of work. Dropping it is leaving.
#[derive(Debug)]
pub struct Waiting<P, V> {
    outcome: watch::Receiver<Option<V>>,
    /// What the work shares while it goes on.
    pub progress: P,
    /// Was the work already under way?
    pub collapsed: bool,
}

/// Too many different pieces of work are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much work is in flight")]
pub struct TooManyFlights;

impl<K, P, V> SingleFlight<K, P, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    P: Clone + Default + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// At most `flights_max` different pieces of work at once.
    #[must_use]
    pub fn new(flights_max: usize) -> Self {
        Self { flights: Arc::default(), flights_max }
    }

    /// Joins the work for `key`; starts it with `work` when it is not under way. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the work would be one too many.
    pub fn join<W>(&self, key: &K, work: impl FnOnce(P) -> W) -> Result<Waiting<P, V>, TooManyFlights>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let mut flights = lock(&self.flights);
        if let Some((progress, flight)) = flights.get(key) {
            return Ok(Waiting { outcome: flight.subscribe(), progress: progress.clone(), collapsed: true });
        }
        if flights.len() >= self.flights_max {
            return Err(TooManyFlights);
        }
        let (sender, outcome) = watch::channel(None);
        let sender = Arc::new(sender);
        let progress = P::default();
        flights.insert(key.clone(), (progress.clone(), Arc::clone(&sender)));
        drop(flights);
        let leader = Leader { flights: Arc::clone(&self.flights), key: key.clone(), outcome: sender };
        tokio::spawn(lead(leader, work(progress.clone())));
        Ok(Waiting { outcome, progress, collapsed: false })
    }

    /// Starts `work` for one who waits alone: nobody can join it. Not one of those that are counted.
    #[must_use]
    pub fn alone<W>(&self, key: &K, work: impl FnOnce(P) -> W) -> Waiting<P, V>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let (sender, outcome) = watch::channel(None);
        let progress = P::default();
        let flights: Arc<Mutex<Flights<K, P, V>>> = Arc::default();
        let leader = Leader { flights, key: key.clone(), outcome: Arc::new(sender) };
        tokio::spawn(lead(leader, work(progress.clone())));
        Waiting { outcome, progress, collapsed: false }
    }

    /// Pieces of work in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        lock(&self.flights).len()
    }
}

impl<P, V: Clone> Waiting<P, V> {
    /// Waits for the outcome. `None` when the work was lost. Giving up the wait loses nothing.
    pub async fn landed(&mut self) -> Option<V> {
        let outcome = self.outcome.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

/// The duty to end a flight. However it ends, the key is free again and nobody waits for ever.
struct Leader<K: Eq + Hash, P, V> {
    flights: Arc<Mutex<Flights<K, P, V>>>,
    key: K,
    outcome: Arc<Outcome<V>>,
}

async fn lead<K: Eq + Hash, P, V>(leader: Leader<K, P, V>, work: impl Future<Output = V>) {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            value = &mut work => {
                // The key is freed first: who comes later finds the answer in the cache, not a finished flight.
                leader.land();
                leader.outcome.send_replace(Some(value));
                return;
            }
            () = leader.outcome.closed() => {
                if leader.land_if_nobody_waits() {
                    return;
                }
            }
        }
    }
}

impl<K: Eq + Hash, P, V> Leader<K, P, V> {
    fn land(&self) {
        let mut flights = lock(&self.flights);
        // A later flight under the same key is not ours to end.
        if flights.get(&self.key).is_some_and(|(_, flight)| Arc::ptr_eq(flight, &self.outcome)) {
            flights.remove(&self.key);
        }
    }

    /// Under the lock nobody can join, so an empty flight stays empty.
    fn land_if_nobody_waits(&self) -> bool {
        let mut flights = lock(&self.flights);
        let is_empty = self.outcome.receiver_count() == 0;
        if is_empty {
            flights.remove(&self.key);
        }
        is_empty
    }
}

impl<K: Eq + Hash, P, V> Drop for Leader<K, P, V> {
    fn drop(&mut self) {
        self.land();
    }
}

fn lock<K, P, V>(flights: &Mutex<Flights<K, P, V>>) -> MutexGuard<'_, Flights<K, P, V>> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    async fn slowly(count: Arc<AtomicUsize>, value: u32) -> u32 {
        count.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(30)).await;
        value
    }

    #[tokio::test]
    async fn a_hundred_who_ask_at_once_cause_one_piece_of_work() {
        let flights = SingleFlight::new(10);
        let count = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> =
            (0..100).map(|_| flights.join(&"key", |()| slowly(Arc::clone(&count), 7)).unwrap()).collect();
        assert_eq!(waiting.iter().filter(|waiting| waiting.collapsed).count(), 99);
        for mut waiting in waiting {
            assert_eq!(waiting.landed().await, Some(7));
        }
        assert_eq!((count.load(Ordering::SeqCst), flights.in_flight()), (1, 0));
    }

    #[tokio::test]
    async fn a_leader_whose_client_leaves_still_serves_its_followers() {
        let flights = SingleFlight::new(10);
        let count = Arc::new(AtomicUsize::new(0));
        let first = flights.join(&"key", |()| slowly(Arc::clone(&count), 7)).unwrap();
        let mut second = flights.join(&"key", |()| slowly(Arc::clone(&count), 8)).unwrap();
        drop(first);
        assert_eq!(second.landed().await, Some(7));
    }

    #[tokio::test]
    async fn when_the_last_one_leaves_the_work_is_cancelled_and_the_key_is_free() {
        let flights = SingleFlight::new(10);
        let done = Arc::new(AtomicUsize::new(0));
        let work_done = Arc::clone(&done);
        let work = async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            work_done.fetch_add(1, Ordering::SeqCst);
        };
        drop(flights.join(&"key", |()| work).unwrap());
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!((done.load(Ordering::SeqCst), flights.in_flight()), (0, 0));
    }

    #[tokio::test]
    async fn one_who_waits_alone_is_joined_by_nobody_and_leaves_no_work_behind() {
        let flights = SingleFlight::new(1);
        let count = Arc::new(AtomicUsize::new(0));
        let mut alone = flights.alone(&"key", |()| slowly(Arc::clone(&count), 7));
        let mut other = flights.join(&"key", |()| slowly(Arc::clone(&count), 8)).unwrap();
        assert_eq!((alone.landed().await, other.landed().await, other.collapsed), (Some(7), Some(8), false));
        let left = Arc::new(AtomicUsize::new(0));
        let work_left = Arc::clone(&left);
        drop(flights.alone(&"key", |()| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            work_left.fetch_add(1, Ordering::SeqCst);
            9
        }));
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(left.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn what_becomes_known_is_shared_with_all_who_wait() {
        let flights: SingleFlight<_, Arc<AtomicUsize>, u32> = SingleFlight::new(1);
        let work = |progress: Arc<AtomicUsize>| async move {
            progress.store(5, Ordering::SeqCst);
            std::future::pending().await
        };
        let _first = flights.join(&1, work).unwrap();
        let late = flights.join(&1, |_| std::future::pending()).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(late.progress.load(Ordering::SeqCst), 5);
    }

    #[tokio::test]
    async fn a_lost_leader_frees_its_followers_and_one_takes_over() {
        let flights = SingleFlight::new(10);
        let lost = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            panic!("the leader is lost");
        };
        let mut first = flights.join(&"key", |()| lost).unwrap();
        let mut second = flights.join(&"key", |()| async { 1 }).unwrap();
        assert!(second.collapsed);
        assert_eq!((first.landed().await, second.landed().await), (None, None));
        let mut next = flights.join(&"key", |()| async { 2 }).unwrap();
        assert!(!next.collapsed);
        assert_eq!(next.landed().await, Some(2));
    }

    #[tokio::test]
    async fn the_number_of_flights_is_bounded() {
        let flights = SingleFlight::new(1);
        let _first = flights.join(&1, |()| std::future::pending::<u32>()).unwrap();
        assert_eq!(flights.join(&2, |()| std::future::pending()).unwrap_err(), TooManyFlights);
        assert!(flights.join(&1, |()| std::future::pending()).is_ok());
    }
}
