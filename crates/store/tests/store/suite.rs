//! What both back ends promise. Each case runs once per back end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base::{Millis, Timestamp};
use bytes::Bytes;
use futures_util::future::join_all;
use store::leases::{self, Token};
use store::{Commit, ConstraintKind, Database, Error, Migration, Tx, Value, params};

use crate::fixture::{Fixture, Postgres, Sqlite, block_on, skipped};
use crate::server::Server;

/// Declares the suite: every case is a test of its own on SQLite; on PostgreSQL the cases share one server and one
/// test, which names those that failed.
macro_rules! store_suite {
    (sqlite: $sqlite:expr, postgres: $postgres:expr; $($case:ident),+ $(,)?) => {
        mod sqlite {
            use super::*;
            $(#[test] fn $case() { block_on(super::$case(&$sqlite())); })+
        }

        #[test]
        fn postgres() {
            let server = match Server::start() {
                Ok(server) => server,
                Err(why) => return skipped("the store's suite on PostgreSQL", &why),
            };
            let mut failed = Vec::new();
            $(
                let fixture = $postgres(&server, stringify!($case));
                let outcome = catch_unwind(AssertUnwindSafe(|| block_on(super::suite::$case(&fixture))));
                println!("postgres::{} {}", stringify!($case), if outcome.is_ok() { "ok" } else { "FAILED" });
                if outcome.is_err() { failed.push(stringify!($case)); }
            )+
            assert!(failed.is_empty(), "failed on PostgreSQL: {failed:?}");
        }
    };
}

fn on_server(server: &Server, case: &str) -> Postgres {
    // Names of schemas are at most 63 bytes.
    Postgres { url: server.url(), case: case.chars().take(50).collect() }
}

store_suite!(sqlite: Sqlite::temp, postgres: on_server;
    keeps_every_type,
    tells_null_from_a_value_in_parameters,
    undoes_a_failed_closure_and_nothing_else,
    lives_on_after_a_panic,
    dooms_a_transaction_after_a_failed_statement,
    names_the_violated_constraint,
    changes_on_conflict_and_returns_rows,
    orders_and_compares_texts_by_bytes,
    adds_up_alike,
    reads_integer_parameters_as_64_bits,
    counts_parameters,
    refuses_what_not_both_can_keep,
    refuses_transaction_control,
    names_the_column_that_holds_something_else,
    reads_what_was_acknowledged_and_changes_nothing,
    increments_are_serial,
    a_check_holds_until_the_commit,
    reads_one_instant,
    runs_wholly_or_not_when_the_caller_leaves,
    waits_for_a_place_in_a_full_queue,
    runs_what_is_queued_before_it_closes,
    numbers_rows_without_repetition,
    keeps_megabytes,
    brings_schemas_up_to_date,
    refuses_newer_and_changed_schemas,
    a_failed_migration_changes_nothing,
    refuses_deferred_constraints,
    one_holder_per_lease,
    tokens_fence_late_holders,
    competing_holders_get_one_lease,
);

const ITEMS: &[Migration] = &[Migration::portable(
    1,
    "items",
    "CREATE TABLE items (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL CHECK (size >= 0), weight REAL, content BLOB
    ) STRICT;
    CREATE TABLE parts (item INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE, part TEXT NOT NULL) STRICT;
    CREATE INDEX parts_by_item ON parts (item);",
)];

fn insert(tx: &mut Tx<'_>, id: i64, name: &str) -> Result<u64, Error> {
    tx.execute("INSERT INTO items (id, name, size) VALUES (?1, ?2, 0)", params![id, name])
}

async fn names(db: &Database) -> Vec<String> {
    db.read(|tx| tx.query("SELECT name FROM items ORDER BY name", params![], |row| row.get(0)))
        .await
        .map_err(|error: Error| error)
        .unwrap()
}

async fn keeps_every_type(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    let content: Vec<u8> = (0..=255).collect();
    let inserted = db
        .write({
            let content = content.clone();
            move |tx| {
                let name = String::from("Größe 'quoted' ?1 \"x\"");
                tx.execute(
                    "INSERT INTO items (id, name, size, weight, content) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![i64::MIN, name, i64::MAX, -0.125, content],
                )?;
                tx.execute(
                    "INSERT INTO items (id, name, size, weight, content) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![2, "", true, None::<f64>, Some(Bytes::new())],
                )
            }
        })
        .await
        .map_err(|error: Error| error)
        .unwrap();
    assert_eq!(inserted, 1);
    let first: (i64, String, i64, Option<f64>, Option<Vec<u8>>) = db
        .read(|tx| {
            let sql = "SELECT id, name, size, weight, content FROM items WHERE id = ?1";
            tx.query_opt(sql, params![i64::MIN], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })
        })
        .await
        .map_err(|error: Error| error)
        .unwrap()
        .unwrap();
    assert_eq!(first, (i64::MIN, "Größe 'quoted' ?1 \"x\"".into(), i64::MAX, Some(-0.125), Some(content)));
    let second: Vec<Value> = db
        .read(|tx| {
            let sql = "SELECT name, size, weight, content, size = 1 FROM items WHERE id = ?1";
            tx.query_opt(sql, params![2], |row| {
                assert!(row.get::<bool>(1)?);
                (0..5).map(|index| row.get(index)).collect::<Result<Vec<_>, _>>()
            })
        })
        .await
        .map_err(|error: Error| error)
        .unwrap()
        .unwrap();
    let want = vec![
        Value::Text(String::new()),
        Value::Integer(1),
        Value::Null,
        Value::Blob(vec![]),
        Value::Integer(1),
    ];
    assert_eq!(second, want);
}

async fn tells_null_from_a_value_in_parameters(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    db.write(|tx| insert(tx, 1, "a").and(insert(tx, 2, "b"))).await.unwrap();
    let count = |filter: Option<&'static str>| {
        db.read(move |tx| {
            let sql = "SELECT COUNT(*) FROM items WHERE ?1 IS NULL OR name = ?1";
            tx.query_opt(sql, params![filter], |row| row.get::<i64>(0))
        })
    };
    for (filter, want) in [(None, 2), (Some("a"), 1), (Some("c"), 0), (None, 2)] {
        let got: Result<_, Error> = count(filter).await;
        assert_eq!(got.unwrap(), Some(want), "{filter:?}");
    }
}

#[derive(Debug, thiserror::Error)]
enum ServiceError {
    #[error("refused")]
    Refused,
    #[error(transparent)]
    Store(#[from] Error),
}

async fn undoes_a_failed_closure_and_nothing_else(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    let good = db.write(|tx| insert(tx, 1, "good"));
    let bad = db.write(|tx| -> Result<(), ServiceError> {
        insert(tx, 2, "bad")?;
        tx.execute("DELETE FROM items WHERE id = 1", params![])?;
        Err(ServiceError::Refused)
    });
    let also_good = db.write(|tx| insert(tx, 3, "also good"));
    let (good, bad, also_good) = futures_util::join!(good, bad, also_good);
    good.unwrap();
    also_good.unwrap();
    assert!(matches!(bad, Err(ServiceError::Refused)), "{bad:?}");
    assert_eq!(names(&db).await, ["also good", "good"]);
}

async fn lives_on_after_a_panic(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    let panics = db.write(|tx| -> Result<(), Error> {
        insert(tx, 1, "lost")?;
        panic!("on purpose")
    });
    let in_rows = db.write(|tx| -> Result<Vec<i64>, Error> {
        insert(tx, 2, "lost too")?;
        tx.query("SELECT id FROM items", params![], |_| panic!("while reading"))
    });
    let fine = db.write(|tx| insert(tx, 3, "kept"));
    let (panics, in_rows, fine) = futures_util::join!(panics, in_rows, fine);
    assert!(matches!(&panics, Err(Error::Panicked { message }) if message == "on purpose"), "{panics:?}");
    assert!(
        matches!(&in_rows, Err(Error::Panicked { message }) if message == "while reading"),
        "{in_rows:?}"
    );
    fine.unwrap();
    let read: Result<(), Error> = db.read(|_| panic!("reader")).await;
    assert!(matches!(read, Err(Error::Panicked { .. })), "{read:?}");
    assert_eq!(names(&db).await, ["kept"]);
}

async fn dooms_a_transaction_after_a_failed_statement(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    let doomed = db
        .write(|tx| {
            insert(tx, 1, "a")?;
            let duplicate = insert(tx, 2, "a");
            assert!(duplicate.as_ref().is_err_and(Error::is_unique_violation), "{duplicate:?}");
            let later = insert(tx, 3, "c");
            assert!(later.as_ref().is_err_and(Error::is_unique_violation), "{later:?}");
            Ok::<_, Error>(())
        })
        .await;
    assert!(doomed.as_ref().is_err_and(Error::is_unique_violation), "{doomed:?}");
    assert!(names(&db).await.is_empty());
}

async fn names_the_violated_constraint(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    db.write(|tx| insert(tx, 1, "a")).await.unwrap();
    let cases = [
        ("INSERT INTO items (id, name, size) VALUES (1, 'b', 0)", ConstraintKind::Unique),
        ("INSERT INTO items (id, name, size) VALUES (2, 'a', 0)", ConstraintKind::Unique),
        ("INSERT INTO items (id, name, size) VALUES (2, NULL, 0)", ConstraintKind::NotNull),
        ("INSERT INTO items (id, name, size) VALUES (2, 'b', -1)", ConstraintKind::Check),
        ("INSERT INTO parts (item, part) VALUES (7, 'x')", ConstraintKind::ForeignKey),
    ];
    for (sql, want) in cases {
        let outcome = db.write(move |tx| tx.execute(sql, params![])).await;
        assert!(
            matches!(&outcome, Err(Error::Constraint { kind, .. }) if *kind == want),
            "{sql}: {outcome:?}"
        );
    }
    let unknown: Result<u64, Error> =
        db.write(|tx| tx.execute("INSERT INTO nowhere VALUES (1)", params![])).await;
    assert!(matches!(unknown, Err(Error::Statement { .. })), "{unknown:?}");
    db.write(|tx| {
        tx.execute("INSERT INTO parts (item, part) VALUES (1, 'x')", params![])?;
        tx.execute("DELETE FROM items WHERE id = 1", params![])
    })
    .await
    .unwrap();
    let parts = db.read(|tx| tx.query("SELECT part FROM parts", params![], |row| row.get::<String>(0))).await;
    assert!(parts.unwrap().is_empty());
}

async fn changes_on_conflict_and_returns_rows(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    let add = |name: &'static str| {
        db.write(move |tx| {
            tx.query_opt(
                "INSERT INTO items (id, name, size) VALUES (?1, ?2, 1)
                 ON CONFLICT (name) DO UPDATE SET size = items.size + excluded.size RETURNING id, size",
                params![name.len() as i64, name],
                |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)),
            )
        })
    };
    for want in [(3, 1), (3, 2), (3, 3)] {
        let got: Result<_, Error> = add("abc").await;
        assert_eq!(got.unwrap(), Some(want));
    }
    let ignored = db
        .write(|tx| {
            tx.execute(
                "INSERT INTO items (id, name, size) VALUES (9, 'abc', 0) ON CONFLICT DO NOTHING",
                params![],
            )
        })
        .await
        .map_err(|error: Error| error);
    assert_eq!(ignored.unwrap(), 0);
    let all_deleted = db
        .write(|tx| {
            insert(tx, 10, "x")?;
            tx.query_opt("DELETE FROM items RETURNING id", params![], |row| row.get::<i64>(0))
        })
        .await
        .map_err(|error: Error| error);
    assert!(all_deleted.unwrap().is_some());
    assert!(names(&db).await.is_empty(), "RETURNING changes every row, however many are looked at");
}

async fn orders_and_compares_texts_by_bytes(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    db.write(|tx| {
        for (id, name) in (1..).zip(["b", "B", "a", "Z", "_", "é", "a b", "ab"]) {
            insert(tx, id, name)?;
        }
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    assert_eq!(names(&db).await, ["B", "Z", "_", "a", "a b", "ab", "b", "é"]);
    let like = db
        .read(|tx| {
            tx.query("SELECT name FROM items WHERE name LIKE 'a%' ORDER BY name", params![], |row| {
                row.get::<String>(0)
            })
        })
        .await
        .map_err(|error: Error| error);
    assert_eq!(like.unwrap(), vec![String::from("a"), "a b".into(), "ab".into()]);
    let upper = db
        .read(|tx| {
            tx.query("SELECT name FROM items WHERE name LIKE 'A%'", params![], |row| row.get::<String>(0))
        })
        .await
        .map_err(|error: Error| error);
    assert!(upper.unwrap().is_empty());
    let after = db
        .read(|tx| {
            tx.query("SELECT name FROM items WHERE name > ?1 ORDER BY name", params!["a b"], |row| {
                row.get::<String>(0)
            })
        })
        .await
        .map_err(|error: Error| error);
    assert_eq!(after.unwrap(), vec![String::from("ab"), "b".into(), "é".into()]);
}

async fn adds_up_alike(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    let sums = |tx: &mut Tx<'_>| {
        let sql = "SELECT COUNT(*), SUM(size), MAX(size), AVG(size), SUM(weight), COALESCE(SUM(size), 0) FROM items";
        tx.query_opt(sql, params![], |row| {
            Ok((
                row.get::<i64>(0)?,
                row.get::<Option<i64>>(1)?,
                row.get::<Option<i64>>(2)?,
                row.get::<Option<f64>>(3)?,
                row.get::<Option<f64>>(4)?,
                row.get::<i64>(5)?,
            ))
        })
    };
    let empty: Result<_, Error> = db.read(sums).await;
    assert_eq!(empty.unwrap(), Some((0, None, None, None, None, 0)));
    db.write(|tx| {
        for id in 1..=4 {
            let sql = "INSERT INTO items (id, name, size, weight) VALUES (?1, ?2, ?3, 0.5)";
            tx.execute(sql, params![id, id.to_string(), 5_000_000_000_i64 + i64::from(id)])?;
        }
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    let full: Result<_, Error> = db.read(sums).await;
    let want =
        (4, Some(20_000_000_010), Some(5_000_000_004), Some(5_000_000_002.5), Some(2.0), 20_000_000_010);
    assert_eq!(full.unwrap(), Some(want));
}

async fn reads_integer_parameters_as_64_bits(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    let sum: Result<_, Error> = db
        .read(|tx| {
            let big = 3_000_000_000_i64;
            tx.query_opt("SELECT ?1 + 1, COALESCE(?2, 0), -?1, ?3", params![big, big, "text"], |row| {
                Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?, row.get::<String>(3)?))
            })
        })
        .await;
    assert_eq!(sum.unwrap(), Some((3_000_000_001, 3_000_000_000, -3_000_000_000, "text".into())));
    let limited: Result<Vec<i64>, Error> = db
        .read(|tx| tx.query("SELECT id FROM items LIMIT ?1 OFFSET ?2", params![5, 0], |row| row.get(0)))
        .await;
    assert!(limited.unwrap().is_empty());
}

async fn counts_parameters(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    for sent in [&[][..], &[Value::Integer(1), Value::Integer(2), Value::Integer(3)][..]] {
        let outcome = db
            .write(move |tx| {
                let params: Vec<&dyn store::ToValue> = sent.iter().map(|value| value as _).collect();
                tx.execute("DELETE FROM items WHERE id = ?1 AND size = ?2", &params)
            })
            .await;
        let want = sent.len();
        assert!(
            matches!(outcome, Err(Error::Parameters { expected: 2, got }) if got == want),
            "{want}: {outcome:?}"
        );
    }
}

async fn refuses_what_not_both_can_keep(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    for value in [Value::Text("a\0b".into()), Value::Real(f64::NAN)] {
        let outcome: Result<Option<i64>, Error> = db
            .read(move |tx| tx.query_opt("SELECT 1 WHERE ?1 IS NULL", params![value], |row| row.get(0)))
            .await;
        assert!(matches!(outcome, Err(Error::Unportable { index: 1, .. })), "{outcome:?}");
    }
}

async fn refuses_transaction_control(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    for sql in
        ["COMMIT", " rollback ", "SAVEPOINT a", "BEGIN", "DROP TABLE items", "PRAGMA synchronous = OFF"]
    {
        let outcome: Result<u64, Error> = db.write(move |tx| tx.execute(sql, params![])).await;
        assert!(matches!(outcome, Err(Error::Forbidden { .. })), "{sql}: {outcome:?}");
    }
    db.write(|tx| insert(tx, 1, "still works")).await.unwrap();
}

async fn names_the_column_that_holds_something_else(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    let outcome = db
        .write(|tx| {
            insert(tx, 1, "a")?;
            let sql = "SELECT name, weight FROM items";
            let wrong = tx.query_opt(sql, params![], |row| row.get::<i64>(0));
            assert!(matches!(wrong, Err(Error::Column { index: 0, found: "a text", .. })), "{wrong:?}");
            let null = tx.query_opt(sql, params![], |row| row.get::<f64>(1));
            assert!(matches!(null, Err(Error::Column { index: 1, found: "null", .. })), "{null:?}");
            let absent = tx.query_opt(sql, params![], |row| row.get::<f64>(2));
            assert!(matches!(absent, Err(Error::Column { index: 2, found: "nothing", .. })), "{absent:?}");
            Ok::<_, Error>(())
        })
        .await;
    outcome.unwrap();
    assert_eq!(names(&db).await, ["a"], "what the closure makes of a stored value does not doom it");
}

async fn reads_what_was_acknowledged_and_changes_nothing(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    for id in 0..50 {
        let commit = if id % 2 == 0 { Commit::Durable } else { Commit::Written };
        db.write_at(commit, move |tx| insert(tx, id, &format!("{id:03}"))).await.unwrap();
        let seen: Result<_, Error> = db
            .read(move |tx| {
                tx.query_opt("SELECT name FROM items WHERE id = ?1", params![id], |row| row.get(0))
            })
            .await;
        assert_eq!(seen.unwrap(), Some(format!("{id:03}")));
    }
    let written: Result<u64, Error> = db.read(|tx| tx.execute("DELETE FROM items", params![])).await;
    assert!(matches!(written, Err(Error::Statement { .. })), "{written:?}");
    assert_eq!(names(&db).await.len(), 50);
}

async fn increments_are_serial(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    db.write(|tx| insert(tx, 1, "counter")).await.unwrap();
    let increment = |n: u32| {
        let db = db.clone();
        let commit = if n.is_multiple_of(3) { Commit::Written } else { Commit::Durable };
        tokio::spawn(async move {
            db.write_at(commit, |tx| {
                let size: Option<i64> =
                    tx.query_opt("SELECT size FROM items WHERE id = 1", params![], |row| row.get(0))?;
                tx.execute("UPDATE items SET size = ?1 WHERE id = 1", params![size.unwrap_or(0) + 1])
            })
            .await
        })
    };
    for outcome in join_all((0..64).map(increment)).await {
        outcome.unwrap().unwrap();
    }
    let size: Result<Option<i64>, Error> =
        db.read(|tx| tx.query_opt("SELECT size FROM items", params![], |row| row.get(0))).await;
    assert_eq!(size.unwrap(), Some(64));
    assert_eq!(db.activity().committed, 65);
}

/// Two closures that each check a sum and then change different rows must not both pass the check.
async fn a_check_holds_until_the_commit(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    for round in 0..10_i64 {
        let (left, right) = (round * 2 + 1, round * 2 + 2);
        let take = |id: i64| {
            let db = db.clone();
            tokio::spawn(async move {
                db.write(move |tx| {
                    let sql = "SELECT COUNT(*) FROM items WHERE id = ?1 OR id = ?2";
                    let taken: Option<i64> = tx.query_opt(sql, params![left, right], |row| row.get(0))?;
                    if taken == Some(0) { insert(tx, id, &id.to_string()) } else { Ok(0) }
                })
                .await
                .unwrap()
            })
        };
        let (one, other) = futures_util::join!(take(left), take(right));
        assert_eq!(one.unwrap() + other.unwrap(), 1, "round {round}");
    }
}

async fn reads_one_instant(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    db.write(|tx| insert(tx, 1, "from").and(insert(tx, 2, "to"))).await.unwrap();
    let writers = join_all((0..30).map(|_| {
        db.write(|tx| {
            tx.execute("UPDATE items SET size = size + 1 WHERE id = 1", params![])?;
            tx.execute("UPDATE items SET size = size + 1 WHERE id = 2", params![])
        })
    }));
    let readers = join_all((0..30).map(|_| {
        db.read(|tx| {
            let one = |tx: &mut Tx<'_>, id: i64| {
                tx.query_opt("SELECT size FROM items WHERE id = ?1", params![id], |row| row.get::<i64>(0))
            };
            let first = one(tx, 1)?;
            Ok::<_, Error>((first, one(tx, 2)?))
        })
    }));
    let (written, read) = futures_util::join!(writers, readers);
    for outcome in written {
        outcome.unwrap();
    }
    for outcome in read {
        let (first, second) = outcome.unwrap();
        assert_eq!(first, second);
    }
}

async fn runs_wholly_or_not_when_the_caller_leaves(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    for id in 0..60_i64 {
        let task = tokio::spawn({
            let db = db.clone();
            async move {
                db.write(move |tx| {
                    insert(tx, id * 2, &format!("{id} first"))?;
                    insert(tx, id * 2 + 1, &format!("{id} second"))
                })
                .await
            }
        });
        for _ in 0..id % 4 {
            tokio::task::yield_now().await;
        }
        task.abort();
    }
    db.write(|tx| insert(tx, 1000, "last")).await.unwrap();
    let halves: Result<Vec<i64>, Error> = db
        .read(|tx| {
            let sql = "SELECT id / 2 FROM items WHERE id < 1000 GROUP BY id / 2 HAVING COUNT(*) <> 2";
            tx.query(sql, params![], |row| row.get(0))
        })
        .await;
    assert_eq!(halves.unwrap(), Vec::<i64>::new());
}

async fn waits_for_a_place_in_a_full_queue(fixture: &dyn Fixture) {
    let limits = store::Limits { writes_queued_max: 2, reads_queued_max: 1, ..store::Limits::default() };
    let db = Database::open_with(fixture.location("db"), ITEMS, limits).unwrap();
    let writes = join_all((0..200).map(|id| db.write(move |tx| insert(tx, id, &id.to_string()))));
    for outcome in writes.await {
        outcome.unwrap();
    }
    assert_eq!(names(&db).await.len(), 200);
}

async fn runs_what_is_queued_before_it_closes(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    let ran = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..20_i64)
        .map(|id| {
            let (db, ran) = (db.clone(), Arc::clone(&ran));
            tokio::spawn(async move {
                db.write(move |tx| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    insert(tx, id, &id.to_string())
                })
                .await
            })
        })
        .collect();
    while ran.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    db.close();
    let outcomes: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let kept = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Error::Closed))), "{outcomes:?}");
    assert!(kept >= 1);
    let refused = db.write(|tx| insert(tx, 100, "late")).await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
    drop(db);
    assert_eq!(names(&fixture.open("db", ITEMS)).await.len(), kept);
}

async fn numbers_rows_without_repetition(fixture: &dyn Fixture) {
    const STEPS: &[Migration] = &[Migration::portable(
        1,
        "log",
        "CREATE TABLE log (seq INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL) STRICT",
    )];
    let db = fixture.open("db", STEPS);
    let append = || {
        db.write(|tx| {
            tx.query_opt("INSERT INTO log (line) VALUES ('x') RETURNING seq", params![], |row| {
                row.get::<i64>(0)
            })
        })
    };
    let mut last = 0;
    for _ in 0..5 {
        let seq: Result<_, Error> = append().await;
        let seq = seq.unwrap().unwrap();
        assert!(seq > last);
        last = seq;
        db.write(|tx| tx.execute("DELETE FROM log", params![])).await.map_err(|error: Error| error).unwrap();
    }
}

async fn keeps_megabytes(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    let content: Bytes = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    db.write({
        let content = content.clone();
        move |tx| {
            tx.execute(
                "INSERT INTO items (id, name, size, content) VALUES (1, 'big', ?1, ?2)",
                params![content.len() as i64, content],
            )
        }
    })
    .await
    .map_err(|error: Error| error)
    .unwrap();
    let back: Result<Option<Bytes>, Error> =
        db.read(|tx| tx.query_opt("SELECT content FROM items", params![], |row| row.get(0))).await;
    assert!(back.unwrap() == Some(content));
}

const GROWN: &[Migration] = &[
    ITEMS[0],
    Migration::spelled(
        2,
        "colours",
        "ALTER TABLE items ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'; UPDATE items SET size = 7",
        "ALTER TABLE items ADD COLUMN colour TEXT COLLATE \"C\" NOT NULL DEFAULT 'red'; UPDATE items SET size = 7",
    ),
];

async fn brings_schemas_up_to_date(fixture: &dyn Fixture) {
    let db = fixture.open("db", ITEMS);
    db.write(|tx| insert(tx, 1, "old")).await.unwrap();
    drop(db);
    for _ in 0..2 {
        let db = fixture.open("db", GROWN);
        let row: Result<_, Error> = db
            .read(|tx| {
                tx.query_opt("SELECT name, colour, size FROM items", params![], |row| {
                    Ok((row.get::<String>(0)?, row.get::<String>(1)?, row.get::<i64>(2)?))
                })
            })
            .await;
        assert_eq!(row.unwrap(), Some(("old".into(), "red".into(), 7)));
    }
}

async fn refuses_newer_and_changed_schemas(fixture: &dyn Fixture) {
    drop(fixture.open("db", GROWN));
    let newer = fixture.try_open("db", ITEMS);
    assert!(matches!(newer, Err(Error::Newer { found: 2, known: 1, .. })), "{newer:?}");
    const RENAMED: &[Migration] = &[ITEMS[0], Migration::portable(2, "shades", "")];
    let changed = fixture.try_open("db", RENAMED);
    assert!(matches!(changed, Err(Error::Migrated { id: 2, .. })), "{changed:?}");
    const GAP: &[Migration] = &[Migration::portable(2, "colours", "")];
    let gap = fixture.try_open("other", GAP);
    assert!(matches!(gap, Err(Error::MigrationOrder { id: 2, expected: 1 })), "{gap:?}");
    drop(fixture.open("db", GROWN));
}

async fn a_failed_migration_changes_nothing(fixture: &dyn Fixture) {
    const BROKEN: &[Migration] = &[
        ITEMS[0],
        Migration::portable(2, "colours", "CREATE TABLE other (a INTEGER); INSERT INTO nowhere VALUES (1)"),
    ];
    let broken = fixture.try_open("db", BROKEN);
    assert!(matches!(broken, Err(Error::Migration { id: 2, .. })), "{broken:?}");
    let db = fixture.open("db", GROWN);
    assert!(names(&db).await.is_empty());
}

async fn refuses_deferred_constraints(fixture: &dyn Fixture) {
    const DEFERRED: &[Migration] = &[Migration::portable(
        1,
        "deferred",
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)",
    )];
    let refused = fixture.try_open("db", DEFERRED);
    assert!(matches!(&refused, Err(Error::Forbidden { word }) if word == "DEFERRED"), "{refused:?}");
}

const TTL: Millis = Millis(1000);

fn at(ms: i64) -> Timestamp {
    Timestamp(ms)
}

async fn one_holder_per_lease(fixture: &dyn Fixture) {
    let db = fixture.open("db", &[]);
    db.write(|tx| {
        let mine = leases::acquire(tx, "poller", "a", at(0), TTL)?.unwrap();
        assert_eq!((mine.token, mine.expires), (Token(1), at(1000)));
        assert_eq!(leases::acquire(tx, "poller", "b", at(999), TTL)?, None);
        assert_eq!(
            leases::acquire(tx, "poller", "a", at(999), TTL)?,
            None,
            "nor to an earlier run of itself"
        );
        assert!(leases::acquire(tx, "another", "b", at(0), TTL)?.is_some());
        let renewed = leases::renew(tx, &mine, at(999), TTL)?;
        assert_eq!((renewed.token, renewed.expires), (Token(1), at(1999)));
        leases::check(tx, &mine, at(1998))?;
        leases::release(tx, &renewed)?;
        let theirs = leases::acquire(tx, "poller", "b", at(1001), TTL)?.unwrap();
        assert_eq!(theirs.token, Token(2));
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
}

async fn tokens_fence_late_holders(fixture: &dyn Fixture) {
    let db = fixture.open("db", &[]);
    db.write(|tx| {
        let late = leases::acquire(tx, "poller", "a", at(0), TTL)?.unwrap();
        let lost = leases::check(tx, &late, at(1000));
        assert!(matches!(&lost, Err(Error::LeaseLost { name }) if name == "poller"), "{lost:?}");
        assert!(leases::renew(tx, &late, at(1000), TTL).is_err(), "expired, though nobody took it");
        let next = leases::acquire(tx, "poller", "b", at(1000), TTL)?.unwrap();
        assert!(next.token > late.token);
        assert!(leases::renew(tx, &late, at(1001), TTL).is_err());
        leases::release(tx, &late)?;
        leases::check(tx, &next, at(1001))?;
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
}

async fn competing_holders_get_one_lease(fixture: &dyn Fixture) {
    let db = fixture.open("db", &[]);
    let mut tokens = Vec::new();
    for round in 0..5_i64 {
        let attempts = join_all((0..12).map(|holder| {
            db.write(move |tx| leases::acquire(tx, "work", &format!("node-{holder}"), at(round * 1000), TTL))
        }));
        let won: Vec<_> = attempts.await.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(won.len(), 1, "{won:?}");
        tokens.extend(won.into_iter().map(|lease| lease.token.0));
    }
    assert_eq!(tokens, [1, 2, 3, 4, 5]);
}
