//! Random closures, some failing, some panicking, run concurrently: the outcome is that of some serial order.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use proptest::prelude::*;
use store::{Commit, Database, Error, Migration, Tx, params};

use crate::fixture::{Fixture, Postgres, Sqlite, block_on, skipped};
use crate::server::Server;

const TABLES: &[Migration] = &[Migration::portable(
    1,
    "pairs",
    "CREATE TABLE pairs (key INTEGER PRIMARY KEY, value INTEGER NOT NULL) STRICT;
     CREATE TABLE clock (id INTEGER PRIMARY KEY, now INTEGER NOT NULL) STRICT;
     INSERT INTO clock VALUES (1, 0);",
)];

#[derive(Clone, Debug)]
enum Step {
    Put(i64, i64),
    Add(i64, i64),
    Delete(i64),
    Sum,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Keep,
    Fail,
    Panic,
    /// A statement fails, and the closure pretends that nothing happened.
    Swallow,
}

#[derive(Clone, Debug)]
struct Closure {
    steps: Vec<Step>,
    end: End,
    commit: Commit,
}

type Model = BTreeMap<i64, i64>;

/// What a closure saw, with its place in the serial order.
type Seen = (i64, Vec<i64>);

fn run(closure: &Closure, tx: &mut Tx<'_>) -> Result<Seen, Error> {
    let now = tx.query_opt("UPDATE clock SET now = now + 1 RETURNING now", params![], |row| row.get(0))?;
    let mut seen = Vec::new();
    for step in &closure.steps {
        let value = match *step {
            Step::Put(key, value) => tx.query_opt(
                "INSERT INTO pairs (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value RETURNING value",
                params![key, value],
                |row| row.get(0),
            )?,
            Step::Add(key, value) => tx.query_opt(
                "UPDATE pairs SET value = value + ?2 WHERE key = ?1 RETURNING value",
                params![key, value],
                |row| row.get(0),
            )?,
            Step::Delete(key) => {
                tx.query_opt("DELETE FROM pairs WHERE key = ?1 RETURNING value", params![key], |row| {
                    row.get(0)
                })?
            }
            Step::Sum => tx.query_opt("SELECT SUM(value) FROM pairs", params![], |row| row.get(0))?.flatten(),
        };
        seen.push(value.unwrap_or(-1));
    }
    match closure.end {
        End::Keep => Ok((now.unwrap_or(0), seen)),
        End::Fail => Err(Error::Closed),
        End::Panic => panic!("on purpose"),
        End::Swallow => {
            let _ = tx.execute("INSERT INTO clock VALUES (1, 1)", params![]);
            Ok((0, seen))
        }
    }
}

fn predict(closure: &Closure, model: &mut Model) -> Vec<i64> {
    let step = |step: &Step| {
        let value = match *step {
            Step::Put(key, value) => {
                model.insert(key, value);
                Some(value)
            }
            Step::Add(key, value) => model.get_mut(&key).map(|kept| {
                *kept += value;
                *kept
            }),
            Step::Delete(key) => model.remove(&key),
            Step::Sum => (!model.is_empty()).then(|| model.values().sum()),
        };
        value.unwrap_or(-1)
    };
    closure.steps.iter().map(step).collect()
}

async fn follows_the_model(db: &Database, batches: Vec<Vec<Closure>>) {
    let mut model = Model::new();
    let mut committed = 0;
    for batch in batches {
        let runs = join_all(batch.iter().map(|closure| {
            let (db, closure) = (db.clone(), closure.clone());
            tokio::spawn(async move { db.write_at(closure.commit, move |tx| run(&closure, tx)).await })
        }));
        let mut kept = Vec::new();
        for (closure, outcome) in batch.iter().zip(runs.await) {
            match (closure.end, outcome.unwrap()) {
                (End::Keep, Ok((now, seen))) => kept.push((now, closure, seen)),
                (End::Fail, Err(Error::Closed))
                | (End::Panic, Err(Error::Panicked { .. }))
                | (End::Swallow, Err(Error::Constraint { .. })) => {}
                (end, outcome) => panic!("{end:?} gave {outcome:?}"),
            }
        }
        kept.sort_by_key(|(now, ..)| *now);
        for (now, closure, seen) in kept {
            committed += 1;
            assert_eq!(now, committed, "each committed closure has its own place, without gaps");
            assert_eq!(predict(closure, &mut model), seen, "{closure:?}");
        }
    }
    let pairs = db
        .read(|tx| tx.query("SELECT key, value FROM pairs", params![], |row| Ok((row.get(0)?, row.get(1)?))))
        .await
        .map_err(|error: Error| error)
        .unwrap();
    assert_eq!(pairs.into_iter().collect::<Model>(), model);
}

fn batches(closures_max: usize) -> impl Strategy<Value = Vec<Vec<Closure>>> {
    let step = prop_oneof![
        (0..6_i64, -9..9_i64).prop_map(|(key, value)| Step::Put(key, value)),
        (0..6_i64, -9..9_i64).prop_map(|(key, value)| Step::Add(key, value)),
        (0..6_i64).prop_map(Step::Delete),
        Just(Step::Sum),
    ];
    let end = prop_oneof![6 => Just(End::Keep), 1 => Just(End::Fail), 1 => Just(End::Panic), 1 => Just(End::Swallow)];
    let commit = prop_oneof![Just(Commit::Durable), Just(Commit::Written)];
    let closure = (prop::collection::vec(step, 0..5), end, commit).prop_map(|(steps, end, commit)| Closure {
        steps,
        end,
        commit,
    });
    prop::collection::vec(prop::collection::vec(closure, 1..closures_max), 1..4)
}

/// Panics on purpose would fill the output.
fn quietly() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"on purpose") {
            loud(info);
        }
    }));
}

#[test]
fn sqlite_is_serial() {
    quietly();
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(batches in batches(24))| {
        block_on(follows_the_model(&Sqlite::temp().open("db", TABLES), batches));
    });
}

#[test]
fn postgres_is_serial() {
    quietly();
    let server = match Server::start() {
        Ok(server) => server,
        Err(why) => return skipped("the store's model on PostgreSQL", &why),
    };
    let case = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(batches in batches(10))| {
        case.set(case.get() + 1);
        let fixture = Postgres { url: server.url(), case: format!("case{}", case.get()) };
        block_on(follows_the_model(&fixture.open("db", TABLES), batches));
    });
}
