//! The mixed load: a cycle of operations, dealt out to a few threads at a steady rate.

use crate::bench::{Outcome, apps::App, setup};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use testkit::{
    client::{self, Client},
    node::Node,
    package::{self, File},
};

/// Functions that are started cold, each after a change of its configuration.
const COLD: usize = 40;
/// So that a timeout, which takes its second, holds up nothing else.
const THREADS: usize = 6;

/// One handler for everything: what it does is in the event, or in the query of its URL.
const SOURCE: &str = "import os, time
def handler(event, context):
    do = event.get('do') or event.get('queryStringParameters', {}).get('do')
    if do == 'raise':
        raise ValueError('as asked')
    if do == 'sleep':
        time.sleep(60)
    if do == 'exit':
        os._exit(3)
    if do == 'print':
        print('x' * 200)
    return {'did': do}
";

/// Streams as many kilobytes as its path says.
const STREAMER: &str = "exports.handler = awslambda.streamifyResponse(async (event, out) => {
  const piece = Buffer.alloc(1024, 97);
  for (let left = Number(event.rawPath.slice(1)); left > 0; left -= 1)
    if (!out.write(piece)) await new Promise((resume) => out.once('drain', resume));
  out.end();
});
";

/// What one turn does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    WarmPython,
    WarmNode,
    Cold,
    Stream,
    Event,
    FailingEvent,
    Raise,
    Timeout,
    Exit,
    Deploy,
}

/// How many of a hundred turns are what. Spread over the cycle by stepping through it with a stride that is coprime.
const MIX: [(Turn, usize); 10] = [
    (Turn::WarmPython, 36),
    (Turn::WarmNode, 22),
    (Turn::Cold, 8),
    (Turn::Stream, 10),
    (Turn::Event, 10),
    (Turn::FailingEvent, 2),
    (Turn::Raise, 6),
    (Turn::Timeout, 1),
    (Turn::Exit, 1),
    (Turn::Deploy, 4),
];
const STRIDE: usize = 37;

fn turn(number: usize) -> Turn {
    let mut at = number * STRIDE % 100;
    for (turn, share) in MIX {
        if at < share {
            return turn;
        }
        at -= share;
    }
    Turn::WarmPython
}

/// What happened since the last sample.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    pub(super) operations: usize,
    pub(super) wrong: usize,
    /// Of warm calls, in microseconds.
    pub(super) warm_us: Vec<f64>,
    /// Of first calls after a change, in microseconds.
    pub(super) cold_us: Vec<f64>,
}

struct Shared {
    client: Client,
    url: String,
    next: AtomicUsize,
    stop: AtomicBool,
    window: Mutex<Window>,
    /// What went wrong, by kind of turn: the first of each.
    failures: Mutex<BTreeMap<Turn, String>>,
    began: Instant,
    rate: usize,
}

pub(super) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Deploys the functions and begins.
    pub(super) fn start(node: &Node, rate: usize) -> Outcome<Load> {
        let client = node.client();
        deploy(&client, "python", 10)?;
        deploy(&client, "brief", 1)?;
        setup::create(&client, App::Node, "node", None)?;
        for number in 0..COLD {
            deploy(&client, &format!("cold{number}"), 10)?;
        }
        let zip = zipped("app.js", STREAMER)?;
        create(&client, "streamer", App::Node.runtime().0, &zip, 30)?;
        let url = setup::open(&client, "streamer", "RESPONSE_STREAM")?;
        let no_retry = json!({ "MaximumRetryAttempts": 0 });
        client
            .lambda(&Method::PUT, "/2019-09-25/functions/brief/event-invoke-config", &no_retry)
            .map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared {
            client,
            url,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            window: Mutex::default(),
            failures: Mutex::default(),
            began: Instant::now(),
            rate,
        });
        let threads =
            (0..THREADS).map(|_| shared.clone()).map(|shared| std::thread::spawn(move || shared.work()));
        Ok(Load { threads: threads.collect(), shared })
    }

    /// What happened since this was asked the last time.
    pub(super) fn window(&self) -> Window {
        std::mem::take(&mut *self.shared.window.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the load; what went wrong.
    pub(super) fn stop(self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut failures: Vec<String> = Vec::new();
        for thread in self.threads {
            if thread.join().is_err() {
                failures.push("a thread of the load panicked".to_owned());
            }
        }
        let found = self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.extend(found.iter().map(|(turn, error)| format!("{turn:?}: {error}")));
        failures
    }
}

impl Shared {
    fn work(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = self.began + Duration::from_secs_f64(number as f64 / self.rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let turn = turn(number);
            let done = self.take(turn, number);
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.operations += 1;
            match done {
                Ok(None) => {}
                Ok(Some(us)) if turn == Turn::Cold => window.cold_us.push(us),
                Ok(Some(us)) => window.warm_us.push(us),
                Err(error) => {
                    window.wrong += 1;
                    drop(window);
                    let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.entry(turn).or_insert(error);
                }
            }
        }
    }

    /// One turn; its latency where that is looked at.
    fn take(&self, turn: Turn, number: usize) -> Outcome<Option<f64>> {
        match turn {
            Turn::WarmPython => self.invoke("python", &json!({ "do": "print" }), None).map(Some),
            Turn::WarmNode => self.invoke("node", &json!({ "name": "soak" }), None).map(Some),
            Turn::Cold => {
                // A cycle has several; each takes the next function.
                let name = format!("cold{}", number % COLD);
                setup::renew(&self.client, &name, number)?;
                self.invoke(&name, &json!({ "do": "cold" }), None).map(Some)
            }
            Turn::Stream => self.stream(64),
            Turn::Event => self.event("python", &json!({ "do": "print" })),
            Turn::FailingEvent => self.event("brief", &json!({ "do": "raise" })),
            Turn::Raise => self.invoke("python", &json!({ "do": "raise" }), Some("as asked")).map(|_| None),
            Turn::Timeout => {
                self.invoke("brief", &json!({ "do": "sleep" }), Some("Task timed out")).map(|_| None)
            }
            Turn::Exit => self.invoke("brief", &json!({ "do": "exit" }), Some("exit status 3")).map(|_| None),
            Turn::Deploy => self.life(number),
        }
    }

    /// Calls a function; `error` is what its function error must say. Microseconds.
    fn invoke(&self, name: &str, event: &Value, error: Option<&str>) -> Outcome<f64> {
        let request = self.client.invocation(name, event.to_string().as_bytes());
        let request = request.map_err(|error| error.to_string())?;
        let sent = Instant::now();
        let answer = self.client.send(&request).map_err(|error| error.to_string())?;
        let us = sent.elapsed().as_secs_f64() * 1e6;
        let failed = answer.head.to_ascii_lowercase().contains("x-amz-function-error");
        let body = String::from_utf8_lossy(&answer.body);
        if answer.status == 200 && failed == error.is_some() && error.is_none_or(|error| body.contains(error))
        {
            return Ok(us);
        }
        Err(format!("{} {body}", answer.status))
    }

    fn event(&self, name: &str, event: &Value) -> Outcome<Option<f64>> {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let headers = [("content-type", "application/json"), ("x-amz-invocation-type", "Event")];
        let text = event.to_string();
        let request = self.client.request("lambda", &Method::POST, &path, &headers, text.as_bytes());
        let answer = self.client.send(&request.map_err(|error| error.to_string())?);
        match answer.map_err(|error| error.to_string())? {
            answer if answer.status == 202 => Ok(None),
            answer => Err(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))),
        }
    }

    fn stream(&self, kib: usize) -> Outcome<Option<f64>> {
        let request = format!("GET /{kib} HTTP/1.1\r\nhost: {}\r\n\r\n", self.url);
        let answer =
            client::send(self.client.address, request.as_bytes()).map_err(|error| error.to_string())?;
        // Chunk headers come on top.
        if answer.status == 200 && answer.body.len() >= kib * 1024 {
            return Ok(None);
        }
        Err(format!("{}, {} bytes", answer.status, answer.body.len()))
    }

    /// A function's whole life: deployed, called, updated, called, deleted.
    fn life(&self, number: usize) -> Outcome<Option<f64>> {
        let name = format!("life{number}");
        deploy(&self.client, &name, 10)?;
        let event = json!({ "do": "live" });
        self.invoke(&name, &event, None)?;
        let code = json!({ "ZipFile": zipped("app.py", &format!("{SOURCE}# {number}\n"))? });
        let asked = |error: testkit::Error| error.to_string();
        let path = format!("/2015-03-31/functions/{name}");
        self.client.lambda(&Method::PUT, &format!("{path}/code"), &code).map_err(asked)?;
        setup::active(&self.client, &name)?;
        self.invoke(&name, &event, None)?;
        self.client.lambda(&Method::DELETE, &path, &Value::Null).map_err(asked)?;
        Ok(None)
    }
}

fn deploy(client: &Client, name: &str, timeout_s: usize) -> Outcome<()> {
    create(client, name, App::Python.runtime().0, &zipped("app.py", SOURCE)?, timeout_s)
}

fn create(client: &Client, name: &str, runtime: &str, zip: &str, timeout_s: usize) -> Outcome<()> {
    let function = json!({
        "FunctionName": name, "Runtime": runtime, "Handler": "app.handler", "MemorySize": 128, "Timeout": timeout_s,
        "Role": "arn:aws:iam::000000000000:role/soak", "Code": { "ZipFile": zip },
    });
    let created = client.lambda(&Method::POST, "/2015-03-31/functions", &function);
    created.map_err(|error| error.to_string())?;
    setup::active(client, name)
}

fn zipped(name: &str, source: &str) -> Outcome<String> {
    let zip = package::zip(&[File { name, content: source.as_bytes(), executable: false }]);
    Ok(STANDARD.encode(zip.map_err(|error| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_has_the_whole_mix() {
        let mut found = BTreeMap::new();
        for number in 0..100 {
            *found.entry(turn(number)).or_insert(0) += 1;
        }
        assert_eq!(found, MIX.into_iter().collect());
    }
}
