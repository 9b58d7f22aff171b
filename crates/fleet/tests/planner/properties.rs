//! Arbitrary scripts of events, shrunk to the shortest that breaks a promise.

use crate::audit::{Audit, Function, Phase};
use base::{EnvironmentId, MemoryMib};
use fleet::{
    KeepAlive, Limits,
    planner::{Event, Tick},
};
use proptest::prelude::*;

/// One step; numbers choose among what is possible then.
#[derive(Clone, Copy, Debug)]
enum Step {
    Request(usize),
    Cancel(usize),
    Ready(usize),
    Fail(usize, bool),
    Release(usize, bool),
    Break(usize),
    End(usize),
    Retire(usize),
    Reserve(u32),
    Wait(u64),
    Drain,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3usize).prop_map(Step::Request),
        2 => any::<usize>().prop_map(Step::Cancel),
        6 => any::<usize>().prop_map(Step::Ready),
        2 => any::<(usize, bool)>().prop_map(|(which, transient)| Step::Fail(which, transient)),
        6 => any::<(usize, bool)>().prop_map(|(which, reusable)| Step::Release(which, reusable)),
        1 => any::<usize>().prop_map(Step::Break),
        4 => any::<usize>().prop_map(Step::End),
        1 => (0..3usize).prop_map(Step::Retire),
        1 => (0..8u32).prop_map(Step::Reserve),
        3 => prop_oneof![Just(1), Just(1_000), Just(500_000), Just(1_500_000), Just(6_000_000)].prop_map(Step::Wait),
        1 => Just(Step::Drain).prop_filter("seldom", |_| true),
        1 => Just(Step::Kill),
    ]
}

fn limits(keep_alive: KeepAlive) -> Limits {
    let mut limits = Limits::new(MemoryMib(1_000), 1);
    limits.overcommit_percent = 100;
    limits.starts_parallel = 2;
    limits.account_concurrency = 6;
    limits.unreserved_concurrency_min = 2;
    limits.keep_us = 5_000_000;
    limits.keep_alive = keep_alive;
    (limits.pause_us, limits.cold_worth_us) = (500_000, 20_000_000);
    limits.reserved_rate_per_concurrency = None;
    limits
}

fn functions() -> Vec<Function> {
    let function = |name, memory, reserved| Function { name, revision: 0, memory, reserved };
    vec![function("small", 200, None), function("large", 700, None), function("few", 300, Some(2))]
}

fn choose(audit: &Audit, which: usize, wanted: impl Fn(Phase) -> bool) -> Option<EnvironmentId> {
    let ids: Vec<_> = audit.machines.iter().filter(|(_, m)| wanted(m.phase)).map(|(&id, _)| id).collect();
    ids.get(which.checked_rem(ids.len())?).copied()
}

fn apply(audit: &mut Audit, functions: &mut [Function], step: Step) {
    if let Some(wake) = audit.planner.wake()
        && wake <= audit.now
    {
        audit.tell(Event::Tick);
        audit.check_idle();
    }
    match step {
        Step::Request(function) => drop(audit.request(&functions[function])),
        Step::Cancel(which) => {
            let queued: Vec<_> = audit.queued().collect();
            if !queued.is_empty() {
                audit.tell(Event::Cancelled(queued[which % queued.len()]));
            }
        }
        Step::Ready(which) => {
            if let Some(id) = choose(audit, which, |phase| matches!(phase, Phase::Booting { .. })) {
                audit.tell(Event::Ready(id));
            }
        }
        Step::Fail(which, transient) => {
            if let Some(environment) = choose(audit, which, |phase| matches!(phase, Phase::Booting { .. })) {
                audit.tell(Event::LaunchFailed { environment, transient });
            }
        }
        Step::Release(which, reusable) => {
            let running = |phase| matches!(phase, Phase::Busy { .. } | Phase::Stopping { call: Some(_) });
            if let Some(environment) = choose(audit, which, running) {
                audit.tell(Event::Released { environment, reusable });
            }
        }
        Step::Break(which) => {
            let ready = |phase| matches!(phase, Phase::Busy { .. } | Phase::Idle { .. });
            if let Some(id) = choose(audit, which, ready)
                && !audit.machines[&id].broken
            {
                audit.tell(Event::Broken(id));
            }
        }
        Step::End(which) => {
            if let Some(id) = choose(audit, which, |phase| matches!(phase, Phase::Stopping { .. }))
                && audit.machines[&id].told
            {
                audit.tell(Event::Ended(id));
            }
        }
        Step::Retire(function) => {
            let key = functions[function].key();
            functions[function].revision += 1;
            audit.tell(Event::Retire(&key));
        }
        Step::Reserve(total) => audit.reserve(total),
        Step::Wait(us) => audit.advance(audit.now.plus(us)),
        Step::Drain => drop(audit.tell(Event::Drain)),
        Step::Kill => drop(audit.tell(Event::Kill)),
    }
    audit.compare();
}

/// Lets everything that is under way come to its end.
fn finish(audit: &mut Audit, functions: &mut [Function]) {
    for _ in 0..10_000 {
        if audit.is_quiet() {
            return assert!(audit.planner.is_quiet());
        }
        let wake = audit.planner.wake().unwrap_or(Tick(0)).max(audit.now);
        for step in [Step::Ready(0), Step::Release(0, true), Step::End(0)] {
            apply(audit, functions, step);
        }
        if !audit.machines.values().any(|machine| !matches!(machine.phase, Phase::Idle { .. })) {
            audit.advance(wake);
        }
    }
    panic!("does not come to rest\n{}", audit.dump());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_script_breaks_a_promise(script in prop::collection::vec(step(), 0..120), learned in any::<bool>()) {
        let mut audit = Audit::new(limits(if learned { KeepAlive::Learned } else { KeepAlive::Fixed }));
        let mut functions = functions();
        // The end of the node is one event of a script, not every second.
        let mut ends = 0;
        for step in script {
            ends += usize::from(matches!(step, Step::Drain | Step::Kill));
            if matches!(step, Step::Drain | Step::Kill) && ends % 8 != 7 {
                continue;
            }
            apply(&mut audit, &mut functions, step);
        }
        finish(&mut audit, &mut functions);
    }
}
