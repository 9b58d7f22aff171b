//! `bench queue`: cycles of send, receive and delete by signed requests, beside the store doing the same rows, in alternating
//! rounds; then the same with ever more messages, queues and message groups.
//!
//! Every send is on disk before its answer, on both sides; receives and deletions of standard queues are written.

use super::{
    Outcome,
    options::Options,
    setup::{CONFIG, active, binary, cpus, kernel, leave, progress},
    table::{Table, mib, ms, thousands},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use store::{Commit, Database, Durability, Location, Migration, params};
use testkit::{
    client::Client,
    load,
    node::Node,
    package::{self, File},
    process,
    stats::{median, percentile},
};

const BODY_BYTES: usize = 1_024;
/// Clients of the growth table.
const GROWTH_CLIENTS: usize = 16;
/// Queues and groups are at most so many: each is made by a request, or holds a message of its own.
const QUEUES_MAX: usize = 10_000;
const GROUPS_MAX: usize = 100_000;

/// What the clients do.
#[derive(Clone, Copy)]
struct Work<'a> {
    client: &'a Client,
    clients: usize,
    /// Messages of each request.
    batch: usize,
    urls: &'a [String],
    /// Of a FIFO queue; 0: a standard one.
    groups: usize,
}

#[derive(Default)]
struct Cycles {
    /// Messages that were sent, received and deleted.
    messages: u64,
    took: Duration,
    /// Of one send, sorted.
    sends_us: Vec<u32>,
}

impl Cycles {
    fn per_second(&self) -> f64 {
        self.messages as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn merged(parts: Vec<Cycles>, took: Duration) -> Cycles {
        let mut all = Cycles { took, ..Cycles::default() };
        for part in parts {
            all.messages += part.messages;
            all.sends_us.extend(part.sends_us);
        }
        all.sends_us.sort_unstable();
        all
    }
}

pub(super) fn run(options: &Options) -> Outcome<()> {
    let neap = binary(options)?;
    println!("## Queues\n");
    println!("`cargo xtask bench queue`, {} processors, {}.", cpus(), kernel());
    println!("Messages of 1 KiB, every send fsynced. Clients, floor and Neap share the machine.");
    let node = Node::start(&neap, CONFIG).map_err(|error| error.to_string())?;
    let client = node.client();
    let done = first_lines(options, &client)
        .and_then(|()| compare(options, &client))
        .and_then(|()| growth(options, &node));
    leave(node)?;
    done
}

/// A function that notes, at its first line, how long ago its messages were sent, and tells it when asked.
const NOTING: &str = concat!(
    "import time\n",
    "spans = []\n",
    "def handler(event, context):\n",
    "    now = time.time()\n",
    "    for record in event.get('Records', []):\n",
    "        spans.append(now - float(record['body']))\n",
    "    return spans\n",
);
/// Messages whose way to the function is measured.
const SENT: usize = 300;

/// From SendMessage to the first line of a function with an idle environment, one message at a time.
fn first_lines(options: &Options, client: &Client) -> Outcome<()> {
    let zip = package::zip(&[File { name: "app.py", content: NOTING.as_bytes(), executable: false }]);
    let function = json!({
        "FunctionName": "noting", "Runtime": "python3.11", "Handler": "app.handler", "MemorySize": 128, "Timeout": 30,
        "Role": "arn:aws:iam::000000000000:role/bench",
        "Code": { "ZipFile": STANDARD.encode(zip.map_err(|error| error.to_string())?) },
    });
    let lambda = |method, path: &str, body: &Value| {
        client.lambda(&method, path, body).map_err(|error| error.to_string())
    };
    lambda(Method::POST, "/2015-03-31/functions", &function)?;
    active(client, "noting")?;
    let url = create(client, "noted", false)?;
    let account = url.rsplit('/').nth(1).unwrap_or_default();
    let mapping = json!({
        "FunctionName": "noting", "BatchSize": 1,
        "EventSourceArn": format!("arn:aws:sqs:us-east-1:{account}:noted"),
    });
    lambda(Method::POST, "/2015-03-31/event-source-mappings/", &mapping)?;
    let mut connection = Connection::open(client)?;
    progress("messages to a function, one at a time");
    for _ in 0..SENT {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        connection.call("SendMessage", &json!({ "QueueUrl": url, "MessageBody": now.to_string() }))?;
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(1));
    let asked = client.invocation("noting", b"{}").map_err(|error| error.to_string())?;
    let told = client.send(&asked).map_err(|error| error.to_string())?;
    let spans: Vec<f64> = serde_json::from_slice(&told.body).map_err(|error| error.to_string())?;
    // The first waits for the mapping and for an environment; some may have gone to another.
    if spans.len() < SENT / 2 {
        return Err(format!("{} of {SENT} messages were noted where this asked", spans.len()));
    }
    let mut micros: Vec<u32> = spans.iter().skip(1).map(|span| (span * 1e6) as u32).collect();
    micros.sort_unstable();
    let mut floors = floor(options, 1, 1)?.sends_us;
    floors.sort_unstable();
    let mut table = Table::new(&["one client, one message at a time", "p50 ms", "p99 ms", "messages"]);
    for (what, spans) in [
        ("floor: the store's durable insert", &floors),
        ("SendMessage to the function's first line", &micros),
    ] {
        let at = |share| ms(f64::from(percentile(spans, share)));
        table.row(&[&what, &at(0.5), &at(0.99), &spans.len()]);
    }
    table.print("A message's way to a function");
    Ok(())
}

fn compare(options: &Options, client: &Client) -> Outcome<()> {
    let urls = [create(client, "bench", false)?];
    let heads = ["what", "clients", "batch", "cycles/s", "send p50 ms", "send p99 ms", "load", "ratio"];
    let mut table = Table::new(&heads);
    for batch in [1, 10] {
        for &clients in &options.connections {
            let mut rounds: [Vec<[f64; 3]>; 2] = [Vec::new(), Vec::new()];
            for round in 0..options.rounds {
                progress(&format!("{clients} clients, {batch} at once, round {}", round + 1));
                let work = Work { client, clients, batch, urls: &urls, groups: 0 };
                for (of, cycles) in
                    rounds.iter_mut().zip([floor(options, clients, batch)?, cycles(options, work)?])
                {
                    let latency = |part| f64::from(percentile(&cycles.sends_us, part));
                    of.push([cycles.per_second(), latency(0.5), latency(0.99)]);
                }
            }
            let load = format!("{:.1}", process::load_average());
            let middle = |at: usize, of: usize| median(rounds[at].iter().map(|round| round[of]).collect());
            for (at, what) in ["floor: the store", "Neap"].iter().enumerate() {
                let ratio = match at {
                    0 => String::new(),
                    _ => format!("{:.2}", middle(1, 0) / middle(0, 0).max(1.0)),
                };
                table.row(&[
                    what,
                    &clients,
                    &batch,
                    &thousands(middle(at, 0)),
                    &ms(middle(at, 1)),
                    &ms(middle(at, 2)),
                    &load,
                    &ratio,
                ]);
            }
        }
    }
    table.print("Cycles of a message: sent, received, deleted");
    Ok(())
}

/// What there is more and more of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Growing {
    Messages,
    Queues,
    Groups,
}

fn growth(options: &Options, node: &Node) -> Outcome<()> {
    let client = node.client();
    let mut table =
        Table::new(&["what there is", "number", "cycles/s", "send p50 ms", "send p99 ms", "resident MiB"]);
    for (growing, name, max) in [
        (Growing::Messages, "messages of a queue", usize::MAX),
        (Growing::Queues, "queues", QUEUES_MAX),
        (Growing::Groups, "groups of a FIFO queue", GROUPS_MAX),
    ] {
        let fifo = growing == Growing::Groups;
        let mut urls = vec![create(&client, if fifo { "groups.fifo" } else { name_of(growing) }, fifo)?];
        let (mut there, mut number) = (0, 1_000);
        while number <= max.min(options.growth) {
            progress(&format!("{number} {name}"));
            match growing {
                Growing::Messages => fill(&client, &urls[0], there..number, false)?,
                Growing::Groups => fill(&client, &urls[0], there..number, true)?,
                Growing::Queues => {
                    for at in urls.len()..number {
                        urls.push(create(&client, &format!("queue-{at}"), false)?);
                    }
                }
            }
            there = number;
            let groups = if fifo { number } else { 0 };
            let work = Work { client: &client, clients: GROWTH_CLIENTS, batch: 10, urls: &urls, groups };
            let cycles = cycles(options, work)?;
            table.row(&[
                &name,
                &thousands(number as f64),
                &thousands(cycles.per_second()),
                &ms(f64::from(percentile(&cycles.sends_us, 0.5))),
                &ms(f64::from(percentile(&cycles.sends_us, 0.99))),
                &mib(process::memory(node.pid()).resident),
            ]);
            number *= 10;
        }
    }
    table.print(&format!("Growth, {GROWTH_CLIENTS} clients, in tens"));
    println!(
        "\nEach receive takes the oldest, so that the number stays. Queues and groups are taken in turn."
    );
    Ok(())
}

fn name_of(growing: Growing) -> &'static str {
    match growing {
        Growing::Messages => "messages",
        Growing::Queues => "queue-0",
        Growing::Groups => "groups",
    }
}

fn create(client: &Client, name: &str, fifo: bool) -> Outcome<String> {
    let mut attributes = json!({"VisibilityTimeout": "600"});
    if fifo {
        // Without the rate of ordinary FIFO queues.
        attributes = json!({"FifoQueue": "true", "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId", "VisibilityTimeout": "600"});
    }
    let made = Connection::open(client)?
        .call("CreateQueue", &json!({"QueueName": name, "Attributes": attributes}))?;
    Ok(made["QueueUrl"].as_str().ok_or("no QueueUrl")?.to_owned())
}

/// Sends the messages of these numbers, each to its own group of a FIFO queue.
fn fill(client: &Client, url: &str, numbers: std::ops::Range<usize>, fifo: bool) -> Outcome<()> {
    let next = AtomicU64::new(numbers.start as u64);
    let end = numbers.end as u64;
    let worker = || -> Outcome<()> {
        let mut connection = Connection::open(client)?;
        loop {
            let from = next.fetch_add(10, Ordering::Relaxed);
            if from >= end {
                return Ok(());
            }
            let entries = entries(from..(from + 10).min(end), fifo.then_some(usize::MAX));
            connection.call("SendMessageBatch", &json!({"QueueUrl": url, "Entries": entries}))?;
        }
    };
    together(GROWTH_CLIENTS, |_| worker()).map(drop)
}

fn entries(numbers: std::ops::Range<u64>, groups: Option<usize>) -> Vec<Value> {
    let body = "x".repeat(BODY_BYTES);
    let one = |number: u64| {
        let mut entry = json!({"Id": number.to_string(), "MessageBody": body});
        if let Some(groups) = groups {
            entry["MessageGroupId"] = json!(format!("g{}", number % groups as u64));
            entry["MessageDeduplicationId"] =
                json!(format!("{:?}-{number}", Instant::now()).replace([' ', '{', '}'], ""));
        }
        entry
    };
    numbers.map(one).collect()
}

/// Runs `work` on so many threads.
fn together<T: Send>(count: usize, work: impl Fn(usize) -> Outcome<T> + Sync) -> Outcome<Vec<T>> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || work(number))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Outcome<T>>| {
            thread.join().map_err(|_| "a client panicked".to_owned())?
        };
        threads.into_iter().map(join).collect()
    })
}

/// Puts a node under load.
fn cycles(options: &Options, work: Work<'_>) -> Outcome<Cycles> {
    let (began, number) = (Instant::now(), AtomicU64::new(0));
    let from = began + options.measured / 4;
    let end = from + options.measured;
    let parts = together(work.clients, |_| {
        let mut connection = Connection::open(work.client)?;
        let mut own = Cycles::default();
        while Instant::now() < end {
            let first = number.fetch_add(work.batch as u64, Ordering::Relaxed);
            let url = &work.urls[first as usize / work.batch % work.urls.len()];
            let sent = Instant::now();
            let groups = (work.groups > 0).then_some(work.groups);
            let entries = entries(first..first + work.batch as u64, groups);
            connection.call("SendMessageBatch", &json!({"QueueUrl": url, "Entries": entries}))?;
            let span = sent.elapsed();
            let got = connection
                .call("ReceiveMessage", &json!({"QueueUrl": url, "MaxNumberOfMessages": work.batch}))?;
            let got = got["Messages"].as_array().map(Vec::as_slice).unwrap_or_default();
            if got.is_empty() {
                continue;
            }
            let entry = |(at, message): (usize, &Value)| json!({"Id": at.to_string(), "ReceiptHandle": message["ReceiptHandle"]});
            let entries: Vec<Value> = got.iter().enumerate().map(entry).collect();
            connection.call("DeleteMessageBatch", &json!({"QueueUrl": url, "Entries": entries}))?;
            if sent >= from {
                own.messages += got.len() as u64;
                own.sends_us.push(u32::try_from(span.as_micros()).unwrap_or(u32::MAX));
            }
        }
        Ok(own)
    })?;
    Ok(Cycles::merged(parts, from.elapsed()))
}

const ROWS: &[Migration] = &[Migration::portable(
    1,
    "rows",
    "CREATE TABLE message (seq INTEGER PRIMARY KEY AUTOINCREMENT, due_ms INTEGER NOT NULL, body TEXT NOT NULL);
     CREATE INDEX message_due ON message (due_ms);",
)];

/// The store alone: rows put in durably, then hidden, then removed.
fn floor(options: &Options, clients: usize, batch: usize) -> Outcome<Cycles> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let location =
        Location::Sqlite { path: folder.path().join("floor.sqlite"), durability: Durability::Full };
    let db = Database::open(location, ROWS).map_err(|error| error.to_string())?;
    let began = Instant::now();
    let from = began + options.measured / 4;
    let end = from + options.measured;
    let parts = together(clients, |_| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
        let mut own = Cycles::default();
        while Instant::now() < end {
            let sent = Instant::now();
            let (span, got) = runtime.block_on(one_cycle(&db, batch)).map_err(|error| error.to_string())?;
            if sent >= from {
                own.messages += got as u64;
                own.sends_us.push(u32::try_from(span.as_micros()).unwrap_or(u32::MAX));
            }
        }
        Ok(own)
    })?;
    Ok(Cycles::merged(parts, from.elapsed()))
}

async fn one_cycle(db: &Database, batch: usize) -> Result<(Duration, usize), store::Error> {
    let sent = Instant::now();
    db.write(move |tx| {
        let body = "x".repeat(BODY_BYTES);
        for _ in 0..batch {
            tx.execute("INSERT INTO message (due_ms, body) VALUES (0, ?1)", params![body.as_str()])?;
        }
        Ok::<(), store::Error>(())
    })
    .await?;
    let span = sent.elapsed();
    let received = db.write_at(Commit::Written, move |tx| {
        let max = i64::try_from(batch).unwrap_or(i64::MAX);
        let sql = "SELECT seq, body FROM message WHERE due_ms <= 0 ORDER BY due_ms, seq LIMIT ?1";
        let found = tx.query(sql, params![max], |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?)))?;
        for (seq, _) in &found {
            tx.execute("UPDATE message SET due_ms = 1 WHERE seq = ?1", params![*seq])?;
        }
        Ok::<_, store::Error>(found)
    });
    let received = received.await?;
    let got = received.len();
    db.write_at(Commit::Written, move |tx| {
        for (seq, _) in &received {
            tx.execute("DELETE FROM message WHERE seq = ?1", params![*seq])?;
        }
        Ok::<(), store::Error>(())
    })
    .await?;
    Ok((span, got))
}

/// A connection that is kept, with signed requests one after the other.
struct Connection<'a> {
    client: &'a Client,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn open(client: &'a Client) -> Outcome<Connection<'a>> {
        let stream = TcpStream::connect(client.address).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Connection { client, stream, buffer: Vec::new() })
    }

    fn call(&mut self, operation: &str, input: &Value) -> Outcome<Value> {
        let target = format!("AmazonSQS.{operation}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let request = self.client.request("sqs", &Method::POST, "/", &headers, input.to_string().as_bytes());
        let request = request.map_err(|error| error.to_string())?;
        self.stream.write_all(&request).map_err(|error| error.to_string())?;
        self.buffer.clear();
        let mut piece = [0; 32 * 1024];
        loop {
            if let Some(answer) = load::parse(&self.buffer).map_err(|error| error.to_string())? {
                let body = &self.buffer[answer.body];
                if answer.status != 200 {
                    return Err(format!("{operation}: {} {}", answer.status, String::from_utf8_lossy(body)));
                }
                let value = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) };
                let value: Value = value.map_err(|error| format!("{operation}: {error}"))?;
                return match value["Failed"].as_array().and_then(|failed| failed.first()) {
                    Some(failed) => Err(format!("{operation}: {failed}")),
                    None => Ok(value),
                };
            }
            let read = self.stream.read(&mut piece).map_err(|error| error.to_string())?;
            if read == 0 {
                return Err(format!("{operation}: the connection ended"));
            }
            self.buffer.extend_from_slice(&piece[..read]);
        }
    }
}
