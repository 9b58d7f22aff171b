//! Queues for other parts of the node: polled by event source mappings, and as targets of events.

use crate::{
    Error, Queues, data,
    logic::{
        messages::{self, Given},
        receipts::Receipt,
    },
    model::QueueKey,
    ops::{Order, Settle, receipt_of, system_of},
};
use base::{
    Arn, Deliver, Delivery, Fault, Future, NotDelivered, Principal, QueueFacts, QueueMessage, QueueSource,
    Seconds, Sender, ServiceError as _, SourceError,
};
use std::{collections::BTreeMap, pin::pin, sync::Arc};

fn key(arn: &Arn) -> Result<QueueKey, Error> {
    QueueKey::of(arn).ok_or(Error::NoQueue)
}

fn source_error(error: Error, arn: &Arn) -> SourceError {
    match error {
        Error::NoQueue => SourceError::Missing(arn.clone()),
        Error::Denied(denied) => SourceError::Denied(denied.to_string()),
        other => SourceError::NotNow(other.to_string()),
    }
}

impl Queues {
    async fn settled(
        &self,
        who: &Principal,
        arn: &Arn,
        action: &str,
        receipts: &[String],
        settle: Settle,
    ) -> Result<(), Error> {
        self.with(&key(arn)?, |queue| async move {
            self.allowed(who, action, &queue)?;
            let known = receipts.iter().filter_map(|text| Receipt::parse(text, queue.id).ok());
            let all: Vec<_> = known.map(|receipt| (receipt, settle)).collect();
            if !all.is_empty() {
                self.settle(&queue, all).await?;
            }
            Ok(())
        })
        .await
    }

    async fn accept(&self, sender: &Sender, target: &Arn) -> Result<Arc<crate::model::Queue>, Error> {
        let queue = self.queue(&key(target)?).await?;
        match sender {
            Sender::Principal(who) => self.allowed(who, "sqs:SendMessage", &queue)?,
            Sender::Service(caller) => self.allowed_to_service(caller, "sqs:SendMessage", &queue)?,
        }
        Ok(queue)
    }

    async fn hand_in(&self, sender: &Sender, target: &Arn, event: &Delivery) -> Result<(), Error> {
        self.with(&key(target)?, |_| async move {
            let queue = self.accept(sender, target).await?;
            let text = |value: &str| crate::api::AttributeValue {
                data_type: Some("String".to_owned()),
                string_value: Some(value.to_owned()),
                ..crate::api::AttributeValue::default()
            };
            let attributes = event.attributes.iter().map(|(name, value)| (name.clone(), text(value)));
            let fifo = queue.settings.fifo.is_some();
            let given = Given {
                body: Some(String::from_utf8_lossy(&event.body).into_owned()),
                delay: None,
                attributes: attributes.collect(),
                system: event
                    .trace
                    .iter()
                    .map(|trace| ("AWSTraceHeader".to_owned(), text(trace)))
                    .collect::<BTreeMap<_, _>>(),
                group: fifo.then(|| event.id.to_string()),
                deduplication: fifo.then(|| event.id.to_string()),
            };
            let who = match sender {
                Sender::Principal(principal) => principal.arn(),
                Sender::Service(caller) => caller.service.to_owned(),
            };
            let message = messages::outgoing(given, &queue.settings, &who, self.fresh_id())?;
            self.put(&queue, Arc::new(vec![message])).await?;
            Ok(())
        })
        .await
    }
}

impl QueueSource for Queues {
    fn describe(&self, who: Principal, arn: Arn) -> Future<'_, Result<QueueFacts, SourceError>> {
        Box::pin(async move {
            let facts = async {
                let queue = self.read_anew(&key(&arn)?).await?;
                for action in ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"] {
                    self.allowed(&who, action, &queue)?;
                }
                let (id, now) = (queue.id, self.now());
                let depth = self.db.read(move |tx| data::depth(tx, id, now)).await?;
                Ok(QueueFacts {
                    fifo: queue.settings.fifo.is_some(),
                    visibility: queue.settings.visibility,
                    visible: depth.visible,
                })
            };
            facts.await.map_err(|error| source_error(error, &arn))
        })
    }

    fn receive(
        &self,
        who: Principal,
        arn: Arn,
        max: u32,
        bytes_max: usize,
    ) -> Future<'_, Result<Vec<QueueMessage>, SourceError>> {
        Box::pin(async move {
            let received = async {
                let key = key(&arn)?;
                let queue = self.queue(&key).await?;
                self.allowed(&who, "sqs:ReceiveMessage", &queue)?;
                let order =
                    Order { max: max.clamp(1, 10_000) as usize, bytes_max, visibility: None, attempt: None };
                let (queue, taken) = self.take(&key, &order).await?;
                let told = |message: crate::model::Stored| QueueMessage {
                    receipt: receipt_of(&queue, &message),
                    system: system_of(&queue, &message),
                    id: message.id,
                    body: message.body,
                    body_md5: message.body_md5,
                    attributes_md5: message.attributes_md5,
                    attributes: message.attributes,
                };
                Ok(taken.messages.into_iter().map(told).collect())
            };
            received.await.map_err(|error| source_error(error, &arn))
        })
    }

    fn delete(&self, who: Principal, arn: Arn, receipts: Vec<String>) -> Future<'_, Result<(), SourceError>> {
        Box::pin(async move {
            let done = self.settled(&who, &arn, "sqs:DeleteMessage", &receipts, Settle::Delete).await;
            done.map_err(|error| source_error(error, &arn))
        })
    }

    fn hide(
        &self,
        who: Principal,
        arn: Arn,
        receipts: Vec<String>,
        hide: Seconds,
    ) -> Future<'_, Result<(), SourceError>> {
        Box::pin(async move {
            // Whoever polls for somebody needs no permission beyond those that the port names.
            let done = self.settled(&who, &arn, "sqs:ReceiveMessage", &receipts, Settle::Hide(hide)).await;
            done.map_err(|error| source_error(error, &arn))
        })
    }

    fn ready(&self, arn: Arn) -> Future<'_, ()> {
        Box::pin(async move {
            loop {
                let Ok(key) = key(&arn) else { return };
                // A queue that is gone, or a store that fails, is for the receive to tell.
                let Ok(queue) = self.queue(&key).await else { return };
                let signal = self.signals.of(queue.id);
                let mut told = pin!(signal.all.notified());
                told.as_mut().enable();
                let now = self.now();
                let Ok(next) = self.look_at(&queue, now).await else { return };
                let sleep = async {
                    match next {
                        Some(at) if at <= now => {}
                        Some(at) => self.clock.sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! { () = told => return, () = sleep => {} }
                if next.is_some_and(|at| at <= self.now()) && !self.settings.shared {
                    return;
                }
                if self.settings.shared {
                    let asked = Arc::clone(&queue);
                    match self.db.read(move |tx| data::next_due(tx, &asked)).await {
                        Ok(Some(due)) if due <= self.now() => return,
                        Ok(_) => {}
                        Err(_) => return,
                    }
                }
            }
        })
    }
}

impl Deliver for Queues {
    fn accepts(&self, sender: Sender, target: Arn) -> Future<'_, Result<(), NotDelivered>> {
        Box::pin(async move {
            self.accept(&sender, &target).await.map(drop).map_err(|error| not_delivered(error, &target))
        })
    }

    fn deliver(&self, sender: Sender, target: Arn, event: Delivery) -> Future<'_, Result<(), NotDelivered>> {
        Box::pin(async move {
            self.hand_in(&sender, &target, &event).await.map_err(|error| not_delivered(error, &target))
        })
    }
}

fn not_delivered(error: Error, target: &Arn) -> NotDelivered {
    match error {
        Error::NoQueue => NotDelivered::Missing(target.clone()),
        Error::Denied(denied) => NotDelivered::Denied(denied.to_string()),
        other => match other.fault() {
            Fault::Invalid | Fault::TooLarge | Fault::Unsupported | Fault::NotFound => {
                NotDelivered::Refused(other.to_string())
            }
            Fault::Unauthenticated
            | Fault::Denied
            | Fault::Conflict
            | Fault::Precondition
            | Fault::Throttled
            | Fault::Us
            | Fault::Dependency
            | Fault::Unavailable => NotDelivered::NotNow(other.to_string()),
        },
    }
}
