//! Environments that wait initialised for their first call: versions with SnapStart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests

use base::{AccountId, EnvironmentId, MemoryMib, RequestId, Version, VersionKey};
use fleet::{
    Limits, Snapshot,
    planner::{CallId, Demand, Effect, Event, Planner, Tick},
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const MEMORY: MemoryMib = MemoryMib(128);

fn limits(environments: u32) -> Limits {
    let mut limits = Limits::new(MemoryMib(128 * environments), 4);
    limits.overcommit_percent = 100;
    limits.prepare_after_us = 0;
    limits
}

fn key(name: &str) -> VersionKey {
    VersionKey {
        account: AccountId::DEFAULT,
        region: "us-east-1".parse().unwrap(),
        name: name.parse().unwrap(),
        version: Version::Published(1),
        revision: RequestId::from_random([1; 16]),
        tenant: None,
    }
}

/// A planner and what it said, each effect seen once.
struct World {
    planner: Planner,
    now: Tick,
    calls: u64,
    /// What has been said and not looked at.
    effects: Vec<Effect>,
}

impl World {
    fn new(limits: Limits) -> World {
        World { planner: Planner::new(limits), now: Tick(1), calls: 0, effects: Vec::new() }
    }

    fn tell(&mut self, event: Event<'_>) -> Vec<Effect> {
        self.effects.clear();
        self.planner.on(event, self.now, &mut self.effects).unwrap();
        self.effects.clone()
    }

    fn prepare(&mut self, name: &str, urgent: bool) -> Vec<Effect> {
        let key = key(name);
        let demand = Demand { key: &key, memory: MEMORY, reserved: None, keep_us: None };
        self.tell(Event::Prepare { demand, count: 1, urgent })
    }

    fn request(&mut self, name: &str) -> Vec<Effect> {
        self.calls += 1;
        let key = key(name);
        let demand = Demand { key: &key, memory: MEMORY, reserved: None, keep_us: None };
        self.tell(Event::Request { call: CallId(self.calls), demand })
    }

    /// One that waits.
    fn prepared(&mut self, name: &str) -> EnvironmentId {
        let [id] = launched(&self.prepare(name, false))[..] else { panic!("one start") };
        assert_eq!(self.tell(Event::Ready(id)), []);
        id
    }

    /// A busy one, whatever it was started for.
    fn busy(&mut self, name: &str) -> EnvironmentId {
        let effects = self.request(name);
        if let [Effect::Assign { environment, .. }, ..] = effects[..] {
            return environment;
        }
        let id = *launched(&effects).first().expect("a start");
        let ready = self.tell(Event::Ready(id));
        assert!(matches!(ready[..], [Effect::Assign { .. }, ..]), "{ready:?}");
        id
    }

    fn release(&mut self, id: EnvironmentId) -> Vec<Effect> {
        self.tell(Event::Released { environment: id, reusable: true })
    }

    fn pass(&mut self, us: u64) -> Vec<Effect> {
        self.now = self.now.plus(us);
        self.tell(Event::Tick)
    }

    fn snapshot(&self) -> Snapshot {
        self.planner.snapshot(self.now)
    }
}

fn launched(effects: &[Effect]) -> Vec<EnvironmentId> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Launch { environment, .. } => Some(*environment),
            Effect::Assign { .. } | Effect::Refuse { .. } | Effect::Stop(_) => None,
        })
        .collect()
}

fn stopped(effects: &[Effect]) -> Vec<EnvironmentId> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Stop(id) => Some(*id),
            Effect::Assign { .. } | Effect::Refuse { .. } | Effect::Launch { .. } => None,
        })
        .collect()
}

#[test]
fn one_waits_is_taken_without_waiting_and_the_next_is_made() {
    let mut world = World::new(limits(8));
    let first = world.prepared("f");
    let effects = world.request("f");
    assert!(
        matches!(effects[0], Effect::Assign { environment, waited_us: 0, cold: false, .. } if environment == first)
    );
    let [next] = launched(&effects)[..] else { panic!("{effects:?}") };
    assert!(world.planner.is_prepared(next));
    world.tell(Event::Ready(next));
    // Used ones come first: the one that waits is kept for when there is none.
    world.release(first);
    let effects = world.request("f");
    assert!(
        matches!(effects[..], [Effect::Assign { environment, .. }] if environment == first),
        "{effects:?}"
    );
    let totals = world.snapshot().totals;
    assert_eq!((totals.prepared, totals.prepared_used), (2, 1));
}

#[test]
fn the_next_is_made_after_the_call_had_time() {
    let mut limits = limits(8);
    limits.prepare_after_us = 100;
    let mut world = World::new(limits);
    world.prepared("f");
    assert_eq!(launched(&world.request("f")), []);
    assert_eq!(world.planner.wake(), Some(world.now.plus(100)));
    assert_eq!(launched(&world.pass(100)).len(), 1);
}

#[test]
fn calls_beyond_what_waits_start_their_own() {
    let mut world = World::new(limits(8));
    world.prepared("f");
    let mut starts = Vec::new();
    for _ in 0..3 {
        starts.extend(launched(&world.request("f")));
    }
    // One was begun behind the first call, and serves the second; the third has its own, and another is made.
    assert_eq!(starts.len(), 2, "{starts:?}");
    for id in starts {
        let effects = world.tell(Event::Ready(id));
        assert!(matches!(effects[0], Effect::Assign { .. }), "{effects:?}");
    }
    let pool = &world.snapshot().pools[0];
    assert_eq!((pool.busy, pool.queued, pool.prepared), (3, 0, 0));
    assert_eq!(pool.starting, 1);
}

#[test]
fn what_waits_does_not_end_for_being_idle_and_says_why_it_is_there() {
    let mut world = World::new(limits(8));
    world.prepared("f");
    assert_eq!(world.pass(3_600_000_000), []);
    let pool = &world.snapshot().pools[0];
    assert_eq!((pool.idle, pool.prepared, pool.prepare), (1, 1, 1));
}

#[test]
fn one_that_has_waited_too_long_is_replaced() {
    let mut world = World::new(limits(8));
    let old = world.prepared("f");
    let due = world.planner.wake().expect("it is looked at");
    assert_eq!(due, world.now.plus(4 * 3_600_000_000));
    let effects = world.pass(due.since(world.now));
    assert_eq!(stopped(&effects), [old]);
    let [new] = launched(&effects)[..] else { panic!("{effects:?}") };
    world.tell(Event::Ended(old));
    world.tell(Event::Ready(new));
    let snapshot = world.snapshot();
    assert_eq!((snapshot.pools[0].prepared, snapshot.totals.renewed), (1, 1));
}

#[test]
fn what_waits_gives_way_to_calls_first_and_comes_back_when_there_is_room() {
    let mut world = World::new(limits(2));
    let waiting = world.prepared("f");
    let idle = world.busy("g");
    world.release(idle);
    // The idle one was used later and is worth more.
    let effects = world.request("h");
    assert_eq!((stopped(&effects), launched(&effects)), (vec![waiting], vec![]));
    let effects = world.tell(Event::Ended(waiting));
    let [own] = launched(&effects)[..] else { panic!("{effects:?}") };
    assert!(!world.planner.is_prepared(own));
    world.tell(Event::Ready(own));
    assert_eq!(world.snapshot().memory_used, MemoryMib(256));
    // No room: nobody ends for it.
    assert_eq!(world.pass(1_000_000), []);
    let effects = world.tell(Event::Released { environment: own, reusable: false });
    assert_eq!(stopped(&effects), [own]);
    let [back] = launched(&world.tell(Event::Ended(own)))[..] else { panic!("it comes back") };
    assert!(world.planner.is_prepared(back));
}

#[test]
fn a_publication_that_waits_makes_room() {
    let mut world = World::new(limits(1));
    let idle = world.busy("g");
    world.release(idle);
    assert_eq!(world.prepare("f", false), []);
    let effects = world.prepare("f", true);
    assert_eq!(stopped(&effects), [idle]);
    let [id] = launched(&world.tell(Event::Ended(idle)))[..] else { panic!("a start") };
    assert!(world.planner.is_prepared(id));
}

#[test]
fn together_they_take_their_share_and_the_one_used_longest_ago_gives_way() {
    let mut world = World::new(limits(4));
    let (first, second) = (world.prepared("a"), world.prepared("b"));
    world.now = world.now.plus(1);
    // Half of the node's memory is their share.
    let effects = world.prepare("c", false);
    assert_eq!(stopped(&effects), [first]);
    let [third] = launched(&effects)[..] else { panic!("{effects:?}") };
    world.tell(Event::Ended(first));
    world.tell(Event::Ready(third));
    assert_eq!(world.pass(1_000), [], "they do not push each other out");
    // A call of the first, which found none, makes it the last.
    let effects = world.request("a");
    let [own, next] = launched(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((world.planner.is_prepared(own), world.planner.is_prepared(next)), (false, true));
    assert_eq!(stopped(&effects), [second]);
}

#[test]
fn a_start_that_fails_is_tried_again_and_a_retired_version_has_none() {
    let mut world = World::new(limits(8));
    let [id] = launched(&world.prepare("f", true))[..] else { panic!("a start") };
    let failed = Event::LaunchFailed { environment: id, transient: true };
    assert_eq!(world.tell(failed), []);
    let [again] = launched(&world.pass(20_000))[..] else { panic!("another") };
    world.tell(Event::Ready(again));
    let key = key("f");
    assert_eq!(stopped(&world.tell(Event::Retire(&key))), [again]);
    world.tell(Event::Ended(again));
    assert!(!world.planner.has_pool(&key));
    assert!(world.planner.is_quiet());
}

#[derive(Clone, Debug)]
enum Step {
    Prepare(u8, bool),
    Request(u8),
    Release(usize, bool),
    Ready(usize),
    Fail(usize),
    End(usize),
    Break(usize),
    Retire(u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_u8, any::<bool>()).prop_map(|(name, urgent)| Step::Prepare(name, urgent)),
        (0..4_u8).prop_map(Step::Request),
        (any::<usize>(), any::<bool>()).prop_map(|(at, reusable)| Step::Release(at, reusable)),
        any::<usize>().prop_map(Step::Ready),
        any::<usize>().prop_map(Step::Fail),
        any::<usize>().prop_map(Step::End),
        any::<usize>().prop_map(Step::Break),
        (0..4_u8).prop_map(Step::Retire),
        (0..20_000_000_000_u64).prop_map(Step::Pass),
    ]
}

/// What is known of an environment by what was said of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Booting,
    Idle,
    Busy,
    Stopping { busy: bool },
}

proptest! {
    /// Whatever happens in whatever order: memory and the share hold, no version has more than it is to have, nothing is lost.
    #[test]
    fn bounds_hold_and_nothing_is_lost(steps in proptest::collection::vec(step(), 1..120)) {
        let mut limits = limits(6);
        limits.prepare_after_us = 1_000;
        let mut world = World::new(limits);
        let mut phases: BTreeMap<EnvironmentId, Phase> = BTreeMap::new();
        let mut retired = [false; 4];
        let names = ["a", "b", "c", "d"];
        let pick = |phases: &BTreeMap<EnvironmentId, Phase>, at: usize, wanted: fn(Phase) -> bool| {
            let fitting: Vec<_> =
                phases.iter().filter(|(_, phase)| wanted(**phase)).map(|(id, _)| *id).collect();
            (!fitting.is_empty()).then(|| fitting[at % fitting.len()])
        };
        for step in steps {
            let effects = match step {
                Step::Prepare(name, urgent) => world.prepare(names[usize::from(name)], urgent),
                Step::Request(name) if retired[usize::from(name)] => continue,
                Step::Request(name) => world.request(names[usize::from(name)]),
                Step::Release(at, reusable) => {
                    let busy = |phase| matches!(phase, Phase::Busy | Phase::Stopping { busy: true });
                    let Some(id) = pick(&phases, at, busy) else { continue };
                    let stopping = phases[&id] != Phase::Busy;
                    phases.insert(id, if stopping { Phase::Stopping { busy: false } } else { Phase::Idle });
                    world.tell(Event::Released { environment: id, reusable })
                }
                Step::Ready(at) => {
                    let Some(id) = pick(&phases, at, |phase| phase == Phase::Booting) else { continue };
                    phases.insert(id, Phase::Idle);
                    world.tell(Event::Ready(id))
                }
                Step::Fail(at) => {
                    let Some(id) = pick(&phases, at, |phase| phase == Phase::Booting) else { continue };
                    phases.remove(&id);
                    world.tell(Event::LaunchFailed { environment: id, transient: true })
                }
                Step::End(at) => {
                    let over = |phase| phase == Phase::Stopping { busy: false };
                    let Some(id) = pick(&phases, at, over) else { continue };
                    phases.remove(&id);
                    world.tell(Event::Ended(id))
                }
                Step::Break(at) => {
                    let Some(id) = pick(&phases, at, |phase| phase == Phase::Idle) else { continue };
                    world.tell(Event::Broken(id))
                }
                Step::Retire(name) => {
                    retired[usize::from(name)] = true;
                    world.tell(Event::Retire(&key(names[usize::from(name)])))
                }
                Step::Pass(us) => world.pass(us),
            };
            for effect in effects {
                match effect {
                    Effect::Launch { environment, .. } => {
                        prop_assert!(phases.insert(environment, Phase::Booting).is_none());
                    }
                    Effect::Assign { environment, .. } => {
                        prop_assert_eq!(phases.insert(environment, Phase::Busy), Some(Phase::Idle));
                    }
                    Effect::Stop(id) => {
                        let before = phases[&id];
                        prop_assert!(!matches!(before, Phase::Stopping { .. }), "asked once");
                        phases.insert(id, Phase::Stopping { busy: before == Phase::Busy });
                    }
                    Effect::Refuse { .. } => {}
                }
            }
            let snapshot = world.snapshot();
            prop_assert_eq!(snapshot.memory_used.0 as usize, phases.len() * 128);
            prop_assert!(phases.len() <= 6);
            let waiting: u32 = snapshot.pools.iter().map(|pool| pool.prepared).sum();
            // The share is three of six; publications that somebody waits for may go beyond it.
            prop_assert!(waiting <= 6);
            for pool in &snapshot.pools {
                prop_assert!(pool.prepared <= 1 && pool.prepared <= pool.idle, "{pool:?}");
                prop_assert!(pool.queued == 0 || pool.idle == 0, "a call waits beside an idle one: {pool:?}");
                let idle = phases.iter().filter(|(id, phase)| {
                    **phase == Phase::Idle && world.planner.key_of(**id) == Some(&pool.key)
                });
                prop_assert_eq!(idle.count() as u32, pool.idle);
            }
        }
        // Everything ends when the node does.
        let effects = world.tell(Event::Drain);
        for effect in effects {
            if let Effect::Stop(id) = effect {
                let busy = phases[&id] == Phase::Busy;
                phases.insert(id, Phase::Stopping { busy });
            }
        }
        while let Some((id, phase)) = phases.pop_first() {
            match phase {
                Phase::Busy | Phase::Stopping { busy: true } => {
                    world.tell(Event::Released { environment: id, reusable: true });
                    world.tell(Event::Ended(id));
                }
                Phase::Stopping { busy: false } => {
                    world.tell(Event::Ended(id));
                }
                Phase::Booting | Phase::Idle => prop_assert!(false, "{id:?} is {phase:?} at the end"),
            }
        }
        prop_assert!(world.planner.is_quiet());
    }
}
