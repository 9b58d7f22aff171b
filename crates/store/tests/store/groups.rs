//! SQLite: closures commit in groups, at two levels.

use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;
use store::{Commit, Database, Durability, Error, Location, Migration, params};

use crate::fixture::{Fixture, Sqlite, block_on};

const ROWS: &[Migration] = &[Migration::portable(
    1,
    "rows",
    "CREATE TABLE rows (id INTEGER PRIMARY KEY, content TEXT NOT NULL) STRICT",
)];

async fn insert_all(db: &Database, commit: Commit, ids: std::ops::Range<i64>) {
    let writes = join_all(ids.map(|id| {
        let db = db.clone();
        tokio::spawn(async move {
            db.write_at(commit, move |tx| tx.execute("INSERT INTO rows VALUES (?1, 'x')", params![id])).await
        })
    }));
    for outcome in writes.await {
        outcome.unwrap().map_err(|error: Error| error).unwrap();
    }
}

#[test]
fn concurrent_writers_share_commits() {
    block_on(async {
        let db = Sqlite::temp().open("db", ROWS);
        insert_all(&db, Commit::Durable, 0..512).await;
        let activity = db.activity();
        assert_eq!(activity.committed, 512);
        assert!(activity.commits <= 128, "{activity:?}");
        assert_eq!(activity.durable_commits, activity.commits);
    });
}

#[test]
fn written_closures_do_not_wait_for_the_disk_unless_in_durable_company() {
    block_on(async {
        let db = Sqlite::temp().open("db", ROWS);
        insert_all(&db, Commit::Written, 0..100).await;
        let activity = db.activity();
        assert_eq!((activity.committed, activity.durable_commits), (100, 0));
        insert_all(&db, Commit::Durable, 100..101).await;
        insert_all(&db, Commit::Written, 101..102).await;
        assert_eq!(db.activity().durable_commits, 1);
    });
}

#[test]
fn relaxed_durability_never_waits_for_the_disk() {
    block_on(async {
        let fixture = Sqlite::temp();
        let location = Location::Sqlite { path: fixture.path("db"), durability: Durability::Relaxed };
        let db = Database::open(location, ROWS).unwrap();
        insert_all(&db, Commit::Durable, 0..100).await;
        let activity = db.activity();
        assert_eq!((activity.committed, activity.durable_commits), (100, 0));
    });
}

#[test]
fn a_group_in_which_every_closure_failed_commits_nothing() {
    block_on(async {
        let db = Sqlite::temp().open("db", ROWS);
        let failed: Result<u64, Error> = db.write(|_| Err(Error::Closed)).await;
        assert!(failed.is_err());
        assert_eq!(db.activity().commits, 0);
    });
}

#[test]
fn files_are_for_their_owner_only() {
    block_on(async {
        let fixture = Sqlite::temp();
        let db = fixture.open("db", ROWS);
        insert_all(&db, Commit::Durable, 0..1).await;
        let path = fixture.path("db");
        for suffix in ["", "-wal", "-shm"] {
            let path = format!("{}{suffix}", path.display());
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{path}");
        }
    });
}

#[test]
fn dropping_the_last_handle_waits_for_what_is_queued() {
    let fixture = Sqlite::temp();
    block_on(async {
        let db = fixture.open("db", ROWS);
        for id in 0..50 {
            // Polled once, then dropped: queued, and nobody waits.
            let mut write =
                Box::pin(db.write(move |tx| tx.execute("INSERT INTO rows VALUES (?1, 'x')", params![id])));
            let _: Option<Result<u64, Error>> = futures_util::FutureExt::now_or_never(&mut write);
        }
        let last = db.write(|tx| tx.execute("INSERT INTO rows VALUES (100, 'x')", params![]));
        let mut last = Box::pin(last);
        let _: Option<Result<u64, Error>> = futures_util::FutureExt::now_or_never(&mut last);
    });
    let log = format!("{}-wal", fixture.path("db").display());
    assert!(!std::path::Path::new(&log).exists(), "the log was moved into the database and removed");
}

#[test]
fn a_handle_dropped_by_a_closure_is_harmless() {
    block_on(async {
        let fixture = Sqlite::temp();
        let db = fixture.open("db", ROWS);
        let inner = std::sync::Mutex::new(Some(db.clone()));
        let task = tokio::spawn(async move {
            db.write(move |tx| {
                drop(inner.lock().unwrap().take());
                tx.execute("INSERT INTO rows VALUES (1, 'x')", params![])
            })
            .await
        });
        task.await.unwrap().map_err(|error: Error| error).unwrap();
    });
}
