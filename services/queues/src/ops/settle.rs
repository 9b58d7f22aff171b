//! DeleteMessage, ChangeMessageVisibility and their batches.

use super::{
    check_batch, failed, failures,
    receive::{VISIBILITY_S, commit_of},
};
use crate::{
    Error, Queues,
    api::{
        BatchResult, ChangeMessageVisibilityBatchRequest, ChangeMessageVisibilityRequest,
        DeleteMessageBatchRequest, DeleteMessageRequest, DoneEntry, ReceiptEntry,
    },
    data,
    logic::{names, receipts::Receipt},
    model::{Queue, QueueKey},
    signals::Kind,
};
use base::{MessageStep, Seconds};
use std::sync::{Arc, atomic::Ordering};
use wire::{Context, Flat};

/// What is to be done with a received message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Settle {
    Delete,
    Hide(Seconds),
}

impl Queues {
    pub(crate) async fn delete_message(
        &self,
        context: &Context,
        input: DeleteMessageRequest,
    ) -> Result<(), Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        self.one(context, &key, "sqs:DeleteMessage", &input.receipt_handle, Settle::Delete).await
    }

    pub(crate) async fn change_message_visibility(
        &self,
        context: &Context,
        input: ChangeMessageVisibilityRequest,
    ) -> Result<(), Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        let settle = hiding(input.visibility_timeout)?;
        self.one(context, &key, "sqs:ChangeMessageVisibility", &input.receipt_handle, settle).await
    }

    pub(crate) async fn delete_message_batch(
        &self,
        context: &Context,
        input: DeleteMessageBatchRequest,
    ) -> Result<BatchResult, Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        check_batch("DeleteMessageBatchRequestEntry", input.entries.iter().map(|entry| entry.id.as_str()))?;
        let name = "flat:DeleteMessageBatchResultEntry";
        self.batch(context, &key, "sqs:DeleteMessage", name, input.entries, |_| Ok(Settle::Delete)).await
    }

    pub(crate) async fn change_message_visibility_batch(
        &self,
        context: &Context,
        input: ChangeMessageVisibilityBatchRequest,
    ) -> Result<BatchResult, Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        let ids = input.entries.iter().map(|entry| entry.id.as_str());
        check_batch("ChangeMessageVisibilityBatchRequestEntry", ids)?;
        let name = "flat:ChangeMessageVisibilityBatchResultEntry";
        let how = |entry: &ReceiptEntry| hiding(entry.visibility_timeout);
        self.batch(context, &key, "sqs:ChangeMessageVisibility", name, input.entries, how).await
    }

    async fn one(
        &self,
        context: &Context,
        key: &QueueKey,
        action: &str,
        handle: &str,
        settle: Settle,
    ) -> Result<(), Error> {
        self.with(key, |queue| async move {
            self.allowed(&context.principal, action, &queue)?;
            let receipt = Receipt::parse(handle, queue.id)?;
            let mut done = self.settle(&queue, vec![(receipt, settle)]).await?;
            done.pop().unwrap_or(Err(Error::Stale))
        })
        .await
    }

    async fn batch(
        &self,
        context: &Context,
        key: &QueueKey,
        action: &str,
        name: &'static str,
        entries: Vec<ReceiptEntry>,
        how: impl Fn(&ReceiptEntry) -> Result<Settle, Error> + Sync,
    ) -> Result<BatchResult, Error> {
        let (entries, how) = (&entries, &how);
        self.with(key, |queue| async move {
            self.allowed(&context.principal, action, &queue)?;
            let (mut ids, mut all, mut bad) = (Vec::new(), Vec::new(), Vec::new());
            for entry in entries {
                let read = Receipt::parse(&entry.receipt_handle, queue.id);
                match read.and_then(|receipt| Ok((receipt, how(entry)?))) {
                    Ok(one) => {
                        ids.push(entry.id.clone());
                        all.push(one);
                    }
                    Err(error) => bad.push(failed(entry.id.clone(), &error)),
                }
            }
            let done = match all.is_empty() {
                true => Vec::new(),
                false => self.settle(&queue, all).await?,
            };
            let mut good = Vec::new();
            for (id, done) in ids.into_iter().zip(done) {
                match done {
                    Ok(()) => good.push(DoneEntry { id }),
                    Err(error) => bad.push(failed(id, &error)),
                }
            }
            Ok(BatchResult { successful: Flat(name, good), failed: failures(bad) })
        })
        .await
    }

    /// Settles messages in one transaction.
    ///
    /// Deleting by a receipt that is void does nothing, as on SQS, except on FIFO queues, where it is refused; so is changing the
    /// visibility of a message that is not in flight.
    pub(crate) async fn settle(
        &self,
        queue: &Arc<Queue>,
        all: Vec<(Receipt, Settle)>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let signal = self.signals.of(queue.id);
        let now = self.now();
        if queue.settings.fifo.is_some_and(|fifo| !fifo.high_throughput) {
            signal.admit(Kind::Settle, now)?;
        }
        let (of, orders) = (Arc::clone(queue), all.clone());
        let done = self
            .db
            .write_at(commit_of(queue), move |tx| {
                data::check(tx, &of)?;
                let mut tally = data::Tally::default();
                let one = |(receipt, settle): &(Receipt, Settle)| {
                    let place = (receipt.seq, receipt.nonce);
                    match settle {
                        Settle::Delete => data::delete(tx, &of, place, now, &mut tally),
                        Settle::Hide(seconds) => {
                            data::hide_until(tx, &of, place, now.plus_ms(i64::from(seconds.0) * 1_000), now)
                        }
                    }
                };
                let done = orders.iter().map(one).collect::<Result<Vec<bool>, Error>>()?;
                tally.write(tx, of.id)?;
                Ok::<_, Error>(done)
            })
            .await?;
        let deleted =
            all.iter().zip(&done).filter(|((_, settle), done)| matches!(settle, Settle::Delete) && **done);
        let deleted = deleted.count();
        signal.in_flight.fetch_sub(i64::try_from(deleted).unwrap_or_default(), Ordering::Relaxed);
        signal.counts.deleted.fetch_add(deleted as u64, Ordering::Relaxed);
        if deleted > 0 {
            self.count(queue, MessageStep::Deleted(deleted));
        }
        let shown = all.iter().filter(|(_, settle)| matches!(settle, Settle::Hide(Seconds(0)))).count();
        if shown > 0 || queue.settings.fifo.is_some() {
            // A group may be free now.
            signal.wake(all.len());
        }
        let fate = |((receipt, settle), done): ((Receipt, Settle), bool)| match settle {
            Settle::Delete if !done && queue.settings.fifo.is_some() => {
                Err(Error::value(receipt.text(), "ReceiptHandle", "The receipt handle has expired."))
            }
            Settle::Hide(_) if !done => Err(Error::NotInFlight(receipt.text())),
            Settle::Delete | Settle::Hide(_) => Ok(()),
        };
        Ok(all.into_iter().zip(done).map(fate).collect())
    }
}

fn hiding(seconds: Option<i64>) -> Result<Settle, Error> {
    let seconds = seconds.ok_or(Error::Missing("VisibilityTimeout"))?;
    match VISIBILITY_S.contains(&seconds) {
        true => Ok(Settle::Hide(Seconds(u32::try_from(seconds).unwrap_or_default()))),
        false => Err(Error::value(
            seconds,
            "VisibilityTimeout",
            "VisibilityTimeout must be an integer between 0 and 43200.",
        )),
    }
}
