//! The rules, one by one.

use crate::audit::{Audit, Function};
use base::{EnvironmentId, MemoryMib, ThrottleReason};
use fleet::{
    KeepAlive, Limits,
    keepalive::Why,
    planner::{CallId, Effect, Event, Refusal, Tick},
};

fn function(name: &'static str, memory: u32) -> Function {
    Function { name, revision: 0, memory, reserved: None }
}

fn limits() -> Limits {
    let mut limits = Limits::new(MemoryMib(1_000), 1);
    limits.overcommit_percent = 100;
    limits.keep_alive = KeepAlive::Fixed;
    limits
}

fn launched(effects: &[Effect]) -> Vec<EnvironmentId> {
    let launch = |effect: &Effect| match *effect {
        Effect::Launch { environment, .. } => Some(environment),
        Effect::Assign { .. } | Effect::Refuse { .. } | Effect::Stop(_) => None,
    };
    effects.iter().filter_map(launch).collect()
}

fn assigned(effects: &[Effect]) -> Vec<(CallId, EnvironmentId)> {
    let assign = |effect: &Effect| match *effect {
        Effect::Assign { call, environment, .. } => Some((call, environment)),
        Effect::Launch { .. } | Effect::Refuse { .. } | Effect::Stop(_) => None,
    };
    effects.iter().filter_map(assign).collect()
}

fn refused(effects: &[Effect]) -> Vec<Refusal> {
    let refuse = |effect: &Effect| match *effect {
        Effect::Refuse { why, .. } => Some(why),
        Effect::Launch { .. } | Effect::Assign { .. } | Effect::Stop(_) => None,
    };
    effects.iter().filter_map(refuse).collect()
}

fn stopped(effects: &[Effect]) -> Vec<EnvironmentId> {
    let stop = |effect: &Effect| match *effect {
        Effect::Stop(id) => Some(id),
        Effect::Launch { .. } | Effect::Assign { .. } | Effect::Refuse { .. } => None,
    };
    effects.iter().filter_map(stop).collect()
}

/// A call that runs at once or after its own start.
fn run(audit: &mut Audit, function: &Function) -> EnvironmentId {
    let (_, effects) = audit.request(function);
    if let [(_, id)] = assigned(&effects)[..] {
        return id;
    }
    let [id] = launched(&effects)[..] else { panic!("{effects:?}") };
    audit.tell(Event::Ready(id));
    id
}

fn release(audit: &mut Audit, environment: EnvironmentId) -> Vec<Effect> {
    audit.tell(Event::Released { environment, reusable: true })
}

fn wait(audit: &mut Audit, us: u64) {
    audit.advance(audit.now.plus(us));
}

#[test]
fn takes_the_most_recently_used_environment() {
    let (mut audit, f) = (Audit::new(limits()), function("f", 128));
    let (first, second) = (run(&mut audit, &f), run(&mut audit, &f));
    release(&mut audit, second);
    release(&mut audit, first);
    let (_, effects) = audit.request(&f);
    assert_eq!(assigned(&effects)[0].1, first);
}

#[test]
fn a_released_environment_serves_the_queue_and_the_start_ends_idle() {
    let (mut audit, f) = (Audit::new(limits()), function("f", 128));
    let warm = run(&mut audit, &f);
    let (waiting, effects) = audit.request(&f);
    let [starting] = launched(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(assigned(&release(&mut audit, warm)), [(waiting, warm)]);
    assert!(assigned(&audit.tell(Event::Ready(starting))).is_empty());
    let (next, effects) = audit.request(&f);
    assert_eq!(assigned(&effects), [(next, starting)]);
}

#[test]
fn a_start_that_lost_its_reason_is_not_begun() {
    let mut limits = limits();
    limits.starts_parallel = 1;
    let (mut audit, f) = (Audit::new(limits), function("f", 128));
    let (_, effects) = audit.request(&f);
    let [first] = launched(&effects)[..] else { panic!("{effects:?}") };
    let (second, effects) = audit.request(&f);
    assert!(launched(&effects).is_empty(), "one start at a time");
    audit.tell(Event::Cancelled(second));
    assert!(launched(&audit.tell(Event::Ready(first))).is_empty());
}

#[test]
fn slow_starts_give_back_their_slot() {
    let mut limits = limits();
    limits.starts_parallel = 1;
    let mut audit = Audit::new(limits);
    audit.request(&function("slow", 128));
    let (_, effects) = audit.request(&function("other", 128));
    assert!(launched(&effects).is_empty());
    let due = audit.planner.wake().expect("a slot expires");
    audit.advance(due);
    assert_eq!(launched(&audit.tell(Event::Tick)).len(), 1);
}

#[test]
fn starts_take_turns_between_functions() {
    let mut limits = limits();
    limits.starts_parallel = 1;
    let (mut audit, many, one) = (Audit::new(limits), function("many", 10), function("one", 10));
    let (_, effects) = audit.request(&many);
    let [first] = launched(&effects)[..] else { panic!("{effects:?}") };
    for _ in 0..9 {
        audit.request(&many);
    }
    let (call, _) = audit.request(&one);
    let mut ready = vec![first];
    for _ in 0..2 {
        let effects = audit.tell(Event::Ready(ready.pop().expect("a start")));
        let next =
            effects.iter().any(|effect| matches!(effect, Effect::Launch { call: c, .. } if *c == Some(call)));
        if next {
            return;
        }
        ready = launched(&effects);
    }
    panic!("the single call waits behind the burst");
}

#[test]
fn idle_environments_end_after_the_keep_window() {
    let (mut audit, f) = (Audit::new(limits()), function("f", 128));
    let id = run(&mut audit, &f);
    release(&mut audit, id);
    let due = audit.planner.wake().expect("the end of the window");
    assert_eq!(due, audit.now.plus(audit.limits.keep_us));
    audit.advance(due);
    assert_eq!(stopped(&audit.tell(Event::Tick)), [id]);
    audit.tell(Event::Ended(id));
    assert!(audit.planner.is_empty());
}

#[test]
fn ends_the_least_valuable_idle_environment_to_make_room() {
    let mut audit = Audit::new(limits());
    let (small, large) = (function("small", 200), function("large", 600));
    let old = run(&mut audit, &small);
    release(&mut audit, old);
    let big = run(&mut audit, &large);
    release(&mut audit, big);
    wait(&mut audit, 1_000);
    // Both are about as old; the larger one frees more.
    let (_, effects) = audit.request(&function("new", 400));
    assert_eq!(stopped(&effects), [big]);
    assert!(launched(&effects).is_empty(), "memory comes back when nothing of it is left");
    assert_eq!(launched(&audit.tell(Event::Ended(big))).len(), 1);
}

#[test]
fn places_bound_environments_however_small_they_are() {
    let mut limits = limits();
    limits.environments_max = 2;
    let mut audit = Audit::new(limits);
    run(&mut audit, &function("busy", 1));
    let idle = run(&mut audit, &function("idle", 1));
    release(&mut audit, idle);
    let (_, effects) = audit.request(&function("new", 1));
    assert_eq!(stopped(&effects), [idle], "an idle one gives its place");
    let [new] = launched(&audit.tell(Event::Ended(idle)))[..] else { panic!("a place is free") };
    audit.tell(Event::Ready(new));
    let (_, effects) = audit.request(&function("late", 1));
    assert!(effects.is_empty());
    audit.advance(audit.planner.wake().expect("the end of patience"));
    assert_eq!(refused(&audit.tell(Event::Tick)), [Refusal::NodeFull { wanted: MemoryMib(1) }]);
}

#[test]
fn refuses_what_never_fits_and_what_waited_too_long() {
    let mut audit = Audit::new(limits());
    let (_, effects) = audit.request(&function("huge", 1_001));
    assert_eq!(refused(&effects), [Refusal::NodeFull { wanted: MemoryMib(1_001) }]);
    run(&mut audit, &function("busy", 900));
    let (_, effects) = audit.request(&function("waits", 200));
    assert!(effects.is_empty());
    let due = audit.planner.wake().expect("the end of patience");
    assert_eq!(due, audit.now.plus(audit.limits.full_wait_us_max));
    audit.advance(due);
    assert_eq!(refused(&audit.tell(Event::Tick)), [Refusal::NodeFull { wanted: MemoryMib(200) }]);
}

#[test]
fn a_busy_function_makes_room_for_one_that_has_nothing() {
    let mut audit = Audit::new(limits());
    let (greedy, starved) = (function("greedy", 500), function("starved", 500));
    let first = run(&mut audit, &greedy);
    run(&mut audit, &greedy);
    audit.request(&greedy);
    let (call, _) = audit.request(&starved);
    let patience = audit.limits.yield_after_us;
    wait(&mut audit, patience);
    assert_eq!(stopped(&release(&mut audit, first)), [first]);
    let effects = audit.tell(Event::Ended(first));
    assert!(matches!(effects[..], [Effect::Launch { call: c, .. }] if c == Some(call)), "{effects:?}");
}

#[test]
fn accounts_and_reservations_bound_concurrency() {
    let mut limits = limits();
    limits.account_concurrency = 10;
    limits.unreserved_concurrency_min = 4;
    limits.memory_budget = MemoryMib(100_000);
    let mut audit = Audit::new(limits);
    let reserved = Function { reserved: Some(3), ..function("reserved", 128) };
    let open = function("open", 128);
    audit.reserve(3);
    for _ in 0..3 {
        run(&mut audit, &reserved);
    }
    let reason = ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded;
    assert_eq!(refused(&audit.request(&reserved).1), [Refusal::Throttled(reason)]);
    for _ in 0..7 {
        run(&mut audit, &open);
    }
    let reason = ThrottleReason::ConcurrentInvocationLimitExceeded;
    assert_eq!(refused(&audit.request(&open).1), [Refusal::Throttled(reason)]);
    let off = Function { reserved: Some(0), ..function("off", 128) };
    let reason = ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded;
    assert_eq!(refused(&audit.request(&off).1), [Refusal::Throttled(reason)]);
    audit.compare();
}

#[test]
fn reservations_of_functions_never_invoked_are_kept_free() {
    let mut limits = limits();
    limits.account_concurrency = 10;
    limits.unreserved_concurrency_min = 1;
    limits.memory_budget = MemoryMib(100_000);
    let mut audit = Audit::new(limits);
    let (open, quiet) = (function("open", 128), Function { reserved: Some(6), ..function("quiet", 128) });
    audit.reserve(6);
    let running: Vec<_> = (0..4).map(|_| run(&mut audit, &open)).collect();
    let reason = Refusal::Throttled(ThrottleReason::ConcurrentInvocationLimitExceeded);
    assert_eq!(refused(&audit.request(&open).1), [reason]);
    for _ in 0..6 {
        run(&mut audit, &quiet);
    }
    // Given back, it is for everybody.
    audit.reserve(0);
    assert_eq!(refused(&audit.request(&open).1), [reason], "the account is full");
    release(&mut audit, running[0]);
    run(&mut audit, &open);
    audit.compare();
}

#[test]
fn reserved_functions_are_bound_in_rate() {
    let (mut audit, f) = (Audit::new(limits()), Function { reserved: Some(1), ..function("f", 128) });
    for _ in 0..10 {
        let id = run(&mut audit, &f);
        release(&mut audit, id);
    }
    // The audit's naive reading knows no rates, so the planner is asked directly.
    let key = f.key();
    let demand =
        fleet::planner::Demand { key: &key, memory: MemoryMib(128), reserved: Some(1), keep_us: None };
    let mut effects = Vec::new();
    let request = Event::Request { call: CallId(99), demand };
    audit.planner.on(request, audit.now, &mut effects).expect("legal");
    let reason = ThrottleReason::ReservedFunctionInvocationRateLimitExceeded;
    assert_eq!(refused(&effects), [Refusal::Throttled(reason)]);
    wait(&mut audit, 100_000);
    run(&mut audit, &f);
}

#[test]
fn failing_starts_are_repeated_then_refused() {
    let (mut audit, f) = (Audit::new(limits()), function("f", 128));
    let (_, mut effects) = audit.request(&f);
    for _ in 0..audit.limits.launch_retries {
        let [environment] = launched(&effects)[..] else { panic!("{effects:?}") };
        assert!(
            audit.tell(Event::LaunchFailed { environment, transient: true }).is_empty(),
            "it waits a little"
        );
        let due = audit.planner.wake().expect("another attempt");
        audit.advance(due);
        effects = audit.tell(Event::Tick);
    }
    let [environment] = launched(&effects)[..] else { panic!("{effects:?}") };
    let effects = audit.tell(Event::LaunchFailed { environment, transient: true });
    assert_eq!(refused(&effects), [Refusal::LaunchFailed]);
    audit.compare();
}

#[test]
fn permanent_failures_refuse_at_once_and_only_what_no_other_start_covers() {
    let (mut audit, f) = (Audit::new(limits()), function("f", 128));
    let (_, one) = audit.request(&f);
    let (_, two) = audit.request(&f);
    let (one, two) = (launched(&one)[0], launched(&two)[0]);
    let effects = audit.tell(Event::LaunchFailed { environment: one, transient: false });
    assert_eq!(refused(&effects), [Refusal::LaunchFailed]);
    assert_eq!(assigned(&audit.tell(Event::Ready(two))).len(), 1);
}

#[test]
fn retired_pools_end_idle_ones_now_and_busy_ones_after_their_call() {
    let (mut audit, f) = (Audit::new(limits()), function("f", 128));
    let (idle, busy) = (run(&mut audit, &f), run(&mut audit, &f));
    release(&mut audit, idle);
    let key = f.key();
    assert_eq!(stopped(&audit.tell(Event::Retire(&key))), [idle]);
    assert_eq!(stopped(&release(&mut audit, busy)), [busy]);
    audit.tell(Event::Ended(idle));
    audit.tell(Event::Ended(busy));
    assert!(audit.planner.is_empty());
}

#[test]
fn environments_that_end_by_themselves_are_not_assigned() {
    let (mut audit, f) = (Audit::new(limits()), function("f", 128));
    let id = run(&mut audit, &f);
    release(&mut audit, id);
    assert_eq!(stopped(&audit.tell(Event::Broken(id))), [id]);
    let (_, effects) = audit.request(&f);
    assert!(assigned(&effects).is_empty());
    assert_eq!(launched(&effects).len(), 1);
}

#[test]
fn scaling_rate_refuses_the_start_beyond_it() {
    let mut limits = limits();
    limits.scaling_starts = 2;
    let (mut audit, f) = (Audit::new(limits), function("f", 10));
    run(&mut audit, &f);
    run(&mut audit, &f);
    let reason = ThrottleReason::ConcurrentInvocationLimitExceeded;
    assert_eq!(refused(&audit.request(&f).1), [Refusal::Throttled(reason)]);
    wait(&mut audit, 5_000_000);
    run(&mut audit, &f);
}

#[test]
fn draining_refuses_the_queue_and_waits_for_running_calls() {
    let (mut audit, f) = (Audit::new(limits()), function("f", 900));
    let busy = run(&mut audit, &f);
    audit.request(&f);
    let effects = audit.tell(Event::Drain);
    assert_eq!(refused(&effects), [Refusal::ShuttingDown]);
    assert!(stopped(&effects).is_empty());
    assert_eq!(refused(&audit.request(&f).1), [Refusal::ShuttingDown]);
    assert_eq!(stopped(&audit.tell(Event::Kill)), [busy]);
}

#[test]
fn provisioned_environments_are_there_without_calls_and_stay() {
    let mut audit = Audit::new(limits());
    let f = function("f", 128);
    let ids = launched(&audit.provision(&f, 2));
    assert_eq!(ids.len(), 2);
    ids.iter().for_each(|id| drop(audit.tell(Event::Ready(*id))));
    wait(&mut audit, 7_200_000_000);
    assert_eq!(stopped(&audit.tell(Event::Tick)), []);
    // One that is busy counts; what calls bring beyond them goes when its time is over.
    let busy: Vec<_> = (0..3).map(|_| run(&mut audit, &f)).collect();
    busy.iter().for_each(|id| drop(release(&mut audit, *id)));
    wait(&mut audit, 7_200_000_000);
    assert_eq!(stopped(&audit.tell(Event::Tick)).len(), 1);
    // One that ends is replaced at once.
    let left: Vec<_> = audit.machines.keys().copied().take(1).collect();
    let effects = audit.tell(Event::Broken(left[0]));
    assert_eq!((launched(&effects).len(), stopped(&effects)), (1, left));
    assert_eq!(stopped(&audit.provision(&f, 0)), []);
    wait(&mut audit, 7_200_000_000);
    assert_eq!(stopped(&audit.tell(Event::Tick)).len(), 1);
}

#[test]
fn provisioned_environments_are_not_given_up_for_others() {
    let mut audit = Audit::new(limits());
    let (f, g) = (function("f", 400), function("g", 700));
    let [id] = launched(&audit.provision(&f, 1))[..] else { panic!("one start") };
    audit.tell(Event::Ready(id));
    let (_, effects) = audit.request(&g);
    assert_eq!((launched(&effects), stopped(&effects)), (vec![], vec![]));
    wait(&mut audit, 5_000_000);
    assert_eq!(refused(&audit.tell(Event::Tick)), [Refusal::NodeFull { wanted: MemoryMib(700) }]);
    assert!(audit.planner.environment(id).is_some());
}

#[test]
fn provisioned_concurrency_is_the_functions_own() {
    let mut limits = limits();
    (limits.account_concurrency, limits.unreserved_concurrency_min) = (4, 1);
    let mut audit = Audit::new(limits);
    let (f, g) = (function("f", 10), function("g", 10));
    audit.reserve(2);
    launched(&audit.provision(&f, 2)).into_iter().for_each(|id| drop(audit.tell(Event::Ready(id))));
    run(&mut audit, &g);
    run(&mut audit, &g);
    let throttled = Refusal::Throttled(ThrottleReason::ConcurrentInvocationLimitExceeded);
    assert_eq!(refused(&audit.request(&g).1), [throttled]);
    run(&mut audit, &f);
    run(&mut audit, &f);
    assert_eq!(refused(&audit.request(&f).1), [throttled]);
}

#[test]
fn a_start_ahead_of_calls_that_fails_is_tried_again_ever_later_and_fails_no_call() {
    let mut audit = Audit::new(limits());
    let f = function("f", 128);
    let [first] = launched(&audit.provision(&f, 1))[..] else { panic!("one start") };
    let (call, _) = audit.request(&f);
    let failed = audit.tell(Event::LaunchFailed { environment: first, transient: false });
    assert_eq!(refused(&failed), []);
    // The call gets a start of its own at once.
    let [own] = launched(&failed)[..] else { panic!("{failed:?}") };
    assert_eq!(assigned(&audit.tell(Event::Ready(own))), [(call, own)]);
}

fn learning() -> Limits {
    Limits { keep_alive: KeepAlive::Learned, ..limits() }
}

/// Lets so much time pass, and everything happen at once that it brings.
fn pass(audit: &mut Audit, us: u64) {
    let until = audit.now.plus(us);
    while let Some(wake) = audit.planner.wake()
        && wake <= until
    {
        audit.advance(wake.max(audit.now));
        let effects = audit.tell(Event::Tick);
        launched(&effects).into_iter().for_each(|id| drop(audit.tell(Event::Ready(id))));
        stopped(&effects).into_iter().for_each(|id| drop(audit.tell(Event::Ended(id))));
    }
    audit.advance(until);
}

/// Calls `function` each minute until that is known, and to the moment at which the next start ahead is due.
fn until_ahead(audit: &mut Audit, function: &Function) {
    for _ in 0..6 {
        let id = run(audit, function);
        wait(audit, 1_000);
        release(audit, id);
        pass(audit, 60_000_000);
    }
    let id = run(audit, function);
    wait(audit, 1_000);
    release(audit, id);
    pass(audit, 30_000_000);
    assert!(audit.machines.is_empty(), "a start ahead covers it");
    let due = audit.planner.wake().expect("a start ahead");
    assert!(due < audit.now.plus(30_000_000));
    audit.advance(due);
}

#[test]
fn a_regular_call_meets_an_environment_started_ahead_and_is_not_cold() {
    let (mut audit, f) = (Audit::new(learning()), function("f", 128));
    until_ahead(&mut audit, &f);
    let [id] = launched(&audit.tell(Event::Tick))[..] else { panic!("one start") };
    audit.tell(Event::Ready(id));
    wait(&mut audit, 500_000);
    let (call, effects) = audit.request(&f);
    assert_eq!(effects, [Effect::Assign { call, environment: id, waited_us: 0, cold: false }]);
    let totals = audit.planner.snapshot(audit.now).totals;
    assert!(totals.foreseen_used > 0 && totals.cold < totals.starts);
}

#[test]
fn starts_ahead_give_way_to_calls() {
    let (mut audit, f) = (Audit::new(learning()), function("f", 600));
    until_ahead(&mut audit, &f);
    let [ahead] = launched(&audit.tell(Event::Tick))[..] else { panic!("one start") };
    // Still starting, it ends for a call that needs its memory.
    let (call, effects) = audit.request(&function("g", 700));
    assert_eq!(stopped(&effects), [ahead]);
    let effects = audit.tell(Event::Ended(ahead));
    assert!(matches!(effects[..], [Effect::Launch { call: c, .. }] if c == Some(call)), "{effects:?}");
}

#[test]
fn starts_ahead_end_nothing_and_wait_for_nobody() {
    let (mut audit, f) = (Audit::new(learning()), function("f", 600));
    until_ahead(&mut audit, &f);
    // Idle memory is not taken from others for a guess.
    let id = run(&mut audit, &function("g", 700));
    release(&mut audit, id);
    pass(&mut audit, 10_000_000);
    assert_eq!(audit.machines.keys().copied().collect::<Vec<_>>(), [id]);
    assert!(!audit.planner.starved(&f.key()));
}

#[test]
fn starts_ahead_that_fail_are_left_out_ever_longer_and_fail_no_call() {
    let (mut audit, f) = (Audit::new(learning()), function("f", 128));
    until_ahead(&mut audit, &f);
    let [id] = launched(&audit.tell(Event::Tick))[..] else { panic!("one start") };
    let effects = audit.tell(Event::LaunchFailed { environment: id, transient: false });
    assert_eq!(effects, []);
    audit.compare();
    // The next is left out, the one after it is not, as nothing has failed again.
    for ahead in [0, 1] {
        let before = audit.planner.snapshot(audit.now).totals.foreseen;
        pass(&mut audit, 1_000_000);
        let id = run(&mut audit, &f);
        release(&mut audit, id);
        pass(&mut audit, 59_500_000);
        assert_eq!(audit.planner.snapshot(audit.now).totals.foreseen, before + ahead);
    }
}

#[test]
fn a_new_revision_begins_with_what_is_known_of_its_version() {
    let (mut audit, mut f) = (Audit::new(learning()), function("f", 128));
    until_ahead(&mut audit, &f);
    audit.tell(Event::Retire(&f.key()));
    assert_eq!(launched(&audit.tell(Event::Tick)), [], "nothing is started of what is retired");
    f.revision += 1;
    let id = run(&mut audit, &f);
    release(&mut audit, id);
    pass(&mut audit, 1_000);
    assert!(audit.machines.is_empty() && audit.planner.has_pool(&f.key()), "released, and planned for");
    // A version of which nothing is called any more is forgotten.
    audit.tell(Event::Retire(&f.key()));
    pass(&mut audit, 7_200_000_000);
    assert_eq!(audit.planner.histories(), 0);
}

#[test]
fn a_floor_of_the_future_is_kept_from_then_on() {
    let (mut planner, f) = (fleet::planner::Planner::new(learning()), function("f", 128));
    let (key, mut effects) = (f.key(), Vec::new());
    let demand = fleet::planner::Demand { key: &key, memory: MemoryMib(128), reserved: None, keep_us: None };
    let from = Tick(3_600_000_000);
    planner.on(Event::Provision { demand, count: 2, from }, Tick(0), &mut effects).expect("legal");
    assert_eq!((effects.len(), planner.wake()), (0, Some(from)));
    let planned = planner.snapshot(Tick(0)).pools[0].prestart.expect("it is planned");
    assert_eq!((planned.count, planned.in_us, planned.why), (2, from.0, Why::Schedule));
    planner.on(Event::Tick, from, &mut effects).expect("legal");
    assert_eq!(launched(&effects).len(), 2);
    let starts = launched(&effects);
    starts.iter().for_each(|id| planner.on(Event::Ready(*id), from, &mut effects).expect("legal"));
    planner.on(Event::Tick, from.plus(100_000_000_000), &mut effects).expect("legal");
    assert_eq!((stopped(&effects), planner.ready_of(&key)), (vec![], 2));
}
