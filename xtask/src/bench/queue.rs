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
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use store::{Commit, Database, Durability, Location, Tx, params};
use testkit::{
    client::Client,
    load,
    node::Node,
    package::{self, File},
    process,
    stats::{median, percentile},
};

const BODY_BYTES: usize = 1_024;
/// Of messages that are only there: ten million of them fit a small disk.
const FILL_BYTES: usize = 64;
/// Entries of a request.
const BATCH_MAX: usize = 10;
/// Clients of the growth table.
const GROWTH_CLIENTS: usize = 16;
/// Queues and groups are at most so many: each is made by a request, or holds a message of its own.
const QUEUES_MAX: usize = 10_000;
const GROUPS_MAX: usize = 100_000;
/// A node that gives no message for so long after a restart has failed.
const RESTART_MAX: Duration = Duration::from_secs(120);

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
    let mut node = Node::start(&neap, CONFIG).map_err(|error| error.to_string())?;
    let client = node.client();
    let done = first_lines(options, &client)
        .and_then(|()| compare(options, &client))
        .and_then(|()| growth(options, &mut node, &neap));
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
        let input = json!({ "QueueUrl": url, "MessageBody": now.to_string() });
        connection.call("SendMessage", &input.to_string())?;
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
    let mut floors = floor(options, 1, 1, 1)?.sends_us;
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
                    rounds.iter_mut().zip([floor(options, clients, batch, 1)?, cycles(options, work)?])
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

fn growth(options: &Options, node: &mut Node, neap: &Path) -> Outcome<()> {
    let client = node.client();
    let mut restarts = Table::new(&["after kill -9 with", "number", "first message received after ms"]);
    let mut table = Table::new(&[
        "what there is",
        "number",
        "cycles/s",
        "send p50 ms",
        "send p99 ms",
        "resident MiB",
        "ratio",
    ]);
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
                    // The first use of a queue costs more; measured is what follows.
                    together(GROWTH_CLIENTS, |place| {
                        let mut connection = Connection::open(&client)?;
                        for url in urls[there..].iter().skip(place).step_by(GROWTH_CLIENTS) {
                            connection.call("SendMessageBatch", &batch_of(url, 0..2, None, FILL_BYTES))?;
                            cycle_end(&mut connection, url, 1)?;
                        }
                        Ok(())
                    })?;
                }
            }
            there = number;
            let groups = if fifo { number } else { 0 };
            let work = Work { client: &client, clients: GROWTH_CLIENTS, batch: 10, urls: &urls, groups };
            let cycles = cycles(options, work)?;
            let ratio = match growing {
                Growing::Queues => {
                    let floor = floor(options, GROWTH_CLIENTS, 10, number)?;
                    format!("{:.2}", cycles.per_second() / floor.per_second().max(1.0))
                }
                Growing::Messages | Growing::Groups => String::new(),
            };
            table.row(&[
                &name,
                &thousands(number as f64),
                &thousands(cycles.per_second()),
                &ms(f64::from(percentile(&cycles.sends_us, 0.5))),
                &ms(f64::from(percentile(&cycles.sends_us, 0.99))),
                &mib(process::memory(node.pid()).resident),
                &ratio,
            ]);
            number *= 10;
        }
        if there == 0 {
            continue;
        }
        let began = node.crash(neap).map_err(|error| error.to_string())?;
        let ready = first_message(&client, &urls[0], began)?;
        restarts.row(&[&name, &thousands(there as f64), &ms(ready.as_micros() as f64)]);
    }
    table.print(&format!("Growth, {GROWTH_CLIENTS} clients, in tens"));
    restarts.print("Restart");
    println!(
        "\nEach receive takes the oldest, so that the number stays. Queues and groups are taken in turn. Ratio: of the store with as many queues."
    );
    Ok(())
}

/// Waits for a node that was started: how long after that it first gives a message of a queue.
fn first_message(client: &Client, url: &str, began: Instant) -> Outcome<Duration> {
    let attempt = || -> Outcome<bool> {
        let mut connection = Connection::open(client)?;
        let got = connection.call("ReceiveMessage", &json!({"QueueUrl": url}).to_string())?;
        Ok(got.contains("ReceiptHandle"))
    };
    loop {
        match attempt() {
            Ok(true) => return Ok(began.elapsed()),
            Ok(false) | Err(_) if began.elapsed() < RESTART_MAX => {
                std::thread::sleep(Duration::from_millis(1))
            }
            Ok(false) => return Err("a queue gave no message after a restart".to_owned()),
            Err(error) => return Err(error),
        }
    }
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
    let mut connection = Connection::open(client)?;
    let input = json!({"QueueName": name, "Attributes": attributes});
    let made = connection.call("CreateQueue", &input.to_string())?;
    let made: Value = serde_json::from_str(made).map_err(|error| error.to_string())?;
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
            let groups = fifo.then_some(usize::MAX);
            connection
                .call("SendMessageBatch", &batch_of(url, from..(from + 10).min(end), groups, FILL_BYTES))?;
        }
    };
    together(GROWTH_CLIENTS, |_| worker()).map(drop)
}

/// A batch of messages. Requests are written and answers searched as text, so that the clients take little of the processors that
/// they share with the node.
fn batch_of(url: &str, numbers: std::ops::Range<u64>, groups: Option<usize>, body_bytes: usize) -> String {
    static BODY: [u8; BODY_BYTES] = [b'x'; BODY_BYTES];
    let body = String::from_utf8_lossy(&BODY[..body_bytes]);
    let mut text = String::with_capacity((body_bytes + 160) * BATCH_MAX);
    let _ = write!(text, "{{\"QueueUrl\":\"{url}\",\"Entries\":[");
    for (place, number) in numbers.enumerate() {
        let comma = if place > 0 { "," } else { "" };
        // A string takes what is written to it.
        let _ = write!(text, "{comma}{{\"Id\":\"{number}\",\"MessageBody\":\"{body}\"");
        if let Some(groups) = groups {
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let group = number % groups as u64;
            let _ = write!(
                text,
                ",\"MessageGroupId\":\"g{group}\",\"MessageDeduplicationId\":\"{nanos}-{number}\""
            );
        }
        text.push('}');
    }
    text.push_str("]}");
    text
}

/// A batch of deletions of what a receive has answered, with their number.
fn deletions(url: &str, answer: &str) -> (String, usize) {
    const HANDLE: &str = "\"ReceiptHandle\":\"";
    let mut text = String::with_capacity(256 * BATCH_MAX);
    let _ = write!(text, "{{\"QueueUrl\":\"{url}\",\"Entries\":[");
    let mut count = 0;
    for (at, name) in answer.match_indices(HANDLE) {
        let handle = answer[at + name.len()..].split('"').next().unwrap_or_default();
        let comma = if count > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{{\"Id\":\"{count}\",\"ReceiptHandle\":\"{handle}\"}}");
        count += 1;
    }
    text.push_str("]}");
    (text, count)
}

/// Receives and deletes messages; how many.
fn cycle_end(connection: &mut Connection<'_>, url: &str, max: usize) -> Outcome<usize> {
    let wanted = format!("{{\"QueueUrl\":\"{url}\",\"MaxNumberOfMessages\":{max}}}");
    let (deletions, got) = deletions(url, connection.call("ReceiveMessage", &wanted)?);
    if got > 0 {
        connection.call("DeleteMessageBatch", &deletions)?;
    }
    Ok(got)
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
            let batch = batch_of(url, first..first + work.batch as u64, groups, BODY_BYTES);
            connection.call("SendMessageBatch", &batch)?;
            let span = sent.elapsed();
            let got = cycle_end(&mut connection, url, work.batch)?;
            if sent >= from && got > 0 {
                own.messages += got as u64;
                own.sends_us.push(u32::try_from(span.as_micros()).unwrap_or(u32::MAX));
            }
        }
        Ok(own)
    })?;
    Ok(Cycles::merged(parts, from.elapsed()))
}

/// The store alone: the rows of the service's tables put in durably, then hidden, then removed, and counted.
fn floor(options: &Options, clients: usize, batch: usize, queues: usize) -> Outcome<Cycles> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let location =
        Location::Sqlite { path: folder.path().join("floor.sqlite"), durability: Durability::Full };
    let db = Database::open(location, queues::MIGRATIONS).map_err(|error| error.to_string())?;
    let setting_up =
        tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let each_once = async {
        for first in (0..queues).step_by(1_000) {
            let numbers = first..queues.min(first + 1_000);
            db.write(move |tx| numbers.clone().try_for_each(|queue| insert(tx, queue, 1, FILL_BYTES)))
                .await?;
        }
        Ok::<(), store::Error>(())
    };
    setting_up.block_on(each_once).map_err(|error| error.to_string())?;
    let number = AtomicU64::new(0);
    let began = Instant::now();
    let from = began + options.measured / 4;
    let end = from + options.measured;
    let parts = together(clients, |_| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
        let mut own = Cycles::default();
        while Instant::now() < end {
            let sent = Instant::now();
            let queue = number.fetch_add(1, Ordering::Relaxed) as usize % queues;
            let done = runtime.block_on(one_cycle(&db, queue, batch));
            let (span, got) = done.map_err(|error| error.to_string())?;
            if sent >= from {
                own.messages += got as u64;
                own.sends_us.push(u32::try_from(span.as_micros()).unwrap_or(u32::MAX));
            }
        }
        Ok(own)
    })?;
    Ok(Cycles::merged(parts, from.elapsed()))
}

fn count(tx: &mut Tx<'_>, queue: usize, by: i64) -> Result<(), store::Error> {
    tx.execute(
        "INSERT INTO tally (queue, slot, messages) VALUES (?1, 0, ?2)
         ON CONFLICT (queue, slot) DO UPDATE SET messages = tally.messages + ?2",
        params![queue as i64, by],
    )?;
    Ok(())
}

fn insert(tx: &mut Tx<'_>, queue: usize, messages: usize, bytes: usize) -> Result<(), store::Error> {
    let body = "x".repeat(bytes);
    for _ in 0..messages {
        tx.execute(
            "INSERT INTO message (queue, id, body, body_md5, sender, sent_ms, receives, due_ms, tier)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0, 0)",
            params![
                queue as i64,
                "6f5902ac-237f-4a0c-9bbd-5a4a4d1bd3b8",
                body.as_str(),
                "c9a34cfc85d982698c6ac89f76071abd",
                "arn:aws:iam::000000000000:root"
            ],
        )?;
    }
    count(tx, queue, messages as i64)
}

async fn one_cycle(db: &Database, queue: usize, batch: usize) -> Result<(Duration, usize), store::Error> {
    let sent = Instant::now();
    db.write(move |tx| insert(tx, queue, batch, BODY_BYTES)).await?;
    let span = sent.elapsed();
    let received = db.write_at(Commit::Written, move |tx| {
        let max = i64::try_from(batch).unwrap_or(i64::MAX);
        let sql = "SELECT seq, id, body, body_md5, sender FROM message
            WHERE queue = ?1 AND tier = 0 AND due_ms <= 0 ORDER BY due_ms, seq LIMIT ?2";
        let found = tx.query(sql, params![queue as i64, max], |row| {
            let texts = (1..5).map(|at| row.get::<String>(at)).collect::<Result<Vec<_>, _>>()?;
            Ok((row.get::<i64>(0)?, texts))
        })?;
        for (seq, _) in &found {
            let sql = "UPDATE message SET receives = 1, first_ms = 1, due_ms = 1, receipt = 1 WHERE seq = ?1";
            tx.execute(sql, params![*seq])?;
        }
        Ok::<_, store::Error>(found)
    });
    let received = received.await?;
    let got = received.len();
    db.write_at(Commit::Written, move |tx| {
        for (seq, _) in &received {
            tx.execute("DELETE FROM message WHERE seq = ?1 AND receipt = 1", params![*seq])?;
        }
        count(tx, queue, -(received.len() as i64))
    })
    .await?;
    Ok((span, got))
}

/// A connection that is kept, with signed requests one after the other.
struct Connection<'a> {
    client: &'a Client,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What is read at once.
    piece: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn open(client: &'a Client) -> Outcome<Connection<'a>> {
        let stream = TcpStream::connect(client.address).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Connection { client, stream, buffer: Vec::new(), piece: vec![0; 32 * 1024] })
    }

    /// A call with an input as JSON; its answer as JSON.
    fn call(&mut self, operation: &str, input: &str) -> Outcome<&str> {
        let target = format!("AmazonSQS.{operation}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let request = self.client.request("sqs", &Method::POST, "/", &headers, input.as_bytes());
        let request = request.map_err(|error| error.to_string())?;
        self.stream.write_all(&request).map_err(|error| error.to_string())?;
        self.buffer.clear();
        let (status, body) = loop {
            if let Some(answer) = load::parse(&self.buffer).map_err(|error| error.to_string())? {
                break (answer.status, answer.body);
            }
            let read = self.stream.read(&mut self.piece).map_err(|error| error.to_string())?;
            if read == 0 {
                return Err(format!("{operation}: the connection ended"));
            }
            self.buffer.extend_from_slice(&self.piece[..read]);
        };
        let body = std::str::from_utf8(&self.buffer[body]).map_err(|error| error.to_string())?;
        match status == 200 && !body.contains("\"Failed\":[{") {
            true => Ok(body),
            false => Err(format!("{operation}: {status} {body}")),
        }
    }
}
