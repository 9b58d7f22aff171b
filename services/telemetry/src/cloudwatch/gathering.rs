//! What functions do, as metrics of AWS/Lambda, and what their log lines say in embedded metric format: gathered in memory by
//! minute, then stored exactly once, as usage is.
//!
//! Published is what is measured: `Invocations`, `Errors`, `Throttles`, `Duration`, `AsyncEventsReceived`, `AsyncEventAge`,
//! `AsyncEventsDropped` and `RecursiveInvocationsDropped` by `FunctionName`, by `FunctionName` with `Resource` (the name, or with its qualifier, as invoked), and of
//! the whole account; `ConcurrentExecutions` by `FunctionName` and of the account, `UnreservedConcurrentExecutions` of the
//! account. `ProvisionedConcurrencyInvocations`, `ProvisionedConcurrencySpilloverInvocations`, `ProvisionedConcurrentExecutions` and
//! `ProvisionedConcurrencyUtilization` by `FunctionName` with `Resource`, the last two as they were when each invocation began, of the
//! version that runs it. Concurrency is the greatest number of calls that ran at once, on this node, since it was last stored: its statistic is
//! `Maximum`.
//!
//! Of queues, by `QueueName`: `NumberOfMessagesSent`, `SentMessageSize`, `NumberOfMessagesReceived`, `NumberOfEmptyReceives`,
//! `NumberOfMessagesDeleted` and, of FIFO queues, `NumberOfDeduplicatedSentMessages`; each minute
//! `ApproximateNumberOfMessagesVisible`, `ApproximateNumberOfMessagesNotVisible`, `ApproximateNumberOfMessagesDelayed`,
//! `ApproximateAgeOfOldestMessage`, of FIFO queues `ApproximateNumberOfGroupsWithInflightMessages`, and of standard queues with
//! messages of groups those in [`QUIET`]. Source of these: SQS developer guide, "Available CloudWatch metrics for Amazon SQS".
//!
//! Source of names and dimensions: Lambda developer guide, "Types of metrics for Lambda functions".

use super::{
    logic::Place,
    model::{Aggregate, Dimensions, Points, SeriesKey, Slot, Unit, gather},
};
use crate::inbox::Step;
use base::{
    AccountId, FunctionName, InvocationRecord, MessageStep, MeteredQueue, Outcome, ProvisionedCall,
    QueueDepth, QueueStep, QueuedEvent, Region, RequestId, Timestamp, VersionKey,
};
use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Functions with their minutes, and points of log lines, that wait at most; more are left out and counted.
const WAITING_MAX: usize = 20_000;
const NAMESPACE: &str = "AWS/Lambda";
const QUEUES: &str = "AWS/SQS";

/// Points to be stored once.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) instance: RequestId,
    /// From 1.
    pub(crate) sequence: i64,
    pub(crate) points: Points,
    /// What did not fit.
    pub(crate) left_out: u64,
}

pub(crate) struct Gathering {
    instance: RequestId,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    sequence: i64,
    functions: HashMap<FunctionMinute, Measured>,
    running: HashMap<Scope, Running>,
    queues: HashMap<QueueMinute, Messages>,
    /// Of log lines.
    points: Points,
    points_count: usize,
    left_out: u64,
}

/// A function as it was invoked, in one minute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FunctionMinute {
    account: AccountId,
    region: Region,
    name: FunctionName,
    /// Version or alias, if the caller named one.
    qualifier: Option<Box<str>>,
    /// Seconds.
    minute: i64,
}

#[derive(Debug, Default)]
struct Measured {
    invocations: u64,
    errors: u64,
    throttles: u64,
    duration: Option<Aggregate>,
    received: u64,
    age: Option<Aggregate>,
    dropped: u64,
    not_told: u64,
    not_buried: u64,
    looped: u64,
    /// Invocations on provisioned concurrency, and beyond it.
    within: u64,
    beyond: u64,
    /// How much of it was in use when each began: invocations, and of what is provisioned.
    in_use: Option<Aggregate>,
    utilization: Option<Aggregate>,
}

/// A queue in one minute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct QueueMinute {
    account: AccountId,
    region: Region,
    name: Box<str>,
    /// Seconds.
    minute: i64,
}

/// Of standard queues with messages of groups. Source: SQS developer guide, "Available CloudWatch metrics for Amazon SQS".
const QUIET: [(&str, Unit); 5] = [
    ("ApproximateNumberOfNoisyGroups", Unit::Count),
    ("ApproximateNumberOfMessagesVisibleInQuietGroups", Unit::Count),
    ("ApproximateNumberOfMessagesNotVisibleInQuietGroups", Unit::Count),
    ("ApproximateNumberOfMessagesDelayedInQuietGroups", Unit::Count),
    ("ApproximateAgeOfOldestMessageInQuietGroups", Unit::Seconds),
];

/// What happened to its messages.
#[derive(Debug, Default)]
struct Messages {
    /// Bytes of those that were sent.
    sizes: Option<Aggregate>,
    sent: Option<Aggregate>,
    received: Option<Aggregate>,
    empty: Option<Aggregate>,
    deleted: Option<Aggregate>,
    deduplicated: Option<Aggregate>,
    visible: Option<Aggregate>,
    in_flight: Option<Aggregate>,
    delayed: Option<Aggregate>,
    /// Seconds.
    oldest: Option<Aggregate>,
    groups: Option<Aggregate>,
    /// As [`QUIET`] names them; most queues have no groups.
    quiet: Option<Box<[Option<Aggregate>; QUIET.len()]>>,
}

/// Whose concurrency.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Function(AccountId, Region, FunctionName),
    Account(AccountId, Region),
    Unreserved(AccountId, Region),
}

/// How many run now, and the most since it was last stored, with its minute in seconds.
#[derive(Debug, Default)]
struct Running {
    now: u64,
    most: Option<(i64, u64)>,
    /// Of minutes that are over and not stored yet.
    earlier: Vec<(i64, u64)>,
}

/// Minutes of concurrency kept for one function while the store cannot be written.
const EARLIER_MAX: usize = 60;

/// The minute of a moment, by its first second.
pub(crate) fn minute(time: Timestamp) -> i64 {
    let seconds = time.0.div_euclid(1_000);
    seconds - seconds.rem_euclid(60)
}

/// The qualifier of an ARN of a function: what is behind its name.
fn qualifier(arn: &str) -> Option<Box<str>> {
    arn.splitn(8, ':').nth(7).filter(|word| !word.is_empty()).map(Box::from)
}

impl Running {
    fn step(&mut self, step: &Step) {
        if step.begins {
            self.now += 1;
        }
        // What has run until its end has run in that minute too.
        self.observe(minute(step.at));
        if !step.begins {
            self.now = self.now.saturating_sub(1);
        }
    }

    fn observe(&mut self, minute: i64) {
        match &mut self.most {
            Some((at, most)) if *at == minute => *most = (*most).max(self.now),
            most => {
                let over = most.replace((minute, self.now));
                if self.earlier.len() < EARLIER_MAX {
                    self.earlier.extend(over);
                }
            }
        }
    }
}

impl Waiting {
    fn measured(&mut self, key: FunctionMinute) -> Option<&mut Measured> {
        if self.functions.len() >= WAITING_MAX && !self.functions.contains_key(&key) {
            self.left_out += 1;
            return None;
        }
        Some(self.functions.entry(key).or_default())
    }
}

impl Gathering {
    pub(crate) fn new(instance: RequestId) -> Gathering {
        Gathering { instance, waiting: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self, key: FunctionMinute, change: impl FnOnce(&mut Measured)) {
        if let Some(measured) = self.lock().measured(key) {
            change(measured);
        }
    }

    /// Invocations of one function and minute have ended; they count for the minute in which they began.
    pub(crate) fn record(&self, of_one: &[InvocationRecord]) {
        let Some(InvocationRecord { key, invoked_arn, at, .. }) = of_one.first() else { return };
        let key = FunctionMinute {
            account: key.account,
            region: key.region.clone(),
            name: key.name.clone(),
            qualifier: qualifier(invoked_arn),
            minute: minute(*at),
        };
        self.measure(key, |measured| {
            for record in of_one {
                measured.invocations += 1;
                measured.errors += u64::from(record.outcome != Outcome::Success);
                merge(&mut measured.duration, Aggregate::of(record.run.0 as f64 / 1_000.0, 1.0));
            }
        });
    }

    pub(crate) fn throttled(&self, key: &VersionKey, invoked_arn: &str, now: Timestamp) {
        let key = FunctionMinute {
            account: key.account,
            region: key.region.clone(),
            name: key.name.clone(),
            qualifier: qualifier(invoked_arn),
            minute: minute(now),
        };
        self.measure(key, |measured| measured.throttles += 1);
    }

    /// An invocation of a version with provisioned concurrency begins.
    pub(crate) fn provisioned(&self, call: ProvisionedCall<'_>, now: Timestamp) {
        let key = FunctionMinute {
            account: call.key.account,
            region: call.key.region.clone(),
            name: call.key.name.clone(),
            qualifier: qualifier(call.invoked_arn),
            minute: minute(now),
        };
        let running = f64::from(call.running);
        self.measure(key, |measured| {
            measured.within += u64::from(call.within);
            measured.beyond += u64::from(!call.within);
            merge(&mut measured.in_use, Aggregate::of(running, 1.0));
            merge(
                &mut measured.utilization,
                Aggregate::of(running / f64::from(call.provisioned.max(1)), 1.0),
            );
        });
    }

    pub(crate) fn queued(&self, event: QueuedEvent<'_>, step: QueueStep, now: Timestamp) {
        let key = FunctionMinute {
            account: event.account,
            region: event.region.clone(),
            name: event.name.clone(),
            qualifier: qualifier(event.invoked_arn),
            minute: minute(now),
        };
        self.measure(key, |measured| match step {
            QueueStep::Received => measured.received += 1,
            QueueStep::Attempted(age) => merge(&mut measured.age, Aggregate::of(age.0 as f64, 1.0)),
            QueueStep::Dropped => measured.dropped += 1,
            QueueStep::NotTold => measured.not_told += 1,
            QueueStep::NotBuried => measured.not_buried += 1,
            QueueStep::Looped => measured.looped += 1,
        });
    }

    /// Each request is one measurement of how many messages it dealt with.
    pub(crate) fn messages(&self, queue: MeteredQueue<'_>, step: MessageStep<'_>, now: Timestamp) {
        let number = |count: usize| Aggregate::of(count as f64, 1.0);
        self.of_queue(queue, now, |messages| match step {
            MessageStep::Sent(sizes) => {
                merge(&mut messages.sent, number(sizes.len()));
                sizes.iter().for_each(|bytes| merge(&mut messages.sizes, number(*bytes)));
            }
            MessageStep::Received(count) => merge(&mut messages.received, number(count)),
            MessageStep::EmptyReceive => merge(&mut messages.empty, number(1)),
            MessageStep::Deleted(count) => merge(&mut messages.deleted, number(count)),
            MessageStep::Deduplicated(count) => merge(&mut messages.deduplicated, number(count)),
        });
    }

    /// What a queue holds now.
    pub(crate) fn depth(&self, queue: MeteredQueue<'_>, depth: QueueDepth, now: Timestamp) {
        let number = |count: u64| Aggregate::of(count as f64, 1.0);
        self.of_queue(queue, now, |messages| {
            merge(&mut messages.visible, number(depth.visible));
            merge(&mut messages.in_flight, number(depth.in_flight));
            merge(&mut messages.delayed, number(depth.delayed));
            merge(&mut messages.oldest, number(depth.oldest_age.0 / 1_000));
            if let Some(groups) = depth.groups_in_flight {
                merge(&mut messages.groups, number(groups));
            }
            if let Some(quiet) = depth.quiet {
                let gauges = [
                    quiet.noisy_groups,
                    quiet.visible,
                    quiet.in_flight,
                    quiet.delayed,
                    quiet.oldest_age.0 / 1_000,
                ];
                for (sum, gauge) in messages.quiet.get_or_insert_default().iter_mut().zip(gauges) {
                    merge(sum, number(gauge));
                }
            }
        });
    }

    fn of_queue(&self, queue: MeteredQueue<'_>, now: Timestamp, note: impl FnOnce(&mut Messages)) {
        let key = QueueMinute {
            account: queue.account,
            region: queue.region.clone(),
            name: queue.name.into(),
            minute: minute(now),
        };
        let mut waiting = self.lock();
        if waiting.queues.len() >= WAITING_MAX && !waiting.queues.contains_key(&key) {
            waiting.left_out += 1;
            return;
        }
        note(waiting.queues.entry(key).or_default());
    }

    /// Invocations of one function have begun or ended.
    pub(crate) fn stepped(&self, of_one: &[Step]) {
        let Some(Step { key, reserved, .. }) = of_one.first() else { return };
        let mut waiting = self.lock();
        for scope in scopes(key, *reserved) {
            let running = waiting.running.entry(scope).or_default();
            of_one.iter().for_each(|step| running.step(step));
        }
    }

    /// Notes what runs now, for minutes in which nothing begins or ends; whether anything does.
    pub(crate) fn observe(&self, now: Timestamp) -> bool {
        let mut waiting = self.lock();
        let mut any = false;
        for running in waiting.running.values_mut().filter(|running| running.now > 0) {
            running.observe(minute(now));
            any = true;
        }
        any
    }

    /// Points of a log line.
    pub(crate) fn add(&self, points: Points) {
        let mut waiting = self.lock();
        for (key, slots) in points {
            for (slot, aggregate) in slots {
                let known = waiting
                    .points
                    .get(&key)
                    .is_some_and(|slots| slots.iter().any(|(known, _)| *known == slot));
                if !known && waiting.points_count >= WAITING_MAX {
                    waiting.left_out += 1;
                    continue;
                }
                waiting.points_count += usize::from(!known);
                gather(&mut waiting.points, key.clone(), slot, aggregate);
            }
        }
    }

    /// What has been gathered since the last time.
    pub(crate) fn take(&self) -> Option<Arc<Batch>> {
        let (functions, queues, running, mut points, left_out, sequence) = {
            let mut waiting = self.lock();
            let mut running = Vec::new();
            for (scope, own) in &mut waiting.running {
                let most = own.most.take();
                running.extend(own.earlier.drain(..).chain(most).map(|(at, most)| (scope.clone(), at, most)));
            }
            waiting.running.retain(|_, running| running.now > 0);
            let waits = !(waiting.functions.is_empty() && waiting.queues.is_empty());
            if !waits && waiting.points.is_empty() && running.is_empty() {
                return None;
            }
            waiting.sequence += 1;
            waiting.points_count = 0;
            (
                mem::take(&mut waiting.functions),
                mem::take(&mut waiting.queues),
                running,
                mem::take(&mut waiting.points),
                mem::take(&mut waiting.left_out),
                waiting.sequence,
            )
        };
        for (key, measured) in functions {
            publish(&mut points, &key, &measured);
        }
        for (key, messages) in queues {
            publish_messages(&mut points, key, messages);
        }
        for (scope, at, most) in running {
            let (key, name) = scope.series();
            let key = SeriesKey { name: name.to_owned(), ..key };
            gather(&mut points, key, slot(at, Unit::Count), Aggregate::of(most as f64, 1.0));
        }
        Some(Arc::new(Batch { instance: self.instance, sequence, points, left_out }))
    }
}

fn merge(into: &mut Option<Aggregate>, one: Aggregate) {
    match into {
        Some(all) => all.merge(&one),
        None => *into = Some(one),
    }
}

fn scopes(key: &VersionKey, reserved: bool) -> impl Iterator<Item = Scope> {
    let function = Scope::Function(key.account, key.region.clone(), key.name.clone());
    let unreserved = (!reserved).then(|| Scope::Unreserved(key.account, key.region.clone()));
    [function, Scope::Account(key.account, key.region.clone())].into_iter().chain(unreserved)
}

impl Scope {
    /// The series, without its name, and its name.
    fn series(self) -> (SeriesKey, &'static str) {
        let key = |account, region, dimensions| {
            Place { account, region }.key(NAMESPACE, "", Dimensions::new(dimensions).unwrap_or_default())
        };
        match self {
            Scope::Function(account, region, name) => (
                key(account, region, vec![("FunctionName".into(), name.to_string())]),
                "ConcurrentExecutions",
            ),
            Scope::Account(account, region) => (key(account, region, Vec::new()), "ConcurrentExecutions"),
            Scope::Unreserved(account, region) => {
                (key(account, region, Vec::new()), "UnreservedConcurrentExecutions")
            }
        }
    }
}

fn slot(minute: i64, unit: Unit) -> Slot {
    Slot { at: minute, period: 60, unit }
}

/// `ones` measurements of 1 and the others of 0.
fn count(ones: u64, all: u64) -> Option<Aggregate> {
    let zeros = all.saturating_sub(ones);
    let part = |value: f64, count: u64| (count > 0).then(|| Aggregate::of(value, count as f64));
    match (part(1.0, ones), part(0.0, zeros)) {
        (Some(mut ones), Some(zeros)) => {
            ones.merge(&zeros);
            Some(ones)
        }
        (one, other) => one.or(other),
    }
}

/// Adds what one function did in one minute to its metrics. Each invocation counts 0 or 1 as an error, each request as a throttle.
fn publish(points: &mut Points, key: &FunctionMinute, measured: &Measured) {
    let place = Place { account: key.account, region: key.region.clone() };
    let name = key.name.to_string();
    let resource = match &key.qualifier {
        None => name.clone(),
        Some(qualifier) => format!("{name}:{qualifier}"),
    };
    let by_name = ("FunctionName".to_owned(), name);
    let Measured { invocations, errors, throttles, duration, received, age, dropped, .. } = measured;
    let Measured { not_told, not_buried, looped, .. } = measured;
    let metrics = [
        ("Invocations", Unit::Count, count(*invocations, *invocations)),
        ("Errors", Unit::Count, count(*errors, *invocations)),
        ("Throttles", Unit::Count, count(*throttles, throttles + invocations)),
        ("Duration", Unit::Milliseconds, duration.clone()),
        ("AsyncEventsReceived", Unit::Count, count(*received, *received)),
        ("AsyncEventAge", Unit::Milliseconds, age.clone()),
        ("AsyncEventsDropped", Unit::Count, count(*dropped, *dropped)),
        ("DestinationDeliveryFailures", Unit::Count, count(*not_told, *not_told)),
        ("DeadLetterErrors", Unit::Count, count(*not_buried, *not_buried)),
        ("RecursiveInvocationsDropped", Unit::Count, count(*looped, *looped)),
    ];
    let Measured { within, beyond, in_use, utilization, .. } = measured;
    let provisioned = [
        ("ProvisionedConcurrencyInvocations", Unit::Count, count(*within, *within)),
        ("ProvisionedConcurrencySpilloverInvocations", Unit::Count, count(*beyond, *beyond)),
        ("ProvisionedConcurrentExecutions", Unit::Count, in_use.clone()),
        ("ProvisionedConcurrencyUtilization", Unit::None, utilization.clone()),
    ];
    let by_resource = vec![by_name.clone(), ("Resource".to_owned(), resource)];
    let mut add = |dimensions, metrics: &[(&str, Unit, Option<Aggregate>)]| {
        let Some(dimensions) = Dimensions::new(dimensions) else { return };
        for (name, unit, aggregate) in metrics {
            if let Some(aggregate) = aggregate {
                let series = place.key(NAMESPACE, name, dimensions.clone());
                gather(points, series, slot(key.minute, *unit), aggregate.clone());
            }
        }
    };
    add(Vec::new(), &metrics);
    add(vec![by_name], &metrics);
    add(by_resource.clone(), &metrics);
    // Provisioned concurrency belongs to a version or an alias: a sum over them says nothing.
    add(by_resource, &provisioned);
}

/// Adds what happened to the messages of one queue in one minute to its metrics.
fn publish_messages(points: &mut Points, key: QueueMinute, messages: Messages) {
    let place = Place { account: key.account, region: key.region };
    let dimensions = vec![("QueueName".to_owned(), key.name.into())];
    let Some(dimensions) = Dimensions::new(dimensions) else { return };
    let quiet = messages.quiet.unwrap_or_default();
    let quiet = QUIET.into_iter().zip(*quiet).map(|((name, unit), aggregate)| (name, unit, aggregate));
    let all = [
        ("NumberOfMessagesSent", Unit::Count, messages.sent),
        ("SentMessageSize", Unit::Bytes, messages.sizes),
        ("NumberOfMessagesReceived", Unit::Count, messages.received),
        ("NumberOfEmptyReceives", Unit::Count, messages.empty),
        ("NumberOfMessagesDeleted", Unit::Count, messages.deleted),
        ("NumberOfDeduplicatedSentMessages", Unit::Count, messages.deduplicated),
        ("ApproximateNumberOfMessagesVisible", Unit::Count, messages.visible),
        ("ApproximateNumberOfMessagesNotVisible", Unit::Count, messages.in_flight),
        ("ApproximateNumberOfMessagesDelayed", Unit::Count, messages.delayed),
        ("ApproximateAgeOfOldestMessage", Unit::Seconds, messages.oldest),
        ("ApproximateNumberOfGroupsWithInflightMessages", Unit::Count, messages.groups),
    ];
    for (name, unit, aggregate) in all.into_iter().chain(quiet) {
        if let Some(aggregate) = aggregate {
            gather(points, place.key(QUEUES, name, dimensions.clone()), slot(key.minute, unit), aggregate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{MemoryMib, Micros, Millis, QuietDepth, Version};

    fn key(name: &str) -> VersionKey {
        VersionKey {
            account: AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: name.parse().unwrap(),
            version: Version::Latest,
            revision: RequestId::from_random([1; 16]),
            tenant: None,
        }
    }

    fn record(name: &str, qualifier: &str, at: i64, ms: u64, outcome: Outcome) -> InvocationRecord {
        InvocationRecord {
            key: key(name),
            invoked_arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{name}{qualifier}").into(),
            request_id: RequestId::from_random([2; 16]),
            architecture: "x86_64".into(),
            at: Timestamp(at),
            memory: MemoryMib(128),
            scratch: MemoryMib(512),
            memory_used_bytes: 1,
            init: Micros(0),
            run: Micros(ms * 1_000),
            billed: Millis(ms),
            provisioned: false,
            cold: None,
            outcome,
            waited: Micros(0),
            traced: None,
        }
    }

    /// (count, sum, max) of a metric in a minute.
    fn of(batch: &Batch, name: &str, dimensions: &str, minute: i64) -> Option<(f64, f64, f64)> {
        let (_, slots) =
            batch.points.iter().find(|(key, _)| key.name == name && key.dimensions.text() == dimensions)?;
        let (_, all) = slots.iter().find(|(slot, _)| slot.at == minute)?;
        Some((all.count, all.sum, all.max))
    }

    const ALL: &str = "[]";
    const BY_NAME: &str = r#"["FunctionName","f"]"#;
    const BY_ALIAS: &str = r#"["FunctionName","f","Resource","f:live"]"#;
    const BY_PLAIN: &str = r#"["FunctionName","f","Resource","f"]"#;

    #[test]
    fn invocations_become_metrics_of_function_resource_and_account() {
        let gathering = Gathering::new(RequestId::from_random([3; 16]));
        gathering.record(&[record("f", "", 61_000, 10, Outcome::Success)]);
        gathering.record(&[record("f", ":live", 62_000, 30, Outcome::Timeout)]);
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f:live";
        gathering.throttled(&key("f"), arn, Timestamp(63_000));
        let batch = gathering.take().unwrap();
        for (dimensions, duration, errors, throttles) in [
            (ALL, (2.0, 40.0, 30.0), (2.0, 1.0, 1.0), (3.0, 1.0, 1.0)),
            (BY_NAME, (2.0, 40.0, 30.0), (2.0, 1.0, 1.0), (3.0, 1.0, 1.0)),
            (BY_PLAIN, (1.0, 10.0, 10.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
            (BY_ALIAS, (1.0, 30.0, 30.0), (1.0, 1.0, 1.0), (2.0, 1.0, 1.0)),
        ] {
            assert_eq!(of(&batch, "Duration", dimensions, 60), Some(duration));
            assert_eq!(of(&batch, "Errors", dimensions, 60), Some(errors));
            assert_eq!(of(&batch, "Throttles", dimensions, 60), Some(throttles));
            assert_eq!(of(&batch, "AsyncEventsReceived", dimensions, 60), None);
        }
        assert!(gathering.take().is_none());
        assert_eq!(batch.sequence, 1);
    }

    #[test]
    fn asynchronous_events_are_counted_with_their_age() {
        let gathering = Gathering::new(RequestId::from_random([3; 16]));
        let (region, name) = ("us-east-1".parse().unwrap(), "f".parse().unwrap());
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f:live";
        let event =
            QueuedEvent { account: AccountId::DEFAULT, region: &region, name: &name, invoked_arn: arn };
        for step in [
            QueueStep::Received,
            QueueStep::Attempted(Millis(5)),
            QueueStep::Attempted(Millis(90)),
            QueueStep::Dropped,
            QueueStep::Looped,
        ] {
            gathering.queued(event, step, Timestamp(0));
        }
        let batch = gathering.take().unwrap();
        assert_eq!(of(&batch, "AsyncEventsReceived", BY_ALIAS, 0), Some((1.0, 1.0, 1.0)));
        assert_eq!(of(&batch, "AsyncEventAge", BY_NAME, 0), Some((2.0, 95.0, 90.0)));
        assert_eq!(of(&batch, "AsyncEventsDropped", ALL, 0), Some((1.0, 1.0, 1.0)));
        assert_eq!(of(&batch, "RecursiveInvocationsDropped", BY_NAME, 0), Some((1.0, 1.0, 1.0)));
        assert_eq!(of(&batch, "Invocations", ALL, 0), None);
    }

    #[test]
    fn concurrency_is_the_most_of_each_minute() {
        let gathering = Gathering::new(RequestId::from_random([3; 16]));
        let step = |name, reserved, at, begins| Step { key: key(name), reserved, at: Timestamp(at), begins };
        gathering.stepped(&[step("f", false, 0, true), step("f", false, 1, true)]);
        gathering.stepped(&[step("g", true, 2, true)]);
        gathering.stepped(&[step("f", false, 3, false)]);
        assert!(gathering.observe(Timestamp(61_000)));
        gathering.stepped(&[step("f", false, 121_000, false)]);
        gathering.stepped(&[step("g", true, 122_000, false)]);
        let batch = gathering.take().unwrap();
        let most = |name, dimensions, minute| of(&batch, name, dimensions, minute).map(|(_, _, max)| max);
        for (minute, all, unreserved, f) in [(0, 3.0, 2.0, 2.0), (60, 2.0, 1.0, 1.0), (120, 2.0, 1.0, 1.0)] {
            assert_eq!(most("ConcurrentExecutions", ALL, minute), Some(all));
            assert_eq!(most("UnreservedConcurrentExecutions", ALL, minute), Some(unreserved));
            assert_eq!(most("ConcurrentExecutions", BY_NAME, minute), Some(f));
        }
        assert!(!gathering.observe(Timestamp(181_000)));
        assert!(gathering.take().is_none());
    }

    #[test]
    fn provisioned_concurrency_is_measured_by_resource() {
        let gathering = Gathering::new(RequestId::from_random([3; 16]));
        let key = key("f");
        let call = |within, running| ProvisionedCall {
            key: &key,
            invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:f:live",
            within,
            running,
            provisioned: 2,
        };
        for (within, running) in [(true, 1), (true, 2), (false, 2)] {
            gathering.provisioned(call(within, running), Timestamp(0));
        }
        let batch = gathering.take().unwrap();
        let of = |name: &str, dimensions| of(&batch, &format!("Provisioned{name}"), dimensions, 0);
        assert_eq!(of("ConcurrencyInvocations", BY_ALIAS), Some((2.0, 2.0, 1.0)));
        assert_eq!(of("ConcurrencySpilloverInvocations", BY_ALIAS), Some((1.0, 1.0, 1.0)));
        assert_eq!(of("ConcurrentExecutions", BY_ALIAS), Some((3.0, 5.0, 2.0)));
        assert_eq!(of("ConcurrencyUtilization", BY_ALIAS), Some((3.0, 2.5, 1.0)));
        assert_eq!(of("ConcurrencyInvocations", BY_NAME), None);
    }

    #[test]
    fn messages_are_counted_by_queue() {
        let gathering = Gathering::new(RequestId::from_random([3; 16]));
        let region = "us-east-1".parse().unwrap();
        let queue = MeteredQueue { account: AccountId::DEFAULT, region: &region, name: "q" };
        for step in [
            MessageStep::Sent(&[100, 300]),
            MessageStep::Sent(&[50]),
            MessageStep::Received(3),
            MessageStep::EmptyReceive,
            MessageStep::Deleted(2),
        ] {
            gathering.messages(queue, step, Timestamp(61_000));
        }
        let batch = gathering.take().unwrap();
        let of = |name| of(&batch, name, r#"["QueueName","q"]"#, 60);
        assert_eq!(of("NumberOfMessagesSent"), Some((2.0, 3.0, 2.0)));
        assert_eq!(of("SentMessageSize"), Some((3.0, 450.0, 300.0)));
        assert_eq!(of("NumberOfMessagesReceived"), Some((1.0, 3.0, 3.0)));
        assert_eq!(of("NumberOfEmptyReceives"), Some((1.0, 1.0, 1.0)));
        assert_eq!(of("NumberOfMessagesDeleted"), Some((1.0, 2.0, 2.0)));
        assert_eq!(of("ApproximateNumberOfMessagesVisible"), None);
        assert!(gathering.take().is_none());
    }

    #[test]
    fn what_queues_hold_is_a_gauge_of_each_minute() {
        let gathering = Gathering::new(RequestId::from_random([3; 16]));
        let region = "us-east-1".parse().unwrap();
        let queue = MeteredQueue { account: AccountId::DEFAULT, region: &region, name: "q" };
        let depth = QueueDepth {
            visible: 7,
            in_flight: 2,
            delayed: 1,
            oldest_age: Millis(9_900),
            groups_in_flight: None,
            quiet: None,
        };
        gathering.depth(queue, depth, Timestamp(61_000));
        let quiet =
            QuietDepth { noisy_groups: 1, visible: 3, in_flight: 2, delayed: 0, oldest_age: Millis(4_100) };
        let full = QueueDepth { groups_in_flight: Some(4), quiet: Some(quiet), ..depth };
        gathering.depth(queue, full, Timestamp(119_000));
        let batch = gathering.take().unwrap();
        let of = |name| of(&batch, name, r#"["QueueName","q"]"#, 60);
        assert_eq!(of("ApproximateNumberOfMessagesVisible"), Some((2.0, 14.0, 7.0)));
        assert_eq!(of("ApproximateNumberOfMessagesNotVisible"), Some((2.0, 4.0, 2.0)));
        assert_eq!(of("ApproximateNumberOfMessagesDelayed"), Some((2.0, 2.0, 1.0)));
        assert_eq!(of("ApproximateAgeOfOldestMessage"), Some((2.0, 18.0, 9.0)));
        assert_eq!(of("ApproximateNumberOfGroupsWithInflightMessages"), Some((1.0, 4.0, 4.0)));
        assert_eq!(of("ApproximateNumberOfNoisyGroups"), Some((1.0, 1.0, 1.0)));
        assert_eq!(of("ApproximateNumberOfMessagesVisibleInQuietGroups"), Some((1.0, 3.0, 3.0)));
        assert_eq!(of("ApproximateNumberOfMessagesNotVisibleInQuietGroups"), Some((1.0, 2.0, 2.0)));
        assert_eq!(of("ApproximateNumberOfMessagesDelayedInQuietGroups"), Some((1.0, 0.0, 0.0)));
        assert_eq!(of("ApproximateAgeOfOldestMessageInQuietGroups"), Some((1.0, 4.0, 4.0)));
        assert_eq!(of("NumberOfMessagesSent"), None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let gathering = Gathering::new(RequestId::from_random([3; 16]));
        for minute in 0..WAITING_MAX as i64 + 5 {
            gathering.record(&[record("f", "", minute * 60_000, 1, Outcome::Success)]);
        }
        assert_eq!(gathering.take().unwrap().left_out, 5);
    }
}
