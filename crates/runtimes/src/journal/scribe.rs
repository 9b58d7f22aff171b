//! Who sends journals off beside the invocations. By few: each environment sends its own off some thirty times a second while it is
//! called, and with a thread for each of them every one would find cold caches and keep memory of its own.

use super::Journal;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
};

/// Journals that wait to be sent off, and who does so.
pub(crate) struct Scribe {
    desk: Mutex<Desk>,
    /// Threads at once: one for four processors.
    most: usize,
}

#[derive(Default)]
struct Desk {
    waiting: VecDeque<Arc<Journal>>,
    at_work: usize,
}

/// One thread that sends off; counted as such until dropped, also by a panic.
struct AtWork(Option<Arc<Scribe>>);

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(scribe) = &self.0 {
            scribe.desk().at_work -= 1;
        }
    }
}

impl AtWork {
    fn work(mut self) {
        while let Some(journal) = self.next() {
            journal.flush();
        }
    }

    /// The next one; where there is none this thread is none at work from then on, so that whoever brings one later starts another.
    fn next(&mut self) -> Option<Arc<Journal>> {
        let scribe = self.0.take()?;
        let mut desk = scribe.desk();
        let next = desk.waiting.pop_front();
        if next.is_none() {
            desk.at_work -= 1;
            return None;
        }
        drop(desk);
        self.0 = Some(scribe);
        next
    }
}

impl Scribe {
    pub(crate) fn new() -> Arc<Scribe> {
        let processors = available_parallelism().map_or(1, usize::from);
        Arc::new(Scribe { desk: Mutex::default(), most: processors.div_ceil(4) })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a journal sent off soon.
    pub(crate) fn send_off(self: &Arc<Self>, journal: Arc<Journal>) {
        let mut desk = self.desk();
        desk.waiting.push_back(journal);
        if desk.at_work < self.most {
            desk.at_work += 1;
            drop(desk);
            let at_work = AtWork(Some(self.clone()));
            tokio::task::spawn_blocking(move || at_work.work());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::journal, *};
    use crate::journal::Entry;
    use base::{AccountId, LogEvent, LogSink, Region, Timestamp};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts lines, and panics at the first.
    #[derive(Default)]
    struct Faulty(AtomicUsize);

    impl LogSink for Faulty {
        fn append(&self, _: AccountId, _: &Region, _: &str, _: &str, events: Vec<LogEvent>) {
            assert!(self.0.fetch_add(events.len(), Ordering::Relaxed) > 0, "the first is lost");
        }
    }

    #[tokio::test]
    async fn every_journal_is_sent_off_and_a_panic_stops_none_after_it() {
        let (scribe, sink) = (Scribe::new(), Arc::new(Faulty::default()));
        for number in 0..2_000 {
            let journal = Arc::new(journal(sink.clone()));
            journal.add(Entry::Line(LogEvent { at: Timestamp(number), message: "x".into() }));
            scribe.send_off(journal);
            if number % 100 == 0 {
                // Nobody is at work at some of them.
                while scribe.desk().at_work > 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        while scribe.desk().at_work > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(sink.0.load(Ordering::Relaxed), 2_000);
    }
}
