//! What the fleet adds to a warm call: the planner alone, then the driver around an environment that answers at
//! once, with 1 and with 10,000 pools. Prints nanoseconds per call; asserts nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken expectation ends the test"
)]

#[path = "../tests/driver/fake.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod fake;

use base::{
    After, Answer, Environment, Execute, Executed, Exit, FunctionSpec, Future, Initialization, Invocation,
    Launch, LaunchError, MemoryMib, Micros, Phases, Release, Timestamp,
};
use fleet::{
    Fleet, Limits, Settings,
    planner::{CallId, Demand, Effect, Event, Planner, Tick},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const CALLS: u32 = 500_000;

struct Instantly;

impl Launch for Instantly {
    fn launch(
        &self,
        _: Arc<FunctionSpec>,
        _: Initialization,
        _: Micros,
    ) -> Future<'_, Result<Arc<dyn Environment>, LaunchError>> {
        Box::pin(async { Ok(Arc::new(Instantly) as Arc<dyn Environment>) })
    }
}

impl Environment for Instantly {
    fn invoke(self: Arc<Self>, call: Invocation, release: Release) -> Future<'static, Executed> {
        Box::pin(async move {
            release.tell(After::Reusable);
            Executed { answer: Answer::Buffered(call.payload), tail: None }
        })
    }

    fn phases(&self) -> Phases {
        Phases::default()
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn ended(&self) -> Future<'static, Exit> {
        Box::pin(std::future::pending())
    }

    fn stop(self: Arc<Self>) -> Future<'static, ()> {
        Box::pin(async {})
    }
}

fn report(what: &str, pools: usize, took: Duration) {
    println!("{what:8} {pools:>6} pools  {:>6} ns per warm call", took.as_nanos() / u128::from(CALLS));
}

fn planner(pools: usize) {
    let mut planner = Planner::new(Limits::new(MemoryMib(u32::MAX / 2), 1_000_000));
    let mut effects = Vec::new();
    let specs: Vec<_> = (0..pools).map(|pool| fake::spec(&format!("f{pool}"))).collect();
    for (number, spec) in specs.iter().enumerate() {
        let demand = Demand { key: &spec.key, memory: spec.memory, reserved: None, keep_us: None };
        let (call, now) = (CallId(number as u64), Tick(number as u64));
        planner.on(Event::Request { call, demand }, now, &mut effects).expect("legal");
        let Some(Effect::Launch { environment, .. }) = effects.pop() else { unreachable!("nothing is warm") };
        planner.on(Event::Ready(environment), now, &mut effects).expect("legal");
        planner.on(Event::Released { environment, reusable: true }, now, &mut effects).expect("legal");
        effects.clear();
    }
    let began = Instant::now();
    for number in 0..CALLS as usize {
        let spec = &specs[number % pools];
        let demand = Demand { key: &spec.key, memory: spec.memory, reserved: None, keep_us: None };
        let call = CallId((pools + number) as u64);
        let now = Tick((pools + number) as u64);
        planner.on(Event::Request { call, demand }, now, &mut effects).expect("legal");
        let Some(Effect::Assign { environment, .. }) = effects.pop() else { unreachable!("it is warm") };
        planner.on(Event::Released { environment, reusable: true }, now, &mut effects).expect("legal");
    }
    report("planner", pools, began.elapsed());
}

fn driver(pools: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut settings = Settings {
            limits: Limits::new(MemoryMib(u32::MAX / 2), 2),
            launch_max: Duration::from_secs(60),
            stop_max: Duration::from_secs(10),
            processors: 2,
            turns: 3,
            processor_time: fleet::ProcessorTime::of_host,
        };
        settings.limits.overcommit_percent = 100;
        let fleet = Fleet::new(
            settings,
            Arc::new(Instantly),
            fake::World::new(fake::Script::default()),
            Timestamp(0),
        );
        let specs: Vec<_> = (0..pools).map(|pool| fake::spec(&format!("f{pool}"))).collect();
        for spec in &specs {
            fleet.execute(Arc::clone(spec), fake::call(b"{}")).await.expect("it runs");
        }
        let began = Instant::now();
        for number in 0..CALLS as usize {
            let spec = Arc::clone(&specs[number % pools]);
            fleet.execute(spec, fake::call(b"{}")).await.expect("it runs");
        }
        report("driver", pools, began.elapsed());
    });
}

fn main() {
    for pools in [1, 10_000] {
        planner(pools);
        driver(pools);
    }
}
