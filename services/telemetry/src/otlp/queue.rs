//! A bounded buffer: what does not fit is not taken.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Items with a size, together at most so large.
pub(super) struct Queue<T> {
    size_max: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    items: VecDeque<(usize, T)>,
    size: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(size_max: usize) -> Queue<T> {
        Queue { size_max, state: Mutex::new(State { items: VecDeque::new(), size: 0 }) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size of all that waits now; `None` if it did not fit, and then it is not even made.
    pub(super) fn push(&self, size: usize, make: impl FnOnce() -> T) -> Option<usize> {
        let mut state = self.lock();
        if state.size.saturating_add(size) > self.size_max {
            return None;
        }
        state.items.push_back((size, make()));
        state.size += size;
        Some(state.size)
    }

    /// The oldest, until they have this size together; at least one if there is any.
    pub(super) fn take(&self, size: usize) -> Vec<T> {
        let mut state = self.lock();
        let (mut taken, mut sum) = (Vec::new(), 0);
        while sum < size
            && let Some((size, item)) = state.items.pop_front()
        {
            sum += size;
            taken.push(item);
        }
        state.size -= sum;
        taken
    }

    /// Items that wait.
    pub(super) fn len(&self) -> usize {
        self.lock().items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_fits_and_gives_it_in_order() {
        let queue = Queue::new(10);
        assert_eq!(queue.push(4, || 'a'), Some(4));
        assert_eq!(queue.push(4, || 'b'), Some(8));
        assert_eq!(queue.push(4, || unreachable!("it does not fit")), None);
        assert_eq!(queue.push(2, || 'c'), Some(10));
        assert_eq!(queue.take(5), ['a', 'b']);
        assert_eq!(queue.push(8, || 'd'), Some(10));
        assert_eq!(queue.take(100), ['c', 'd']);
        assert_eq!((queue.take(1), queue.len()), (vec![], 0));
    }
}
