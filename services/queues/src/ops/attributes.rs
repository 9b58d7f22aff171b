//! GetQueueAttributes, SetQueueAttributes, AddPermission, RemovePermission, TagQueue, UntagQueue, ListQueueTags.

use crate::{
    Error, Queues,
    api::{
        AddPermissionRequest, GetQueueAttributesRequest, GetQueueAttributesResult, ListQueueTagsResult,
        QueueRequest, RemovePermissionRequest, SetQueueAttributesRequest, TagQueueRequest, UntagQueueRequest,
    },
    data,
    logic::{
        attributes::{self, POLICY},
        names, policy,
    },
    model::{Queue, QueueKey},
};
use std::{collections::BTreeMap, sync::Arc};
use wire::{Context, Flat};

/// Tags of a queue. Source: SQS quotas.
const TAGS_MAX: usize = 50;
/// Actions of a permission. Source: SQS API reference, `AddPermission`.
const ACTIONS_MAX: usize = 7;
/// What `AddPermission` can allow.
const ACTIONS: [&str; 9] = [
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
];

impl Queues {
    pub(crate) async fn get_queue_attributes(
        &self,
        context: &Context,
        input: GetQueueAttributesRequest,
    ) -> Result<GetQueueAttributesResult, Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        let wanted = input.attribute_names;
        if let Some(unknown) = wanted.iter().find(|name| *name != "All" && !attributes::is_known(name)) {
            return Err(Error::AttributeName(unknown.clone()));
        }
        let queue = self.read_anew(&key).await?;
        self.allowed(&context.principal, "sqs:GetQueueAttributes", &queue)?;
        let mut shown = attributes::shown(&key, &queue.attributes);
        let seconds = |at: base::Timestamp| (at.0 / 1_000).to_string();
        shown.insert("CreatedTimestamp".to_owned(), seconds(queue.created));
        shown.insert("LastModifiedTimestamp".to_owned(), seconds(queue.modified));
        let all = wanted.iter().any(|name| name == "All");
        if all || wanted.iter().any(|name| name.starts_with("ApproximateNumberOfMessages")) {
            let (id, now) = (queue.id, self.now());
            let depth = self.db.read(move |tx| data::depth(tx, id, now)).await?;
            for (name, count) in [
                ("ApproximateNumberOfMessages", depth.visible),
                ("ApproximateNumberOfMessagesNotVisible", depth.in_flight),
                ("ApproximateNumberOfMessagesDelayed", depth.delayed),
            ] {
                shown.insert(name.to_owned(), count.to_string());
            }
        }
        if !all {
            shown.retain(|name, _| wanted.contains(name));
        }
        let attributes = (!shown.is_empty()).then_some(Flat("flat:Attribute:Name:Value", shown));
        Ok(GetQueueAttributesResult { attributes })
    }

    pub(crate) async fn set_queue_attributes(
        &self,
        context: &Context,
        input: SetQueueAttributesRequest,
    ) -> Result<(), Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        self.change(context, &key, "sqs:SetQueueAttributes", move |queue| {
            queue.attributes = attributes::merged(&queue.key, &queue.attributes, &input.attributes, false)?;
            Ok(())
        })
        .await
    }

    pub(crate) async fn add_permission(
        &self,
        context: &Context,
        input: AddPermissionRequest,
    ) -> Result<(), Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        label(&input.label)?;
        if input.actions.is_empty() || input.actions.len() > ACTIONS_MAX {
            let why = format!("from 1 to {ACTIONS_MAX} actions are allowed.");
            return Err(Error::value(input.actions.len(), "ActionName", why));
        }
        if let Some(other) = input.actions.iter().find(|action| !ACTIONS.contains(&action.as_str())) {
            let why =
                format!("Only the queue owner is allowed to invoke this action, or there is none: {other}");
            return Err(Error::value(format!("SQS:{other}"), "ActionName", why));
        }
        if input.aws_account_ids.is_empty() {
            return Err(Error::Missing("AWSAccountIds"));
        }
        if let Some(bad) = input.aws_account_ids.iter().find(|id| id.parse::<base::AccountId>().is_err()) {
            return Err(Error::value(format!("[{bad}]"), "PrincipalId", "Unable to verify."));
        }
        self.change(context, &key, "sqs:AddPermission", move |queue| {
            let before = queue.attributes.get(POLICY).map(String::as_str);
            let arn = queue.key.arn().to_string();
            let after =
                policy::with_permission(before, &input.label, &input.aws_account_ids, &input.actions, &arn)?;
            queue.attributes.insert(POLICY.to_owned(), after);
            Ok(())
        })
        .await
    }

    pub(crate) async fn remove_permission(
        &self,
        context: &Context,
        input: RemovePermissionRequest,
    ) -> Result<(), Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        self.change(context, &key, "sqs:RemovePermission", move |queue| {
            let before = queue.attributes.get(POLICY).map(String::as_str);
            match policy::without_permission(before, &input.label, &queue.key.arn().to_string())? {
                Some(after) => queue.attributes.insert(POLICY.to_owned(), after),
                None => queue.attributes.remove(POLICY),
            };
            Ok(())
        })
        .await
    }

    pub(crate) async fn tag_queue(&self, context: &Context, input: TagQueueRequest) -> Result<(), Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        self.change(context, &key, "sqs:TagQueue", move |queue| {
            queue.tags.extend(input.tags.clone());
            check_tags(&queue.tags)
        })
        .await
    }

    pub(crate) async fn untag_queue(&self, context: &Context, input: UntagQueueRequest) -> Result<(), Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        self.change(context, &key, "sqs:UntagQueue", move |queue| {
            queue.tags.retain(|tag, _| !input.tag_keys.contains(tag));
            Ok(())
        })
        .await
    }

    pub(crate) async fn list_queue_tags(
        &self,
        context: &Context,
        input: QueueRequest,
    ) -> Result<ListQueueTagsResult, Error> {
        let key = names::by_url(context, input.queue_url.as_deref())?;
        let queue = self.read_anew(&key).await?;
        self.allowed(&context.principal, "sqs:ListQueueTags", &queue)?;
        let tags = (!queue.tags.is_empty()).then(|| Flat("flat:Tag:Key:Value", queue.tags.clone()));
        Ok(ListQueueTagsResult { tags })
    }

    /// Changes what a queue is.
    async fn change(
        &self,
        context: &Context,
        key: &QueueKey,
        action: &str,
        change: impl Fn(&mut Queue) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        let change = &change;
        self.with(key, |queue| async move {
            self.allowed(&context.principal, action, &queue)?;
            let mut changed = Queue::clone(&queue);
            change(&mut changed)?;
            if changed.attributes == queue.attributes && changed.tags == queue.tags {
                // What is there may have been read a while ago.
                let asked = Arc::clone(&queue);
                return self.db.read(move |tx| data::check(tx, &asked)).await;
            }
            changed.settings = attributes::settings(&changed.key, &changed.attributes)?;
            changed.modified = self.now();
            self.db
                .write(move |tx| {
                    data::check(tx, &queue)?;
                    if changed.settings.redrive != queue.settings.redrive {
                        super::queues::check_target(tx, &changed)?;
                    }
                    data::update_queue(tx, &changed)
                })
                .await
        })
        .await?;
        self.forget(key);
        self.work.notify_one();
        Ok(())
    }
}

fn label(label: &str) -> Result<(), Error> {
    let letters = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match letters && (1..=80).contains(&label.len()) {
        true => Ok(()),
        false => Err(Error::value(
            label,
            "Label",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.",
        )),
    }
}

/// Checks the tags of a queue.
pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Error> {
    if tags.len() > TAGS_MAX {
        return Err(Error::Parameter(format!(
            "Too many tags added for queue: {} exceed {TAGS_MAX}.",
            tags.len()
        )));
    }
    for (name, value) in tags {
        if name.is_empty() || name.chars().count() > 128 || value.chars().count() > 256 {
            return Err(Error::Parameter(
                "Tag keys must be from 1 to 128 characters in length, tag values at most 256.".to_owned(),
            ));
        }
        if name.to_lowercase().starts_with("aws:") {
            return Err(Error::Parameter("Tag keys must not begin with aws:, which is reserved.".to_owned()));
        }
    }
    Ok(())
}
