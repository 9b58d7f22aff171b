//! The load generator: keep-alive HTTP/1.1 connections on one thread, each sending its next ready-made request when the
//! answer to the former is complete. It allocates nothing per request and parses only what it needs, so that on a small
//! machine it stays cheaper than the server.

use crate::{Error, process};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// What to send, how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// To whom.
    pub address: SocketAddr,
    /// Connections, each with one request under way.
    pub connections: usize,
    /// Time before measuring begins.
    pub warm_up: Duration,
    /// Time measured.
    pub measured: Duration,
    /// Sent in turn; each connection begins elsewhere in the ring.
    pub requests: Vec<Bytes>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Good answers within the measured time.
    pub answers: u64,
    /// Other answers and broken connections within the measured time.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<String>,
    /// Measured time.
    pub took: Duration,
    /// Latencies of the good answers in microseconds, sorted.
    pub latencies_us: Vec<u32>,
    /// Processor time of the generator.
    pub cpu: Duration,
}

impl Outcome {
    /// Good answers per second.
    pub fn per_second(&self) -> f64 {
        self.answers as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// Runs `plan` on a thread of its own. `counters` is read when measuring begins and when it ends.
pub fn run<T: Send>(plan: &Plan, mut counters: impl FnMut() -> T + Send) -> Result<(Outcome, T, T), Error> {
    on_own_thread(async move {
        let began = Instant::now();
        let mut workers = JoinSet::new();
        for number in 0..plan.connections {
            let stream = connect(plan.address).await?;
            let worker = Worker {
                stream,
                address: plan.address,
                requests: plan.requests.clone(),
                next: number * plan.requests.len() / plan.connections.max(1),
                buffer: Vec::with_capacity(16 * 1024),
            };
            let from = began + plan.warm_up;
            workers.spawn_local(worker.run(from, from + plan.measured));
        }
        tokio::time::sleep_until((began + plan.warm_up).into()).await;
        let (before, cpu, from) = (counters(), process::cpu_of_thread(), Instant::now());
        tokio::time::sleep_until((began + plan.warm_up + plan.measured).into()).await;
        let mut outcome = Outcome {
            took: from.elapsed(),
            cpu: process::cpu_of_thread().saturating_sub(cpu),
            ..Outcome::default()
        };
        let after = counters();
        while let Some(done) = workers.join_next().await {
            let part = done.map_err(|error| Error::Protocol(error.to_string()))?;
            outcome.answers += part.answers;
            outcome.errors += part.errors;
            outcome.first_error = outcome.first_error.or(part.first_error);
            outcome.latencies_us.extend(part.latencies_us);
        }
        outcome.latencies_us.sort_unstable();
        Ok((outcome, before, after))
    })
}

/// What came back of a burst.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    /// Times from the burst's beginning to each good answer, sorted.
    pub answered: Vec<Duration>,
    /// Requests that were refused with 429, by the reason that the answer gives.
    pub refused: BTreeMap<String, usize>,
    /// Everything else that was no good answer, by its text.
    pub failed: BTreeMap<String, usize>,
    /// When the last answer of any kind was there.
    pub took: Duration,
}

/// Opens a connection per request, then sends all at once.
pub fn burst(address: SocketAddr, requests: &[Bytes]) -> Result<Burst, Error> {
    on_own_thread(async move {
        let mut workers = JoinSet::new();
        let (go, gone) = tokio::sync::watch::channel(None);
        for request in requests {
            let stream = connect(address).await?;
            let (request, mut gone) = (request.clone(), gone.clone());
            workers.spawn_local(async move {
                let mut worker =
                    Worker { stream, address, requests: vec![request], next: 0, buffer: Vec::new() };
                let began: Instant = gone.wait_for(Option::is_some).await.ok().and_then(|began| *began)?;
                let answered = worker.one().await;
                Some((began.elapsed(), answered))
            });
        }
        // Every connection is accepted before the first request.
        tokio::time::sleep(Duration::from_millis(50)).await;
        go.send_replace(Some(Instant::now()));
        let mut burst = Burst::default();
        while let Some(done) = workers.join_next().await {
            let done = done.map_err(|error| Error::Protocol(error.to_string()))?;
            let (span, answer) = done.ok_or_else(|| Error::Protocol("a burst was not begun".to_owned()))?;
            burst.took = burst.took.max(span);
            match answer {
                Ok(()) => burst.answered.push(span),
                Err(Error::Refused { status: 429, body, .. }) => {
                    *burst.refused.entry(reason(&body)).or_default() += 1;
                }
                Err(error) => *burst.failed.entry(error.to_string()).or_default() += 1,
            }
        }
        burst.answered.sort_unstable();
        Ok(burst)
    })
}

/// The member `Reason` of a refusal; the whole of it where there is none.
fn reason(body: &str) -> String {
    let found: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let reason = found.as_ref().and_then(|body| body["Reason"].as_str());
    reason.unwrap_or(body).to_owned()
}

fn on_own_thread<T: Send>(work: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(Error::io("runtime"))?;
            tokio::task::LocalSet::new().block_on(&runtime, work)
        });
        thread.join().map_err(|_| Error::Protocol("the load generator panicked".to_owned()))?
    })
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Error> {
    let stream = TcpStream::connect(address).await.map_err(Error::io(format!("connect to {address}")))?;
    stream.set_nodelay(true).map_err(Error::io("nodelay"))?;
    Ok(stream)
}

struct Worker {
    stream: TcpStream,
    address: SocketAddr,
    requests: Vec<Bytes>,
    next: usize,
    buffer: Vec<u8>,
}

impl Worker {
    async fn run(mut self, from: Instant, until: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            let sent = Instant::now();
            if sent >= until {
                return outcome;
            }
            let answered = self.one().await;
            let now = Instant::now();
            let counts = now >= from && now < until;
            match answered {
                Ok(()) if counts => {
                    outcome.answers += 1;
                    let span = now.duration_since(sent);
                    outcome.latencies_us.push(u32::try_from(span.as_micros()).unwrap_or(u32::MAX));
                }
                Ok(()) => {}
                Err(error) => {
                    outcome.errors += u64::from(counts);
                    let connected = matches!(error, Error::Refused { .. });
                    outcome.first_error.get_or_insert_with(|| error.to_string());
                    if !connected {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        match connect(self.address).await {
                            Ok(stream) => self.stream = stream,
                            Err(_) => continue,
                        }
                    }
                }
            }
        }
    }

    /// Sends the next request and waits for its answer.
    async fn one(&mut self) -> Result<(), Error> {
        let Some(request) = self.requests.get(self.next) else {
            return Err(Error::Protocol("no requests were made".to_owned()));
        };
        self.next = (self.next + 1) % self.requests.len();
        self.stream.write_all(request).await.map_err(Error::io("send"))?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.map_err(Error::io("receive"))?;
            if read == 0 {
                return Err(Error::Protocol("the connection ended within an answer".to_owned()));
            }
            if let Some(answer) = parse(&self.buffer)? {
                if answer.status == 200 && !answer.function_error {
                    return Ok(());
                }
                let body = String::from_utf8_lossy(&self.buffer[answer.body]).chars().take(200).collect();
                return Err(Error::Refused { request: "a request".to_owned(), status: answer.status, body });
            }
        }
    }
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Where the body is; with its chunk headers if it came in chunks.
    pub body: Range<usize>,
    /// Whether it bears `X-Amz-Function-Error`.
    pub function_error: bool,
}

/// Parses an HTTP/1.1 answer; `None` while it is incomplete.
pub fn parse(buffer: &[u8]) -> Result<Option<Answer>, Error> {
    let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let bad = || Error::Protocol(String::from_utf8_lossy(&buffer[..head.min(200)]).into_owned());
    let text = std::str::from_utf8(&buffer[..head]).map_err(|_| bad())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(bad)?;
    let (mut length, mut chunked, mut function_error) = (None, false, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().map_err(|_| bad())?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("x-amz-function-error") {
            function_error = true;
        }
    }
    let start = head + 4;
    let rest = &buffer[start..];
    let end = match length {
        Some(length) => (rest.len() >= length).then_some(start + length),
        None if chunked => rest.ends_with(b"0\r\n\r\n").then_some(buffer.len()),
        None => Some(start),
    };
    Ok(end.map(|end| Answer { status, body: start..end, function_error }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_complete_or_not_yet() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Amz-Function-Error: Unhandled\r\n\r\n{}";
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).unwrap().is_none(), "{end}");
        }
        let answer = parse(whole).unwrap().unwrap();
        assert_eq!(
            (answer.status, &whole[answer.body.clone()], answer.function_error),
            (200, &b"{}"[..], true)
        );
        let chunked = b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        assert!(parse(&chunked[..chunked.len() - 1]).unwrap().is_none());
        assert_eq!(parse(chunked).unwrap().unwrap().status, 202);
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
