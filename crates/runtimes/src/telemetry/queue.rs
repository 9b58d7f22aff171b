//! Events on their way to one subscriber: bounded, and what does not fit is counted and told.

use super::{Audience, Event};
use base::Timestamp;
use serde_json::json;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Bytes that wait for a subscriber that does not take them; what comes then is dropped. Neap's own bound.
const WAITING_MAX: usize = 4 * 1024 * 1024;

pub(crate) struct Queue {
    items_max: usize,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    changed: Notify,
    idle: Notify,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    dropped: u64,
    dropped_bytes: u64,
    flush: bool,
    /// A batch is on its way.
    away: bool,
}

impl Queue {
    /// A batch is full with either.
    pub(crate) fn new(items_max: usize, bytes_max: usize) -> Queue {
        Queue { items_max, bytes_max, waiting: Mutex::default(), changed: Notify::new(), idle: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, event: Arc<Event>) {
        let mut waiting = self.lock();
        if waiting.bytes.saturating_add(event.text.len()) > WAITING_MAX {
            waiting.dropped += 1;
            waiting.dropped_bytes += event.text.len() as u64;
            return;
        }
        waiting.bytes += event.text.len();
        waiting.events.push_back(event);
        drop(waiting);
        self.changed.notify_one();
    }

    /// Makes what waits enough.
    pub(crate) fn flush(&self) {
        self.lock().flush = true;
        self.changed.notify_one();
    }

    /// The batch that was taken last has arrived, or is lost.
    pub(crate) fn done(&self) {
        self.lock().away = false;
        self.idle.notify_one();
    }

    /// Resolves when nothing waits and nothing is on its way. Cancel-safe, for one waiter.
    pub(crate) async fn drained(&self) {
        loop {
            {
                let waiting = self.lock();
                if waiting.events.is_empty() && !waiting.away {
                    return;
                }
            }
            self.idle.notified().await;
        }
    }

    /// These were taken and are lost.
    pub(crate) fn lost(&self, batch: &[Arc<Event>]) {
        let mut waiting = self.lock();
        waiting.dropped += batch.len() as u64;
        waiting.dropped_bytes += batch.iter().map(|event| event.text.len() as u64).sum::<u64>();
    }

    /// Resolves when anything waits. Cancel-safe, for one waiter, as the next.
    pub(crate) async fn something(&self) {
        self.until(|waiting| !waiting.events.is_empty()).await;
    }

    /// Resolves when a batch is full, or is to leave as it is.
    pub(crate) async fn enough(&self) {
        let full = |waiting: &Waiting| {
            waiting.flush || waiting.events.len() >= self.items_max || waiting.bytes >= self.bytes_max
        };
        self.until(full).await;
    }

    async fn until(&self, holds: impl Fn(&Waiting) -> bool) {
        while !holds(&self.lock()) {
            self.changed.notified().await;
        }
    }

    /// The next batch, oldest first; one event at least, if any waits, however long it is. With the time, what was dropped
    /// before is told at its end.
    pub(crate) fn take(&self, tell: Option<Timestamp>) -> Vec<Arc<Event>> {
        let mut waiting = self.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(event) = waiting.events.front() {
            let length = event.text.len();
            if batch.len() >= self.items_max || (!batch.is_empty() && bytes + length > self.bytes_max) {
                break;
            }
            bytes += length;
            waiting.bytes -= length;
            batch.extend(waiting.events.pop_front());
        }
        waiting.flush &= !waiting.events.is_empty();
        if let Some(now) = tell
            && waiting.dropped > 0
        {
            let record = json!({
                "reason": "the extension has not taken its events in time",
                "droppedRecords": waiting.dropped, "droppedBytes": waiting.dropped_bytes,
            });
            (waiting.dropped, waiting.dropped_bytes) = (0, 0);
            batch.push(Arc::new(Event::new(now, "platform.logsDropped", Audience::Both, &record)));
        }
        waiting.away = !batch.is_empty();
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::pin::pin;

    fn event(length: usize) -> Arc<Event> {
        Arc::new(Event { kind: "function", audience: Audience::Both, text: "x".repeat(length) })
    }

    #[tokio::test]
    async fn a_batch_is_full_by_items_or_bytes_or_flushed() {
        let queue = Queue::new(3, 100);
        // Whether a batch would wait for its time: decided at the first look.
        let waits = async || {
            tokio::select! {
                biased;
                () = pin!(queue.enough()) => false,
                () = std::future::ready(()) => true,
            }
        };
        for _ in 0..2 {
            queue.push(event(10));
        }
        assert!(waits().await);
        queue.push(event(10));
        assert!(!waits().await);
        assert_eq!(queue.take(Some(Timestamp(0))).len(), 3);
        queue.push(event(150));
        assert!(!waits().await);
        queue.push(event(150));
        assert_eq!(queue.take(Some(Timestamp(0))).len(), 1, "one that is too long leaves alone");
        assert_eq!(queue.take(Some(Timestamp(0))).len(), 1);
        queue.push(event(1));
        assert!(waits().await);
        queue.flush();
        assert!(!waits().await);
        assert_eq!(queue.take(Some(Timestamp(0))).len(), 1);
        queue.push(event(1));
        assert!(waits().await, "a flush is of what waited then");
    }

    #[test]
    fn what_is_dropped_is_told() {
        let queue = Queue::new(1_000, 1 << 20);
        for _ in 0..5 {
            queue.push(event(1 << 20));
        }
        let mut all = Vec::new();
        loop {
            let batch = queue.take(Some(Timestamp(0)));
            if batch.is_empty() {
                break;
            }
            all.extend(batch);
        }
        assert_eq!(all.len(), 5, "four, and the word of the fifth");
        let told = all.iter().find(|event| event.kind == "platform.logsDropped").unwrap();
        assert!(told.text.contains("\"droppedRecords\":1") && told.text.contains("\"droppedBytes\":1048576"));
        queue.lost(&all[..1]);
        assert!(queue.take(None).is_empty());
        assert_eq!(queue.take(Some(Timestamp(0))).len(), 1);
    }

    proptest! {
        #[test]
        fn batches_keep_order_and_bounds(lengths in proptest::collection::vec(0usize..60, 0..40), items in 1usize..6) {
            let queue = Queue::new(items, 100);
            lengths.iter().for_each(|length| queue.push(event(*length)));
            let mut taken = Vec::new();
            loop {
                let batch = queue.take(Some(Timestamp(0)));
                if batch.is_empty() { break; }
                prop_assert!(batch.len() <= items);
                prop_assert!(batch.len() == 1 || batch.iter().map(|event| event.text.len()).sum::<usize>() <= 100);
                taken.extend(batch.iter().map(|event| event.text.len()));
            }
            prop_assert_eq!(taken, lengths);
        }
    }
}
