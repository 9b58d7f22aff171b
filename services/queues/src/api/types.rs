//! Inputs and outputs.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::collections::BTreeMap;
use wire::Flat;

/// A request about one queue.
pub trait Named {
    /// `QueueUrl`.
    fn queue_url(&self) -> Option<&str>;
}

macro_rules! named {
    ($($request:ty),* $(,)?) => {
        $(impl Named for $request {
            fn queue_url(&self) -> Option<&str> {
                self.queue_url.as_deref()
            }
        })*
    };
}

named! {
    QueueRequest, GetQueueAttributesRequest, SetQueueAttributesRequest, AddPermissionRequest, RemovePermissionRequest,
    SendMessageRequest, SendMessageBatchRequest, ReceiveMessageRequest, DeleteMessageRequest, DeleteMessageBatchRequest,
    ChangeMessageVisibilityRequest, ChangeMessageVisibilityBatchRequest, ListDeadLetterSourceQueuesRequest, TagQueueRequest,
    UntagQueueRequest,
}

/// Bytes: base64 in texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Bytes);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text).map(|bytes| Blob(bytes.into())).map_err(D::Error::custom)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&BASE64.encode(&self.0))
    }
}

/// `MessageAttributeValue` and `MessageSystemAttributeValue`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AttributeValue {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<Blob>,
    #[serde(skip_serializing)]
    pub string_list_values: Option<Vec<String>>,
    #[serde(skip_serializing)]
    pub binary_list_values: Option<Vec<Blob>>,
    pub data_type: Option<String>,
}

/// CreateQueue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct CreateQueueRequest {
    pub queue_name: String,
    #[serde(default, alias = "Attribute")]
    pub attributes: BTreeMap<String, String>,
    #[serde(default, rename = "tags", alias = "Tag", alias = "Tags")]
    pub tags: BTreeMap<String, String>,
}

/// CreateQueue's and GetQueueUrl's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct QueueUrlResult {
    pub queue_url: String,
}

/// GetQueueUrl.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct GetQueueUrlRequest {
    pub queue_name: String,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    pub queue_owner_aws_account_id: Option<String>,
}

/// ListQueues.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListQueuesRequest {
    pub queue_name_prefix: Option<String>,
    pub next_token: Option<String>,
    pub max_results: Option<i64>,
}

/// ListQueues' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListQueuesResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_urls: Option<Flat<Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Requests that name a queue and nothing else.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct QueueRequest {
    pub queue_url: Option<String>,
}

/// GetQueueAttributes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct GetQueueAttributesRequest {
    pub queue_url: Option<String>,
    #[serde(default, alias = "AttributeName")]
    pub attribute_names: Vec<String>,
}

/// GetQueueAttributes' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct GetQueueAttributesResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Flat<BTreeMap<String, String>>>,
}

/// SetQueueAttributes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct SetQueueAttributesRequest {
    pub queue_url: Option<String>,
    #[serde(alias = "Attribute")]
    pub attributes: BTreeMap<String, String>,
}

/// AddPermission.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AddPermissionRequest {
    pub queue_url: Option<String>,
    pub label: String,
    #[serde(rename = "AWSAccountIds", alias = "AWSAccountId")]
    pub aws_account_ids: Vec<String>,
    #[serde(alias = "ActionName")]
    pub actions: Vec<String>,
}

/// RemovePermission.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct RemovePermissionRequest {
    pub queue_url: Option<String>,
    pub label: String,
}

/// SendMessage.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct SendMessageRequest {
    pub queue_url: Option<String>,
    pub message_body: Option<String>,
    pub delay_seconds: Option<i64>,
    #[serde(default, alias = "MessageAttribute")]
    pub message_attributes: BTreeMap<String, AttributeValue>,
    #[serde(default, alias = "MessageSystemAttribute")]
    pub message_system_attributes: BTreeMap<String, AttributeValue>,
    pub message_deduplication_id: Option<String>,
    pub message_group_id: Option<String>,
}

/// SendMessage's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct SendMessageResult {
    #[serde(rename = "MD5OfMessageBody")]
    pub md5_of_message_body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_message_attributes: Option<String>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_message_system_attributes: Option<String>,
    pub message_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<String>,
}

/// SendMessageBatch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct SendMessageBatchRequest {
    pub queue_url: Option<String>,
    #[serde(default, alias = "SendMessageBatchRequestEntry")]
    pub entries: Vec<SendEntry>,
}

/// One of its messages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct SendEntry {
    pub id: String,
    pub message_body: Option<String>,
    pub delay_seconds: Option<i64>,
    #[serde(default, alias = "MessageAttribute")]
    pub message_attributes: BTreeMap<String, AttributeValue>,
    #[serde(default, alias = "MessageSystemAttribute")]
    pub message_system_attributes: BTreeMap<String, AttributeValue>,
    pub message_deduplication_id: Option<String>,
    pub message_group_id: Option<String>,
}

/// SendMessageBatch's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct SendMessageBatchResult {
    pub successful: Flat<Vec<SentEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Flat<Vec<FailedEntry>>>,
}

/// A message of a batch that was sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct SentEntry {
    pub id: String,
    pub message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    pub md5_of_message_body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_message_attributes: Option<String>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_message_system_attributes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<String>,
}

/// An entry of a batch that failed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct FailedEntry {
    pub id: String,
    pub sender_fault: bool,
    pub code: String,
    pub message: String,
}

/// An entry of a batch that succeeded.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct DoneEntry {
    pub id: String,
}

/// DeleteMessageBatch's and ChangeMessageVisibilityBatch's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct BatchResult {
    pub successful: Flat<Vec<DoneEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Flat<Vec<FailedEntry>>>,
}

/// ReceiveMessage.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ReceiveMessageRequest {
    pub queue_url: Option<String>,
    #[serde(default, alias = "AttributeName")]
    pub attribute_names: Vec<String>,
    #[serde(default, alias = "MessageSystemAttributeName")]
    pub message_system_attribute_names: Vec<String>,
    #[serde(default, alias = "MessageAttributeName")]
    pub message_attribute_names: Vec<String>,
    pub max_number_of_messages: Option<i64>,
    pub visibility_timeout: Option<i64>,
    pub wait_time_seconds: Option<i64>,
    pub receive_request_attempt_id: Option<String>,
}

/// ReceiveMessage's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ReceiveMessageResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Flat<Vec<Message>>>,
}

/// A received message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct Message {
    pub message_id: String,
    pub receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    pub md5_of_body: String,
    pub body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Flat<BTreeMap<&'static str, String>>>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_message_attributes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_attributes: Option<Flat<BTreeMap<String, AttributeValue>>>,
}

/// DeleteMessage.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct DeleteMessageRequest {
    pub queue_url: Option<String>,
    pub receipt_handle: String,
}

/// DeleteMessageBatch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct DeleteMessageBatchRequest {
    pub queue_url: Option<String>,
    #[serde(default, alias = "DeleteMessageBatchRequestEntry")]
    pub entries: Vec<ReceiptEntry>,
}

/// ChangeMessageVisibility.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ChangeMessageVisibilityRequest {
    pub queue_url: Option<String>,
    pub receipt_handle: String,
    pub visibility_timeout: Option<i64>,
}

/// ChangeMessageVisibilityBatch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ChangeMessageVisibilityBatchRequest {
    pub queue_url: Option<String>,
    #[serde(default, alias = "ChangeMessageVisibilityBatchRequestEntry")]
    pub entries: Vec<ReceiptEntry>,
}

/// One message of a batch of deletions or changes of visibility.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ReceiptEntry {
    pub id: String,
    pub receipt_handle: String,
    pub visibility_timeout: Option<i64>,
}

/// ListDeadLetterSourceQueues.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListDeadLetterSourceQueuesRequest {
    pub queue_url: Option<String>,
    pub next_token: Option<String>,
    pub max_results: Option<i64>,
}

/// ListDeadLetterSourceQueues' answer.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct ListDeadLetterSourceQueuesResult {
    #[serde(rename = "queueUrls")]
    pub queue_urls: Flat<Vec<String>>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// StartMessageMoveTask.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct StartMessageMoveTaskRequest {
    pub source_arn: String,
    pub destination_arn: Option<String>,
    pub max_number_of_messages_per_second: Option<i64>,
}

/// StartMessageMoveTask's answer and CancelMessageMoveTask.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct TaskHandle {
    pub task_handle: String,
}

/// CancelMessageMoveTask's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct CancelMessageMoveTaskResult {
    pub approximate_number_of_messages_moved: u64,
}

/// ListMessageMoveTasks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListMessageMoveTasksRequest {
    pub source_arn: String,
    pub max_results: Option<i64>,
}

/// ListMessageMoveTasks' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListMessageMoveTasksResult {
    pub results: Flat<Vec<MoveTaskEntry>>,
}

/// A move.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct MoveTaskEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_handle: Option<String>,
    pub status: &'static str,
    pub source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_number_of_messages_per_second: Option<u32>,
    pub approximate_number_of_messages_moved: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approximate_number_of_messages_to_move: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Milliseconds since 1970.
    pub started_timestamp: i64,
}

/// TagQueue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct TagQueueRequest {
    pub queue_url: Option<String>,
    #[serde(alias = "Tag")]
    pub tags: BTreeMap<String, String>,
}

/// UntagQueue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct UntagQueueRequest {
    pub queue_url: Option<String>,
    #[serde(alias = "TagKey")]
    pub tag_keys: Vec<String>,
}

/// ListQueueTags' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListQueueTagsResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Flat<BTreeMap<String, String>>>,
}
