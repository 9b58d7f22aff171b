//! CloudWatch Logs. Source of shapes and limits: CloudWatch Logs API reference, 2014-03-28.

use super::insights::*;
use crate::{Error, Inner, logic};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::{collections::BTreeMap, sync::Arc};
use wire::{Context, Violations};

/// CloudWatch Logs of this node. See [`crate::Telemetry::logs`].
pub struct Logs(pub(crate) Arc<Inner>);

/// Items of one page of groups or streams.
const DESCRIBE_LIMIT: std::ops::RangeInclusive<i64> = 1..=50;
/// Events of one page.
const EVENTS_LIMIT: std::ops::RangeInclusive<i64> = 1..=10_000;
/// A batch of 1 MiB in JSON, every character escaped in the longest way, with room for 10,000 events.
const PUT_BODY_MAX: usize = 8 * 1024 * 1024;

wire::api! {
    /// Amazon CloudWatch Logs.
    impl Logs;
    name: "logs";
    protocol: json11("Logs_20140328");
    invalid: "InvalidParameterException";

    operations {
        /// Makes a log group. `kmsKeyId`, `deletionProtectionEnabled` and classes other than STANDARD are refused.
        CreateLogGroup => create_log_group(CreateLogGroupRequest) -> () {
            check: CreateLogGroupRequest::check,
            allow: "logs:CreateLogGroup" on new_group,
            errors: [InvalidParameterException, ResourceAlreadyExistsException, ServiceUnavailableException],
        }
        /// Deletes a log group with its streams and events.
        DeleteLogGroup => delete_log_group(GroupRequest) -> () {
            check: GroupRequest::check,
            allow: "logs:DeleteLogGroup" on named_group,
            errors: [InvalidParameterException, ResourceNotFoundException, ServiceUnavailableException],
        }
        /// Lists log groups, ordered by name.
        DescribeLogGroups => describe_log_groups(DescribeLogGroupsRequest) -> DescribeLogGroupsResponse {
            check: DescribeLogGroupsRequest::check,
            allow: "logs:DescribeLogGroups" on "*",
            errors: [InvalidParameterException, ServiceUnavailableException],
        }
        /// Makes a log stream.
        CreateLogStream => create_log_stream(StreamRequest) -> () {
            check: StreamRequest::check,
            allow: "logs:CreateLogStream" on stream_group,
            errors: [InvalidParameterException, ResourceAlreadyExistsException, ResourceNotFoundException,
                ServiceUnavailableException],
        }
        /// Deletes a log stream with its events.
        DeleteLogStream => delete_log_stream(StreamRequest) -> () {
            check: StreamRequest::check,
            allow: "logs:DeleteLogStream" on stream_group,
            errors: [InvalidParameterException, ResourceNotFoundException, ServiceUnavailableException],
        }
        /// Lists the streams of a log group, by name or by the time of their last event.
        DescribeLogStreams => describe_log_streams(DescribeLogStreamsRequest) -> DescribeLogStreamsResponse {
            check: DescribeLogStreamsRequest::check,
            allow: "logs:DescribeLogStreams" on describe_streams_group,
            errors: [InvalidParameterException, ResourceNotFoundException, ServiceUnavailableException],
        }
        /// Stores events. `sequenceToken` is ignored, as in AWS; `entity` is refused.
        PutLogEvents => put_log_events(PutLogEventsRequest) -> PutLogEventsResponse {
            body_max: PUT_BODY_MAX,
            check: PutLogEventsRequest::check,
            allow: "logs:PutLogEvents" on put_stream,
            errors: [InvalidParameterException, ResourceNotFoundException, ServiceUnavailableException],
        }
        /// Reads one stream, forwards or backwards.
        GetLogEvents => get_log_events(GetLogEventsRequest) -> GetLogEventsResponse {
            check: GetLogEventsRequest::check,
            allow: "logs:GetLogEvents" on get_stream,
            errors: [InvalidParameterException, ResourceNotFoundException, ServiceUnavailableException],
        }
        /// Searches streams of a group by time and filter pattern; events of all streams are interleaved by time.
        FilterLogEvents => filter_log_events(FilterLogEventsRequest) -> FilterLogEventsResponse {
            check: FilterLogEventsRequest::check,
            allow: "logs:FilterLogEvents" on filter_group,
            errors: [InvalidParameterException, ResourceNotFoundException, ServiceUnavailableException],
        }
        /// Sets for how many days a group keeps events.
        PutRetentionPolicy => put_retention_policy(PutRetentionPolicyRequest) -> () {
            check: PutRetentionPolicyRequest::check,
            allow: "logs:PutRetentionPolicy" on retention_group,
            errors: [InvalidParameterException, ResourceNotFoundException, ServiceUnavailableException],
        }
        /// Keeps a group's events forever.
        DeleteRetentionPolicy => delete_retention_policy(GroupRequest) -> () {
            check: GroupRequest::check,
            allow: "logs:DeleteRetentionPolicy" on named_group,
            errors: [InvalidParameterException, ResourceNotFoundException, ServiceUnavailableException],
        }
        /// Adds tags to a log group.
        TagResource => tag_resource(TagResourceRequest) -> () {
            check: TagResourceRequest::check,
            allow: "logs:TagResource" on tagged_resource,
            errors: [InvalidParameterException, ResourceNotFoundException, TooManyTagsException,
                ServiceUnavailableException],
        }
        /// Removes tags from a log group.
        UntagResource => untag_resource(UntagResourceRequest) -> () {
            allow: "logs:UntagResource" on untagged_resource,
            errors: [InvalidParameterException, ResourceNotFoundException, ServiceUnavailableException],
        }
        /// Lists the tags of a log group.
        ListTagsForResource => list_tags_for_resource(ListTagsForResourceRequest) -> TagsResponse {
            allow: "logs:ListTagsForResource" on listed_resource,
            errors: [InvalidParameterException, ResourceNotFoundException, ServiceUnavailableException],
        }
        /// The older form of TagResource.
        TagLogGroup => tag_log_group(TagLogGroupRequest) -> () {
            check: TagLogGroupRequest::check,
            allow: "logs:TagLogGroup" on tag_group,
            errors: [InvalidParameterException, ResourceNotFoundException, TooManyTagsException],
        }
        /// The older form of UntagResource.
        UntagLogGroup => untag_log_group(UntagLogGroupRequest) -> () {
            allow: "logs:UntagLogGroup" on untag_group,
            errors: [ResourceNotFoundException],
        }
        /// The older form of ListTagsForResource.
        ListTagsLogGroup => list_tags_log_group(GroupRequest) -> TagsResponse {
            check: GroupRequest::check,
            allow: "logs:ListTagsLogGroup" on named_group,
            errors: [ResourceNotFoundException, ServiceUnavailableException],
        }
        /// Starts an Insights query (CWLI: fields, display, filter, parse, stats, sort, limit, dedup). Others are refused by name.
        StartQuery => start_query(StartQueryRequest) -> StartQueryResponse {
            allow: "logs:StartQuery" on "*",
            errors: [InvalidParameterException, LimitExceededException, MalformedQueryException, ResourceNotFoundException,
                ServiceUnavailableException],
        }
        /// Answers of a query. They are kept in memory: a restart of the node forgets them.
        GetQueryResults => get_query_results(GetQueryResultsRequest) -> GetQueryResultsResponse {
            allow: "logs:GetQueryResults" on "*",
            errors: [InvalidParameterException, ResourceNotFoundException],
        }
        /// Stops a query.
        StopQuery => stop_query(StopQueryRequest) -> StopQueryResponse {
            allow: "logs:StopQuery" on "*",
            errors: [ResourceNotFoundException],
        }
        /// Lists the queries that are running or remembered, newest first.
        DescribeQueries => describe_queries(DescribeQueriesRequest) -> DescribeQueriesResponse {
            allow: "logs:DescribeQueries" on "*",
            errors: [InvalidParameterException],
        }
    }
    missing: [AssociateKmsKey, AssociateSourceToS3TableIntegration, CancelExportTask, CancelImportTask, CreateDelivery,
        CreateExportTask, CreateImportTask, CreateLogAnomalyDetector, CreateScheduledQuery, DeleteAccountPolicy,
        DeleteDataProtectionPolicy, DeleteDelivery, DeleteDeliveryDestination, DeleteDeliveryDestinationPolicy,
        DeleteDeliverySource, DeleteDestination, DeleteIndexPolicy, DeleteIntegration, DeleteLogAnomalyDetector,
        DeleteMetricFilter, DeleteQueryDefinition, DeleteResourcePolicy, DeleteScheduledQuery, DeleteSubscriptionFilter,
        DeleteTransformer, DescribeAccountPolicies, DescribeConfigurationTemplates, DescribeDeliveries,
        DescribeDeliveryDestinations, DescribeDeliverySources, DescribeDestinations, DescribeExportTasks,
        DescribeFieldIndexes, DescribeImportTasks, DescribeIndexPolicies, DescribeMetricFilters, DescribeQueryDefinitions, DescribeResourcePolicies, DescribeSubscriptionFilters, DisassociateKmsKey, GetDataProtectionPolicy,
        GetDelivery, GetDeliveryDestination, GetDeliveryDestinationPolicy, GetDeliverySource, GetIntegration,
        GetLogAnomalyDetector, GetLogFields, GetLogGroupFields, GetLogObject, GetLogRecord, GetScheduledQuery, GetTransformer, ListAnomalies, ListIntegrations, ListLogAnomalyDetectors, ListLogGroups,
        ListLogGroupsForQuery, ListScheduledQueries, PutAccountPolicy, PutDataProtectionPolicy, PutDeliveryDestination,
        PutDeliveryDestinationPolicy, PutDeliverySource, PutDestination, PutDestinationPolicy, PutIndexPolicy,
        PutIntegration, PutLogGroupDeletionProtection, PutMetricFilter, PutQueryDefinition, PutResourcePolicy,
        PutSubscriptionFilter, PutTransformer, StartLiveTail, TestMetricFilter, TestTransformer,
        UpdateAnomaly, UpdateDeliveryConfiguration, UpdateLogAnomalyDetector, UpdateScheduledQuery, CreateLookupTable,
        DeleteLookupTable, DescribeImportTaskBatches, DescribeLookupTables, DisassociateSourceFromS3TableIntegration,
        GetLookupTable, GetScheduledQueryHistory, ListAggregateLogGroupSummaries, ListSourcesForS3TableIntegration,
        PutBearerTokenAuthentication, UpdateLookupTable];
}

const GROUP_PATTERN: &str = "[\\.\\-_/#A-Za-z0-9]+";

fn check_group(found: &mut Violations, name: &str) {
    found.length("logGroupName", name, 1..=512);
    let fits = name.is_empty() || name.len() > 512 || logic::is_group_name(name);
    found.pattern("logGroupName", name, GROUP_PATTERN, fits);
}

fn check_stream(found: &mut Violations, member: &str, name: &str) {
    found.length(member, name, 1..=512);
    let fits = name.is_empty() || name.chars().count() > 512 || logic::is_stream_name(name);
    found.pattern(member, name, "[^:*]*", fits);
}

fn check_limit(found: &mut Violations, limit: Option<i64>, bounds: std::ops::RangeInclusive<i64>) {
    if let Some(limit) = limit {
        found.range("limit", limit, bounds);
    }
}

fn check_tags(found: &mut Violations, tags: &BTreeMap<String, String>) {
    if tags.is_empty() || tags.len() > logic::TAGS_MAX {
        found.add(format!("{} tags", tags.len()), "tags", "Member must have between 1 and 50 entries");
    }
    for (name, value) in tags {
        found.length("tags.key", name, 1..=128);
        found.length("tags.value", value, 0..=256);
        let plain = |text: &str| {
            text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c))
        };
        found.pattern("tags.key", name, "^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+)$", plain(name));
        found.pattern("tags.value", value, "^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)$", plain(value));
    }
}

fn check_times(found: &mut Violations, start: Option<i64>, end: Option<i64>) {
    for (member, time) in [("startTime", start), ("endTime", end)] {
        if let Some(time) = time {
            found.range(member, time, 0..=i64::MAX);
        }
    }
}

/// `CreateLogGroup`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateLogGroupRequest {
    pub(crate) log_group_name: String,
    pub(crate) tags: Option<BTreeMap<String, String>>,
    pub(crate) log_group_class: Option<String>,
    pub(crate) kms_key_id: Option<IgnoredAny>,
    pub(crate) deletion_protection_enabled: Option<bool>,
}

impl CreateLogGroupRequest {
    fn check(&self, found: &mut Violations) {
        check_group(found, &self.log_group_name);
        if let Some(tags) = &self.tags {
            check_tags(found, tags);
        }
        if let Some(class) = &self.log_group_class {
            found.one_of("logGroupClass", class, &["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"]);
        }
    }

    pub(crate) fn unsupported(&self) -> Option<Error> {
        let refuse = |member, reason| Some(Error::Unsupported { member, reason });
        if self.kms_key_id.is_some() {
            return refuse("kmsKeyId", "log groups are not encrypted with keys of their own");
        }
        if self.deletion_protection_enabled == Some(true) {
            return refuse("deletionProtectionEnabled", "log groups cannot be protected from deletion");
        }
        if self.log_group_class.as_deref().is_some_and(|class| class != "STANDARD") {
            return refuse("logGroupClass", "the only class is STANDARD");
        }
        None
    }
}

/// Operations that take a group's name only.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRequest {
    pub(crate) log_group_name: String,
}

impl GroupRequest {
    fn check(&self, found: &mut Violations) {
        check_group(found, &self.log_group_name);
    }
}

/// Operations that take a group's and a stream's name only.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRequest {
    pub(crate) log_group_name: String,
    pub(crate) log_stream_name: String,
}

impl StreamRequest {
    fn check(&self, found: &mut Violations) {
        check_group(found, &self.log_group_name);
        check_stream(found, "logStreamName", &self.log_stream_name);
    }
}

/// `DescribeLogGroups`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeLogGroupsRequest {
    pub(crate) log_group_name_prefix: Option<String>,
    pub(crate) log_group_name_pattern: Option<String>,
    pub(crate) log_group_identifiers: Option<Vec<String>>,
    pub(crate) log_group_class: Option<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) limit: Option<i64>,
    pub(crate) include_linked_accounts: Option<bool>,
    pub(crate) account_identifiers: Option<Vec<String>>,
}

impl DescribeLogGroupsRequest {
    fn check(&self, found: &mut Violations) {
        check_limit(found, self.limit, DESCRIBE_LIMIT);
        if let Some(prefix) = &self.log_group_name_prefix {
            let fits = logic::is_group_name(prefix);
            found.pattern("logGroupNamePrefix", prefix, GROUP_PATTERN, fits);
        }
        if let Some(pattern) = &self.log_group_name_pattern {
            let fits = pattern.is_empty() || logic::is_group_name(pattern);
            found.pattern("logGroupNamePattern", pattern, "[\\.\\-_/#A-Za-z0-9]*", fits);
        }
        if let Some(class) = &self.log_group_class {
            found.one_of("logGroupClass", class, &["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"]);
        }
        if self
            .log_group_identifiers
            .as_ref()
            .is_some_and(|identifiers| !(1..=50).contains(&identifiers.len()))
        {
            found.add("list", "logGroupIdentifiers", "Member must have between 1 and 50 entries");
        }
    }
}

/// A page of groups.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeLogGroupsResponse {
    pub(crate) log_groups: Vec<LogGroup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// A group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogGroup {
    pub(crate) log_group_name: String,
    pub(crate) creation_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retention_in_days: Option<u32>,
    pub(crate) metric_filter_count: u32,
    pub(crate) arn: String,
    pub(crate) stored_bytes: i64,
    pub(crate) log_group_class: &'static str,
    pub(crate) log_group_arn: String,
}

/// `DescribeLogStreams`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeLogStreamsRequest {
    pub(crate) log_group_name: Option<String>,
    pub(crate) log_group_identifier: Option<String>,
    pub(crate) log_stream_name_prefix: Option<String>,
    pub(crate) order_by: Option<String>,
    pub(crate) descending: Option<bool>,
    pub(crate) next_token: Option<String>,
    pub(crate) limit: Option<i64>,
}

impl DescribeLogStreamsRequest {
    fn check(&self, found: &mut Violations) {
        check_limit(found, self.limit, DESCRIBE_LIMIT);
        if let Some(prefix) = &self.log_stream_name_prefix {
            check_stream(found, "logStreamNamePrefix", prefix);
        }
        if let Some(order) = &self.order_by {
            found.one_of("orderBy", order, &["LogStreamName", "LastEventTime"]);
        }
    }
}

/// A page of streams.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeLogStreamsResponse {
    pub(crate) log_streams: Vec<LogStream>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// A stream; without events it has no times of events.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogStream {
    pub(crate) log_stream_name: String,
    pub(crate) creation_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_event_timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_event_timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_ingestion_time: Option<i64>,
    pub(crate) upload_sequence_token: &'static str,
    pub(crate) arn: String,
    pub(crate) stored_bytes: i64,
}

/// `PutLogEvents`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutLogEventsRequest {
    pub(crate) log_group_name: String,
    pub(crate) log_stream_name: String,
    pub(crate) log_events: Vec<InputLogEvent>,
    pub(crate) entity: Option<IgnoredAny>,
}

/// An event to be stored.
#[derive(Debug, Deserialize)]
pub struct InputLogEvent {
    pub(crate) timestamp: i64,
    pub(crate) message: String,
}

impl PutLogEventsRequest {
    fn check(&self, found: &mut Violations) {
        check_group(found, &self.log_group_name);
        check_stream(found, "logStreamName", &self.log_stream_name);
        let events = self.log_events.len();
        if !(1..=logic::EVENTS_MAX).contains(&events) {
            found.add(
                format!("{events} events"),
                "logEvents",
                "Member must have between 1 and 10000 entries",
            );
        }
        for (i, event) in self.log_events.iter().enumerate() {
            if event.timestamp < 0 {
                found.range(&format!("logEvents.{}.member.timestamp", i + 1), event.timestamp, 0..=i64::MAX);
                break;
            }
            if event.message.is_empty() {
                found.length(&format!("logEvents.{}.member.message", i + 1), "", 1..=logic::EVENTS_BYTES_MAX);
                break;
            }
        }
    }
}

/// What was not taken.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PutLogEventsResponse {
    /// Always the same: tokens are not needed any more, but old clients want one.
    pub(crate) next_sequence_token: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected_log_events_info: Option<RejectedLogEventsInfo>,
}

/// Indexes of refused events.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedLogEventsInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) too_new_log_event_start_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) too_old_log_event_end_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expired_log_event_end_index: Option<usize>,
}

/// `GetLogEvents`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetLogEventsRequest {
    pub(crate) log_group_name: Option<String>,
    pub(crate) log_group_identifier: Option<String>,
    pub(crate) log_stream_name: String,
    pub(crate) start_time: Option<i64>,
    pub(crate) end_time: Option<i64>,
    pub(crate) next_token: Option<String>,
    pub(crate) limit: Option<i64>,
    pub(crate) start_from_head: Option<bool>,
    pub(crate) unmask: Option<bool>,
}

impl GetLogEventsRequest {
    fn check(&self, found: &mut Violations) {
        check_stream(found, "logStreamName", &self.log_stream_name);
        check_limit(found, self.limit, EVENTS_LIMIT);
        check_times(found, self.start_time, self.end_time);
    }
}

/// A page of a stream.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GetLogEventsResponse {
    pub(crate) events: Vec<OutputLogEvent>,
    pub(crate) next_forward_token: String,
    pub(crate) next_backward_token: String,
}

/// An event of a stream.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputLogEvent {
    pub(crate) timestamp: i64,
    pub(crate) message: String,
    pub(crate) ingestion_time: i64,
}

/// `FilterLogEvents`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterLogEventsRequest {
    pub(crate) log_group_name: Option<String>,
    pub(crate) log_group_identifier: Option<String>,
    pub(crate) log_stream_names: Option<Vec<String>>,
    pub(crate) log_stream_name_prefix: Option<String>,
    pub(crate) start_time: Option<i64>,
    pub(crate) end_time: Option<i64>,
    pub(crate) filter_pattern: Option<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) limit: Option<i64>,
    // `interleaved` has no meaning any more: the answer is always interleaved, as in AWS since 2019.
    pub(crate) unmask: Option<bool>,
}

impl FilterLogEventsRequest {
    fn check(&self, found: &mut Violations) {
        check_limit(found, self.limit, EVENTS_LIMIT);
        check_times(found, self.start_time, self.end_time);
        if let Some(names) = &self.log_stream_names {
            if !(1..=100).contains(&names.len()) {
                found.add(
                    format!("{} names", names.len()),
                    "logStreamNames",
                    "Member must have between 1 and 100 entries",
                );
            }
            for name in names {
                check_stream(found, "logStreamNames", name);
            }
        }
        if let Some(prefix) = &self.log_stream_name_prefix {
            check_stream(found, "logStreamNamePrefix", prefix);
        }
    }
}

/// A page of a search.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterLogEventsResponse {
    pub(crate) events: Vec<FilteredLogEvent>,
    /// Always empty, as in AWS since 2020.
    pub(crate) searched_log_streams: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// An event of a search.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilteredLogEvent {
    pub(crate) log_stream_name: String,
    pub(crate) timestamp: i64,
    pub(crate) message: String,
    pub(crate) ingestion_time: i64,
    pub(crate) event_id: String,
}

/// `PutRetentionPolicy`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutRetentionPolicyRequest {
    pub(crate) log_group_name: String,
    pub(crate) retention_in_days: i64,
}

impl PutRetentionPolicyRequest {
    fn check(&self, found: &mut Violations) {
        check_group(found, &self.log_group_name);
        if !logic::RETENTION_DAYS.iter().any(|days| i64::from(*days) == self.retention_in_days) {
            let days = logic::RETENTION_DAYS.map(|days| days.to_string()).join(", ");
            let constraint = format!("Member must satisfy enum value set: [{days}]");
            found.add(self.retention_in_days, "retentionInDays", &constraint);
        }
    }
}

/// `TagResource`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagResourceRequest {
    pub(crate) resource_arn: String,
    pub(crate) tags: BTreeMap<String, String>,
}

impl TagResourceRequest {
    fn check(&self, found: &mut Violations) {
        check_tags(found, &self.tags);
    }
}

/// `UntagResource`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UntagResourceRequest {
    pub(crate) resource_arn: String,
    pub(crate) tag_keys: Vec<String>,
}

/// `ListTagsForResource`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTagsForResourceRequest {
    pub(crate) resource_arn: String,
}

/// `TagLogGroup`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagLogGroupRequest {
    pub(crate) log_group_name: String,
    pub(crate) tags: BTreeMap<String, String>,
}

impl TagLogGroupRequest {
    fn check(&self, found: &mut Violations) {
        check_group(found, &self.log_group_name);
        check_tags(found, &self.tags);
    }
}

/// `UntagLogGroup`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UntagLogGroupRequest {
    pub(crate) log_group_name: String,
    pub(crate) tags: Vec<String>,
}

/// Tags of a group.
#[derive(Debug, Serialize)]
pub struct TagsResponse {
    pub(crate) tags: BTreeMap<String, String>,
}

/// What is authorised: the ARN of the group (or stream) that a request names.
impl Logs {
    fn arn(context: &Context, identifier: &str) -> String {
        if identifier.starts_with("arn:") {
            identifier.to_owned()
        } else {
            context.arn("logs", &format!("log-group:{identifier}:*"))
        }
    }

    fn stream_arn(context: &Context, identifier: &str, stream: &str) -> String {
        let group = Self::arn(context, identifier);
        format!("{}:log-stream:{stream}", group.strip_suffix(":*").unwrap_or(&group))
    }

    fn either(context: &Context, name: &Option<String>, identifier: &Option<String>) -> String {
        match identifier.as_ref().or(name.as_ref()) {
            Some(identifier) => Self::arn(context, identifier),
            // The operation itself refuses this.
            None => "*".to_owned(),
        }
    }

    fn new_group(&self, context: &Context, input: &CreateLogGroupRequest) -> String {
        Self::arn(context, &input.log_group_name)
    }

    fn named_group(&self, context: &Context, input: &GroupRequest) -> String {
        Self::arn(context, &input.log_group_name)
    }

    fn stream_group(&self, context: &Context, input: &StreamRequest) -> String {
        Self::stream_arn(context, &input.log_group_name, &input.log_stream_name)
    }

    fn describe_streams_group(&self, context: &Context, input: &DescribeLogStreamsRequest) -> String {
        Self::either(context, &input.log_group_name, &input.log_group_identifier)
    }

    fn put_stream(&self, context: &Context, input: &PutLogEventsRequest) -> String {
        Self::stream_arn(context, &input.log_group_name, &input.log_stream_name)
    }

    fn get_stream(&self, context: &Context, input: &GetLogEventsRequest) -> String {
        match input.log_group_identifier.as_ref().or(input.log_group_name.as_ref()) {
            Some(identifier) => Self::stream_arn(context, identifier, &input.log_stream_name),
            None => "*".to_owned(),
        }
    }

    fn filter_group(&self, context: &Context, input: &FilterLogEventsRequest) -> String {
        Self::either(context, &input.log_group_name, &input.log_group_identifier)
    }

    fn retention_group(&self, context: &Context, input: &PutRetentionPolicyRequest) -> String {
        Self::arn(context, &input.log_group_name)
    }

    fn tagged_resource(&self, _: &Context, input: &TagResourceRequest) -> String {
        input.resource_arn.clone()
    }

    fn untagged_resource(&self, _: &Context, input: &UntagResourceRequest) -> String {
        input.resource_arn.clone()
    }

    fn listed_resource(&self, _: &Context, input: &ListTagsForResourceRequest) -> String {
        input.resource_arn.clone()
    }

    fn tag_group(&self, context: &Context, input: &TagLogGroupRequest) -> String {
        Self::arn(context, &input.log_group_name)
    }

    fn untag_group(&self, context: &Context, input: &UntagLogGroupRequest) -> String {
        Self::arn(context, &input.log_group_name)
    }
}
