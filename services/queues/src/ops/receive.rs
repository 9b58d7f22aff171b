//! ReceiveMessage.

use crate::{
    Error, IN_FLIGHT_MAX, Queues,
    api::{AttributeValue, Blob, Message, ReceiveMessageRequest, ReceiveMessageResult},
    data::{self, Taken, Wish},
    logic::{messages, names, receipts::Receipt},
    model::{Queue, QueueKey, Stored},
    signals::{Kind, Signal, nonce},
};
use base::{MessageStep, Seconds, Timestamp};
use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, atomic::Ordering},
};
use store::Commit;
use wire::{Context, Flat};

const MESSAGES: std::ops::RangeInclusive<i64> = 1..=10;
const WAIT_S: std::ops::RangeInclusive<i64> = 0..=20;
/// Also of ChangeMessageVisibility.
pub(super) const VISIBILITY_S: std::ops::RangeInclusive<i64> = 0..=43_200;
/// Where other nodes send too: how long to wait before looking for theirs.
const LOOK_MS: i64 = 1_000;

/// System attributes that can be asked for.
const SYSTEM: [&str; 9] = [
    "AWSTraceHeader",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
];

/// What a receive is to take.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) max: usize,
    pub(crate) bytes_max: usize,
    /// `None`: as the queue has it.
    pub(crate) visibility: Option<Seconds>,
    pub(crate) attempt: Option<String>,
}

impl Queues {
    pub(crate) async fn receive_message(
        &self,
        context: &Context,
        input: ReceiveMessageRequest,
    ) -> Result<ReceiveMessageResult, Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        let within = |name, value: Option<i64>, range: std::ops::RangeInclusive<i64>| match value {
            Some(value) if !range.contains(&value) => {
                let why = format!("Must be between {} and {}, if provided.", range.start(), range.end());
                Err(Error::value(value, name, why))
            }
            value => Ok(value.and_then(|value| u32::try_from(value).ok())),
        };
        let max = within("MaxNumberOfMessages", input.max_number_of_messages, MESSAGES)?.unwrap_or(1);
        let wait = within("WaitTimeSeconds", input.wait_time_seconds, WAIT_S)?;
        let visibility = within("VisibilityTimeout", input.visibility_timeout, VISIBILITY_S)?.map(Seconds);
        let mut asked = input.attribute_names;
        asked.extend(input.message_system_attribute_names);
        if let Some(unknown) = asked.iter().find(|name| *name != "All" && !SYSTEM.contains(&name.as_str())) {
            return Err(Error::AttributeName(unknown.clone()));
        }
        let queue = self.queue(&key).await?;
        self.allowed(&context.principal, "sqs:ReceiveMessage", &queue)?;
        if let Some(attempt) = &input.receive_request_attempt_id {
            if queue.settings.fifo.is_none() {
                let why = "The request include parameter that is not valid for this queue type";
                return Err(Error::value(attempt, "ReceiveRequestAttemptId", why));
            }
            messages::token("ReceiveRequestAttemptId", attempt)?;
        }
        if queue.settings.fifo.is_some_and(|fifo| !fifo.high_throughput) {
            self.signals.of(queue.id).admit(Kind::Receive, self.now())?;
        }
        let order = Order {
            max: max as usize,
            bytes_max: usize::MAX,
            visibility,
            attempt: input.receive_request_attempt_id,
        };
        let wait = wait.map_or(queue.settings.wait, Seconds);
        let found = self.receive_within(&key, &order, wait).await?;
        let shown = |(queue, message): (Arc<Queue>, Stored)| {
            shown(&queue, message, &asked, &input.message_attribute_names)
        };
        let messages: Vec<_> = found.into_iter().map(shown).collect();
        Ok(ReceiveMessageResult {
            messages: (!messages.is_empty()).then_some(Flat("flat:Message", messages)),
        })
    }

    /// Receives, waiting for the first message. Dropped while it waits, it has taken nothing.
    async fn receive_within(
        &self,
        key: &QueueKey,
        order: &Order,
        wait: Seconds,
    ) -> Result<Vec<(Arc<Queue>, Stored)>, Error> {
        let end = self.now().plus_ms(i64::from(wait.0) * 1_000);
        loop {
            let queue = self.queue(key).await?;
            let signal = self.signals.of(queue.id);
            let mut told = pin!(signal.one.notified());
            // What is sent from here on is heard of.
            told.as_mut().enable();
            let (queue, taken) = self.take(key, order).await?;
            let now = self.now();
            if !taken.messages.is_empty() || now >= end {
                if taken.messages.is_empty() {
                    signal.counts.empty.fetch_add(1, Ordering::Relaxed);
                    self.count(&queue, MessageStep::EmptyReceive);
                }
                return Ok(taken.messages.into_iter().map(|message| (Arc::clone(&queue), message)).collect());
            }
            let until = self.look_at(&queue, now).await?.map_or(end, |due| due.min(end));
            tokio::select! {
                () = told => {}
                () = self.clock.sleep_until(until) => {}
            }
        }
    }

    /// When a queue that has nothing visible is to be looked at again, though nobody tells of a message.
    pub(crate) async fn look_at(
        &self,
        queue: &Arc<Queue>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let asked = Arc::clone(queue);
        let due = self.db.read(move |tx| data::next_due(tx, &asked)).await?;
        let shared = self.settings.shared.then(|| now.plus_ms(LOOK_MS));
        Ok([due, shared].into_iter().flatten().min())
    }

    /// Receives what is visible now.
    pub(crate) async fn take(&self, key: &QueueKey, order: &Order) -> Result<(Arc<Queue>, Taken), Error> {
        self.with(key, |queue| async move {
            let signal = self.signals.of(queue.id);
            self.check_in_flight(&queue, &signal).await?;
            let now = self.now();
            let visibility = order.visibility.unwrap_or(queue.settings.visibility);
            let wish = Wish {
                max: order.max,
                bytes_max: order.bytes_max,
                until: now.plus_ms(i64::from(visibility.0) * 1_000),
                nonce: nonce(&*self.entropy),
                attempt: order.attempt.clone(),
                backlogs_first: signal.is_backlogs_turn(),
                dead_letters: self.dead_letters(&queue).await?,
            };
            let commit = commit_of(&queue);
            let from = Arc::clone(&queue);
            let buried_in = wish.dead_letters.as_ref().map(|(target, _)| target.id);
            let taken = self
                .db
                .write_at(commit, move |tx| {
                    data::check(tx, &from)?;
                    data::receive(tx, &from, &wish, now)
                })
                .await?;
            let got = taken.messages.len();
            signal.in_flight.fetch_add(i64::try_from(got).unwrap_or_default(), Ordering::Relaxed);
            signal.counts.received.fetch_add(got as u64, Ordering::Relaxed);
            if got > 0 {
                self.count(&queue, MessageStep::Received(got));
            }
            if let (Some(target), true) = (buried_in, taken.moved > 0) {
                signal.counts.buried.fetch_add(taken.moved as u64, Ordering::Relaxed);
                self.signals.of(target).wake(taken.moved);
            }
            if taken.more {
                // Who waits beside may have the rest.
                signal.one.notify_one();
            }
            Ok((queue, taken))
        })
        .await
    }

    /// Where messages of a queue go that were received too often, if that is there.
    async fn dead_letters(&self, queue: &Queue) -> Result<Option<(Queue, u32)>, Error> {
        let Some(redrive) = &queue.settings.redrive else { return Ok(None) };
        match self.queue(&redrive.target).await {
            Ok(target) => Ok(Some((Queue::clone(&target), redrive.receives_max))),
            // Messages stay where they are then.
            Err(Error::NoQueue) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Counts what is in flight only where it could be too much.
    async fn check_in_flight(&self, queue: &Arc<Queue>, signal: &Signal) -> Result<(), Error> {
        if signal.in_flight.load(Ordering::Relaxed) < i64::try_from(IN_FLIGHT_MAX).unwrap_or(i64::MAX) {
            return Ok(());
        }
        let (id, now) = (queue.id, self.now());
        let (crowded, count) = self.db.read(move |tx| data::is_crowded(tx, id, now, IN_FLIGHT_MAX)).await?;
        signal.in_flight.store(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
        if crowded { Err(Error::InFlight(IN_FLIGHT_MAX)) } else { Ok(()) }
    }
}

/// How receives and deletions of a queue are committed.
pub(crate) fn commit_of(queue: &Queue) -> Commit {
    match queue.settings.fifo {
        Some(_) => Commit::Durable,
        None => Commit::Written,
    }
}

/// The handle of a message as it was just received.
pub(crate) fn receipt_of(queue: &Queue, message: &Stored) -> String {
    Receipt { queue: queue.id, seq: message.seq, nonce: message.receipt.unwrap_or_default() }.text()
}

/// The system attributes of a message, all of them.
pub(crate) fn system_of(queue: &Queue, message: &Stored) -> Vec<(&'static str, String)> {
    let sequence = queue.settings.fifo.map(|_| messages::sequence(message.seq));
    [
        ("ApproximateFirstReceiveTimestamp", message.first.map(|at| at.0.to_string())),
        ("ApproximateReceiveCount", Some(message.receives.to_string())),
        ("AWSTraceHeader", message.trace.clone()),
        ("DeadLetterQueueSourceArn", message.origin.clone()),
        ("MessageDeduplicationId", message.deduplication.clone()),
        ("MessageGroupId", message.group.clone()),
        ("SenderId", Some(message.sender.clone())),
        ("SentTimestamp", Some(message.sent.0.to_string())),
        ("SequenceNumber", sequence),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn shown(queue: &Queue, message: Stored, system: &[String], wanted: &[String]) -> Message {
    let all = system.iter().any(|name| name == "All");
    let system: BTreeMap<_, _> = system_of(queue, &message)
        .into_iter()
        .filter(|(name, _)| all || system.iter().any(|wanted| wanted == name))
        .collect();
    let selected = messages::selected(&message.attributes, wanted);
    // The checksum is that of the attributes that are shown.
    let md5 = match selected.len() == message.attributes.len() {
        true => message.attributes_md5.clone(),
        false => messages::checksum(&selected),
    };
    let value = |value: base::MessageAttribute| {
        let binary = value.data_type.starts_with("Binary");
        AttributeValue {
            string_value: (!binary).then(|| String::from_utf8_lossy(&value.value).into_owned()),
            binary_value: binary.then(|| Blob(value.value)),
            data_type: Some(value.data_type),
            ..AttributeValue::default()
        }
    };
    let attributes: BTreeMap<_, _> = selected.into_iter().map(|(name, found)| (name, value(found))).collect();
    Message {
        receipt_handle: receipt_of(queue, &message),
        message_id: message.id,
        md5_of_body: message.body_md5,
        body: message.body,
        attributes: (!system.is_empty()).then_some(Flat("flat:Attribute:Name:Value", system)),
        md5_of_message_attributes: md5.filter(|_| !attributes.is_empty()),
        message_attributes: (!attributes.is_empty())
            .then_some(Flat("flat:MessageAttribute:Name:Value", attributes)),
    }
}
