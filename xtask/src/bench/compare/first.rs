//! First answers: of what each tool starts, beside a new environment of Neap.

use super::{
    super::{
        Outcome,
        apps::App,
        cold,
        options::Options,
        setup::{self, progress},
        table::{Table, ms},
    },
    Language, Platform, asked, expected,
    kit::Kit,
    tools::{First, Running, Stage, Tool},
};
use bytes::Bytes;
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};
use testkit::{client, process, stats::percentile};

/// Nobody takes that long.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// From now to the whole answer on a new connection, which is tried until somebody listens. The answer must be `right`.
pub(super) fn answer(address: SocketAddr, request: &Bytes, right: &Value) -> Outcome<Duration> {
    let began = Instant::now();
    loop {
        match client::send(address, request) {
            Ok(response) => {
                let took = began.elapsed();
                let body: Option<Value> = serde_json::from_slice(&response.body).ok();
                if response.status == 200 && body.as_ref() == Some(right) {
                    return Ok(took);
                }
                let body = String::from_utf8_lossy(&response.body);
                return Err(format!("answered {} with {body:?} instead of {right}", response.status));
            }
            Err(error) if began.elapsed() > ANSWER_MAX => return Err(error.to_string()),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// What is started anew for each first answer.
enum Subject {
    /// An environment: the function's configuration has changed.
    Environment(Platform),
    /// A node with the function in its folder.
    Node(Platform),
    /// What a running platform makes for each request.
    Instance(Platform),
    Process(Tool),
    PerRequest(Running),
}

struct Row {
    name: String,
    what: String,
    subject: Subject,
    spans: Vec<Duration>,
    /// The row of Neap that is divided by this one.
    against: Option<usize>,
}

pub(super) fn run(options: &Options, neap: &Path, kit: &Kit, stage: &Stage, tools: &[Tool]) -> Outcome<()> {
    let mut rows = rows(neap, kit, stage, tools)?;
    for number in 0..options.colds {
        if number % 10 == 0 {
            progress(&format!("first answer {number} of each"));
        }
        for row in &mut rows {
            let span = once(&mut row.subject, neap, kit, stage, number)
                .map_err(|error| format!("{}, new {}: {error}", row.name, row.what))?;
            row.spans.push(span);
        }
    }
    let load = format!("{:.1}", process::load_average());
    let mut table = Table::new(&["first answer", "what is new", "p50 ms", "p99 ms", "load", "Neap ÷ it"]);
    for row in &mut rows {
        row.spans.sort_unstable();
    }
    let micros = |row: &Row, share| percentile(&row.spans, share).as_secs_f64() * 1e6;
    for row in &rows {
        let ratio = row
            .against
            .map_or_else(String::new, |at| format!("{:.3}", micros(&rows[at], 0.5) / micros(row, 0.5)));
        table.row(&[&row.name, &row.what, &ms(micros(row, 0.5)), &ms(micros(row, 0.99)), &load, &ratio]);
    }
    table.print("First answers, one after the other");
    for row in rows {
        match row.subject {
            Subject::Environment(platform) | Subject::Node(platform) | Subject::Instance(platform) => {
                setup::leave(platform.node)?;
            }
            Subject::Process(_) | Subject::PerRequest(_) => {}
        }
    }
    Ok(())
}

/// A row for everything that is measured, each tool's after Neap's in its language.
fn rows(neap: &Path, kit: &Kit, stage: &Stage, tools: &[Tool]) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for language in Language::ALL {
        if tools.iter().all(|tool| tool.language() != language) {
            continue;
        }
        let name = format!("Neap, {}", language.name());
        let mut add = |name: &str, what: &str, subject, against| {
            rows.push(Row {
                name: name.to_owned(),
                what: what.to_owned(),
                subject,
                spans: Vec::new(),
                against,
            });
            rows.len() - 1
        };
        let start = || Platform::start(neap, language, &stage.component());
        let instance = match language {
            Language::WebAssembly => Some(add(&name, "instance", Subject::Instance(start()?), None)),
            Language::JavaScript | Language::Python => None,
        };
        let environment = add(&name, "environment", Subject::Environment(start()?), None);
        add(&name, "node", Subject::Node(start()?), None);
        for tool in tools.iter().copied().filter(|tool| tool.language() == language) {
            for first in tool.firsts() {
                let (what, subject, against) = match first {
                    First::Process => ("process", Subject::Process(tool), environment),
                    First::PerRequest(what) => {
                        let running = Running::start(tool, kit, stage)?;
                        (*what, Subject::PerRequest(running), instance.unwrap_or(environment))
                    }
                };
                add(tool.name(), what, subject, Some(against));
            }
        }
    }
    Ok(rows)
}

fn once(subject: &mut Subject, neap: &Path, kit: &Kit, stage: &Stage, number: usize) -> Outcome<Duration> {
    match subject {
        Subject::Environment(platform) => {
            let client = platform.node.client();
            setup::renew(&client, super::FUNCTION, number)?;
            if number == 0 {
                // What is started once for all is no part of a first answer.
                platform.answer(number)?;
                setup::renew(&client, super::FUNCTION, usize::MAX)?;
            }
            settle(platform)?;
            let span = platform.answer(number)?;
            settle(platform).map(|()| span)
        }
        Subject::Node(platform) => {
            let began = platform.node.restart(neap).map_err(|error| error.to_string())?;
            platform.answer(number)?;
            let span = began.elapsed();
            platform.node.await_prepared().map_err(|error| error.to_string())?;
            settle(platform).map(|()| span)
        }
        Subject::Instance(platform) => platform.answer(number),
        Subject::Process(tool) => {
            let began = Instant::now();
            let running = Running::start(*tool, kit, stage)?;
            let right = expected(tool.language(), number);
            let answered = answer(running.address, &asked(&running.address.to_string(), number), &right);
            let took = began.elapsed();
            answered.map(|_| took).map_err(|error| format!("{error}; it said: {}", running.complaint()))
        }
        Subject::PerRequest(running) => {
            let right = expected(running.tool.language(), number);
            answer(running.address, &asked(&running.address.to_string(), number), &right)
        }
    }
}

/// Waits until a node has started for later calls what it starts for them, so that this disturbs nobody's measurement.
fn settle(platform: &Platform) -> Outcome<()> {
    match platform.language {
        Language::JavaScript => cold::cell_ready(&platform.node),
        Language::Python => setup::await_runtime(&platform.node, App::Python),
        Language::WebAssembly => Ok(()),
    }
}
