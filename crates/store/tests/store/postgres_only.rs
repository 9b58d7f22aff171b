//! PostgreSQL: conflicts, lost connections, unknown outcomes.

use std::time::{Duration, Instant};

use store::{Database, Error, Migration, Tx, params};

use crate::fixture::{Fixture, Postgres, block_on, skipped};
use crate::server::Server;

const TABLES: &[Migration] = &[Migration::portable(
    1,
    "rows",
    "CREATE TABLE rows (id INTEGER PRIMARY KEY, content TEXT NOT NULL) STRICT",
)];

fn insert(tx: &mut Tx<'_>, id: i64) -> Result<u64, Error> {
    tx.execute("INSERT INTO rows (id, content) VALUES (?1, 'x')", params![id])
}

async fn count(db: &Database) -> i64 {
    db.read(|tx| tx.query_opt("SELECT COUNT(*) FROM rows", params![], |row| row.get(0)))
        .await
        .map_err(|error: Error| error)
        .unwrap()
        .unwrap()
}

#[test]
fn connections() {
    let mut server = match Server::start() {
        Ok(server) => server,
        Err(why) => return skipped("lost connections to PostgreSQL", &why),
    };
    block_on(repeats_after_a_conflict(&server));
    block_on(repeats_when_the_connection_is_lost_before_the_commit(&server));
    says_that_the_outcome_is_unknown(&server);
    migrates_once_when_opened_by_many(&server);
    comes_back_after_a_restart(&mut server);
    let unreachable = Postgres { url: String::from("host=/nowhere user=neap"), case: String::from("x") };
    let refused = unreachable.try_open("db", TABLES);
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
}

fn fixture(server: &Server, case: &str) -> Postgres {
    Postgres { url: server.url(), case: case.to_owned() }
}

/// Two closures read both rows, wait for each other, and write one each: one of them has to run again.
async fn repeats_after_a_conflict(server: &Server) {
    let db = fixture(server, "conflict").open("db", TABLES);
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(2));
    let write = |id: i64| {
        let (db, barrier) = (db.clone(), std::sync::Arc::clone(&barrier));
        let mut first = true;
        tokio::spawn(async move {
            db.write(move |tx| {
                let seen: Option<i64> =
                    tx.query_opt("SELECT COUNT(*) FROM rows", params![], |row| row.get(0))?;
                if std::mem::take(&mut first) {
                    barrier.wait();
                }
                insert(tx, id)?;
                Ok::<_, Error>(seen)
            })
            .await
        })
    };
    let (one, other) = futures_util::join!(write(1), write(2));
    let mut seen = [one.unwrap().unwrap(), other.unwrap().unwrap()];
    seen.sort();
    assert_eq!(seen, [Some(0), Some(1)]);
    assert!(db.activity().retries >= 1);
}

/// Ends the server's side of the store's connections.
const END_SESSIONS: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'neap'";

async fn repeats_when_the_connection_is_lost_before_the_commit(server: &Server) {
    let db = fixture(server, "lost").open("db", TABLES);
    let url = server.url();
    let mut first = true;
    let written = db
        .write(move |tx| {
            insert(tx, 1)?;
            if std::mem::take(&mut first) {
                let url = url.clone();
                let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
                let end =
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'neap'";
                client.batch_execute(end).unwrap();
            }
            insert(tx, 2)
        })
        .await;
    written.unwrap();
    assert_eq!(count(&db).await, 2);
}

/// A trigger that runs at the commit gives the time to end the session during it.
fn says_that_the_outcome_is_unknown(server: &Server) {
    let db = fixture(server, "unknown").open("db", TABLES);
    let mut client = postgres::Client::connect(&server.url(), postgres::NoTls).unwrap();
    client
        .batch_execute(
            "SET search_path TO unknown_db;
             CREATE FUNCTION slow() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(20); RETURN NULL; END' LANGUAGE plpgsql;
             CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON rows DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .unwrap();
    let write = std::thread::spawn({
        let db = db.clone();
        move || block_on(db.write(|tx| insert(tx, 1)))
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    let sleeping =
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'neap' AND wait_event = 'PgSleep'";
    while client.query_opt(sleeping, &[]).unwrap().is_none() {
        assert!(Instant::now() < deadline);
    }
    client.batch_execute(END_SESSIONS).unwrap();
    client.batch_execute("DROP TRIGGER slow ON rows").unwrap();
    let outcome = write.join().unwrap();
    assert!(matches!(outcome, Err(Error::OutcomeUnknown { .. })), "{outcome:?}");
    block_on(db.write(|tx| insert(tx, 2))).unwrap();
}

fn migrates_once_when_opened_by_many(server: &Server) {
    let fixture = fixture(server, "many");
    std::thread::scope(|scope| {
        let opens: Vec<_> = (0..4).map(|_| scope.spawn(|| fixture.try_open("db", TABLES))).collect();
        for open in opens {
            open.join().unwrap().unwrap();
        }
    });
}

fn comes_back_after_a_restart(server: &mut Server) {
    let db = fixture(server, "restart").open("db", TABLES);
    block_on(db.write(|tx| insert(tx, 1))).unwrap();
    server.stop();
    let unavailable = block_on(db.write(|tx| insert(tx, 2)));
    assert!(matches!(unavailable, Err(Error::Unavailable { .. })), "{unavailable:?}");
    server.run();
    block_on(db.write(|tx| insert(tx, 3))).unwrap();
    assert_eq!(block_on(count(&db)), 2);
}
