//! Turns: how many calls begin together while no processor has time left.
//!
//! Then a call gains nothing by beginning at once: it runs beside others on the same processors, and each environment more that
//! is at work pushes the memory of the others out of the caches. So calls take turns: as many begin as there are turns, and what
//! waits takes the environment that was used last, which is still in the caches. No call waits for much longer than [`PATIENCE`],
//! and none that has run for so long takes a turn from others: calls that take longer, or wait for others themselves, are held up
//! by no more than that. One timer sees to it for all that wait, while some do: a timer for each would be made and removed a call.

use crate::ProcessorTime;
use std::{collections::VecDeque, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// How long a call waits for a turn, to the next time that it is looked ([`Turns::look`]), and how long it has one at most. A
/// few times what a call of the shortest functions takes.
pub(super) const PATIENCE: Duration = Duration::from_millis(1);
/// How often it is looked whether there is time left.
const WINDOW: Duration = Duration::from_millis(100);
/// Shares of the processors' time that nobody takes: below the first there is none left; above the second turns were of no use,
/// and are not tried again for [`PAUSE`].
const SHORT_BELOW: f64 = 0.2;
const SHORT_UNTIL: f64 = 0.45;
const PAUSE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: usize,
    load: Load,
    /// Who has a turn, and since when; oldest first.
    taken: VecDeque<(u64, Instant)>,
    /// Since when, oldest first. Some of them may have left.
    waiting: VecDeque<(Instant, oneshot::Sender<Option<u64>>)>,
    /// Whether somebody looks.
    looked_after: bool,
    next: u64,
    /// Since the beginning: calls that had to wait, and those of them that began without a turn.
    pub(super) waited: u64,
    pub(super) in_vain: u64,
}

/// What a call is to do that has arrived.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Begin: there is time.
    Free,
    /// Begin, and tell the end by [`Turns::end`].
    Turn(u64),
    /// Wait for one, or to be told to begin without. `look`: it is to be seen to that [`Turns::look`] is called.
    Wait { told: oneshot::Receiver<Option<u64>>, look: bool },
}

impl Turns {
    /// `at_once` calls begin together while the processors have no time.
    pub(super) fn new(
        at_once: usize,
        processors: usize,
        time: fn() -> Option<ProcessorTime>,
        now: Instant,
    ) -> Turns {
        let load = Load::new(processors, time, now);
        Turns {
            at_once,
            load,
            taken: VecDeque::new(),
            waiting: VecDeque::new(),
            looked_after: false,
            next: 0,
            waited: 0,
            in_vain: 0,
        }
    }

    pub(super) fn arrive(&mut self, now: Instant) -> Arrival {
        if !self.load.is_short(now) {
            return Arrival::Free;
        }
        self.hand_out(now);
        if self.taken.len() < self.at_once {
            return Arrival::Turn(self.take(now));
        }
        let (turn, told) = oneshot::channel();
        self.waited += 1;
        self.waiting.push_back((now, turn));
        let look = !std::mem::replace(&mut self.looked_after, true);
        Arrival::Wait { told, look }
    }

    /// Ends what has taken too long; called every [`PATIENCE`] for as long as it says so, from [`Arrival::Wait`] on.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        self.hand_out(now);
        while let Some((_, waiting)) = self.waiting.pop_front_if(|(since, _)| now - *since >= PATIENCE) {
            // It may have left.
            self.in_vain += u64::from(waiting.send(None).is_ok());
        }
        self.looked_after = !self.waiting.is_empty();
        self.looked_after
    }

    /// The call that has this turn has ended. One that was not told ends by itself.
    pub(super) fn end(&mut self, turn: u64, now: Instant) {
        self.taken.retain(|&(other, _)| other != turn);
        self.hand_out(now);
    }

    fn take(&mut self, now: Instant) -> u64 {
        self.next += 1;
        self.taken.push_back((self.next, now));
        self.next
    }

    fn hand_out(&mut self, now: Instant) {
        while self.taken.front().is_some_and(|&(_, since)| now - since >= PATIENCE) {
            self.taken.pop_front();
        }
        while self.taken.len() < self.at_once
            && let Some((_, waiting)) = self.waiting.pop_front()
        {
            if !waiting.is_closed() {
                let turn = self.take(now);
                // Should it have left at this moment, the turn ends by itself.
                let _ = waiting.send(Some(turn));
            }
        }
    }
}

/// Whether the processors have time left.
#[derive(Debug)]
struct Load {
    processors: u32,
    time: fn() -> Option<ProcessorTime>,
    looked: Instant,
    then: Option<ProcessorTime>,
    short: bool,
    /// Not before this again.
    from: Instant,
}

impl Load {
    fn new(processors: usize, time: fn() -> Option<ProcessorTime>, now: Instant) -> Load {
        let processors = u32::try_from(processors).unwrap_or(u32::MAX).max(1);
        Load { processors, time, looked: now, then: None, short: false, from: now }
    }

    fn is_short(&mut self, now: Instant) -> bool {
        if now - self.looked < WINDOW {
            return self.short;
        }
        let told = (self.time)();
        self.learn(now, told)
    }

    fn learn(&mut self, now: Instant, told: Option<ProcessorTime>) -> bool {
        let past = now - self.looked;
        self.looked = now;
        let then = std::mem::replace(&mut self.then, told);
        let share = then.zip(self.then).and_then(|(then, now)| {
            let passed = now.passed.saturating_sub(then.passed);
            let idle = now.idle.saturating_sub(then.idle) / self.processors;
            (passed >= WINDOW / 2).then(|| idle.as_secs_f64() / passed.as_secs_f64())
        });
        match share {
            // Hardly anybody calls, or it cannot be told.
            _ if past > 4 * WINDOW => self.short = false,
            None => self.short = false,
            Some(idle) if self.short && idle > SHORT_UNTIL => {
                self.short = false;
                self.from = now + PAUSE;
            }
            Some(idle) => self.short |= idle < SHORT_BELOW && now >= self.from,
        }
        self.short
    }
}

#[cfg(test)]
#[allow(clippy::panic)] // a broken expectation ends the test
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Two processors of which so many percent are idle, for so many windows.
    fn load(turns: &mut Turns, from: Instant, idle: u32, windows: u32) -> (Instant, bool) {
        let mut now = from;
        let mut short = turns.load.short;
        for _ in 0..windows {
            now += WINDOW;
            let then = turns.load.then.unwrap_or(ProcessorTime { passed: WINDOW, idle: WINDOW });
            let next =
                ProcessorTime { passed: then.passed + WINDOW, idle: then.idle + WINDOW * 2 * idle / 100 };
            short = turns.load.learn(now, Some(next));
        }
        (now, short)
    }

    fn short(at_once: usize) -> (Turns, Instant) {
        let now = Instant::now();
        let mut turns = Turns::new(at_once, 2, || None, now);
        let (now, short) = load(&mut turns, now, 10, 2);
        assert!(short);
        (turns, now)
    }

    fn turn(arrival: Arrival) -> u64 {
        match arrival {
            Arrival::Turn(turn) => turn,
            Arrival::Free | Arrival::Wait { .. } => panic!("{arrival:?} instead of a turn"),
        }
    }

    fn wait(arrival: Arrival) -> oneshot::Receiver<Option<u64>> {
        match arrival {
            Arrival::Wait { told, .. } => told,
            Arrival::Free | Arrival::Turn(_) => panic!("{arrival:?} instead of having to wait"),
        }
    }

    #[test]
    fn while_there_is_time_nobody_takes_turns() {
        let now = Instant::now();
        let mut turns = Turns::new(1, 2, || None, now);
        let (now, _) = load(&mut turns, now, 21, 10);
        for _ in 0..10 {
            assert!(matches!(turns.arrive(now), Arrival::Free));
        }
    }

    #[test]
    fn those_that_wait_follow_in_their_order_without_those_that_left() {
        let (mut turns, now) = short(2);
        let first = turn(turns.arrive(now));
        let second = turn(turns.arrive(now));
        let mut third = wait(turns.arrive(now));
        drop(wait(turns.arrive(now)));
        let mut fifth = wait(turns.arrive(now));
        assert!(third.try_recv().is_err());
        turns.end(second, now);
        assert!(third.try_recv().is_ok() && fifth.try_recv().is_err());
        turns.end(first, now);
        let fifth = fifth.try_recv();
        assert!(fifth.is_ok() && turns.waiting.is_empty());
        // Ends that are told twice, or of nobody, take nothing from others.
        turns.end(first, now);
        turns.end(99, now);
        assert_eq!(turns.taken.len(), 2);
    }

    #[test]
    fn calls_that_take_longer_take_no_turn_from_others() {
        let (mut turns, now) = short(1);
        let long = turn(turns.arrive(now));
        let mut waiting = wait(turns.arrive(now + MS / 2));
        let mut later = wait(turns.arrive(now + MS));
        assert!(waiting.try_recv().is_ok(), "the long one has had its time");
        turns.end(long, now + MS);
        assert!(later.try_recv().is_err(), "its end is not that of another");
    }

    #[test]
    fn who_has_waited_for_long_enough_begins_without_a_turn() {
        let (mut turns, now) = short(1);
        let long = turn(turns.arrive(now));
        let Arrival::Wait { told: mut first, look: true } = turns.arrive(now + MS / 2) else {
            panic!("the first that waits is to be looked after")
        };
        let Arrival::Wait { told: mut second, look: false } = turns.arrive(now + MS * 3 / 4) else {
            panic!("and so is the second, by the same")
        };
        turns.end(long, now + MS * 3 / 4);
        assert!(matches!(first.try_recv(), Ok(Some(_))));
        assert!(turns.look(now + MS * 3 / 2) && second.try_recv().is_err());
        assert!(!turns.look(now + MS * 7 / 4) && second.try_recv().is_ok());
        // Nobody waits, nobody looks; the next that waits is told so.
        turn(turns.arrive(now + MS * 4));
        assert!(matches!(turns.arrive(now + MS * 4), Arrival::Wait { look: true, .. }));
    }

    #[test]
    fn a_turn_of_somebody_who_left_at_the_same_moment_ends_by_itself() {
        let (mut turns, now) = short(1);
        let first = turn(turns.arrive(now));
        let told = wait(turns.arrive(now));
        turns.end(first, now);
        drop(told);
        assert!(matches!(turns.arrive(now), Arrival::Wait { .. }));
        assert!(matches!(turns.arrive(now + MS * 2), Arrival::Turn(_)));
    }

    #[test]
    fn where_turns_leave_time_over_they_are_not_tried_again_for_a_while() {
        let (mut turns, now) = short(1);
        let (now, still) = load(&mut turns, now, 40, 20);
        assert!(still, "less than full, more than idle");
        let (now, still) = load(&mut turns, now, 50, 1);
        assert!(!still);
        let (now, again) = load(&mut turns, now, 0, 99);
        assert!(!again, "not for ten seconds");
        let (now, again) = load(&mut turns, now, 0, 2);
        assert!(again);
        // After a time without calls it is not known, which is no failure.
        let now = now + WINDOW * 10;
        let then = turns.load.then;
        assert!(!turns.load.learn(now, then));
        assert!(load(&mut turns, now, 0, 1).1);
    }

    #[test]
    fn what_cannot_be_told_is_no_shortage() {
        let (mut turns, now) = short(1);
        assert!(!turns.load.learn(now + WINDOW, None));
        let then = ProcessorTime { passed: WINDOW, idle: WINDOW };
        assert!(!turns.load.learn(now + WINDOW * 2, Some(then)));
        // The host's clock stands, as it nearly does beside a virtual one.
        assert!(!turns.load.learn(now + WINDOW * 3, Some(then)));
    }
}
