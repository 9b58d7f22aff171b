//! Which function's waiting events are claimed next: fair between functions, bounded for each and for the node.
//!
//! Every function with waiting events has a lane. Lanes that may claim stand in one queue and are served in turn, a
//! batch each, so that neither a long backlog nor a throttled function keeps others waiting. A lane's window halves
//! when the platform refuses its events and grows by one with each that ran: it settles at what the function's
//! concurrency allows.

use crate::model::FunctionId;
use base::{Millis, Timestamp};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Bounds of the dispatcher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Events running on this node at once. Default 256.
    pub node_max: u32,
    /// Events of one function running at once. Default 64.
    pub function_max: u32,
    /// Events claimed in one statement. Default 16.
    pub batch_max: u32,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { node_max: 256, function_max: 64, batch_max: 16 }
    }
}

/// An order to claim up to `max` events of `id`; answered by [`Dispatcher::claimed`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Of which function.
    pub id: FunctionId,
    /// At least 1.
    pub max: u32,
}

/// Where a lane stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    /// Nothing known to be waiting, or its window is full; `more` says that events wait.
    Aside { more: bool },
    /// Waits in the queue of lanes that may claim.
    Queued,
    /// Waits for a moment: until then nothing is due, or the function is resting after a refusal.
    Until(Timestamp),
    /// A claim is under way; `more` collects what is told meanwhile.
    Claiming { more: Option<Timestamp> },
}

#[derive(Debug)]
struct Lane {
    stand: Stand,
    running: u32,
    window: u32,
    /// Refusals in a row.
    refusals: u32,
    rest_until: Option<Timestamp>,
}

/// The state of all lanes. Pure: the driver tells what happens and carries out the claims.
#[derive(Debug)]
pub struct Dispatcher {
    bounds: Bounds,
    lanes: HashMap<FunctionId, Lane>,
    queue: VecDeque<FunctionId>,
    timers: BTreeSet<(Timestamp, FunctionId)>,
    running: u32,
}

impl Dispatcher {
    /// With no events known.
    pub fn new(bounds: Bounds) -> Dispatcher {
        Dispatcher {
            bounds,
            lanes: HashMap::new(),
            queue: VecDeque::new(),
            timers: BTreeSet::new(),
            running: 0,
        }
    }

    /// Events claimed and not finished.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Functions with events known to wait or running.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// There is, or will be at `at`, an event of `id` to claim.
    pub fn due(&mut self, id: &FunctionId, at: Timestamp, now: Timestamp) {
        let window = self.bounds.function_max;
        let lane = self.lanes.entry(id.clone()).or_insert(Lane {
            stand: Stand::Aside { more: false },
            running: 0,
            window,
            refusals: 0,
            rest_until: None,
        });
        match lane.stand {
            Stand::Claiming { more } => {
                lane.stand = Stand::Claiming { more: Some(more.map_or(at, |known| known.min(at))) };
            }
            Stand::Queued => {}
            Stand::Until(known) if known <= at => {}
            Stand::Until(_) | Stand::Aside { .. } => self.stand(id, at, now),
        }
    }

    /// The next claim to carry out, if any may be.
    pub fn next(&mut self, now: Timestamp) -> Option<Claim> {
        self.ripen(now);
        if self.running >= self.bounds.node_max {
            return None;
        }
        let id = self.queue.pop_front()?;
        let lane = self.lanes.get_mut(&id)?;
        let max = self
            .bounds
            .batch_max
            .min(lane.window.saturating_sub(lane.running))
            .min(self.bounds.node_max - self.running)
            .max(1);
        lane.stand = Stand::Claiming { more: None };
        Some(Claim { id, max })
    }

    /// A claim brought `got` events; `next_due` is when the earliest event left waiting is due.
    pub fn claimed(&mut self, id: &FunctionId, got: u32, next_due: Option<Timestamp>, now: Timestamp) {
        self.running += got;
        let Some(lane) = self.lanes.get_mut(id) else { return };
        lane.running += got;
        let told = match lane.stand {
            Stand::Claiming { more } => more,
            Stand::Aside { .. } | Stand::Queued | Stand::Until(_) => None,
        };
        lane.stand = Stand::Aside { more: false };
        match [told, next_due].into_iter().flatten().min() {
            Some(at) => self.stand(id, at, now),
            None => self.forget_if_idle(id),
        }
    }

    /// An event of `id` that was claimed has been dealt with. `refused` says that the platform could not run it;
    /// `again` is when it is due again; `rest` is the wait after a number of refusals in a row.
    pub fn finished(
        &mut self,
        id: &FunctionId,
        refused: bool,
        again: Option<Timestamp>,
        rest: impl Fn(u32) -> Millis,
        now: Timestamp,
    ) {
        self.running = self.running.saturating_sub(1);
        let function_max = self.bounds.function_max;
        let Some(lane) = self.lanes.get_mut(id) else { return };
        lane.running = lane.running.saturating_sub(1);
        match refused {
            // Those that were claimed together fail together: one rest for all of them.
            true if lane.rest_until.is_some_and(|until| until > now) => {}
            true => {
                lane.refusals = lane.refusals.saturating_add(1);
                lane.window = (lane.window / 2).max(1);
                let rest = i64::try_from(rest(lane.refusals).0).unwrap_or(i64::MAX);
                lane.rest_until = Some(now.plus_ms(rest));
            }
            false => {
                lane.refusals = 0;
                lane.window = (lane.window + 1).min(function_max);
            }
        }
        let waiting = match lane.stand {
            Stand::Aside { more: true } => Some(now),
            Stand::Aside { more: false } | Stand::Queued | Stand::Until(_) | Stand::Claiming { .. } => None,
        };
        match [waiting, again].into_iter().flatten().min() {
            Some(at) => self.due(id, at, now),
            None => self.forget_if_idle(id),
        }
    }

    /// When to call [`Dispatcher::next`] again if nothing else happens; `None`: not before something happens.
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.running >= self.bounds.node_max {
            return None;
        }
        match self.queue.is_empty() {
            true => self.timers.first().map(|(at, _)| *at),
            false => Some(Timestamp(i64::MIN)),
        }
    }

    /// Puts an idle lane where an event due at `at` lets it stand.
    fn stand(&mut self, id: &FunctionId, at: Timestamp, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        if let Stand::Until(known) = lane.stand {
            self.timers.remove(&(known, id.clone()));
        }
        let at = lane.rest_until.map_or(at, |until| at.max(until));
        lane.stand = if at > now {
            self.timers.insert((at, id.clone()));
            Stand::Until(at)
        } else if lane.running < lane.window {
            self.queue.push_back(id.clone());
            Stand::Queued
        } else {
            Stand::Aside { more: true }
        };
    }

    /// Moves lanes whose moment has come into the queue.
    fn ripen(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((at, id)) = self.timers.pop_first()
        {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.stand = Stand::Aside { more: false };
                self.stand(&id, at, now);
            }
        }
    }

    /// Lanes exist only while there is something to know about them.
    fn forget_if_idle(&mut self, id: &FunctionId) {
        let idle = |lane: &Lane| lane.running == 0 && lane.stand == Stand::Aside { more: false };
        if self.lanes.get(id).is_some_and(idle) {
            self.lanes.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn function(name: &str) -> FunctionId {
        FunctionId {
            account: base::AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: name.parse().unwrap(),
        }
    }

    const NOW: Timestamp = Timestamp(1_000);
    const BOUNDS: Bounds = Bounds { node_max: 8, function_max: 4, batch_max: 2 };

    fn rest(refusals: u32) -> Millis {
        Millis(100 << refusals.min(10))
    }

    #[test]
    fn lanes_claim_in_turn() {
        let mut dispatcher = Dispatcher::new(BOUNDS);
        let (long, short) = (function("long"), function("short"));
        dispatcher.due(&long, NOW, NOW);
        dispatcher.due(&short, NOW, NOW);
        let first = dispatcher.next(NOW).unwrap();
        assert_eq!(first, Claim { id: long.clone(), max: 2 });
        dispatcher.claimed(&long, 2, Some(NOW), NOW);
        assert_eq!(dispatcher.next(NOW).unwrap().id, short);
        dispatcher.claimed(&short, 1, None, NOW);
        assert_eq!(dispatcher.next(NOW).unwrap().id, long);
        dispatcher.claimed(&long, 2, Some(NOW), NOW);
        // Its window is full: it waits for one to finish.
        assert_eq!(dispatcher.next(NOW), None);
        dispatcher.finished(&long, false, None, rest, NOW);
        assert_eq!(dispatcher.next(NOW), Some(Claim { id: long, max: 1 }));
    }

    #[test]
    fn a_refused_function_rests_and_others_go_on() {
        let mut dispatcher = Dispatcher::new(BOUNDS);
        let (throttled, fine) = (function("throttled"), function("fine"));
        dispatcher.due(&throttled, NOW, NOW);
        dispatcher.next(NOW).unwrap();
        dispatcher.claimed(&throttled, 2, Some(NOW), NOW);
        dispatcher.finished(&throttled, true, Some(NOW.plus_ms(200)), rest, NOW);
        dispatcher.finished(&throttled, true, Some(NOW.plus_ms(200)), rest, NOW);
        dispatcher.due(&fine, NOW, NOW);
        // The claim that was queued before the refusal may still come; it is the last.
        let claims: Vec<_> = std::iter::from_fn(|| {
            let claim = dispatcher.next(NOW)?;
            let next = (claim.id == throttled).then_some(NOW);
            dispatcher.claimed(&claim.id, 0, next, NOW);
            Some(claim.id)
        })
        .take(10)
        .collect();
        assert_eq!(claims, [throttled.clone(), fine]);
        assert_eq!(dispatcher.wake_at(), Some(NOW.plus_ms(200)));
        assert_eq!(dispatcher.next(NOW.plus_ms(200)).unwrap().id, throttled);
    }

    #[test]
    fn what_is_told_during_a_claim_is_not_lost() {
        let mut dispatcher = Dispatcher::new(BOUNDS);
        let id = function("f");
        dispatcher.due(&id, NOW, NOW);
        dispatcher.next(NOW).unwrap();
        dispatcher.due(&id, NOW, NOW);
        dispatcher.claimed(&id, 0, None, NOW);
        assert!(dispatcher.next(NOW).is_some());
        dispatcher.claimed(&id, 0, None, NOW);
        assert_eq!((dispatcher.next(NOW), dispatcher.lanes()), (None, 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send(u8, i64),
        Claim,
        Finish(u8, bool, bool),
        Pass(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4u8, 0..500i64).prop_map(|(f, wait)| Step::Send(f, wait)),
            Just(Step::Claim),
            (0..4u8, any::<bool>(), any::<bool>())
                .prop_map(|(f, refused, again)| Step::Finish(f, refused, again)),
            (0..300i64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Bounds hold after every step, and once things calm down everything that waits is claimed.
        #[test]
        fn bounds_hold_and_nothing_starves(steps in proptest::collection::vec(step(), 0..200)) {
            let ids: Vec<_> = ["a", "b", "c", "d"].map(function).into();
            let mut dispatcher = Dispatcher::new(BOUNDS);
            let mut now = NOW;
            // The model: due times of waiting events, and how many run, for each function.
            let mut waiting: [Vec<Timestamp>; 4] = Default::default();
            let mut running = [0u32; 4];
            let claim = |dispatcher: &mut Dispatcher, waiting: &mut [Vec<Timestamp>; 4], running: &mut [u32; 4], now: Timestamp| {
                let Some(claim) = dispatcher.next(now) else { return false };
                let f = ids.iter().position(|id| *id == claim.id).unwrap();
                waiting[f].sort();
                let ripe = waiting[f].iter().filter(|at| **at <= now).count().min(claim.max as usize);
                waiting[f].drain(..ripe);
                running[f] += ripe as u32;
                dispatcher.claimed(&claim.id, ripe as u32, waiting[f].first().copied(), now);
                true
            };
            for step in steps {
                match step {
                    Step::Send(f, wait) => {
                        let at = now.plus_ms(wait);
                        waiting[f as usize].push(at);
                        dispatcher.due(&ids[f as usize], at, now);
                    }
                    Step::Claim => { claim(&mut dispatcher, &mut waiting, &mut running, now); }
                    Step::Finish(f, refused, again) => if running[f as usize] > 0 {
                        running[f as usize] -= 1;
                        let again = again.then(|| now.plus_ms(50));
                        waiting[f as usize].extend(again);
                        dispatcher.finished(&ids[f as usize], refused, again, rest, now);
                    },
                    Step::Pass(ms) => now = now.plus_ms(ms),
                }
                prop_assert!(running.iter().sum::<u32>() <= BOUNDS.node_max);
                prop_assert!(running.iter().all(|r| *r <= BOUNDS.function_max));
                prop_assert_eq!(dispatcher.running(), running.iter().sum::<u32>());
            }
            for _ in 0..1_000 {
                while claim(&mut dispatcher, &mut waiting, &mut running, now) {}
                for f in 0..4 {
                    while running[f] > 0 {
                        running[f] -= 1;
                        dispatcher.finished(&ids[f], false, None, rest, now);
                    }
                }
                match dispatcher.wake_at() {
                    Some(at) => now = now.max(at),
                    None => break,
                }
            }
            prop_assert!(waiting.iter().all(Vec::is_empty), "left {waiting:?} in {dispatcher:?}");
            prop_assert_eq!(dispatcher.lanes(), 0);
        }
    }
}
