//! SendMessage and SendMessageBatch.

use super::{check_batch, failed, failures};
use crate::{
    BATCH_BYTES_MAX, Error, Queues,
    api::{
        SendEntry, SendMessageBatchRequest, SendMessageBatchResult, SendMessageRequest, SendMessageResult,
        SentEntry,
    },
    data,
    logic::{
        messages::{self, Given},
        names,
    },
    model::{Outgoing, Queue, Sent},
    signals::Kind,
};
use base::MessageStep;
use std::sync::{Arc, atomic::Ordering};
use wire::{Context, Flat};

impl Queues {
    pub(crate) async fn send_message(
        &self,
        context: &Context,
        input: SendMessageRequest,
    ) -> Result<SendMessageResult, Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        let sender = context.principal.arn();
        let input = &input;
        let (messages, sent) = self
            .with(&key, |queue| {
                let sender = sender.clone();
                async move {
                    self.allowed(&context.principal, "sqs:SendMessage", &queue)?;
                    let given = Given {
                        body: input.message_body.clone(),
                        delay: input.delay_seconds,
                        attributes: input.message_attributes.clone(),
                        system: input.message_system_attributes.clone(),
                        group: input.message_group_id.clone(),
                        deduplication: input.message_deduplication_id.clone(),
                    };
                    let mut message = messages::outgoing(given, &queue.settings, &sender, self.fresh_id())?;
                    message.trace = message.trace.or_else(|| context.trace.as_deref().map(str::to_owned));
                    let messages = Arc::new(vec![message]);
                    let sent = self.put(&queue, Arc::clone(&messages)).await?;
                    Ok((messages, sent))
                }
            })
            .await?;
        let message = messages.first().ok_or(Error::Stale)?;
        let sent = sent.into_iter().next().ok_or(Error::Stale)?;
        Ok(SendMessageResult {
            md5_of_message_body: message.body_md5.clone(),
            md5_of_message_attributes: message.attributes_md5.clone(),
            md5_of_message_system_attributes: message.system_md5.clone(),
            message_id: sent.id,
            sequence_number: sent.sequence,
        })
    }

    pub(crate) async fn send_message_batch(
        &self,
        context: &Context,
        input: SendMessageBatchRequest,
    ) -> Result<SendMessageBatchResult, Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        check_batch("SendMessageBatchRequestEntry", input.entries.iter().map(|entry| entry.id.as_str()))?;
        let sender = context.principal.arn();
        let entries = &input.entries;
        self.with(&key, |queue| {
            let sender = sender.clone();
            async move {
                self.allowed(&context.principal, "sqs:SendMessage", &queue)?;
                let (mut ids, mut good, mut bad) = (Vec::new(), Vec::new(), Vec::new());
                let mut bytes = 0;
                for entry in entries {
                    match messages::outgoing(given(entry), &queue.settings, &sender, self.fresh_id()) {
                        Ok(mut message) => {
                            message.trace =
                                message.trace.or_else(|| context.trace.as_deref().map(str::to_owned));
                            bytes += message.bytes();
                            ids.push(entry.id.clone());
                            good.push(message);
                        }
                        Err(error) => bad.push(failed(entry.id.clone(), &error)),
                    }
                }
                if bytes > BATCH_BYTES_MAX {
                    return Err(Error::LongBatch { got: bytes, max: BATCH_BYTES_MAX });
                }
                let good = Arc::new(good);
                let sent = match good.is_empty() {
                    true => Vec::new(),
                    false => self.put(&queue, Arc::clone(&good)).await?,
                };
                let entries = ids.into_iter().zip(good.iter()).zip(sent);
                let successful = entries.map(|((id, message), sent)| SentEntry {
                    id,
                    message_id: sent.id,
                    md5_of_message_body: message.body_md5.clone(),
                    md5_of_message_attributes: message.attributes_md5.clone(),
                    md5_of_message_system_attributes: message.system_md5.clone(),
                    sequence_number: sent.sequence,
                });
                Ok(SendMessageBatchResult {
                    successful: Flat("flat:SendMessageBatchResultEntry", successful.collect()),
                    failed: failures(bad),
                })
            }
        })
        .await
    }

    /// Puts messages on disk, and wakes who waits for them.
    pub(crate) async fn put(
        &self,
        queue: &Arc<Queue>,
        messages: Arc<Vec<Outgoing>>,
    ) -> Result<Vec<Sent>, Error> {
        let signal = self.signals.of(queue.id);
        let now = self.now();
        if queue.settings.fifo.is_some_and(|fifo| !fifo.high_throughput) {
            signal.admit(Kind::Send, now)?;
        }
        let (into, count) = (Arc::clone(queue), messages.len());
        let sizes: Vec<usize> = messages.iter().map(Outgoing::bytes).collect();
        let sent = self
            .db
            .write(move |tx| {
                data::check(tx, &into)?;
                data::send(tx, &into, &messages, now)
            })
            .await?;
        let added = sent.iter().zip(sizes).filter(|(sent, _)| !sent.repeated).map(|(_, bytes)| bytes);
        let added: Vec<usize> = added.collect();
        signal.counts.sent.fetch_add(added.len() as u64, Ordering::Relaxed);
        if !added.is_empty() {
            self.count(queue, MessageStep::Sent(&added));
        }
        if added.len() < count {
            self.count(queue, MessageStep::Deduplicated(count - added.len()));
        }
        signal.wake(count);
        self.to_be_removed(queue, now);
        Ok(sent)
    }
}

fn given(entry: &SendEntry) -> Given {
    Given {
        body: entry.message_body.clone(),
        delay: entry.delay_seconds,
        attributes: entry.message_attributes.clone(),
        system: entry.message_system_attributes.clone(),
        group: entry.message_group_id.clone(),
        deduplication: entry.message_deduplication_id.clone(),
    }
}
