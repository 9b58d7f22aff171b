//! What was acknowledged survives kill -9.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use store::{Commit, Database, Durability, Error, Location, Migration, params};

use crate::fixture::block_on;

const TABLES: &[Migration] = &[Migration::portable(
    1,
    "halves",
    "CREATE TABLE firsts (id INTEGER PRIMARY KEY, level TEXT NOT NULL) STRICT;
     CREATE TABLE seconds (id INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT;",
)];
const CHILD: &str = "NEAP_STORE_CRASH_CHILD";
const WRITERS: i64 = 16;

fn open(path: &Path) -> Database {
    let location = Location::Sqlite { path: path.to_owned(), durability: Durability::Full };
    Database::open(location, TABLES).unwrap()
}

#[test]
fn acknowledged_transactions_survive_kill_nine() {
    if let Some(settings) = std::env::var_os(CHILD) {
        let settings = settings.into_string().unwrap();
        let (round, path) = settings.split_once(' ').unwrap();
        block_on(write_forever(open(Path::new(path)), round.parse().unwrap()));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sqlite");
    let mut acknowledged = Vec::new();
    for round in 0..12_usize {
        let wanted = 20 + round * 67;
        let told = kill_after(&path, round, wanted);
        assert!(told.len() >= wanted, "{} of {wanted}", told.len());
        acknowledged.extend(told);
        audit(&path, &acknowledged);
    }
}

/// Runs a child that writes, and kills it when `wanted` transactions were acknowledged; those that it told of.
fn kill_after(path: &Path, round: usize, wanted: usize) -> Vec<i64> {
    let test = "crash::acknowledged_transactions_survive_kill_nine";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, format!("{round} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // The last line may be cut short; then it has no full stop.
        if let Some(id) = line.unwrap().strip_prefix("ack ").and_then(|id| id.strip_suffix('.')) {
            told.push(id.parse().unwrap());
        }
        if told.len() == wanted {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    told
}

async fn write_forever(db: Database, round: i64) {
    join_all((0..WRITERS).map(|writer| {
        let db = db.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let id = (round * WRITERS + writer) * 1_000_000 + number;
                // Some writers only ever write at the lower level; some sometimes fail.
                let (commit, level) = if (writer + number) % 3 == 0 || writer % 4 == 0 {
                    (Commit::Written, "written")
                } else {
                    (Commit::Durable, "durable")
                };
                let outcome: Result<(), Error> = db
                    .write_at(commit, move |tx| {
                        tx.execute("INSERT INTO firsts VALUES (?1, ?2)", params![id, level])?;
                        tx.execute("INSERT INTO seconds VALUES (?1, ?2)", params![id, vec![0_u8; 500]])?;
                        if number % 7 == 6 { Err(Error::Closed) } else { Ok(()) }
                    })
                    .await;
                if outcome.is_ok() {
                    std::io::stdout().write_all(format!("ack {id}.\n").as_bytes()).unwrap();
                }
            }
        })
    }))
    .await;
}

fn audit(path: &Path, acknowledged: &[i64]) {
    let db = open(path);
    let (found, halves, failed): (std::collections::HashSet<i64>, i64, i64) = block_on(db.read(|tx| {
        let count = |tx: &mut store::Tx<'_>, sql: &str| {
            tx.query_opt(sql, params![], |row| row.get::<i64>(0)).map(Option::unwrap_or_default)
        };
        let ids = tx.query("SELECT id FROM firsts JOIN seconds USING (id)", params![], |row| row.get(0))?;
        let halves = count(
            tx,
            "SELECT COUNT(*) FROM (SELECT id FROM firsts UNION ALL SELECT id FROM seconds) GROUP BY id HAVING COUNT(*) <> 2",
        )?;
        let failed = count(tx, "SELECT COUNT(*) FROM firsts WHERE id % 1000000 % 7 = 6")?;
        Ok::<_, Error>((ids.into_iter().collect(), halves, failed))
    }))
    .unwrap();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !found.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_eq!((halves, failed), (0, 0));
    let check = rusqlite::Connection::open(path).unwrap();
    let verdict: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}
