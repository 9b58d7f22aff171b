//! Durable single-row write transactions per second, beside their floors, in one run.
//!
//! `cargo bench -p neap-store -- [--rounds 5] [--seconds 2] [--payload 100] [--rows 0] [--folder FOLDER] [--postgres URL] [--json]`
//!
//! Every round measures in turn: fsync of a 4 KiB append, plain rusqlite with one commit each, then the store with 1, 16, 64
//! and 256 concurrent writers at the durable and with 256 at the written level. Figures are medians over the rounds, latencies
//! are over all transactions. `of fsync` is the rate as a part of writers / (1.5 × fsync), what perfect groups would give if
//! a commit cost one fsync and a half. `--rows` fills the tables first, to show how cost grows.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use store::{Commit, Database, Durability, Location, Migration, params};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const TABLES: &[Migration] = &[Migration::portable(
    1,
    "rows",
    "CREATE TABLE rows (id INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL) STRICT",
)];
const INSERT: &str = "INSERT INTO rows (payload) VALUES (?1)";

struct Settings {
    rounds: usize,
    span: Duration,
    payload: usize,
    rows: usize,
    folder: PathBuf,
    postgres: Option<String>,
    json: bool,
}

fn main() -> Outcome<()> {
    let settings = settings()?;
    let folder = tempfile::tempdir_in(&settings.folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let mut fsync = Measure::new("fsync of 4 KiB", 1);
    let mut plain = Measure::new("plain rusqlite, one commit each", 1);
    let mut stores = Vec::new();
    for writers in [1, 16, 64, 256] {
        stores.push((Measure::new("store, durable", writers), Commit::Durable));
    }
    stores.push((Measure::new("store, written", 256), Commit::Written));
    let mut remote: Vec<(Measure, Commit)> = Vec::new();
    if settings.postgres.is_some() {
        for writers in [1, 16, 256] {
            remote.push((Measure::new("store on PostgreSQL, durable", writers), Commit::Durable));
        }
    }
    for round in 0..settings.rounds {
        fsync.add(append_and_sync(&folder.path().join(format!("fsync{round}")), settings.span)?);
        plain.add(one_commit_each(&folder.path().join(format!("plain{round}.sqlite")), &settings)?);
        for (number, (measure, commit)) in stores.iter_mut().enumerate() {
            let path = folder.path().join(format!("store{round}-{number}.sqlite"));
            let db = Database::open(Location::Sqlite { path, durability: Durability::Full }, TABLES)?;
            measure.add(runtime.block_on(concurrently(&db, measure.writers, *commit, &settings))?);
        }
        for (measure, commit) in &mut remote {
            let url = settings.postgres.clone().unwrap_or_default();
            let db = Database::open(Location::Postgres { url, schema: String::from("neap_bench") }, TABLES)?;
            measure.add(runtime.block_on(concurrently(&db, measure.writers, *commit, &settings))?);
        }
    }
    report(&settings, fsync, plain, stores.into_iter().chain(remote).map(|(measure, _)| measure).collect());
    Ok(())
}

fn settings() -> Outcome<Settings> {
    let mut settings = Settings {
        rounds: 5,
        span: Duration::from_secs(2),
        payload: 100,
        rows: 0,
        folder: std::env::temp_dir(),
        postgres: None,
        json: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--rounds" => settings.rounds = value()?.parse()?,
            "--seconds" => settings.span = Duration::from_secs_f64(value()?.parse()?),
            "--payload" => settings.payload = value()?.parse()?,
            "--rows" => settings.rows = value()?.parse()?,
            "--folder" => settings.folder = PathBuf::from(value()?),
            "--postgres" => settings.postgres = Some(value()?),
            "--json" => settings.json = true,
            // Cargo's own.
            "--bench" => {}
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(settings)
}

/// The results of one kind of work.
struct Measure {
    name: &'static str,
    writers: usize,
    rates: Vec<f64>,
    latencies: Vec<Duration>,
}

impl Measure {
    fn new(name: &'static str, writers: usize) -> Measure {
        Measure { name, writers, rates: Vec::new(), latencies: Vec::new() }
    }

    fn add(&mut self, (elapsed, latencies): (Duration, Vec<Duration>)) {
        self.rates.push(latencies.len() as f64 / elapsed.as_secs_f64());
        self.latencies.extend(latencies);
    }

    fn finish(&mut self) {
        self.rates.sort_by(f64::total_cmp);
        self.latencies.sort();
    }

    fn rate(&self) -> f64 {
        self.rates.get(self.rates.len() / 2).copied().unwrap_or_default()
    }

    fn latency_ms(&self, part: f64) -> f64 {
        let index = (self.latencies.len() as f64 * part) as usize;
        self.latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// Repeats `work` for a while; how long it took, and each time.
fn repeat(span: Duration, mut work: impl FnMut() -> Outcome<()>) -> Outcome<(Duration, Vec<Duration>)> {
    let started = Instant::now();
    let mut latencies = Vec::new();
    while started.elapsed() < span {
        let began = Instant::now();
        work()?;
        latencies.push(began.elapsed());
    }
    Ok((started.elapsed(), latencies))
}

fn append_and_sync(path: &Path, span: Duration) -> Outcome<(Duration, Vec<Duration>)> {
    let mut file = File::create(path)?;
    repeat(span, || {
        file.write_all(&[7; 4096])?;
        Ok(file.sync_data()?)
    })
}

fn one_commit_each(path: &Path, settings: &Settings) -> Outcome<(Duration, Vec<Duration>)> {
    let connection = rusqlite::Connection::open(path)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(TABLES[0].sqlite)?;
    let payload = vec![7_u8; settings.payload];
    connection.execute_batch("BEGIN")?;
    for _ in 0..settings.rows {
        connection.prepare_cached(INSERT)?.execute([&payload])?;
    }
    connection.execute_batch("COMMIT")?;
    repeat(settings.span, || {
        connection.prepare_cached(INSERT)?.execute([&payload])?;
        Ok(())
    })
}

async fn concurrently(
    db: &Database,
    writers: usize,
    commit: Commit,
    settings: &Settings,
) -> Outcome<(Duration, Vec<Duration>)> {
    let (span, payload) = (settings.span, bytes::Bytes::from(vec![7_u8; settings.payload]));
    fill(db, settings.rows, &payload).await?;
    let started = Instant::now();
    let tasks = join_all((0..writers).map(|_| {
        let (db, payload) = (db.clone(), payload.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while started.elapsed() < span {
                let began = Instant::now();
                let payload = payload.clone();
                db.write_at(commit, move |tx| tx.execute(INSERT, params![payload])).await?;
                latencies.push(began.elapsed());
            }
            Ok::<_, store::Error>(latencies)
        })
    }));
    let mut latencies = Vec::new();
    for task in tasks.await {
        latencies.extend(task??);
    }
    Ok((started.elapsed(), latencies))
}

async fn fill(db: &Database, rows: usize, payload: &bytes::Bytes) -> Result<(), store::Error> {
    const CHUNK: usize = 10_000;
    for done in (0..rows).step_by(CHUNK) {
        let (payload, count) = (payload.clone(), CHUNK.min(rows - done));
        db.write(move |tx| {
            for _ in 0..count {
                tx.execute(INSERT, params![payload])?;
            }
            Ok::<_, store::Error>(())
        })
        .await?;
    }
    Ok(())
}

fn report(settings: &Settings, mut fsync: Measure, mut plain: Measure, mut stores: Vec<Measure>) {
    fsync.finish();
    plain.finish();
    stores.iter_mut().for_each(Measure::finish);
    let fsync_ms = fsync.latency_ms(0.5);
    println!(
        "{:<34} {:>7} {:>10} {:>8} {:>8} {:>8} {:>8}",
        "", "writers", "per s", "p50 ms", "p99 ms", "× plain", "of fsync"
    );
    for measure in [&fsync, &plain].into_iter().chain(&stores) {
        let perfect = measure.writers as f64 / (1.5 * fsync_ms / 1000.0);
        let (times, part) = (measure.rate() / plain.rate(), measure.rate() / perfect);
        println!(
            "{:<34} {:>7} {:>10.0} {:>8.2} {:>8.2} {times:>8.1} {part:>8.2}",
            measure.name,
            measure.writers,
            measure.rate(),
            measure.latency_ms(0.5),
            measure.latency_ms(0.99),
        );
        if settings.json {
            println!(
                "{{\"name\":\"{}\",\"writers\":{},\"per_s\":{:.1},\"p50_ms\":{:.3},\"p99_ms\":{:.3},\"times_plain\":{times:.2},\"of_fsync\":{part:.3}}}",
                measure.name,
                measure.writers,
                measure.rate(),
                measure.latency_ms(0.5),
                measure.latency_ms(0.99),
            );
        }
    }
}
