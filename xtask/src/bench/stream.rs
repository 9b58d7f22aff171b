//! `bench stream`: function URLs beside Invoke, streamed answers beside a bare Node.js server, and first calls of
//! provisioned environments beside cold ones, in alternating rounds on one node.

use super::{
    Outcome,
    apps::App,
    options::Options,
    setup::{CONFIG, active, binary, cpus, create, kernel, leave, open, progress, ring},
    table::{Table, ms, thousands},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use testkit::{
    client::Client,
    load::{self, Plan},
    node::Node,
    package::{self, File},
    process,
    stats::{median, percentile},
};

/// Bytes of a long stream.
const LONG: usize = 64 * 1024 * 1024;

/// Writes `total` bytes in pieces of 64 KiB, waiting where the reader is slower.
const STREAMER: &str = "
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  const total = Number(event.rawPath.slice(1));
  const piece = Buffer.alloc(Math.min(65536, total), 'x');
  for (let sent = 0; sent < total; sent += piece.length) {
    if (!stream.write(piece)) await new Promise((done) => stream.once('drain', done));
  }
  stream.end();
});
";

/// The same as a server without platform.
const BARE: &str = "
const server = require('node:http').createServer(async (request, stream) => {
  const total = Number(request.url.slice(1));
  const piece = Buffer.alloc(Math.min(65536, total), 'x');
  for (let sent = 0; sent < total; sent += piece.length) {
    if (!stream.write(piece)) await new Promise((done) => stream.once('drain', done));
  }
  stream.end();
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

pub(super) fn run(options: &Options) -> Outcome<()> {
    let neap = binary(options)?;
    println!("## Function URLs, streams, provisioned concurrency\n");
    println!("`cargo xtask bench stream`, {} processors, {}.", cpus(), kernel());
    let node = Node::start(&neap, CONFIG).map_err(|error| error.to_string())?;
    let client = node.client();
    let measured = urls(options, &client)
        .and_then(|()| streams(options, &client))
        .and_then(|()| provisioned(options, &client));
    leave(node)?;
    measured
}

/// Warm calls by URL beside the same by Invoke.
fn urls(options: &Options, client: &Client) -> Outcome<()> {
    create(client, App::Python, "python", options.bootstrap.as_deref())?;
    let url = open(client, "python", "BUFFERED")?;
    let by_url = format!("GET /?name=x HTTP/1.1\r\nhost: {url}\r\n\r\n");
    // The function of the other measurements reads the event's name: an HTTP event has none at that place.
    let source = "def handler(event, context):\n    return {'message': 'hello'}\n";
    replace(client, "python", "app.py", source)?;
    let ways = [("Invoke", ring(client, "python")?), ("function URL", vec![Bytes::from(by_url)])];
    let mut figures: Vec<[Vec<f64>; 3]> = vec![Default::default(), Default::default()];
    for round in 0..options.rounds {
        for ((way, requests), figures) in ways.iter().zip(&mut figures) {
            progress(&format!("round {}: {way}", round + 1));
            let plan = Plan {
                address: client.address,
                connections: 1,
                warm_up: Duration::from_millis(500),
                measured: options.measured,
                requests: requests.clone(),
            };
            let (outcome, (), ()) = load::run(&plan, || ()).map_err(|error| error.to_string())?;
            if outcome.answers == 0 || outcome.errors > 0 {
                return Err(format!("{way}: {:?}", outcome.first_error));
            }
            figures[0].push(outcome.per_second());
            figures[1].push(f64::from(percentile(&outcome.latencies_us, 0.5)));
            figures[2].push(f64::from(percentile(&outcome.latencies_us, 0.99)));
        }
    }
    let mut table = Table::new(&["warm, 1 connection, Python", "ops/s", "p50 ms", "p99 ms"]);
    for ((way, _), [per_second, p50, p99]) in ways.iter().zip(figures) {
        table.row(&[way, &thousands(median(per_second)), &ms(median(p50)), &ms(median(p99))]);
    }
    table.print("A function by its URL and by Invoke");
    Ok(())
}

/// First byte and throughput of streamed answers.
fn streams(options: &Options, client: &Client) -> Outcome<()> {
    deploy(client, "streamer", "app.js", STREAMER)?;
    let url = open(client, "streamer", "RESPONSE_STREAM")?;
    let mut bare = Bare::start()?;
    let ways = [
        ("floor: bare Node.js server", bare.address, "bare".to_owned()),
        ("Neap, function URL", client.address, url),
    ];
    let mut figures: Vec<[Vec<f64>; 3]> = vec![Default::default(), Default::default()];
    for (_, address, host) in &ways {
        fetch(*address, host, 1)?;
    }
    for round in 0..options.rounds {
        for ((way, address, host), figures) in ways.iter().zip(&mut figures) {
            progress(&format!("round {}: {way}", round + 1));
            for _ in 0..options.colds {
                let (first, whole, _) = fetch(*address, host, 1)?;
                figures[0].push(first.as_secs_f64() * 1e6);
                figures[1].push(whole.as_secs_f64() * 1e6);
            }
            let (_, whole, got) = fetch(*address, host, LONG)?;
            figures[2].push(got as f64 / (1 << 20) as f64 / whole.as_secs_f64());
        }
    }
    bare.end();
    let mut table =
        Table::new(&["stream", "first byte p50 ms", "end of one byte p50 ms", "MiB/s of 64 MiB", "ratio"]);
    let floor = median(figures.first().map(|[_, _, rate]| rate.clone()).unwrap_or_default());
    for ((way, _, _), [first, whole, rate]) in ways.iter().zip(figures) {
        let rate = median(rate);
        table.row(&[
            way,
            &ms(median(first)),
            &ms(median(whole)),
            &thousands(rate),
            &format!("{:.2}", rate / floor),
        ]);
    }
    table.print("A streaming Node.js handler, a connection for each request");
    Ok(())
}

/// First calls: cold, and of an environment that was ready.
fn provisioned(options: &Options, client: &Client) -> Outcome<()> {
    let mut figures: [Vec<f64>; 2] = Default::default();
    let rounds = options.colds.min(20);
    for round in 0..rounds {
        progress(&format!("first call {}", round + 1));
        let path = "/2015-03-31/functions/python/configuration";
        let change = json!({ "Environment": { "Variables": { "ROUND": round.to_string() } } });
        let asked = |error: testkit::Error| error.to_string();
        client.lambda(&Method::PUT, path, &change).map_err(asked)?;
        active(client, "python")?;
        let made = client
            .lambda(&Method::POST, "/2015-03-31/functions/python/versions", &json!({}))
            .map_err(asked)?;
        let version = made["Version"].as_str().ok_or("no version")?.to_owned();
        figures[0].push(first_call(client, &version)?);
        // The next version is the same but for a variable.
        let change = json!({ "Environment": { "Variables": { "ROUND": format!("{round}b") } } });
        client.lambda(&Method::PUT, path, &change).map_err(asked)?;
        active(client, "python")?;
        let made = client
            .lambda(&Method::POST, "/2015-03-31/functions/python/versions", &json!({}))
            .map_err(asked)?;
        let version = made["Version"].as_str().ok_or("no version")?.to_owned();
        let config = format!("/2019-09-30/functions/python/provisioned-concurrency?Qualifier={version}");
        let wanted = json!({ "ProvisionedConcurrentExecutions": 1 });
        client.lambda(&Method::PUT, &config, &wanted).map_err(asked)?;
        let began = Instant::now();
        while client.lambda(&Method::GET, &config, &Value::Null).map_err(asked)?["Status"] != "READY" {
            if began.elapsed() > Duration::from_secs(30) {
                return Err("provisioned concurrency is not ready within 30 s".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        figures[1].push(first_call(client, &version)?);
        client.lambda(&Method::DELETE, &config, &Value::Null).map_err(asked)?;
    }
    let mut table = Table::new(&["first call, Python", "p50 ms", "longest ms"]);
    for (way, mut us) in ["cold", "provisioned"].into_iter().zip(figures) {
        us.sort_by(f64::total_cmp);
        table.row(&[&way, &ms(median(us.clone())), &ms(us.last().copied().unwrap_or_default())]);
    }
    table.print(&format!("First calls of {rounds} versions each"));
    println!("\nMedians; load {:.1} at the end.", process::load_average());
    Ok(())
}

fn first_call(client: &Client, version: &str) -> Outcome<f64> {
    let request =
        client.invocation(&format!("python:{version}"), b"{}").map_err(|error| error.to_string())?;
    let began = Instant::now();
    let answer = client.send(&request).map_err(|error| error.to_string())?;
    let took = began.elapsed().as_secs_f64() * 1e6;
    if answer.status == 200 { Ok(took) } else { Err(format!("{} {}", answer.status, answer.head)) }
}

fn deploy(client: &Client, name: &str, file: &str, source: &str) -> Outcome<()> {
    let zip = zipped(file, source)?;
    let function = json!({
        "FunctionName": name, "Runtime": App::Node.runtime().0, "Handler": "app.handler", "MemorySize": 256,
        "Timeout": 60, "Role": "arn:aws:iam::000000000000:role/bench", "Code": { "ZipFile": zip },
    });
    let created = client.lambda(&Method::POST, "/2015-03-31/functions", &function);
    created.map_err(|error| error.to_string())?;
    active(client, name)
}

fn replace(client: &Client, name: &str, file: &str, source: &str) -> Outcome<()> {
    let code = json!({ "ZipFile": zipped(file, source)? });
    let changed = client.lambda(&Method::PUT, &format!("/2015-03-31/functions/{name}/code"), &code);
    changed.map_err(|error| error.to_string())?;
    active(client, name)
}

fn zipped(file: &str, source: &str) -> Outcome<String> {
    let zip = package::zip(&[File { name: file, content: source.as_bytes(), executable: false }]);
    Ok(STANDARD.encode(zip.map_err(|error| error.to_string())?))
}

/// Asks for a stream of `total` bytes: time to its first byte, to its end, and how much came.
fn fetch(address: SocketAddr, host: &str, total: usize) -> Outcome<(Duration, Duration, usize)> {
    let told = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).map_err(told)?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(told)?;
    let began = Instant::now();
    let request = format!("GET /{total} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(told)?;
    let mut buffer = vec![0; 256 * 1024];
    let (mut first, mut got, mut head) = (None, 0, Vec::new());
    loop {
        let read = stream.read(&mut buffer).map_err(told)?;
        if read == 0 {
            break;
        }
        let piece = buffer.get(..read).unwrap_or_default();
        got += read;
        if first.is_none() {
            head.extend_from_slice(piece);
            // The head ends, and the first chunk of the body has begun.
            let end = head.windows(4).position(|four| four == b"\r\n\r\n");
            if end.is_some_and(|end| head.len() > end + 4) {
                first = Some(began.elapsed());
            }
        }
    }
    let first = first.filter(|_| head.starts_with(b"HTTP/1.1 200") && got >= total);
    let first = first.ok_or_else(|| format!("{got} bytes: {}", String::from_utf8_lossy(&head)))?;
    Ok((first, began.elapsed(), got))
}

/// A Node.js server that streams without a platform.
struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    fn start() -> Outcome<Bare> {
        let mut command = Command::new("node");
        command.args(["-e", BARE]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("node: {error}"))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        let port: u16 = line.trim().parse().map_err(|_| format!("node said {line:?}"))?;
        Ok(Bare { child, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.end();
    }
}
