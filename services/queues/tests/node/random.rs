//! Random work on a queue and its dead-letter queue, cut by crashes between any two writes, held against the model.

use crate::{
    harness::{Node, PATIENCE},
    model::{Asked, Checked, Model, Received, Sending, Shape, Which},
};
use proptest::{prelude::*, test_runner::TestCaseError};
use serde_json::{Value, json};

/// Longer than anything here is hidden or delayed for.
const ALL_VISIBLE_MS: i64 = 61_000;
const NAMES: [&str; 2] = ["source", "dead"];

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<Draft>),
    Receive {
        which: Which,
        max: usize,
        visibility_s: i64,
        attempt: Option<u8>,
    },
    Delete {
        nth: usize,
    },
    Hide {
        nth: usize,
        seconds: i64,
    },
    Pass {
        ms: i64,
    },
    Crash,
    /// The next send or receive is cut by a crash after so many turns.
    Cut {
        turns: u32,
    },
    Purge {
        crash: bool,
    },
    Redrive {
        rate: Option<u32>,
        crashes: Vec<bool>,
    },
}

#[derive(Clone, Debug)]
struct Draft {
    group: u8,
    deduplication: Option<u8>,
    content: u8,
    delay_s: Option<i64>,
}

fn draft() -> impl Strategy<Value = Draft> {
    let delay = prop_oneof![3 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(20))];
    (0..3_u8, prop::option::weighted(0.7, 0..6_u8), 0..4_u8, delay)
        .prop_map(|(group, deduplication, content, delay_s)| Draft { group, deduplication, content, delay_s })
}

fn step() -> impl Strategy<Value = Step> {
    let which = || prop_oneof![4 => Just(Which::Source), 1 => Just(Which::Dead)];
    let visibility = prop_oneof![1 => Just(0), 3 => Just(5), 3 => Just(30)];
    let attempt = prop::option::weighted(0.4, 0..2_u8);
    prop_oneof![
        6 => prop::collection::vec(draft(), 1..=4).prop_map(Step::Send),
        8 => (which(), 1..=10_usize, visibility, attempt).prop_map(|(which, max, visibility_s, attempt)| {
            Step::Receive { which, max, visibility_s, attempt }
        }),
        4 => (0..8_usize).prop_map(|nth| Step::Delete { nth }),
        3 => (0..8_usize, prop_oneof![Just(0), Just(10), Just(60)])
            .prop_map(|(nth, seconds)| Step::Hide { nth, seconds }),
        5 => prop_oneof![Just(1_000), Just(5_000), Just(31_000), Just(299_000), Just(301_000), Just(601_000)]
            .prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Crash),
        3 => (0..40_u32).prop_map(|turns| Step::Cut { turns }),
        1 => any::<bool>().prop_map(|crash| Step::Purge { crash }),
        1 => (prop::option::of(1..=20_u32), prop::collection::vec(any::<bool>(), 0..3))
            .prop_map(|(rate, crashes)| Step::Redrive { rate, crashes }),
    ]
}

fn shape(fifo: bool) -> impl Strategy<Value = Shape> {
    let delay_s = prop_oneof![2 => Just(0), 1 => Just(7)];
    let receives_max = prop_oneof![1 => Just(None), 2 => (1..=3_u32).prop_map(Some)];
    (any::<bool>(), any::<bool>(), delay_s, receives_max).prop_map(
        move |(by_content, scope_group, delay_s, receives_max)| Shape {
            fifo,
            by_content,
            scope_group,
            delay_s,
            // What may lie in either queue must not be removed by age from one of them.
            retention_s: if receives_max.is_some() { 1_209_600 } else { 600 },
            receives_max,
        },
    )
}

/// A node, its two queues, and the model of them.
struct Run {
    node: Node,
    urls: [String; 2],
    model: Model,
    /// Receipts in the order they were given, whatever became of them.
    receipts: Vec<(Which, String)>,
    /// Of standard queues' bodies.
    serial: usize,
    cut: Option<u32>,
    _folder: tempfile::TempDir,
}

impl Run {
    fn new(shape: Shape) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let node = Node::open(folder.path());
        let name = |name: &str| if shape.fifo { format!("{name}.fifo") } else { name.to_owned() };
        let mut attributes = json!({});
        if shape.fifo {
            attributes["FifoQueue"] = json!("true");
        }
        let mut dead_attributes = attributes.clone();
        dead_attributes["MessageRetentionPeriod"] = json!("1209600");
        let dead = node.create(&name(NAMES[1]), dead_attributes);
        attributes["MessageRetentionPeriod"] = json!(shape.retention_s.to_string());
        attributes["DelaySeconds"] = json!(shape.delay_s.to_string());
        if shape.fifo {
            attributes["ContentBasedDeduplication"] = json!(shape.by_content.to_string());
            attributes["DeduplicationScope"] =
                json!(if shape.scope_group { "messageGroup" } else { "queue" });
        }
        if let Some(max) = shape.receives_max {
            let policy = json!({"deadLetterTargetArn": arn(&dead), "maxReceiveCount": max});
            attributes["RedrivePolicy"] = json!(policy.to_string());
        }
        let source = node.create(&name(NAMES[0]), attributes);
        Run {
            node,
            urls: [source, dead],
            model: Model::new(shape),
            receipts: Vec::new(),
            serial: 0,
            cut: None,
            _folder: folder,
        }
    }

    fn url(&self, which: Which) -> &str {
        match which {
            Which::Source => &self.urls[0],
            Which::Dead => &self.urls[1],
        }
    }

    fn step(&mut self, step: Step) -> Checked {
        match step {
            Step::Send(drafts) => {
                let all = drafts.into_iter().map(|draft| self.sending(draft)).collect();
                self.send(all)?;
            }
            Step::Receive { which, max, visibility_s, attempt } => {
                let attempt = attempt.filter(|_| self.model.shape.fifo).map(|attempt| format!("a{attempt}"));
                self.receive(Asked { which, max, visibility_s, attempt })?;
            }
            Step::Delete { nth } => self.settle(nth, None)?,
            Step::Hide { nth, seconds } => self.settle(nth, Some(seconds))?,
            Step::Pass { ms } => self.pass(ms)?,
            Step::Crash => self.node.crash(),
            Step::Cut { turns } => self.cut = Some(turns),
            Step::Purge { crash } => self.purge(crash)?,
            Step::Redrive { rate, crashes } => self.redrive(rate, &crashes)?,
        }
        self.counts()
    }

    fn counts(&mut self) -> Checked {
        let (source, dead) = (self.node.depth(&self.urls[0]), self.node.depth(&self.urls[1]));
        self.model.counts(source, dead, self.node.now())
    }

    fn pass(&mut self, ms: i64) -> Checked {
        self.node.pass(ms);
        let before = self.model.total(Which::Source);
        self.model.expire(self.node.now());
        if self.model.total(Which::Source) == before {
            return Ok(());
        }
        // Looks for what is too old are up to a minute apart.
        self.node.pass(ALL_VISIBLE_MS);
        self.model.expire(self.node.now());
        self.node.has(&self.urls[0], self.model.total(Which::Source))
    }

    fn sending(&mut self, draft: Draft) -> Sending {
        let Shape { fifo, by_content, .. } = self.model.shape;
        self.serial += 1;
        let deduplication = draft.deduplication.map(|id| format!("d{id}"));
        match fifo {
            false => Sending {
                body: format!("body {}", self.serial),
                group: None,
                deduplication: None,
                delay_s: draft.delay_s,
            },
            true => {
                let deduplication = match by_content {
                    true => deduplication.filter(|_| draft.content > 1),
                    false => Some(deduplication.unwrap_or_else(|| format!("s{}", self.serial))),
                };
                let body = match deduplication {
                    Some(_) => format!("body {}", self.serial),
                    None => format!("content {}", draft.content),
                };
                Sending { body, group: Some(format!("g{}", draft.group)), deduplication, delay_s: None }
            }
        }
    }

    fn send(&mut self, all: Vec<Sending>) -> Checked {
        let entry = |(at, sending): (usize, &Sending)| {
            let mut entry = json!({"Id": at.to_string(), "MessageBody": sending.body});
            for (member, value) in
                [("MessageGroupId", &sending.group), ("MessageDeduplicationId", &sending.deduplication)]
            {
                if let Some(value) = value {
                    entry[member] = json!(value);
                }
            }
            if let Some(delay) = sending.delay_s {
                entry["DelaySeconds"] = json!(delay);
            }
            entry
        };
        let entries: Vec<Value> = all.iter().enumerate().map(entry).collect();
        let input = json!({"QueueUrl": self.urls[0], "Entries": entries});
        let now = self.node.now();
        let answer = match self.cut.take() {
            None => Some(self.node.call("SendMessageBatch", input)),
            Some(turns) => self.node.cut("SendMessageBatch", input, turns),
        };
        let Some(answer) = answer else {
            // All of it or nothing: which, is counted.
            let there = self.node.depth(&self.urls[0]).total() + self.node.depth(&self.urls[1]).total();
            let before = self.model.total(Which::Source) + self.model.total(Which::Dead);
            let added = self.model.added_by(&all, now);
            return match there.checked_sub(before) {
                Some(0) => Ok(()),
                Some(more) if more == added => self.model.send(&all, None, now),
                _ => Err(format!("{added} messages were sent to {before}, {there} are there")),
            };
        };
        let answer = answer?;
        if answer["Successful"].as_array().map(Vec::len) != Some(all.len()) {
            return Err(format!("not all of {all:?} were sent: {answer}"));
        }
        let ids: Vec<_> = list(&answer["Successful"])
            .iter()
            .map(|sent| (text(&sent["MessageId"]), sent["SequenceNumber"].as_str().map(str::to_owned)))
            .collect();
        self.model.send(&all, Some(&ids), now)
    }

    fn receive(&mut self, asked: Asked) -> Checked<usize> {
        let mut input = json!({"QueueUrl": self.url(asked.which), "MaxNumberOfMessages": asked.max,
            "VisibilityTimeout": asked.visibility_s, "MessageSystemAttributeNames": ["All"]});
        if let Some(attempt) = &asked.attempt {
            input["ReceiveRequestAttemptId"] = json!(attempt);
        }
        let now = self.node.now();
        let answer = match self.cut.take() {
            None => Some(self.node.call("ReceiveMessage", input)),
            Some(turns) => self.node.cut("ReceiveMessage", input, turns),
        };
        let Some(answer) = answer else {
            self.model.receive_unanswered(asked.which, now);
            let model = &self.model;
            self.receipts.retain(|(which, receipt)| *which != asked.which || model.knows(*which, receipt));
            self.pass(ALL_VISIBLE_MS)?;
            return Ok(0);
        };
        let got: Vec<Received> = list(&answer?["Messages"]).iter().map(received).collect();
        self.model.receive(&asked, &got, now)?;
        self.receipts.extend(got.iter().map(|one| (asked.which, one.receipt.clone())));
        Ok(got.len())
    }

    /// Deletes by one of the last receipts, or hides its message.
    fn settle(&mut self, nth: usize, hide_s: Option<i64>) -> Checked {
        let Some(at) = self.receipts.len().checked_sub(nth + 1) else { return Ok(()) };
        let (which, receipt) = self.receipts[at].clone();
        if !self.model.is_clear(&receipt) {
            return Ok(());
        }
        let mut input = json!({"QueueUrl": self.url(which), "ReceiptHandle": receipt});
        let now = self.node.now();
        let (operation, done, refusal) = match hide_s {
            None => {
                let refusal = if self.model.shape.fifo { Some("InvalidParameterValue") } else { None };
                ("DeleteMessage", self.model.delete(which, &receipt), refusal)
            }
            Some(seconds) => {
                input["VisibilityTimeout"] = json!(seconds);
                let done = self.model.hide(which, &receipt, seconds, now);
                ("ChangeMessageVisibility", done, Some("MessageNotInflight"))
            }
        };
        let answer = self.node.call(operation, input).map(drop);
        let as_promised = match (&answer, done, refusal) {
            (Ok(()), true, _) | (Ok(()), false, None) => true,
            (Err(error), false, Some(refusal)) => error.contains(refusal),
            (Ok(()) | Err(_), _, _) => false,
        };
        if as_promised { Ok(()) } else { Err(format!("{operation}: {answer:?}, and should: {done}")) }
    }

    fn purge(&mut self, crash: bool) -> Checked {
        // A purge a minute.
        self.pass(ALL_VISIBLE_MS)?;
        if !self.model.is_certain() {
            return Ok(());
        }
        self.node.call("PurgeQueue", json!({"QueueUrl": self.urls[0]}))?;
        if crash {
            self.node.crash();
        }
        self.model.purge();
        self.node.has(&self.urls[0], 0)?;
        match self.node.call("PurgeQueue", json!({"QueueUrl": self.urls[0]})) {
            Err(error) if error.contains("PurgeQueueInProgress") => Ok(()),
            answer => Err(format!("a second purge within the minute: {answer:?}")),
        }
    }

    fn redrive(&mut self, rate: Option<u32>, crashes: &[bool]) -> Checked {
        if self.model.shape.receives_max.is_none() {
            return Ok(());
        }
        self.pass(ALL_VISIBLE_MS)?;
        self.counts()?;
        if !self.model.is_certain() {
            return Ok(());
        }
        let dead = arn(&self.urls[1]);
        let mut input = json!({"SourceArn": dead});
        if let Some(rate) = rate {
            input["MaxNumberOfMessagesPerSecond"] = json!(rate);
        }
        self.node.call("StartMessageMoveTask", input)?;
        let mut crashes = crashes.iter();
        let began = std::time::Instant::now();
        let task = loop {
            let all = self.node.call("ListMessageMoveTasks", json!({"SourceArn": dead}))?;
            let task = list(&all["Results"]).first().cloned().unwrap_or_default();
            if task["Status"] != "RUNNING" {
                break task;
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{task} does not end"));
            }
            if crashes.next() == Some(&true) {
                self.node.crash();
            }
            self.node.pass(1_000);
            self.node.turn();
        };
        let moved = self.model.total(Which::Dead);
        self.model.redrive(self.node.now());
        let told = task["ApproximateNumberOfMessagesMoved"].as_u64();
        if task["Status"] == "COMPLETED" && told == Some(moved as u64) {
            return Ok(());
        }
        Err(format!("{moved} messages were to be moved: {task}"))
    }

    /// After a last crash everything that was promised is received, deleted, and then there is nothing.
    fn drain(&mut self) -> Checked {
        self.cut = None;
        self.node.crash();
        for which in [Which::Source, Which::Dead] {
            self.pass(ALL_VISIBLE_MS)?;
            let mut empty = 0;
            // What is received once too often is moved by a receive that may give nothing.
            while empty < 2 {
                self.node.pass(1_000);
                let before = self.receipts.len();
                let asked = Asked { which, max: 10, visibility_s: 30, attempt: None };
                empty = if self.receive(asked)? == 0 { empty + 1 } else { 0 };
                self.counts()?;
                for (which, receipt) in self.receipts.split_off(before) {
                    let input = json!({"QueueUrl": self.url(which), "ReceiptHandle": receipt});
                    self.node.call("DeleteMessage", input)?;
                    self.model.delete(which, &receipt);
                }
            }
            let left = self.model.total(which);
            if left > 0 {
                return Err(format!("{left} messages of {which:?} are not given: {:?}", self.model));
            }
        }
        self.counts()
    }
}

fn arn(url: &str) -> String {
    let name = url.rsplit('/').next().unwrap_or_default();
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn received(message: &Value) -> Received {
    let attribute = |name: &str| message["Attributes"][name].as_str().map(str::to_owned);
    Received {
        id: text(&message["MessageId"]),
        body: text(&message["Body"]),
        group: attribute("MessageGroupId"),
        sent: attribute("SentTimestamp").unwrap().parse().unwrap(),
        receives: attribute("ApproximateReceiveCount").unwrap().parse().unwrap(),
        receipt: text(&message["ReceiptHandle"]),
        from_dead_letters: attribute("DeadLetterQueueSourceArn").is_some(),
    }
}

fn run(shape: Shape, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let work = || -> Checked {
        let mut run = Run::new(shape);
        for (number, step) in steps.into_iter().enumerate() {
            let what = format!("step {number}, {step:?}");
            run.step(step).map_err(|error| format!("{what}: {error}"))?;
        }
        run.drain().map_err(|error| format!("at the end: {error}"))
    };
    work().map_err(TestCaseError::fail)
}

fn cases() -> ProptestConfig {
    let on_postgres = std::env::var_os("NEAP_TEST_POSTGRES").is_some();
    // Opening a schema on a server takes a while.
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked {
        ProptestConfig::default().cases
    } else if on_postgres {
        8
    } else {
        48
    };
    ProptestConfig { cases, max_shrink_iters: 400, max_shrink_time: 60_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn standard_queues_keep_every_promise(
        shape in shape(false), steps in prop::collection::vec(step(), 1..60)
    ) {
        run(shape, steps)?;
    }

    #[test]
    fn fifo_queues_keep_every_promise(shape in shape(true), steps in prop::collection::vec(step(), 1..60)) {
        run(shape, steps)?;
    }
}
