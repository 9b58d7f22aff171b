//! SQS's operations and wire types. Source of shapes and limits: SQS API reference, 2012-11-05.
//!
//! A member's name is that of JSON; under the older query protocol lists and maps have names of their own, given as aliases
//! where they are read and by [`Flat`] where they are written.

pub mod own;
mod types;

pub use own::Inspection;
pub use types::*;

use crate::{Queues, logic::names};
use wire::Context;

/// The largest batch, with room for its envelope: bodies may be escaped to twice their size and more.
const SEND_MAX: usize = 8 * 1024 * 1024;

wire::api! {
    /// Amazon Simple Queue Service.
    impl Queues;
    name: "sqs";
    protocol: json10("AmazonSQS", "com.amazonaws.sqs"),
        query("2012-11-05", "http://queue.amazonaws.com/doc/2012-11-05/");
    invalid: "InvalidParameterValueException";

    operations {
        /// Makes a queue; the same again answers its URL. Encryption by KMS or by SQS is refused.
        CreateQueue => create_queue(CreateQueueRequest) -> QueueUrlResult {
            allow: "sqs:CreateQueue" on created,
            errors: [InvalidAttributeName, InvalidAttributeValue, InvalidParameterValueException, QueueDeletedRecently,
                QueueNameExists, UnsupportedOperation],
        }
        /// Tells the URL of a queue.
        GetQueueUrl => get_queue_url(GetQueueUrlRequest) -> QueueUrlResult {
            allow: "sqs:GetQueueUrl" on sought,
            errors: [AccessDeniedException, QueueDoesNotExist],
        }
        /// Lists queues by the beginning of their names.
        ListQueues => list_queues(ListQueuesRequest) -> ListQueuesResult {
            allow: "sqs:ListQueues" on "*",
            errors: [InvalidParameterValueException],
        }
        /// Deletes a queue with its messages.
        DeleteQueue => delete_queue(QueueRequest) -> () {
            allow: "sqs:DeleteQueue" on named,
            errors: [AccessDeniedException, InvalidAddress, QueueDoesNotExist],
        }
        /// Deletes the messages of a queue, in the background.
        PurgeQueue => purge_queue(QueueRequest) -> () {
            allow: "sqs:PurgeQueue" on named,
            errors: [AccessDeniedException, InvalidAddress, PurgeQueueInProgress, QueueDoesNotExist],
        }
        /// Tells attributes of a queue. The numbers of messages are exact.
        GetQueueAttributes => get_queue_attributes(GetQueueAttributesRequest) -> GetQueueAttributesResult {
            allow: "sqs:GetQueueAttributes" on named,
            errors: [AccessDeniedException, InvalidAddress, InvalidAttributeName, QueueDoesNotExist],
        }
        /// Changes attributes of a queue.
        SetQueueAttributes => set_queue_attributes(SetQueueAttributesRequest) -> () {
            allow: "sqs:SetQueueAttributes" on named,
            errors: [AccessDeniedException, InvalidAddress, InvalidAttributeName, InvalidAttributeValue,
                InvalidParameterValueException, QueueDoesNotExist, UnsupportedOperation],
        }
        /// Adds a statement to the queue's policy that allows operations to other accounts.
        AddPermission => add_permission(AddPermissionRequest) -> () {
            allow: "sqs:AddPermission" on named,
            errors: [AccessDeniedException, InvalidAddress, InvalidParameterValueException, QueueDoesNotExist],
        }
        /// Removes a statement from the queue's policy.
        RemovePermission => remove_permission(RemovePermissionRequest) -> () {
            allow: "sqs:RemovePermission" on named,
            errors: [AccessDeniedException, InvalidAddress, InvalidParameterValueException, QueueDoesNotExist],
        }
        /// Sends a message: on disk before the answer.
        SendMessage => send_message(SendMessageRequest) -> SendMessageResult {
            body_max: SEND_MAX,
            allow: "sqs:SendMessage" on named,
            errors: [AccessDeniedException, InvalidAddress, InvalidMessageContents, InvalidParameterValueException,
                QueueDoesNotExist, RequestThrottled, UnsupportedOperation],
        }
        /// Sends up to ten messages; each succeeds or fails by itself.
        SendMessageBatch => send_message_batch(SendMessageBatchRequest) -> SendMessageBatchResult {
            body_max: SEND_MAX,
            allow: "sqs:SendMessage" on named,
            errors: [AccessDeniedException, BatchEntryIdsNotDistinct, BatchRequestTooLong, EmptyBatchRequest,
                InvalidAddress, InvalidBatchEntryId, QueueDoesNotExist, RequestThrottled, TooManyEntriesInBatchRequest],
        }
        /// Receives up to ten messages, waiting up to 20 s for the first.
        ReceiveMessage => receive_message(ReceiveMessageRequest) -> ReceiveMessageResult {
            abandon: true,
            allow: "sqs:ReceiveMessage" on named,
            errors: [AccessDeniedException, InvalidAddress, InvalidAttributeName, InvalidParameterValueException,
                OverLimit, QueueDoesNotExist, RequestThrottled],
        }
        /// Deletes a received message.
        DeleteMessage => delete_message(DeleteMessageRequest) -> () {
            allow: "sqs:DeleteMessage" on named,
            errors: [AccessDeniedException, InvalidAddress, InvalidParameterValueException, QueueDoesNotExist,
                ReceiptHandleIsInvalid, RequestThrottled],
        }
        /// Deletes up to ten received messages.
        DeleteMessageBatch => delete_message_batch(DeleteMessageBatchRequest) -> BatchResult {
            allow: "sqs:DeleteMessage" on named,
            errors: [AccessDeniedException, BatchEntryIdsNotDistinct, EmptyBatchRequest, InvalidAddress,
                InvalidBatchEntryId, QueueDoesNotExist, RequestThrottled, TooManyEntriesInBatchRequest],
        }
        /// Changes how long a received message stays hidden, from now.
        ChangeMessageVisibility => change_message_visibility(ChangeMessageVisibilityRequest) -> () {
            allow: "sqs:ChangeMessageVisibility" on named,
            errors: [AccessDeniedException, InvalidAddress, InvalidParameterValueException, MessageNotInflight,
                QueueDoesNotExist, ReceiptHandleIsInvalid, RequestThrottled],
        }
        /// The same for up to ten messages.
        ChangeMessageVisibilityBatch => change_message_visibility_batch(ChangeMessageVisibilityBatchRequest) -> BatchResult {
            allow: "sqs:ChangeMessageVisibility" on named,
            errors: [AccessDeniedException, BatchEntryIdsNotDistinct, EmptyBatchRequest, InvalidAddress,
                InvalidBatchEntryId, QueueDoesNotExist, RequestThrottled, TooManyEntriesInBatchRequest],
        }
        /// Lists the queues whose dead-letter queue a queue is.
        ListDeadLetterSourceQueues => list_dead_letter_source_queues(ListDeadLetterSourceQueuesRequest) -> ListDeadLetterSourceQueuesResult {
            allow: "sqs:ListDeadLetterSourceQueues" on named,
            errors: [AccessDeniedException, InvalidAddress, InvalidParameterValueException, QueueDoesNotExist],
        }
        /// Starts to move the messages of a dead-letter queue to where they came from, or to another queue.
        StartMessageMoveTask => start_message_move_task(StartMessageMoveTaskRequest) -> TaskHandle {
            allow: "sqs:StartMessageMoveTask" on moved,
            errors: [AccessDeniedException, InvalidParameterValueException, ResourceNotFoundException, UnsupportedOperation],
        }
        /// Stops a move; what is moved stays moved.
        CancelMessageMoveTask => cancel_message_move_task(TaskHandle) -> CancelMessageMoveTaskResult {
            allow: "sqs:CancelMessageMoveTask" on "*",
            errors: [AccessDeniedException, ResourceNotFoundException, UnsupportedOperation],
        }
        /// Lists the latest moves from a queue.
        ListMessageMoveTasks => list_message_move_tasks(ListMessageMoveTasksRequest) -> ListMessageMoveTasksResult {
            allow: "sqs:ListMessageMoveTasks" on listed,
            errors: [AccessDeniedException, InvalidParameterValueException, ResourceNotFoundException],
        }
        /// Adds tags to a queue.
        TagQueue => tag_queue(TagQueueRequest) -> () {
            allow: "sqs:TagQueue" on named,
            errors: [AccessDeniedException, InvalidAddress, InvalidParameterValueException, QueueDoesNotExist],
        }
        /// Removes tags from a queue.
        UntagQueue => untag_queue(UntagQueueRequest) -> () {
            allow: "sqs:UntagQueue" on named,
            errors: [AccessDeniedException, InvalidAddress, QueueDoesNotExist],
        }
        /// Lists the tags of a queue.
        ListQueueTags => list_queue_tags(QueueRequest) -> ListQueueTagsResult {
            allow: "sqs:ListQueueTags" on named,
            errors: [AccessDeniedException, InvalidAddress, QueueDoesNotExist],
        }
    }
    missing: [];
}

/// What an operation needs permission on. Queues of other accounts are the queue policy's affair, which each operation asks.
impl Queues {
    fn named(&self, context: &Context, input: &impl Named) -> String {
        match names::by_url(context, input.queue_url()) {
            Ok(key) if key.account == context.account => key.arn().to_string(),
            _ => "*".to_owned(),
        }
    }

    fn created(&self, context: &Context, input: &CreateQueueRequest) -> String {
        context.arn("sqs", &input.queue_name)
    }

    fn sought(&self, context: &Context, input: &GetQueueUrlRequest) -> String {
        let owner = input.queue_owner_aws_account_id.as_deref();
        match owner.is_none_or(|owner| owner == context.account.as_str()) {
            true => context.arn("sqs", &input.queue_name),
            false => "*".to_owned(),
        }
    }

    fn moved(&self, _: &Context, input: &StartMessageMoveTaskRequest) -> String {
        input.source_arn.clone()
    }

    fn listed(&self, _: &Context, input: &ListMessageMoveTasksRequest) -> String {
        input.source_arn.clone()
    }
}
