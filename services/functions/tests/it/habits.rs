//! What is learned of functions' calls, over a restart of the service.

use crate::support::{World, eventually};
use base::{FunctionSpec, Habit, HabitKey, Habits, Timestamp, Version};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// An executor that has learned something and expects calls of what it is told again.
#[derive(Default)]
struct Learner {
    /// Not kept yet.
    new: Mutex<Vec<Habit>>,
    recalled: Mutex<Vec<Habit>>,
    expected: Mutex<Vec<Arc<FunctionSpec>>>,
}

impl Habits for Learner {
    fn changed(&self, after: Option<u32>) -> (Vec<Habit>, Option<u32>) {
        // One at a time.
        let new = self.new.lock().unwrap();
        let at = after.map_or(0, |after| after as usize + 1);
        match new.get(at) {
            Some(habit) => (vec![habit.clone()], u32::try_from(at).ok()),
            None => (Vec::new(), None),
        }
    }
    fn kept(&self, _: &[Habit]) {}
    fn recall(&self, habit: &Habit) -> bool {
        self.recalled.lock().unwrap().push(habit.clone());
        true
    }
    fn expect(&self, spec: Arc<FunctionSpec>) {
        self.expected.lock().unwrap().push(spec);
    }
}

fn habit(world: &World, name: &str, version: Version, tenant: Option<&str>) -> Habit {
    let key = HabitKey {
        account: "000000000000".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        name: name.parse().unwrap(),
        version,
        tenant: tenant.map(|tenant| tenant.parse().unwrap()),
    };
    let used: Timestamp = base::Clock::now(&*world.clock);
    Habit { key, used, record: vec![1, 0, 255], mark: 7 }
}

#[tokio::test]
async fn habits_are_written_known_after_a_restart_and_dropped_with_their_versions() {
    let mut world = World::new();
    for name in ["stays", "goes", "published"] {
        world.create(name).await.ok();
    }
    world
        .create_with("shared", json!({ "TenancyConfig": { "TenantIsolationMode": "PER_TENANT" } }))
        .await
        .ok();
    world.call("POST", "/2015-03-31/functions/published/versions", json!({})).await.ok();
    let all = [
        habit(&world, "goes", Version::Latest, None),
        habit(&world, "published", Version::Latest, None),
        habit(&world, "published", Version::Published(1), None),
        habit(&world, "shared", Version::Latest, Some("blue")),
        habit(&world, "stays", Version::Latest, None),
    ];
    let learner = Arc::new(Learner::default());
    learner.new.lock().unwrap().extend(all.clone());
    learner.new.lock().unwrap().push(habit(&world, "never-there", Version::Latest, None));
    world.functions.remember(Arc::clone(&learner) as _);
    // At the end, whatever the time is.
    Arc::clone(&world.functions).run_habits(std::future::ready(())).await;
    world.call("DELETE", "/2015-03-31/functions/goes", Value::Null).await.ok();
    world.call("DELETE", "/2015-03-31/functions/published:1", Value::Null).await.ok();

    world.restart().await;
    let again = Arc::new(Learner::default());
    world.functions.remember(Arc::clone(&again) as _);
    world.functions.recall_habits().await.unwrap();
    let recalled: Vec<_> = again.recalled.lock().unwrap().iter().map(|one| one.key.clone()).collect();
    let left = [&all[1], &all[3], &all[4]];
    assert_eq!(recalled, left.map(|habit| habit.key.clone()));
    assert_eq!(again.recalled.lock().unwrap()[0].record, all[1].record);
    let run = tokio::spawn(Arc::clone(&world.functions).run_habits(std::future::pending()));
    eventually("all are expected", async || again.expected.lock().unwrap().len() == 3).await;
    run.abort();
    let expected = again.expected.lock().unwrap();
    let keys: Vec<_> =
        expected.iter().map(|spec| (spec.key.name.as_str(), spec.key.tenant.is_some())).collect();
    assert_eq!(keys, [("published", false), ("shared", true), ("stays", false)]);
}

#[tokio::test]
async fn habits_that_nobody_has_for_eight_days_are_forgotten() {
    let mut world = World::new();
    world.create("old").await.ok();
    world.create("new").await.ok();
    for name in ["old", "new"] {
        let learner = Arc::new(Learner::default());
        learner.new.lock().unwrap().push(habit(&world, name, Version::Latest, None));
        world.functions.remember(learner);
        let run = tokio::spawn(Arc::clone(&world.functions).run_habits(std::future::pending()));
        let functions = Arc::clone(&world.functions);
        eventually("it is written", async || {
            world.pass(60_000);
            functions.habits_written() > 0
        })
        .await;
        run.abort();
        world.restart().await;
        world.pass(9 * 86_400_000);
    }
    let again = Arc::new(Learner::default());
    world.functions.remember(Arc::clone(&again) as _);
    world.functions.recall_habits().await.unwrap();
    let names: Vec<_> = again.recalled.lock().unwrap().iter().map(|one| one.key.name.to_string()).collect();
    assert_eq!(names, ["new"]);
}
