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
