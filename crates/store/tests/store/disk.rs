//! A disk that is full or fails: nobody is told of success that is not there.

use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::future::join_all;
use store::{Commit, Database, Durability, Error, Location, Migration, params};

use crate::fixture::{block_on, skipped};

const TABLES: &[Migration] = &[Migration::portable(
    1,
    "rows",
    "CREATE TABLE rows (id INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT",
)];
const CHILD: &str = "NEAP_STORE_DISK_CHILD";

/// The folder that the child is to work in, when this is the child.
fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Stands between the program and the kernel: notes every sync in a file, and fails them while another file is there.
const SYNC_SHIM: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static int noted(int fd, long call) {
    int log = open(getenv("NEAP_SYNC_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (log < 0 || write(log, "x", 1) != 1) abort();
    close(log);
    if (access(getenv("NEAP_SYNC_FAILS"), F_OK) == 0) { errno = EIO; return -1; }
    return syscall(call, fd);
}
int fsync(int fd) { return noted(fd, SYS_fsync); }
int fdatasync(int fd) { return noted(fd, SYS_fdatasync); }
"#;

/// Runs `test` of this program again by way of `sh -c script`, which ends in `exec "$@"`.
fn again(test: &str, folder: &Path, launcher: &[&str], script: &str) -> std::process::Output {
    let mut words = launcher.iter().copied().chain(["sh", "-c", script, "sh"]);
    Command::new(words.next().unwrap())
        .args(words)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, folder)
        .output()
        .unwrap()
}

fn assert_passed(output: &std::process::Output) {
    let words = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && words.contains("1 passed");
    assert!(passed, "{words}{}", String::from_utf8_lossy(&output.stderr));
}

fn open(folder: &Path) -> Database {
    let location = Location::Sqlite { path: folder.join("db.sqlite"), durability: Durability::Full };
    Database::open(location, TABLES).unwrap()
}

fn insert(db: &Database, id: i64) -> impl Future<Output = Result<u64, Error>> + use<> {
    let db = db.clone();
    async move {
        let content = vec![7_u8; 20_000];
        db.write(move |tx| tx.execute("INSERT INTO rows VALUES (?1, ?2)", params![id, content])).await
    }
}

async fn ids(db: &Database) -> Vec<i64> {
    db.read(|tx| tx.query("SELECT id FROM rows ORDER BY id", params![], |row| row.get(0)))
        .await
        .map_err(|error: Error| error)
        .unwrap()
}

/// Writes groups of eight until one fails; what was acknowledged and the failures of the last group.
async fn write_until_failure(db: &Database) -> (Vec<i64>, Vec<Error>) {
    let mut acknowledged = Vec::new();
    for group in 0..10_000 {
        let outcomes = join_all((0..8).map(|n| tokio::spawn(insert(db, group * 8 + n)))).await;
        let mut failures = Vec::new();
        for (id, outcome) in (group * 8..).zip(outcomes) {
            match outcome.unwrap() {
                Ok(_) => acknowledged.push(id),
                Err(error) => failures.push(error),
            }
        }
        if !failures.is_empty() {
            return (acknowledged, failures);
        }
    }
    panic!("the disk never failed");
}

#[test]
fn a_full_disk_is_told_and_overcome() {
    let Some(folder) = child_folder() else {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"mount -t tmpfs -o size=6m tmpfs "$NEAP_STORE_DISK_CHILD" || exit 77; exec "$@""#;
        let private = ["unshare", "--mount", "--propagation", "private"];
        let output = again("disk::a_full_disk_is_told_and_overcome", folder.path(), &private, script);
        let words = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(77) || words.contains("unshare failed") {
            return skipped(
                "the store on a full disk",
                &format!("a small file system cannot be mounted: {words}"),
            );
        }
        assert_passed(&output);
        return;
    };
    block_on(async {
        std::fs::write(folder.join("ballast"), vec![0; 2 << 20]).unwrap();
        let db = open(&folder);
        let (acknowledged, failures) = write_until_failure(&db).await;
        assert!(
            failures.iter().all(|error| matches!(error, Error::Full { .. } | Error::Commit { .. })),
            "{failures:?}"
        );
        assert!(failures.iter().any(|error| matches!(error, Error::Full { .. })), "{failures:?}");
        let kept = ids(&db).await;
        assert_eq!(kept, acknowledged, "neither is anything lost nor anything kept that was refused");
        std::fs::remove_file(folder.join("ballast")).unwrap();
        insert(&db, 1_000_000).await.unwrap();
        drop(db);
        let db = open(&folder);
        assert_eq!(ids(&db).await.len(), acknowledged.len() + 1);
    });
}

#[test]
fn a_failed_commit_reaches_all_and_ends_all_writing() {
    let Some(folder) = child_folder() else {
        let folder = tempfile::tempdir().unwrap();
        // Beyond this size of a file, writing fails with an error that is not that of a full disk.
        let script = r#"trap "" XFSZ; exec prlimit --fsize=3000000 "$@""#;
        let test = "disk::a_failed_commit_reaches_all_and_ends_all_writing";
        let output = again(test, folder.path(), &["env"], script);
        if output.status.code() == Some(127) {
            return skipped("the store on a failing disk", "there is no prlimit");
        }
        assert_passed(&output);
        // Without the limit everything acknowledged is there.
        let acknowledged = std::fs::read_to_string(folder.path().join("acknowledged")).unwrap();
        let kept = block_on(ids(&open(folder.path())));
        assert_eq!(acknowledged, format!("{kept:?}"));
        return;
    };
    block_on(async {
        let db = open(&folder);
        let (acknowledged, failures) = write_until_failure(&db).await;
        let told = |error: &Error| matches!(error, Error::Commit { .. } | Error::Failed { .. });
        assert!(failures.iter().all(told), "{failures:?}");
        let later = insert(&db, 1_000_000).await;
        assert!(matches!(later, Err(Error::Failed { .. })), "{later:?}");
        assert_eq!(ids(&db).await, acknowledged, "reading goes on");
        std::fs::write(folder.join("acknowledged"), format!("{acknowledged:?}")).unwrap();
    });
}

#[test]
fn durable_means_synced_and_a_failed_sync_is_told() {
    let Some(folder) = child_folder() else {
        let folder = tempfile::tempdir().unwrap();
        let (source, shim) = (folder.path().join("shim.c"), folder.path().join("shim.so"));
        std::fs::write(&source, SYNC_SHIM).unwrap();
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).status();
        if !built.is_ok_and(|status| status.success()) {
            return skipped("the store when syncing fails", "there is no C compiler");
        }
        let script = r#"
            export NEAP_SYNC_LOG="$NEAP_STORE_DISK_CHILD/log" NEAP_SYNC_FAILS="$NEAP_STORE_DISK_CHILD/fails"
            LD_PRELOAD="$NEAP_STORE_DISK_CHILD/shim.so" exec "$@""#;
        let test = "disk::durable_means_synced_and_a_failed_sync_is_told";
        assert_passed(&again(test, folder.path(), &["env"], script));
        return;
    };
    let syncs = || std::fs::metadata(folder.join("log")).unwrap().len();
    block_on(async {
        let db = open(&folder);
        let written = |id: i64| {
            let insert =
                move |tx: &mut store::Tx<'_>| tx.execute("INSERT INTO rows VALUES (?1, X'00')", params![id]);
            db.write_at(Commit::Written, insert)
        };
        insert(&db, 0).await.unwrap();
        for id in 1..5 {
            let before = syncs();
            insert(&db, id).await.unwrap();
            assert!(syncs() > before, "answered before the disk had it");
            let before = syncs();
            written(100 + id).await.map_err(|error: Error| error).unwrap();
            assert_eq!(syncs(), before, "waited for the disk without need");
        }
        std::fs::write(folder.join("fails"), "").unwrap();
        let outcomes = join_all((10..20).map(|id| tokio::spawn(insert(&db, id)))).await;
        for outcome in outcomes {
            let outcome = outcome.unwrap();
            assert!(matches!(outcome, Err(Error::Commit { .. } | Error::Failed { .. })), "{outcome:?}");
        }
        std::fs::remove_file(folder.join("fails")).unwrap();
        let later: Result<u64, Error> = written(1000).await;
        assert!(
            matches!(later, Err(Error::Failed { .. })),
            "a sync that succeeds after one that failed proves nothing"
        );
        assert_eq!(ids(&db).await, [0, 1, 2, 3, 4, 101, 102, 103, 104]);
    });
}
