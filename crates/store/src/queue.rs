//! A bounded queue from asynchronous callers to blocking threads.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// First in, first out; holds at most `bound` items, those being worked on included.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    places: Arc<Semaphore>,
}

struct State<T> {
    items: VecDeque<Queued<T>>,
    closed: bool,
    /// Threads that wait.
    waiting: usize,
    /// A waiting thread is woken when there are so many items.
    wake_at: usize,
}

/// An item together with its place, which is free again when this is dropped.
pub(crate) struct Queued<T> {
    pub(crate) item: T,
    _place: OwnedSemaphorePermit,
}

impl<T> Queue<T> {
    pub(crate) fn new(bound: usize) -> Queue<T> {
        Queue {
            state: Mutex::new(State { items: VecDeque::new(), closed: false, waiting: 0, wake_at: 1 }),
            arrived: Condvar::new(),
            places: Arc::new(Semaphore::new(bound)),
        }
    }

    /// Waits for a place, then appends. Cancel-safe: a dropped future has appended nothing.
    pub(crate) async fn push(&self, item: T) -> Result<(), Error> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::Closed)?;
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        state.items.push_back(Queued { item, _place: place });
        let wake = state.waiting > 0 && state.items.len() >= state.wake_at;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Whether items wait for which no thread does.
    pub(crate) fn is_behind(&self) -> bool {
        let state = self.lock();
        state.items.len() > state.waiting
    }

    /// The next item, waiting for it; `None` when the queue is closed and empty.
    pub(crate) fn pop(&self) -> Option<Queued<T>> {
        let mut state = self.wait_for(self.lock(), 1, None);
        state.items.pop_front()
    }

    /// Moves up to `max` items to `into`, waiting for the first one unless `into` already has some, then for at most
    /// `gather.1` until there are `gather.0`. False when the queue is closed and nothing is left.
    pub(crate) fn drain(
        &self,
        max: usize,
        gather: (usize, Duration),
        into: &mut VecDeque<Queued<T>>,
    ) -> bool {
        let mut state = self.lock();
        if into.is_empty() {
            state = self.wait_for(state, 1, None);
        }
        let (enough, patience) = gather;
        if state.items.len() + into.len() < enough && !patience.is_zero() {
            let missing = enough - into.len();
            state = self.wait_for(state, missing, Some(patience));
        }
        let count = state.items.len().min(max.saturating_sub(into.len()));
        into.extend(state.items.drain(..count));
        !into.is_empty()
    }

    /// While it lives, a panic of its thread closes the queue and drops what waits, so that callers learn of it instead of
    /// waiting for ever.
    pub(crate) fn guard(&self) -> Guard<'_, T> {
        Guard(self)
    }

    /// Refuses further items; what is queued is still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
        self.arrived.notify_all();
    }

    fn wait_for<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        count: usize,
        patience: Option<Duration>,
    ) -> MutexGuard<'a, State<T>> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        while state.items.len() < count && !state.closed {
            state.waiting += 1;
            state.wake_at = count;
            state = match deadline {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.waiting -= 1;
            state.wake_at = 1;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Queue::guard`].
pub(crate) struct Guard<'q, T>(&'q Queue<T>);

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
            // Dropped after the lock is free: an item's drop runs the caller's code.
            let items = std::mem::take(&mut self.0.lock().items);
            drop(items);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: (usize, Duration) = (0, Duration::ZERO);

    #[tokio::test]
    async fn hands_out_in_order_and_ends_when_closed_and_empty() {
        let queue = Queue::new(4);
        for n in 0..3 {
            queue.push(n).await.unwrap();
        }
        queue.close();
        assert!(matches!(queue.push(9).await, Err(Error::Closed)));
        let mut taken = VecDeque::new();
        assert!(queue.drain(2, NEVER, &mut taken));
        assert_eq!(taken.iter().map(|queued| queued.item).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(queue.pop().map(|queued| queued.item), Some(2));
        assert!(queue.pop().is_none());
        taken.clear();
        assert!(!queue.drain(2, NEVER, &mut taken));
    }

    #[tokio::test]
    async fn a_place_is_taken_until_the_item_is_done_with() {
        let queue = Queue::new(1);
        queue.push(1).await.unwrap();
        let taken = queue.pop();
        assert!(futures_util::FutureExt::now_or_never(queue.push(2)).is_none(), "no place yet");
        drop(taken);
        assert!(futures_util::FutureExt::now_or_never(queue.push(3)).is_some());
        assert_eq!(queue.pop().map(|queued| queued.item), Some(3), "a dropped push leaves nothing behind");
    }

    #[test]
    fn gathers_until_there_are_enough() {
        let queue = Arc::new(Queue::new(8));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(queue.push(0)).unwrap();
        let gathering = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let mut taken = VecDeque::new();
                queue.drain(8, (3, Duration::from_secs(60)), &mut taken);
                taken.len()
            }
        });
        runtime.block_on(queue.push(1)).unwrap();
        runtime.block_on(queue.push(2)).unwrap();
        assert_eq!(gathering.join().unwrap(), 3);
    }

    #[tokio::test]
    async fn gathers_no_longer_than_patience_lasts() {
        let queue = Queue::new(8);
        queue.push(0).await.unwrap();
        let mut taken = VecDeque::new();
        assert!(queue.drain(8, (3, Duration::from_millis(1)), &mut taken));
        assert_eq!(taken.len(), 1);
    }

    #[tokio::test]
    async fn a_panic_of_its_thread_closes_it() {
        let queue = Arc::new(Queue::new(4));
        queue.push(1).await.unwrap();
        let broken = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let _guard = queue.guard();
                panic!("on purpose");
            }
        });
        assert!(broken.join().is_err());
        assert!(matches!(queue.push(2).await, Err(Error::Closed)));
        assert!(queue.pop().is_none());
    }
}
