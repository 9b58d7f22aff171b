//! CreateQueue, GetQueueUrl, ListQueues, DeleteQueue, PurgeQueue, ListDeadLetterSourceQueues.

use crate::{
    DELETED_S, Error, PURGE_REST_S, Queues,
    api::{
        CreateQueueRequest, GetQueueUrlRequest, ListDeadLetterSourceQueuesRequest,
        ListDeadLetterSourceQueuesResult, ListQueuesRequest, ListQueuesResult, QueueRequest, QueueUrlResult,
    },
    data,
    logic::{attributes, names},
    model::{Queue, QueueKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use std::{collections::BTreeMap, sync::Arc};
use wire::{Context, Flat};

/// Queues of an answer.
const PAGE_MAX: i64 = 1_000;

impl Queues {
    pub(crate) async fn create_queue(
        &self,
        context: &Context,
        input: CreateQueueRequest,
    ) -> Result<QueueUrlResult, Error> {
        names::new_queue(&input.queue_name)?;
        let key = QueueKey {
            account: context.account,
            region: context.region.clone(),
            name: input.queue_name.as_str().into(),
        };
        let wanted = attributes::merged(&key, &BTreeMap::new(), &input.attributes, true)?;
        super::attributes::check_tags(&input.tags)?;
        let settings = attributes::settings(&key, &wanted)?;
        let now = self.now();
        let queue = Queue {
            id: 0,
            key: key.clone(),
            attributes: wanted,
            settings,
            tags: input.tags,
            created: now,
            modified: now,
            revision: 1,
        };
        let asked = input.attributes;
        self.db
            .write(move |tx| {
                if let Some(existing) = data::queue(tx, &queue.key)? {
                    return same(&existing, &asked);
                }
                if data::is_name_resting(tx, &queue.key, now)? {
                    return Err(Error::DeletedRecently);
                }
                check_target(tx, &queue)?;
                data::insert_queue(tx, &queue)
            })
            .await?;
        self.forget(&key);
        Ok(QueueUrlResult { queue_url: names::url(&context.authority, &key) })
    }

    pub(crate) async fn get_queue_url(
        &self,
        context: &Context,
        input: GetQueueUrlRequest,
    ) -> Result<QueueUrlResult, Error> {
        let account = match input.queue_owner_aws_account_id.as_deref() {
            None => context.account,
            Some(owner) => owner
                .parse()
                .map_err(|_| Error::value(owner, "QueueOwnerAWSAccountId", "Must be 12 digits."))?,
        };
        let key = QueueKey { account, region: context.region.clone(), name: input.queue_name.into() };
        let queue = self.read_anew(&key).await?;
        self.allowed(&context.principal, "sqs:GetQueueUrl", &queue)?;
        Ok(QueueUrlResult { queue_url: names::url(&context.authority, &key) })
    }

    pub(crate) async fn list_queues(
        &self,
        context: &Context,
        input: ListQueuesRequest,
    ) -> Result<ListQueuesResult, Error> {
        let page = Page::of(input.max_results, input.next_token.as_deref())?;
        let prefix = input.queue_name_prefix.unwrap_or_default();
        let (account, region) = (context.account, context.region.clone());
        let (after, limit) = (page.after.clone(), page.size + 1);
        let found =
            self.db.read(move |tx| data::list_queues(tx, (account, &region), &prefix, &after, limit)).await?;
        let (urls, next_token) = page.cut(found, &context.authority);
        Ok(ListQueuesResult {
            queue_urls: (!urls.is_empty()).then_some(Flat("flat:QueueUrl", urls)),
            next_token,
        })
    }

    pub(crate) async fn list_dead_letter_source_queues(
        &self,
        context: &Context,
        input: ListDeadLetterSourceQueuesRequest,
    ) -> Result<ListDeadLetterSourceQueuesResult, Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        let queue = self.read_anew(&key).await?;
        self.allowed(&context.principal, "sqs:ListDeadLetterSourceQueues", &queue)?;
        let page = Page::of(input.max_results, input.next_token.as_deref())?;
        let (after, limit) = (page.after.clone(), page.size + 1);
        let found = self.db.read(move |tx| data::sources_of(tx, &key, &after, limit)).await?;
        let (urls, next_token) = page.cut(found, &context.authority);
        Ok(ListDeadLetterSourceQueuesResult { queue_urls: Flat("flat:QueueUrl", urls), next_token })
    }

    pub(crate) async fn delete_queue(&self, context: &Context, input: QueueRequest) -> Result<(), Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        let until = self.now().plus_ms(DELETED_S * 1_000);
        let queue = self
            .with(&key, |queue| async move {
                self.allowed(&context.principal, "sqs:DeleteQueue", &queue)?;
                let gone = Arc::clone(&queue);
                self.db
                    .write(move |tx| {
                        data::check(tx, &gone)?;
                        data::delete_queue(tx, &gone, until)
                    })
                    .await?;
                Ok(queue)
            })
            .await?;
        self.forget(&key);
        self.signals.forget(queue.id);
        self.work.notify_one();
        Ok(())
    }

    pub(crate) async fn purge_queue(&self, context: &Context, input: QueueRequest) -> Result<(), Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        let now = self.now();
        self.with(&key, |queue| async move {
            self.allowed(&context.principal, "sqs:PurgeQueue", &queue)?;
            let name = queue.key.name.to_string();
            let begun = self
                .db
                .write(move |tx| {
                    data::check(tx, &queue)?;
                    data::begin_purge(tx, queue.id, now, PURGE_REST_S * 1_000)
                })
                .await?;
            begun.map_err(|_| Error::Purging(name))
        })
        .await?;
        self.work.notify_one();
        Ok(())
    }
}

/// Whether a queue that is there is what a request would make: every attribute that it names has the same value.
fn same(existing: &Queue, asked: &BTreeMap<String, String>) -> Result<(), Error> {
    let shown = attributes::shown(&existing.key, &existing.attributes);
    let differs = asked.iter().find(|(name, value)| {
        shown.get(*name).is_some_and(|shown| shown != *value)
            || !value.is_empty() && !shown.contains_key(*name)
    });
    match differs {
        Some((name, _)) => Err(Error::NameExists(name.clone())),
        None => Ok(()),
    }
}

/// Refuses a dead-letter queue that is not there or does not want to be one.
pub(super) fn check_target(tx: &mut store::Tx<'_>, queue: &Queue) -> Result<(), Error> {
    let Some(redrive) = &queue.settings.redrive else { return Ok(()) };
    let text = queue.attributes.get("RedrivePolicy").map(String::as_str).unwrap_or_default();
    let target = data::queue(tx, &redrive.target)?
        .ok_or_else(|| Error::value(text, "RedrivePolicy", "Dead letter target does not exist."))?;
    match target.settings.allow.allows(&queue.key.arn()) {
        true => Ok(()),
        false => Err(Error::value(
            text,
            "RedrivePolicy",
            "Dead letter target does not allow this queue as its source.",
        )),
    }
}

struct Page {
    size: i64,
    after: String,
    /// Whether a token for the next page is given; without a size AWS gives none.
    paged: bool,
}

impl Page {
    fn of(max: Option<i64>, token: Option<&str>) -> Result<Page, Error> {
        let size = match max {
            None => PAGE_MAX,
            Some(max) if (1..=PAGE_MAX).contains(&max) => max,
            Some(max) => {
                let why = format!("Must be between 1 and {PAGE_MAX}, if provided.");
                return Err(Error::value(max, "MaxResults", why));
            }
        };
        let bad = || Error::value("NextToken", "NextToken", "Not a token of this operation.");
        let after = match token {
            None => String::new(),
            Some(token) => {
                let bytes = BASE64.decode(token).map_err(|_| bad())?;
                String::from_utf8(bytes).map_err(|_| bad())?
            }
        };
        Ok(Page { size, after, paged: max.is_some() })
    }

    fn cut(&self, mut keys: Vec<QueueKey>, authority: &str) -> (Vec<String>, Option<String>) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let more = keys.len() > size;
        keys.truncate(size);
        let next = keys.last().filter(|_| more && self.paged).map(|key| BASE64.encode(&*key.name));
        (keys.iter().map(|key| names::url(authority, key)).collect(), next)
    }
}
