//! Neap's own operations on queues: what people look at.
//!
//! REST-JSON under `/_neap/v1/queues`, signing name `neap-queues`, member names in snake case.

use crate::{
    Error, Queues, data,
    model::{QueueKey, Stored},
};
use base::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use wire::Context;

/// Queues of an answer; of an account with more the first by name.
const QUEUES_MAX: i64 = 1_000;
/// Messages of an answer. Default 10.
const PEEK_MAX: i64 = 100;

/// Neap's own operations. See [`Queues::inspection`].
pub struct Inspection(Arc<Queues>);

impl Queues {
    /// Neap's own operations, to be registered with the gateway too.
    pub fn inspection(self: &Arc<Self>) -> Arc<Inspection> {
        Arc::new(Inspection(Arc::clone(self)))
    }
}

wire::api! {
    /// Neap's own operations on queues.
    impl Inspection;
    name: "neap-queues";
    protocol: rest_json;

    operations {
        /// The queues of the account and region with what is in them: at most 1,000, by name.
        DescribeQueues => describe_queues(DescribeQueuesRequest) -> DescribeQueuesResponse {
            http: GET "/_neap/v1/queues" 200,
            query: ["prefix" => prefix],
            allow: "neap:DescribeQueues" on "*",
            errors: [],
        }
        /// The oldest messages of a queue, without receiving them.
        PeekMessages => peek_messages(PeekMessagesRequest) -> PeekMessagesResponse {
            http: GET "/_neap/v1/queues/{name}/messages" 200,
            query: ["max" => max],
            allow: "neap:PeekMessages" on "*",
            errors: [InvalidParameterValueException, QueueDoesNotExist],
        }
    }
    missing: [];
}

/// Which queues.
#[derive(Debug, Deserialize)]
pub struct DescribeQueuesRequest {
    prefix: Option<String>,
}

/// The queues of an account.
#[derive(Debug, Serialize)]
pub struct DescribeQueuesResponse {
    queues: Vec<QueueView>,
}

/// A queue with what is in it.
#[derive(Debug, Serialize)]
pub struct QueueView {
    name: String,
    fifo: bool,
    visible: u64,
    in_flight: u64,
    delayed: u64,
    /// Since the oldest message was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age_s: Option<u64>,
    /// Where messages go that are received too often.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_queue: Option<String>,
    /// Whether it is such a queue itself.
    is_dead_letter_queue: bool,
}

/// Which messages.
#[derive(Debug, Deserialize)]
pub struct PeekMessagesRequest {
    name: String,
    max: Option<i64>,
}

/// Messages.
#[derive(Debug, Serialize)]
pub struct PeekMessagesResponse {
    messages: Vec<MessageView>,
}

/// A message.
#[derive(Debug, Serialize)]
pub struct MessageView {
    id: String,
    body: String,
    /// `visible`, `in flight` or `delayed`.
    state: &'static str,
    age_s: u64,
    receive_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// ARN of the queue that it was moved from.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

impl Inspection {
    async fn describe_queues(
        &self,
        context: &Context,
        input: DescribeQueuesRequest,
    ) -> Result<DescribeQueuesResponse, Error> {
        let (account, region, now) = (context.account, context.region.clone(), self.0.now());
        let prefix = input.prefix.unwrap_or_default();
        let queues = self
            .0
            .db
            .read(move |tx| {
                let keys = data::list_queues(tx, (account, &region), &prefix, "", QUEUES_MAX)?;
                keys.iter().map(|key| view(tx, key, now)).collect::<Result<Vec<_>, Error>>()
            })
            .await?;
        Ok(DescribeQueuesResponse { queues: queues.into_iter().flatten().collect() })
    }

    async fn peek_messages(
        &self,
        context: &Context,
        input: PeekMessagesRequest,
    ) -> Result<PeekMessagesResponse, Error> {
        let max = input.max.unwrap_or(10);
        if !(1..=PEEK_MAX).contains(&max) {
            return Err(Error::value(max, "max", format!("Must be between 1 and {PEEK_MAX}.")));
        }
        let key =
            QueueKey { account: context.account, region: context.region.clone(), name: input.name.into() };
        let queue = self.0.read_anew(&key).await?;
        let now = self.0.now();
        let found = self.0.db.read(move |tx| data::peek(tx, queue.id, max)).await?;
        let shown = |message: Stored| MessageView {
            state: match (message.due > now, message.receipt) {
                (false, _) => "visible",
                (true, Some(_)) => "in flight",
                (true, None) => "delayed",
            },
            age_s: age_s(message.sent, now),
            id: message.id,
            body: message.body,
            receive_count: message.receives,
            group: message.group,
            from: message.origin,
        };
        Ok(PeekMessagesResponse { messages: found.into_iter().map(shown).collect() })
    }
}

fn view(tx: &mut store::Tx<'_>, key: &QueueKey, now: Timestamp) -> Result<Option<QueueView>, Error> {
    let Some(queue) = data::queue(tx, key)? else { return Ok(None) };
    let depth = data::depth(tx, queue.id, now)?;
    Ok(Some(QueueView {
        name: key.name.to_string(),
        fifo: queue.settings.fifo.is_some(),
        visible: depth.visible,
        in_flight: depth.in_flight,
        delayed: depth.delayed,
        oldest_age_s: depth.oldest.map(|sent| age_s(sent, now)),
        dead_letter_queue: queue.settings.redrive.map(|redrive| redrive.target.name.to_string()),
        is_dead_letter_queue: !data::sources_of(tx, key, "", 1)?.is_empty(),
    }))
}

fn age_s(sent: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.0.saturating_sub(sent.0) / 1_000).unwrap_or_default()
}
