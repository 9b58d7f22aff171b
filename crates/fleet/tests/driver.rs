//! The driver over environments that exist only in memory; time is virtual.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken expectation ends the test"
)]

#[path = "driver/fake.rs"]
mod fake;

use base::{
    Answer, Execute, ExecuteError, Exit, FunctionSpec, Habit, Habits as _, Initialization, LaunchError,
    MemoryMib, Micros, PrepareError, Seconds, ThrottleReason, Timestamp,
};
use fake::{Script, World, call, spec};
use fleet::{Fleet, Limits, ProcessorTime, Settings, keepalive::Why};
use std::{cell::Cell, sync::Arc, time::Duration};

/// When each fleet begins, by the wall clock.
const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn settings() -> Settings {
    Settings {
        limits: Limits::new(MemoryMib(10_000), 2),
        launch_max: Duration::from_secs(60),
        stop_max: Duration::from_secs(10),
        processors: 2,
        turns: 3,
        processor_time: || None,
    }
}

fn fleet(world: &Arc<World>, settings: Settings) -> Fleet {
    Fleet::new(settings, Arc::clone(world) as _, Arc::clone(world) as _, NOW)
}

#[tokio::test(start_paused = true)]
async fn the_first_call_is_cold_and_the_next_is_warm() {
    let world = World::new(Script { launch_ms: 30, ..Script::default() });
    let fleet = fleet(&world, settings());
    let answer = fleet.execute(spec("f"), call(b"1")).await.unwrap().answer;
    assert!(matches!(answer, Answer::Buffered(body) if body.as_ref() == b"1"));
    fleet.execute(spec("f"), call(b"2")).await.unwrap();
    let calls = world.calls();
    assert_eq!((calls[0].cold, calls[1].cold), (true, false));
    assert!(calls[0].waited.0 >= 30_000 && calls[1].waited.0 == 0, "{calls:?}");
    assert_eq!(world.launched(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_environment_runs_one_call_at_a_time() {
    let world = World::new(Script { launch_ms: 5, run_ms: 50, ..Script::default() });
    let fleet = fleet(&world, settings());
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(fleet.execute(spec("f"), call(b"x")))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(world.most_at_once_in_one(), 1);
    assert_eq!(world.calls().len(), 20);
}

/// Processors that always have something to do.
fn never_idle() -> Option<ProcessorTime> {
    thread_local! { static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) } }
    let passed = PASSED.get() + Duration::from_millis(100);
    PASSED.set(passed);
    Some(ProcessorTime { passed, idle: Duration::ZERO })
}

/// A fleet of which it is known that the processors have no time, with `size` environments.
async fn busy_fleet(world: &Arc<World>, size: u32) -> Fleet {
    let fleet = fleet(world, Settings { processor_time: never_idle, ..settings() });
    fleet.provision(spec("f"), size);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(110)).await;
        fleet.execute(spec("f"), call(b"x")).await.unwrap();
    }
    fleet
}

#[tokio::test(start_paused = true)]
async fn without_processor_time_calls_that_take_long_are_held_up_for_some_milliseconds_only() {
    let world = World::new(Script { run_ms: 50, ..Script::default() });
    let fleet = busy_fleet(&world, 10).await;
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(fleet.execute(spec("f"), call(b"x")))).collect();
    tokio::time::sleep(Duration::from_micros(500)).await;
    assert_eq!(world.running(), 3);
    tokio::time::sleep(Duration::from_millis(3)).await;
    assert_eq!(world.running(), 10);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let totals = fleet.snapshot().totals;
    // Three of those that waited got the turns of the three that had had theirs for long enough.
    assert_eq!((totals.turns_waited, totals.turns_in_vain), (7, 4));
    let waited = world.calls().iter().filter(|called| (1_000..5_000).contains(&called.waited.0)).count();
    assert_eq!(waited, 7, "told as part of the queue time");
}

#[tokio::test(start_paused = true)]
async fn without_processor_time_calls_that_answer_at_once_follow_each_other_on_few_environments() {
    let world = World::new(Script::default());
    let fleet = busy_fleet(&world, 0).await;
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(fleet.execute(spec("f"), call(b"x")))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let totals = fleet.snapshot().totals;
    assert_eq!(totals.turns_in_vain, 0);
    assert!(world.launched() <= 3, "{} environments, {totals:?}", world.launched());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_the_queue_frees_its_place() {
    let world = World::new(Script { launch_ms: 1_000, ..Script::default() });
    let fleet = fleet(&world, settings());
    let spec = spec("f");
    let waiting =
        tokio::time::timeout(Duration::from_millis(10), fleet.execute(Arc::clone(&spec), call(b"x")));
    assert!(waiting.await.is_err());
    assert_eq!(fleet.pressure(&spec.key).function, 0);
    assert_eq!(fleet.snapshot().totals.cancelled, 1);
    // Its start goes on and serves the next.
    fleet.execute(Arc::clone(&spec), call(b"y")).await.unwrap();
    assert_eq!(world.launched(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_a_running_call_does_not_stop_it() {
    let world = World::new(Script { run_ms: 1_000, ..Script::default() });
    let fleet = fleet(&world, settings());
    let spec = spec("f");
    let running =
        tokio::time::timeout(Duration::from_millis(10), fleet.execute(Arc::clone(&spec), call(b"x")));
    assert!(running.await.is_err());
    assert_eq!(fleet.pressure(&spec.key).function, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.finished(), 1);
    assert_eq!(fleet.pressure(&spec.key).function, 0);
}

#[tokio::test(start_paused = true)]
async fn refused_calls_are_metered_and_named() {
    let world = World::new(Script { run_ms: 100, ..Script::default() });
    let mut settings = settings();
    settings.limits.account_concurrency = 1;
    let fleet = fleet(&world, settings);
    let first = tokio::spawn(fleet.execute(spec("f"), call(b"x")));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let second = fleet.execute(spec("f"), call(b"y")).await;
    assert!(matches!(
        second,
        Err(ExecuteError::Throttled(ThrottleReason::ConcurrentInvocationLimitExceeded))
    ));
    assert_eq!((world.throttled(), world.running()), (1, 1));
    first.await.unwrap().unwrap();
    assert_eq!(world.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn transient_launch_failures_are_repeated_and_permanent_ones_told() {
    let world = World::new(Script { launch_failures: 2, ..Script::default() });
    let fleet = fleet(&world, settings());
    fleet.execute(spec("f"), call(b"x")).await.unwrap();
    let world = World::new(Script { missing_code: true, ..Script::default() });
    let fleet = self::fleet(&world, settings());
    let told = fleet.execute(spec("f"), call(b"x")).await;
    assert!(matches!(told, Err(ExecuteError::Launch(why)) if matches!(*why, LaunchError::CodeMissing(_))));
    assert_eq!(fleet.snapshot().pools.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_given_up() {
    let world = World::new(Script { launch_ms: 1_000_000, ..Script::default() });
    let mut settings = settings();
    settings.launch_max = Duration::from_secs(1);
    let fleet = fleet(&world, settings);
    let told = fleet.execute(spec("f"), call(b"x")).await;
    assert!(matches!(told, Err(ExecuteError::Launch(_))));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_panics_fails_its_calls_only() {
    let world = World::new(Script { launch_panics: true, ..Script::default() });
    let fleet = fleet(&world, settings());
    assert!(matches!(fleet.execute(spec("f"), call(b"x")).await, Err(ExecuteError::Launch(_))));
    assert_eq!(fleet.snapshot().memory_used, MemoryMib(0));
}

#[tokio::test(start_paused = true)]
async fn idle_environments_end_in_time() {
    let world = World::new(Script::default());
    let fleet = fleet(&world, settings());
    fleet.execute(spec("f"), call(b"x")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert_eq!(world.stopped(), 0);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.stopped(), 1);
    assert_eq!(fleet.snapshot().pools.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_regular_call_finds_an_environment_that_was_started_just_before() {
    let world = World::new(Script { launch_ms: 500, run_ms: 10, ..Script::default() });
    let fleet = fleet(&world, settings());
    for _ in 0..6 {
        fleet.execute(spec("f"), call(b"x")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    let [.., last] = &world.calls()[..] else { panic!("no calls") };
    assert!(!last.cold && last.waited.0 == 0, "{last:?}");
    assert_eq!(world.how().last(), Some(&Initialization::Proactive));
    // In between nothing is there, and it is told when something will be.
    fleet.execute(spec("f"), call(b"x")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let snapshot = fleet.snapshot();
    let [pool] = &snapshot.pools[..] else { panic!("{snapshot:?}") };
    let prestart = pool.prestart.unwrap();
    assert!(pool.environments.is_empty() && prestart.in_us > 500_000_000, "{prestart:?}");
    assert!(matches!(prestart.why, Why::Rhythm { period_us } if period_us.abs_diff(600_000_000) < 1_000_000));
    // Nobody calls any more: two environments are started in vain, and then none.
    tokio::time::sleep(Duration::from_secs(5_000)).await;
    assert_eq!((fleet.snapshot().pools.len(), world.stopped()), (0, world.launched()));
}

/// What a fleet has learned, as whoever keeps it is told.
fn learned(fleet: &Fleet) -> Vec<Habit> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (changed, next) = fleet.changed(after);
        all.extend(changed);
        match next {
            Some(_) => after = next,
            None => return all,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_outlives_the_fleet_and_the_next_call_is_met_without_one_before() {
    let began = tokio::time::Instant::now();
    let world = World::new(Script { launch_ms: 500, run_ms: 10, ..Script::default() });
    let first = fleet(&world, settings());
    for _ in 0..6 {
        first.execute(spec("f"), call(b"x")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    first.execute(spec("f"), call(b"x")).await.unwrap();
    first.execute(spec("rare"), call(b"x")).await.unwrap();
    let habits = learned(&first);
    assert_eq!(habits.len(), 2);
    first.kept(&habits);
    assert_eq!(learned(&first), []);
    // What is used again is told again.
    first.execute(spec("rare"), call(b"x")).await.unwrap();
    let [rare] = &learned(&first)[..] else { panic!("one has changed") };
    assert_eq!(rare.key.name.as_str(), "rare");
    first.drain(Duration::from_secs(1)).await;
    drop(first);

    tokio::time::sleep(Duration::from_secs(200)).await;
    let world = World::new(Script { launch_ms: 500, run_ms: 10, ..Script::default() });
    let now = NOW.plus_ms(i64::try_from(began.elapsed().as_millis()).unwrap());
    let second = Fleet::new(settings(), Arc::clone(&world) as _, Arc::clone(&world) as _, now);
    let expected: Vec<_> =
        habits.iter().filter(|habit| second.recall(habit)).map(|habit| &habit.key).collect();
    let [timer] = expected[..] else { panic!("{expected:?}") };
    assert_eq!(timer.name.as_str(), "f");
    assert!(learned(&second).is_empty(), "what is kept already is not told again");
    second.expect(spec("f"));
    second.expect(spec("nobody-knows-it"));
    let pools = second.snapshot().pools;
    let [pool] = &pools[..] else { panic!("{pools:?}") };
    let prestart = pool.prestart.unwrap();
    assert!((300_000_000..400_000_000).contains(&prestart.in_us), "{prestart:?}");
    assert!(matches!(prestart.why, Why::Rhythm { .. }));
    tokio::time::sleep(Duration::from_secs(400)).await;
    second.execute(spec("f"), call(b"x")).await.unwrap();
    assert!(!world.calls()[0].cold, "{:?}", world.calls());
    assert_eq!(world.how(), [Initialization::Proactive]);
    // Nobody calls any more.
    tokio::time::sleep(Duration::from_secs(5_000)).await;
    assert_eq!((second.snapshot().pools.len(), world.stopped()), (0, world.launched()));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_or_unreadable_is_not_learned_again() {
    let world = World::new(Script { run_ms: 10, ..Script::default() });
    let first = fleet(&world, settings());
    for _ in 0..6 {
        first.execute(spec("f"), call(b"x")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    let [habit] = &learned(&first)[..] else { panic!("nothing was learned") };
    let later = |days: i64| {
        let now = NOW.plus_ms(days * 86_400_000);
        Fleet::new(settings(), Arc::clone(&world) as _, Arc::clone(&world) as _, now)
    };
    let told = |fleet: &Fleet| {
        fleet.expect(spec("f"));
        fleet.snapshot().pools.len()
    };
    let old = later(9);
    assert!(!old.recall(habit));
    let mut broken = habit.clone();
    broken.record.truncate(7);
    assert!(!old.recall(&broken));
    assert_eq!(told(&old), 0);
    // Weeks-old timers are known, but it is not known when they ring next.
    let week = later(7);
    assert!(!week.recall(habit));
    week.execute(spec("f"), call(b"x")).await.unwrap();
    let pools = week.snapshot().pools;
    assert!(matches!(pools[0].prestart.unwrap().why, Why::Rhythm { .. }), "{pools:?}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_is_not_started_ahead() {
    let world = World::new(Script { run_ms: 10, ..Script::default() });
    let fleet = fleet(&world, settings());
    for _ in 0..6 {
        fleet.execute(spec("f"), call(b"x")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    let launched = world.launched();
    fleet.retire(&spec("f").key);
    tokio::time::sleep(Duration::from_secs(5_000)).await;
    assert_eq!((fleet.snapshot().pools.len(), world.launched()), (0, launched));
}

#[tokio::test(start_paused = true)]
async fn a_setting_of_the_function_wins_over_what_is_learned() {
    let world = World::new(Script::default());
    let fleet = fleet(&world, settings());
    let spec = Arc::new(base::FunctionSpec { idle_keep: Some(Seconds(5)), ..spec("f").as_ref().clone() });
    for _ in 0..10 {
        fleet.execute(Arc::clone(&spec), call(b"x")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(fleet.snapshot().pools.len(), 0);
    }
    assert!(world.how().iter().all(|how| *how == Initialization::OnDemand));
}

#[tokio::test(start_paused = true)]
async fn environments_that_end_while_idle_are_replaced() {
    let world = World::new(Script::default());
    let fleet = fleet(&world, settings());
    fleet.execute(spec("f"), call(b"x")).await.unwrap();
    world.crash_all(Exit::Crashed);
    world.until(|world| world.stopped() == 1).await;
    fleet.execute(spec("f"), call(b"y")).await.unwrap();
    assert_eq!(world.launched(), 2);
}

#[tokio::test(start_paused = true)]
async fn environments_that_are_gone_after_a_call_are_not_used_again() {
    let world = World::new(Script { reusable: false, ..Script::default() });
    let fleet = fleet(&world, settings());
    for _ in 0..3 {
        fleet.execute(spec("f"), call(b"x")).await.unwrap();
    }
    assert_eq!(world.launched(), 3);
}

#[tokio::test(start_paused = true)]
async fn retiring_ends_what_is_idle() {
    let world = World::new(Script::default());
    let fleet = fleet(&world, settings());
    let spec = spec("f");
    fleet.execute(Arc::clone(&spec), call(b"x")).await.unwrap();
    fleet.retire(&spec.key);
    world.until(|world| world.stopped() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_calls_then_ends_them() {
    let world = World::new(Script { run_ms: 500, ..Script::default() });
    let fleet = fleet(&world, settings());
    let running = tokio::spawn(fleet.execute(spec("f"), call(b"x")));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(fleet.drain(Duration::from_secs(5)).await, 0);
    running.await.unwrap().unwrap();
    assert!(matches!(fleet.execute(spec("f"), call(b"y")).await, Err(ExecuteError::ShuttingDown)));

    let world = World::new(Script { run_ms: 500_000, ..Script::default() });
    let fleet = self::fleet(&world, settings());
    let running = tokio::spawn(fleet.execute(spec("f"), call(b"x")));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(fleet.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(world.stopped(), 1);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn dropping_the_fleet_ends_idle_environments() {
    let world = World::new(Script::default());
    let fleet = fleet(&world, settings());
    fleet.execute(spec("f"), call(b"x")).await.unwrap();
    drop(fleet);
    world.until(|world| world.stopped() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn snapshots_show_pools_and_memory() {
    let world = World::new(Script { launch_ms: 7, run_ms: 100, ..Script::default() });
    let fleet = fleet(&world, settings());
    let busy = tokio::spawn(fleet.execute(spec("f"), call(b"x")));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let snapshot = fleet.snapshot();
    let [pool] = &snapshot.pools[..] else { panic!("{snapshot:?}") };
    assert_eq!((pool.busy, pool.idle, pool.queued), (1, 0, 0));
    assert_eq!(snapshot.memory_used, MemoryMib(128));
    assert_eq!(pool.environments.len(), 1);
    assert!(pool.resident.0 > 0);
    busy.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_as_are_provisioned_run_within_it() {
    let world = World::new(Script { launch_ms: 10, run_ms: 100, ..Script::default() });
    let fleet = fleet(&world, settings());
    let spec = spec("f");
    let at_once = async |count: usize| {
        let calls: Vec<_> =
            (0..count).map(|_| tokio::spawn(fleet.execute(Arc::clone(&spec), call(b"x")))).collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
    };
    at_once(1).await;
    assert_eq!(world.metered(), []);
    fleet.provision(Arc::clone(&spec), 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fleet.provisioned(&spec.key).ready, 2);
    // The third gets an environment of its own; afterwards it does not matter who has which.
    at_once(3).await;
    assert_eq!(world.metered(), [(true, 1, 2), (true, 2, 2), (false, 2, 2)]);
    at_once(2).await;
    assert_eq!(world.metered(), [(true, 1, 2), (true, 2, 2)]);
    let provisioned: Vec<bool> = world.calls().iter().map(|call| call.provisioned).collect();
    assert_eq!(provisioned.iter().filter(|provisioned| **provisioned).count(), 4);
    assert!(!provisioned[0]);
    // A start that a call needs is not provisioned, even where the floor is not there yet.
    fleet.provision(Arc::clone(&spec), 5);
    at_once(4).await;
    let metered = world.metered();
    assert_eq!(metered.len(), 4);
    assert!(metered.iter().all(|(_, running, floor)| running <= floor && *floor == 5), "{metered:?}");
    fleet.provision(Arc::clone(&spec), 0);
    at_once(1).await;
    assert_eq!(world.metered(), []);
}

/// A version with SnapStart.
fn snapped(name: &str) -> Arc<FunctionSpec> {
    Arc::new(FunctionSpec { snap_start: true, ..(*spec(name)).clone() })
}

#[tokio::test(start_paused = true)]
async fn a_version_is_initialised_when_it_is_asked_for_and_serves_from_what_waits() {
    let world = World::new(Script { launch_ms: 1_000, ..Script::default() });
    let fleet = fleet(&world, settings());
    let spec = snapped("f");
    fleet.prepare(Arc::clone(&spec)).await.unwrap();
    assert_eq!((world.launched(), world.how()), (1, vec![Initialization::SnapStart]));
    // It is there already.
    fleet.prepare(Arc::clone(&spec)).await.unwrap();
    fleet.execute(Arc::clone(&spec), call(b"x")).await.unwrap();
    let [called] = &world.calls()[..] else { panic!("one call") };
    assert_eq!((called.waited, called.cold), (Micros(0), false));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let [pool] = &fleet.snapshot().pools[..] else { panic!("one pool") };
    assert_eq!((pool.idle, pool.prepared), (2, 1));
    let kept: Vec<_> = pool.environments.iter().map(|one| one.kept).collect();
    assert!(kept.iter().any(|kept| matches!(kept, fleet::Kept::Prepared { .. })), "{kept:?}");
    fleet.retire(&spec.key);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(fleet.snapshot().pools.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_version_learns_why_it_was_not_initialised() {
    let world = World::new(Script { launch_ms: 10, launch_failures: 1, ..Script::default() });
    let fleet = fleet(&world, settings());
    let spec = snapped("f");
    let Err(PrepareError::Node(told)) = fleet.prepare(Arc::clone(&spec)).await else { panic!("it fails") };
    assert!(told.contains("as scripted"), "{told}");
    // It is tried again.
    fleet.prepare(Arc::clone(&spec)).await.unwrap();
    let large = Arc::new(FunctionSpec { memory: MemoryMib(u32::MAX), ..(*spec).clone() });
    assert!(matches!(fleet.prepare(large).await, Err(PrepareError::Node(_))));
    let waiting = fleet.prepare(snapped("g"));
    fleet.retire(&snapped("g").key);
    assert!(matches!(waiting.await, Err(PrepareError::Node(_))));
}
