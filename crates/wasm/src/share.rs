//! Processors shared out by memory among instances that compute for long.
//!
//! Each turn is one poll of an instance: at most a tick, then it yields. As many have a turn at once as there are processors; who
//! is next is told by start-time fair queueing: each instance has a clock that runs the slower the more memory its function has,
//! and the one whose turn begins earliest by its clock is next. So, while there are more instances than processors, each gets
//! time in proportion to its memory, as processes do by the weights of their control groups; otherwise all run as they like.
//! Source of the method: Goyal, Vin, Cheng, "Start-time fair queueing", 1996.

use std::{
    collections::{BTreeSet, HashMap},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

/// Virtual time of a microsecond with a weight of one: a microsecond divided by any weight stays more than nothing.
const UNIT: u64 = 1 << 20;

/// An instance's place in the order. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    weight: u64,
    /// Virtual time at which its last turn ended.
    finish: u64,
}

/// A turn that is asked for: when it begins in virtual time, and for whom.
type Asked = (u64, u64);

/// Who waits, and how many turns are left. Pure.
#[derive(Debug)]
struct Queue {
    free: usize,
    taken: usize,
    /// Virtual time: the beginning of the latest turn that was given.
    now: u64,
    waiting: BTreeSet<Asked>,
}

impl Queue {
    fn new(turns: usize) -> Queue {
        Queue { free: turns.max(1), taken: 0, now: 0, waiting: BTreeSet::new() }
    }

    /// Asks for a turn. Nobody saves up time: who comes back begins now.
    fn ask(&mut self, number: u64, standing: Standing) -> Asked {
        let asked = (standing.finish.max(self.now), number);
        self.waiting.insert(asked);
        asked
    }

    fn withdraw(&mut self, asked: Asked) {
        self.waiting.remove(&asked);
    }

    /// Gives a turn, if there is one and somebody wants it.
    fn give(&mut self) -> Option<Asked> {
        if self.free == 0 {
            return None;
        }
        let given = self.waiting.pop_first()?;
        self.free -= 1;
        self.taken += 1;
        self.now = self.now.max(given.0);
        Some(given)
    }

    /// A turn is over after so long.
    fn end(&mut self, asked: Asked, standing: &mut Standing, used: Duration) {
        let us = u64::try_from(used.as_micros()).unwrap_or(u64::MAX).max(1);
        standing.finish = asked.0.saturating_add(us.saturating_mul(UNIT) / standing.weight.max(1));
        self.taken -= 1;
        self.free += 1;
        if self.taken == 0 && self.waiting.is_empty() {
            self.now = self.now.max(standing.finish);
        }
    }
}

/// Of one node.
pub(crate) struct Shares(Mutex<Inner>);

struct Inner {
    queue: Queue,
    numbers: u64,
    /// Of those that wait; without one, the turn has been given.
    wakers: HashMap<u64, Waker>,
}

impl Inner {
    /// Gives what there is to give; whom to wake.
    fn give(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some((_, number)) = self.queue.give() {
            woken.extend(self.wakers.remove(&number));
        }
        woken
    }
}

impl Shares {
    /// `turns`: at once.
    pub(crate) fn new(turns: usize) -> Arc<Shares> {
        let inner = Inner { queue: Queue::new(turns), numbers: 0, wakers: HashMap::new() };
        Arc::new(Shares(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has work polled in turns. `weight`: in proportion to what it is to get, from 1.
    pub(crate) fn share<T>(self: &Arc<Self>, weight: u64, work: Shared<T>) -> Sharing<T> {
        let mut inner = self.lock();
        inner.numbers += 1;
        let number = inner.numbers;
        drop(inner);
        let standing = Standing { weight, finish: 0 };
        Sharing { work, shares: self.clone(), number, standing, turn: None }
    }
}

pub(crate) type Shared<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Work that is polled in turns.
pub(crate) struct Sharing<T> {
    work: Shared<T>,
    shares: Arc<Shares>,
    number: u64,
    standing: Standing,
    /// Asked for, or given.
    turn: Option<Asked>,
}

impl<T> Future for Sharing<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let asked = ready!(self.begin(cx));
        let began = Instant::now();
        let polled = self.work.as_mut().poll(cx);
        self.end(asked, began.elapsed());
        polled
    }
}

impl<T> Sharing<T> {
    /// Until it has a turn.
    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<Asked> {
        let (shares, number) = (self.shares.clone(), self.number);
        let mut inner = shares.lock();
        let asked = match self.turn {
            Some(asked) => asked,
            None => {
                let asked = inner.queue.ask(number, self.standing);
                self.turn = Some(asked);
                inner.wakers.insert(number, cx.waker().clone());
                let woken = inner.give();
                let mine = !inner.wakers.contains_key(&number);
                drop(inner);
                // Its own waker among them: it is here already.
                woken
                    .into_iter()
                    .filter(|waker| !(mine && waker.will_wake(cx.waker())))
                    .for_each(Waker::wake);
                return if mine { Poll::Ready(asked) } else { Poll::Pending };
            }
        };
        match inner.wakers.get_mut(&number) {
            None => Poll::Ready(asked),
            Some(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
        }
    }

    fn end(&mut self, asked: Asked, used: Duration) {
        let mut inner = self.shares.lock();
        inner.queue.end(asked, &mut self.standing, used);
        let woken = inner.give();
        drop(inner);
        self.turn = None;
        woken.into_iter().for_each(Waker::wake);
    }
}

impl<T> Drop for Sharing<T> {
    /// Cut off while it waited, before it used its turn, or within it.
    fn drop(&mut self) {
        let Some(asked) = self.turn else { return };
        let mut inner = self.shares.lock();
        if inner.wakers.remove(&self.number).is_some() {
            inner.queue.withdraw(asked);
            return;
        }
        drop(inner);
        self.end(asked, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn standing(weight: u64) -> Standing {
        Standing { weight, finish: 0 }
    }

    proptest! {
        /// The bound of the method: two that always want turns differ, in time by weight, by no more than a turn of each.
        #[test]
        fn time_is_shared_by_weight(
            weights in prop::collection::vec(128u64..=10_240, 2..6),
            lengths in prop::collection::vec(1u64..2_000, 50..300),
        ) {
            let mut queue = Queue::new(1);
            let mut all: Vec<Standing> = weights.iter().map(|weight| standing(*weight)).collect();
            let mut used = vec![0u64; all.len()];
            for (number, one) in all.iter().enumerate() {
                queue.ask(number as u64, *one);
            }
            for length in &lengths {
                let given = queue.give().unwrap();
                prop_assert!(queue.give().is_none(), "one turn at once");
                let number = given.1 as usize;
                queue.end(given, &mut all[number], Duration::from_micros(*length));
                used[number] += length;
                queue.ask(given.1, all[number]);
                let share = |at: usize| used[at] as f64 / weights[at] as f64;
                let turn = |at: usize| 2_000.0 / weights[at] as f64;
                for one in 0..used.len() {
                    for other in 0..one {
                        let apart = (share(one) - share(other)).abs();
                        prop_assert!(apart <= turn(one) + turn(other) + 1.0, "{weights:?} {used:?}");
                    }
                }
            }
        }

        /// Whatever happens in whatever order: no more turns than there are, none kept back while somebody waits.
        #[test]
        fn turns_are_neither_lost_nor_made(turns in 1usize..4, steps in prop::collection::vec((0u64..6, 0u64..3), 1..200)) {
            let mut queue = Queue::new(turns);
            let mut all = [standing(128); 6];
            let (mut waiting, mut running) = (HashMap::new(), HashMap::new());
            for (number, step) in steps {
                match step {
                    0 if !waiting.contains_key(&number) && !running.contains_key(&number) => {
                        waiting.insert(number, queue.ask(number, all[number as usize]));
                    }
                    1 => if let Some(asked) = waiting.remove(&number) { queue.withdraw(asked) },
                    2 => if let Some(asked) = running.remove(&number) {
                        let before = queue.now;
                        queue.end(asked, &mut all[number as usize], Duration::from_micros(number));
                        prop_assert!(queue.now >= before);
                    },
                    _ => {}
                }
                while let Some(given) = queue.give() {
                    prop_assert_eq!(waiting.remove(&given.1), Some(given));
                    running.insert(given.1, given);
                }
                prop_assert!(running.len() <= turns);
                prop_assert!(waiting.is_empty() || running.len() == turns);
            }
        }
    }

    #[test]
    fn who_was_away_has_saved_nothing_up() {
        let mut queue = Queue::new(1);
        let (mut busy, mut back) = (standing(1_024), standing(1_024));
        for _ in 0..1_000 {
            queue.ask(1, busy);
            let given = queue.give().unwrap();
            queue.end(given, &mut busy, Duration::from_millis(1));
        }
        queue.ask(1, busy);
        queue.ask(2, back);
        let mut order = Vec::new();
        for _ in 0..6 {
            let given = queue.give().unwrap();
            order.push(given.1);
            let one = if given.1 == 1 { &mut busy } else { &mut back };
            queue.end(given, one, Duration::from_millis(1));
            let one = *one;
            queue.ask(given.1, one);
        }
        assert_eq!(order.iter().filter(|number| **number == 2).count(), 3, "{order:?}");
    }

    /// Yields so many times, and counts its polls.
    fn turns(left: usize, polls: Arc<Mutex<Vec<u64>>>, name: u64) -> Shared<()> {
        let mut left = left;
        Box::pin(std::future::poll_fn(move |cx| {
            polls.lock().unwrap().push(name);
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    #[tokio::test]
    async fn work_is_polled_in_turns_and_ends() {
        let shares = Shares::new(1);
        let polls = Arc::new(Mutex::new(Vec::new()));
        let mut all = tokio::task::JoinSet::new();
        for name in 0..5 {
            all.spawn(shares.share(128, turns(20, polls.clone(), name)));
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
        assert_eq!(polls.lock().unwrap().len(), 5 * 21);
        let inner = shares.lock();
        assert_eq!((inner.queue.free, inner.queue.taken, inner.wakers.len()), (1, 0, 0));
    }

    #[tokio::test]
    async fn who_is_cut_off_gives_its_turn_back() {
        let shares = Shares::new(1);
        let polls = Arc::new(Mutex::new(Vec::new()));
        let waker = Waker::noop();
        let mut cx = Context::from_waker(waker);
        let mut first = shares.share(128, Box::pin(std::future::pending::<()>()));
        let given = first.begin(&mut cx);
        assert!(given.is_ready(), "within its turn");
        let mut second = Box::pin(shares.share(128, turns(0, polls.clone(), 2)));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        let mut third = Box::pin(shares.share(128, turns(0, polls, 3)));
        assert!(third.as_mut().poll(&mut cx).is_pending());
        drop(second);
        drop(first);
        third.await;
        assert_eq!(shares.lock().queue.free, 1);
    }
}
