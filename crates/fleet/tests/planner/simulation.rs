//! Whole days of a node in virtual time, with faults, from seeds.
//!
//! `NEAP_SIMULATION_SEEDS=200` runs more seeds than the default; `NEAP_SIMULATION_SEED=17` runs one and prints it.

use crate::{
    audit::{Audit, Function, Phase},
    random::Random,
};
use base::{EnvironmentId, MemoryMib};
use fleet::{
    KeepAlive, Limits,
    planner::{CallId, Effect, Event, Tick},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

const SEEDS: u64 = 24;
const EVENTS_PER_SEED: u64 = 4_000;

/// Something that happens in the world, not by the planner's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrival { function: usize, left: u32 },
    GivesUp(CallId),
    Launched(EnvironmentId),
    Done(EnvironmentId),
    Breaks(EnvironmentId),
    Ended(EnvironmentId),
    Update { function: usize },
    Provision { function: usize },
    Tick,
}

/// How a function behaves.
struct Behaviour {
    gap_us: u64,
    burst: u32,
    run_us: u64,
    launch_us: u64,
    launch_fails_per_mille: u64,
    launch_fails_for_good: bool,
    crashes_per_mille: u64,
    patience_us: u64,
}

struct World {
    audit: Audit,
    random: Random,
    functions: Vec<Function>,
    behaviours: Vec<Behaviour>,
    agenda: BinaryHeap<Reverse<(Tick, u64, Happening)>>,
    order: u64,
    next_tick: Option<Tick>,
    ending: bool,
    owner: BTreeMap<EnvironmentId, usize>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let budget = [1_000, 4_000, 20_000][random.below(3) as usize];
        let mut limits = Limits::new(MemoryMib(budget), 1 + random.below(4) as usize);
        limits.overcommit_percent = 100 + random.below(2) as u32 * 100;
        limits.environments_max = [1, 6, u32::MAX][random.below(3) as usize];
        limits.account_concurrency = [5, 40, 1_000][random.below(3) as usize];
        limits.unreserved_concurrency_min = limits.account_concurrency / 10;
        limits.keep_us = [0, 2_000_000, 60_000_000, 600_000_000][random.below(4) as usize];
        limits.reserved_rate_per_concurrency = None;
        if random.chance(500) {
            limits.keep_alive = KeepAlive::Fixed;
        }
        limits.pause_us = [0, 100_000, 10_000_000][random.below(3) as usize];
        limits.cold_worth_us = [1_000_000, 1_800_000_000][random.below(2) as usize];
        limits.histories_max = [0, 2, 65_536][random.below(3) as usize];
        limits.scaling_starts = [10, 1_000][random.below(2) as usize];
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let count = 1 + random.below(names.len() as u64) as usize;
        let mut functions = Vec::new();
        let mut behaviours = Vec::new();
        for name in names.into_iter().take(count) {
            let memory = [128, 256, 512, 1_769, 3_008][random.below(5) as usize];
            let reserved = random.chance(200).then(|| random.below(8) as u32);
            functions.push(Function { name, revision: 0, memory, reserved });
            behaviours.push(Behaviour {
                gap_us: [1_000, 50_000, 1_000_000, 120_000_000][random.below(4) as usize],
                burst: [1, 1, 10, 100][random.below(4) as usize],
                run_us: [500, 20_000, 800_000, 30_000_000][random.below(4) as usize],
                launch_us: [2_000, 80_000, 3_000_000][random.below(3) as usize],
                launch_fails_per_mille: [0, 0, 50, 700][random.below(4) as usize],
                launch_fails_for_good: random.chance(300),
                crashes_per_mille: [0, 10, 200][random.below(3) as usize],
                patience_us: [100_000, 3_000_000, 900_000_000][random.below(3) as usize],
            });
        }
        let mut world = World {
            audit: Audit::new(limits),
            random,
            functions,
            behaviours,
            agenda: BinaryHeap::new(),
            order: 0,
            next_tick: None,
            ending: false,
            owner: BTreeMap::new(),
        };
        world.reserve();
        for function in 0..count {
            // Some are never invoked; their reservations count all the same.
            if !world.random.chance(100) {
                world.arrive_later(function);
            }
            let at = world.random.span(200_000_000);
            world.later(at, Happening::Update { function });
            if world.random.chance(300) {
                let at = world.random.span(50_000_000);
                world.later(at, Happening::Provision { function });
            }
        }
        world
    }

    /// Tells what all functions have reserved together.
    fn reserve(&mut self) {
        let total = self.functions.iter().filter_map(|function| function.reserved).sum();
        self.audit.reserve(total);
    }

    fn later(&mut self, after_us: u64, happening: Happening) {
        self.order += 1;
        self.agenda.push(Reverse((self.audit.now.plus(after_us), self.order, happening)));
    }

    fn arrive_later(&mut self, function: usize) {
        let (gap, burst) = (self.behaviours[function].gap_us, self.behaviours[function].burst);
        let after = self.random.span(gap * u64::from(burst));
        self.later(after, Happening::Arrival { function, left: burst });
    }

    /// Runs until about `events` have happened, then until nothing is left.
    fn run(&mut self, events: u64) {
        while self.audit.events < events && self.step() {}
        self.ending = true;
        // Half of the worlds end by shutdown, the others by everybody going away.
        if self.random.chance(500) {
            let effects = self.audit.tell(Event::Drain);
            self.perform(&effects);
            if self.random.chance(500) {
                let effects = self.audit.tell(Event::Kill);
                self.perform(&effects);
            }
        }
        for function in self.functions.clone() {
            let effects = self.audit.provision(&function, 0);
            self.perform(&effects);
        }
        while self.step() {}
        self.audit.compare();
        assert!(self.audit.is_quiet(), "everything returns to zero\n{}", self.audit.dump());
        assert!(self.audit.planner.is_empty());
        assert_eq!(self.audit.planner.functions_known(), 0, "functions are forgotten");
    }

    fn step(&mut self) -> bool {
        let wake = self.audit.planner.wake();
        if let Some(at) = wake
            && self.next_tick.is_none_or(|next| at < next)
        {
            self.next_tick = Some(at);
            self.later(at.since(self.audit.now), Happening::Tick);
        }
        let Some(Reverse((at, _, happening))) = self.agenda.pop() else { return false };
        self.audit.advance(at);
        let effects = self.happen(happening);
        self.perform(&effects);
        // Longest of: all slots taken by slow starts in turn, a starved wait, retries.
        let bound = 900_000_000;
        assert!(self.audit.oldest_wait_us() < bound, "a call starves\n{}", self.audit.dump());
        if self.audit.events.is_multiple_of(64) {
            self.audit.compare();
        }
        true
    }

    fn happen(&mut self, happening: Happening) -> Vec<Effect> {
        match happening {
            Happening::Arrival { function, left } => self.arrival(function, left),
            Happening::GivesUp(call) if self.audit.queued().any(|queued| queued == call) => {
                self.audit.tell(Event::Cancelled(call))
            }
            Happening::Launched(id) => match self.audit.machines.get(&id).map(|machine| machine.phase) {
                Some(Phase::Booting { .. }) => self.launched(id),
                // It was given up; its task reports the end.
                Some(Phase::Stopping { .. } | Phase::Idle { .. } | Phase::Busy { .. }) | None => Vec::new(),
            },
            Happening::Done(id) => match self.audit.machines.get(&id).map(|machine| machine.phase) {
                Some(Phase::Busy { .. } | Phase::Stopping { call: Some(_) }) => {
                    let crashes = self.behaviours[self.owner[&id]].crashes_per_mille;
                    let reusable = !self.random.chance(crashes);
                    self.audit.tell(Event::Released { environment: id, reusable })
                }
                Some(Phase::Booting { .. } | Phase::Idle { .. } | Phase::Stopping { call: None }) | None => {
                    Vec::new()
                }
            },
            Happening::Breaks(id) => {
                match self.audit.machines.get(&id).map(|machine| (machine.phase, machine.broken)) {
                    Some((Phase::Idle { .. } | Phase::Busy { .. }, false)) => {
                        self.audit.tell(Event::Broken(id))
                    }
                    Some(_) | None => Vec::new(),
                }
            }
            Happening::Ended(id) => {
                self.owner.remove(&id);
                self.audit.tell(Event::Ended(id))
            }
            Happening::Update { function } => {
                if self.ending {
                    return Vec::new();
                }
                let after = self.random.span(200_000_000);
                self.later(after, Happening::Update { function });
                let old = self.functions[function].key();
                self.functions[function].revision = self.functions[function].revision.wrapping_add(1);
                if self.random.chance(300) {
                    self.functions[function].reserved =
                        self.random.chance(500).then(|| self.random.below(8) as u32);
                    self.reserve();
                }
                self.audit.tell(Event::Retire(&old))
            }
            Happening::Provision { function } => {
                if self.ending {
                    return Vec::new();
                }
                let after = self.random.span(100_000_000);
                self.later(after, Happening::Provision { function });
                let count = self.random.below(5) as u32;
                self.audit.provision(&self.functions[function].clone(), count)
            }
            Happening::Tick => {
                // One that was armed before an earlier one changes nothing.
                self.next_tick = self.next_tick.filter(|next| *next > self.audit.now);
                let effects = self.audit.tell(Event::Tick);
                self.audit.check_idle();
                effects
            }
            Happening::GivesUp(_) => Vec::new(),
        }
    }

    fn arrival(&mut self, function: usize, left: u32) -> Vec<Effect> {
        if self.ending {
            return Vec::new();
        }
        if left > 1 {
            let after = self.random.below(300);
            self.later(after, Happening::Arrival { function, left: left - 1 });
        } else {
            self.arrive_later(function);
        }
        let (call, effects) = self.audit.request(&self.functions[function].clone());
        let patience = self.random.span(self.behaviours[function].patience_us);
        self.later(patience, Happening::GivesUp(call));
        effects
    }

    fn launched(&mut self, id: EnvironmentId) -> Vec<Effect> {
        let behaviour = &self.behaviours[self.owner[&id]];
        let (fails, for_good) = (behaviour.launch_fails_per_mille, behaviour.launch_fails_for_good);
        if self.random.chance(fails) {
            self.owner.remove(&id);
            return self.audit.tell(Event::LaunchFailed { environment: id, transient: !for_good });
        }
        if self.random.chance(20) {
            let after = self.random.span(5_000_000);
            self.later(after, Happening::Breaks(id));
        }
        self.audit.tell(Event::Ready(id))
    }

    fn perform(&mut self, effects: &[Effect]) {
        for effect in effects {
            match *effect {
                Effect::Assign { environment, .. } => {
                    let mean = self.behaviours[self.owner[&environment]].run_us;
                    let after = self.random.span(mean);
                    self.later(after, Happening::Done(environment));
                }
                Effect::Refuse { .. } => {}
                Effect::Launch { environment, .. } => {
                    let key = &self.audit.machines[&environment].key;
                    let named = |function: &Function| function.name == key.name.as_str();
                    let owner = self.functions.iter().position(named).expect("a function of this world");
                    self.owner.insert(environment, owner);
                    let after = self.random.span(self.behaviours[owner].launch_us);
                    self.later(after, Happening::Launched(environment));
                }
                Effect::Stop(environment) => {
                    let after = self.random.span(10_000);
                    self.later(after, Happening::Ended(environment));
                }
            }
        }
    }
}

#[test]
fn keeps_every_promise_in_simulated_worlds() {
    let one = std::env::var("NEAP_SIMULATION_SEED").ok().and_then(|seed| seed.parse().ok());
    let many = std::env::var("NEAP_SIMULATION_SEEDS").ok().and_then(|count| count.parse().ok());
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..many.unwrap_or(SEEDS),
    };
    let (mut events, mut calls, mut cold, mut wait) = (0, 0, 0, 0);
    let mut memory_us = 0u128;
    for seed in seeds {
        let told = Told(seed);
        let mut world = World::new(seed);
        world.run(EVENTS_PER_SEED);
        events += world.audit.events;
        calls += world.audit.calls;
        cold += world.audit.cold;
        wait = wait.max(world.audit.wait_us_max);
        memory_us += world.audit.memory_us;
        std::mem::forget(told);
    }
    let gib_hours = memory_us as f64 / 1024.0 / 3.6e9;
    let share = 100.0 * cold as f64 / calls.max(1) as f64;
    println!(
        "{events} events, {calls} calls, {share:.2}% cold, longest wait {} ms, {gib_hours:.1} GiB-hours",
        wait / 1000
    );
    assert!(calls > 0);
}

/// Prints the seed of the world that failed.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        println!("failed with NEAP_SIMULATION_SEED={}", self.0);
    }
}

#[test]
fn the_same_seed_makes_the_same_decisions() {
    let run = |seed| {
        let mut world = World::new(seed);
        world.run(1_000);
        (world.audit.events, world.audit.calls, world.audit.cold, world.audit.memory_us, world.audit.now)
    };
    assert_eq!(run(7), run(7));
}
