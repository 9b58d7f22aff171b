//! Queues in memory, by the test's clock.

use crate::support::ManualClock;
use base::{
    Arn, Clock, Future, Principal, QueueFacts, QueueMessage, QueueSource, Seconds, SourceError, Timer,
    Timestamp,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
};
use tokio::sync::watch;

struct Message {
    id: String,
    body: String,
    group: Option<String>,
    trace: Option<String>,
    visible: Timestamp,
    receives: u32,
    receipt: String,
}

struct Queue {
    visibility: Seconds,
    messages: Vec<Message>,
}

/// All queues of a world.
pub(crate) struct FakeQueues {
    clock: Arc<ManualClock>,
    queues: Mutex<BTreeMap<String, Queue>>,
    changed: watch::Sender<u64>,
    /// Roles that may do nothing.
    pub(crate) denied: Mutex<HashSet<String>>,
    /// How often [`QueueSource::receive`] was asked.
    pub(crate) receives: Mutex<u64>,
    /// Who asked last.
    pub(crate) asked_by: Mutex<Option<Principal>>,
}

impl FakeQueues {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Arc<FakeQueues> {
        Arc::new(FakeQueues {
            clock,
            queues: Mutex::default(),
            changed: watch::Sender::new(0),
            denied: Mutex::default(),
            receives: Mutex::default(),
            asked_by: Mutex::default(),
        })
    }

    pub(crate) fn create(&self, name: &str, visibility: u32) -> String {
        let queue = Queue { visibility: Seconds(visibility), messages: Vec::new() };
        self.queues.lock().unwrap().insert(name.to_owned(), queue);
        self.changed.send_modify(|count| *count += 1);
        format!("arn:aws:sqs:us-east-1:000000000000:{name}")
    }

    pub(crate) fn remove(&self, name: &str) {
        self.queues.lock().unwrap().remove(name);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn send(&self, name: &str, body: &str) {
        self.send_with(name, body, None, None);
    }

    pub(crate) fn send_with(&self, name: &str, body: &str, group: Option<&str>, trace: Option<String>) {
        let mut queues = self.queues.lock().unwrap();
        queues.get_mut(name).unwrap().messages.push(Message {
            id: format!("id-{body}"),
            body: body.to_owned(),
            group: group.map(str::to_owned),
            trace,
            visible: Timestamp(0),
            receives: 0,
            receipt: String::new(),
        });
        drop(queues);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Messages that are there, visible or not: body and how often received.
    pub(crate) fn left(&self, name: &str) -> Vec<(String, u32)> {
        let queues = self.queues.lock().unwrap();
        queues[name].messages.iter().map(|message| (message.body.clone(), message.receives)).collect()
    }

    /// Bodies of those that are hidden.
    pub(crate) fn hidden(&self, name: &str) -> Vec<String> {
        let (queues, now) = (self.queues.lock().unwrap(), self.clock.now());
        let hidden = queues[name].messages.iter().filter(|message| message.visible > now);
        hidden.map(|message| message.body.clone()).collect()
    }

    fn allowed(&self, who: &Principal) -> Result<(), SourceError> {
        *self.asked_by.lock().unwrap() = Some(who.clone());
        let Principal::Session { role, .. } = who else { return Ok(()) };
        match self.denied.lock().unwrap().contains(role) {
            true => Err(SourceError::Denied(format!("{role} may not perform: sqs:ReceiveMessage"))),
            false => Ok(()),
        }
    }

    fn with<T>(
        &self,
        who: &Principal,
        arn: &Arn,
        act: impl FnOnce(&mut Queue) -> T,
    ) -> Result<T, SourceError> {
        self.allowed(who)?;
        let mut queues = self.queues.lock().unwrap();
        Ok(act(queues.get_mut(&*arn.resource).ok_or_else(|| SourceError::Missing(arn.clone()))?))
    }
}

impl QueueSource for FakeQueues {
    fn describe(&self, who: Principal, queue: Arn) -> Future<'_, Result<QueueFacts, SourceError>> {
        let facts = self.with(&who, &queue, |found| QueueFacts {
            fifo: queue.resource.ends_with(".fifo"),
            visibility: found.visibility,
            visible: 0,
        });
        Box::pin(async move { facts })
    }

    fn receive(
        &self,
        who: Principal,
        queue: Arn,
        max: u32,
        bytes_max: usize,
    ) -> Future<'_, Result<Vec<QueueMessage>, SourceError>> {
        *self.receives.lock().unwrap() += 1;
        let count = *self.receives.lock().unwrap();
        let now = self.clock.now();
        let received = self.with(&who, &queue, |found| {
            let until = now.plus_ms(i64::from(found.visibility.0) * 1_000);
            let in_flight = found.messages.iter().filter(|message| message.visible > now);
            let mut locked: HashSet<String> = in_flight.filter_map(|message| message.group.clone()).collect();
            if !queue.resource.ends_with(".fifo") {
                locked.clear();
            }
            let (mut got, mut bytes) = (Vec::new(), 0);
            for message in &mut found.messages {
                let shut = message.group.as_ref().is_some_and(|group| locked.contains(group));
                if message.visible > now || shut || got.len() >= max as usize {
                    continue;
                }
                bytes += message.body.len();
                if bytes > bytes_max {
                    break;
                }
                message.visible = until;
                message.receives += 1;
                message.receipt = format!("{}-{count}", message.id);
                let mut system = vec![("ApproximateReceiveCount", message.receives.to_string())];
                system.extend(message.group.clone().map(|group| ("MessageGroupId", group)));
                system.extend(message.trace.clone().map(|trace| ("AWSTraceHeader", trace)));
                got.push(QueueMessage {
                    id: message.id.clone(),
                    receipt: message.receipt.clone(),
                    body: message.body.clone(),
                    body_md5: "md5".to_owned(),
                    attributes_md5: None,
                    system,
                    attributes: Vec::new(),
                });
            }
            got
        });
        Box::pin(async move { received })
    }

    fn delete(
        &self,
        who: Principal,
        queue: Arn,
        receipts: Vec<String>,
    ) -> Future<'_, Result<(), SourceError>> {
        let deleted = self.with(&who, &queue, |found| {
            found.messages.retain(|message| !receipts.contains(&message.receipt));
        });
        self.changed.send_modify(|count| *count += 1);
        Box::pin(async move { deleted })
    }

    fn hide(
        &self,
        who: Principal,
        queue: Arn,
        receipts: Vec<String>,
        hide: Seconds,
    ) -> Future<'_, Result<(), SourceError>> {
        let until = self.clock.now().plus_ms(i64::from(hide.0) * 1_000);
        let hidden = self.with(&who, &queue, |found| {
            for message in found.messages.iter_mut().filter(|message| receipts.contains(&message.receipt)) {
                message.visible = until;
            }
        });
        self.changed.send_modify(|count| *count += 1);
        Box::pin(async move { hidden })
    }

    fn ready(&self, queue: Arn) -> Future<'static, ()> {
        let (clock, mut changed) = (Arc::clone(&self.clock), self.changed.subscribe());
        let now = clock.now();
        let next = {
            let queues = self.queues.lock().unwrap();
            let Some(found) = queues.get(&*queue.resource) else { return Box::pin(async {}) };
            found.messages.iter().map(|message| message.visible).min()
        };
        // What a group hides is told of by whatever changes it.
        if next.is_some_and(|next| next <= now) && !queue.resource.ends_with(".fifo") {
            return Box::pin(async {});
        }
        Box::pin(async move {
            let visible = async {
                match next.filter(|next| *next > now) {
                    Some(next) => clock.sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = visible => {}
                _ = changed.changed() => {}
            }
        })
    }
}
