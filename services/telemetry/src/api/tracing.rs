//! X-Ray. Source of shapes and limits: X-Ray API reference, 2016-04-12.

pub use super::graph::{
    GetServiceGraphRequest, GetServiceGraphResponse, GetTraceGraphRequest, GetTraceGraphResponse,
};
use crate::Inner;
use base::{Fault, ServiceError};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::{collections::BTreeMap, sync::Arc};
use wire::Time;

/// X-Ray of this node. See [`crate::Telemetry::tracing`].
pub struct Tracing(pub(crate) Arc<Inner>);

/// 50 documents of the longest.
const SEGMENTS_REQUEST_MAX: usize = 4 * 1024 * 1024;

wire::api! {
    /// AWS X-Ray: trace segments.
    impl Tracing;
    name: "xray";
    protocol: rest_json;
    invalid: "InvalidRequestException";

    operations {
        /// Keeps segments for 30 days; those that are none are named in the answer.
        PutTraceSegments => put_trace_segments(PutTraceSegmentsRequest) -> PutTraceSegmentsResponse {
            http: POST "/TraceSegments" 200,
            body_max: SEGMENTS_REQUEST_MAX,
            allow: "xray:PutTraceSegments" on "*",
            errors: [InvalidRequestException, ThrottledException],
        }
        /// Segments of up to five traces, as they were sent: subsegments sent by themselves are not put into their parents.
        BatchGetTraces => batch_get_traces(BatchGetTracesRequest) -> BatchGetTracesResponse {
            http: POST "/Traces" 200,
            allow: "xray:BatchGetTraces" on "*",
            errors: [InvalidRequestException, ThrottledException],
        }
        /// Traces that began within a time, of 50 a page those that a filter expression means. Sampling and other ranges are refused.
        GetTraceSummaries => get_trace_summaries(GetTraceSummariesRequest) -> GetTraceSummariesResponse {
            http: POST "/TraceSummaries" 200,
            allow: "xray:GetTraceSummaries" on "*",
            errors: [InvalidRequestException, ThrottledException],
        }
        /// Which services called which in the traces that began within a time, 500 traces a page. Groups are refused.
        GetServiceGraph => get_service_graph(GetServiceGraphRequest) -> GetServiceGraphResponse {
            http: POST "/ServiceGraph" 200,
            allow: "xray:GetServiceGraph" on "*",
            errors: [InvalidRequestException, ThrottledException],
        }
        /// The same of up to five traces.
        GetTraceGraph => get_trace_graph(GetTraceGraphRequest) -> GetTraceGraphResponse {
            http: POST "/TraceGraph" 200,
            allow: "xray:GetTraceGraph" on "*",
            errors: [InvalidRequestException, ThrottledException],
        }
        /// Counts what X-Ray daemons tell of themselves into `/_neap/metrics`.
        PutTelemetryRecords => put_telemetry_records(PutTelemetryRecordsRequest) -> PutTelemetryRecordsResponse {
            http: POST "/TelemetryRecords" 200,
            allow: "xray:PutTelemetryRecords" on "*",
            errors: [InvalidRequestException, ThrottledException],
        }
        /// The default rule, which is the only one: one request a second, and a twentieth of the others.
        GetSamplingRules => get_sampling_rules(GetSamplingRulesRequest) -> GetSamplingRulesResponse {
            http: POST "/GetSamplingRules" 200,
            allow: "xray:GetSamplingRules" on "*",
            errors: [InvalidRequestException, ThrottledException],
        }
        /// What the default rule lets a client sample.
        GetSamplingTargets => get_sampling_targets(GetSamplingTargetsRequest) -> GetSamplingTargetsResponse {
            http: POST "/SamplingTargets" 200,
            allow: "xray:GetSamplingTargets" on "*",
            errors: [InvalidRequestException, ThrottledException],
        }
    }
    missing: [
        CancelTraceRetrieval: POST "/CancelTraceRetrieval",
        CreateGroup: POST "/CreateGroup",
        CreateSamplingRule: POST "/CreateSamplingRule",
        DeleteGroup: POST "/DeleteGroup",
        DeleteResourcePolicy: POST "/DeleteResourcePolicy",
        DeleteSamplingRule: POST "/DeleteSamplingRule",
        GetEncryptionConfig: POST "/EncryptionConfig",
        GetGroup: POST "/GetGroup",
        GetGroups: POST "/Groups",
        GetIndexingRules: POST "/GetIndexingRules",
        GetInsight: POST "/Insight",
        GetInsightEvents: POST "/InsightEvents",
        GetInsightImpactGraph: POST "/InsightImpactGraph",
        GetInsightSummaries: POST "/InsightSummaries",
        GetRetrievedTracesGraph: POST "/GetRetrievedTracesGraph",
        GetSamplingStatisticSummaries: POST "/SamplingStatisticSummaries",
        GetTimeSeriesServiceStatistics: POST "/TimeSeriesServiceStatistics",
        GetTraceSegmentDestination: POST "/GetTraceSegmentDestination",
        ListResourcePolicies: POST "/ListResourcePolicies",
        ListRetrievedTraces: POST "/ListRetrievedTraces",
        ListTagsForResource: POST "/ListTagsForResource",
        PutEncryptionConfig: POST "/PutEncryptionConfig",
        PutResourcePolicy: POST "/PutResourcePolicy",
        StartTraceRetrieval: POST "/StartTraceRetrieval",
        TagResource: POST "/TagResource",
        UntagResource: POST "/UntagResource",
        UpdateGroup: POST "/UpdateGroup",
        UpdateIndexingRule: POST "/UpdateIndexingRule",
        UpdateSamplingRule: POST "/UpdateSamplingRule",
        UpdateTraceSegmentDestination: POST "/UpdateTraceSegmentDestination",
    ];
}

/// Why an operation of X-Ray fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request is not what it should be.
    #[error("{0}")]
    Invalid(String),
    /// A member that Neap does not carry out.
    #[error("{member} is not supported by Neap: {reason}")]
    Unsupported {
        /// Its wire name.
        member: &'static str,
        /// What is instead.
        reason: &'static str,
    },
    /// A filter expression that is none, or is not carried out.
    #[error("FilterExpression: {0}")]
    Filter(#[source] crate::xray::filter::Refused),
    /// The telemetry store cannot serve.
    #[error("the telemetry store failed: {0}")]
    Store(#[from] store::Error),
}

impl Error {
    pub(crate) fn invalid(text: String) -> Error {
        Error::Invalid(text)
    }

    pub(crate) fn unsupported(member: &'static str, reason: &'static str) -> Error {
        Error::Unsupported { member, reason }
    }
}

impl ServiceError for Error {
    fn code(&self) -> &str {
        match self {
            Error::Invalid(_) | Error::Unsupported { .. } | Error::Filter(_) => "InvalidRequestException",
            Error::Store(_) => "InternalFailure",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Error::Invalid(_) | Error::Unsupported { .. } | Error::Filter(_) => Fault::Invalid,
            Error::Store(_) => Fault::Us,
        }
    }
}

/// `PutTraceSegments`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutTraceSegmentsRequest {
    pub(crate) trace_segment_documents: Vec<String>,
}

/// What was not kept.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutTraceSegmentsResponse {
    pub(crate) unprocessed_trace_segments: Vec<UnprocessedTraceSegment>,
}

/// A document that is no segment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UnprocessedTraceSegment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) error_code: String,
    pub(crate) message: String,
}

/// `BatchGetTraces`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchGetTracesRequest {
    pub(crate) trace_ids: Vec<String>,
    pub(crate) next_token: Option<String>,
}

/// Traces.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchGetTracesResponse {
    pub(crate) traces: Vec<Trace>,
    pub(crate) unprocessed_trace_ids: Vec<String>,
}

/// A trace; duration in seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Trace {
    pub(crate) id: String,
    pub(crate) duration: f64,
    pub(crate) limit_exceeded: bool,
    pub(crate) segments: Vec<SegmentShown>,
}

/// A segment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SegmentShown {
    pub(crate) id: String,
    pub(crate) document: String,
}

/// `GetTraceSummaries`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetTraceSummariesRequest {
    pub(crate) start_time: Option<Time>,
    pub(crate) end_time: Option<Time>,
    pub(crate) time_range_type: Option<String>,
    pub(crate) sampling: Option<bool>,
    pub(crate) sampling_strategy: Option<IgnoredAny>,
    pub(crate) filter_expression: Option<String>,
    pub(crate) next_token: Option<String>,
}

/// A page of summaries.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetTraceSummariesResponse {
    pub(crate) trace_summaries: Vec<TraceSummary>,
    pub(crate) approximate_time: f64,
    pub(crate) traces_processed_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// What a trace's segments say together; times in seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TraceSummary {
    pub(crate) id: String,
    pub(crate) start_time: f64,
    pub(crate) duration: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_time: Option<f64>,
    pub(crate) has_fault: bool,
    pub(crate) has_error: bool,
    pub(crate) has_throttle: bool,
    pub(crate) is_partial: bool,
    pub(crate) http: Http,
    pub(crate) annotations: BTreeMap<String, Vec<ValueWithServiceIds>>,
    pub(crate) service_ids: Vec<ServiceId>,
    #[serde(rename = "ResourceARNs")]
    pub(crate) resource_arns: Vec<ResourceArn>,
    pub(crate) entry_point: ServiceId,
}

/// The request that came in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Http {
    #[serde(rename = "HttpURL", skip_serializing_if = "Option::is_none")]
    pub(crate) http_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_status: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_ip: Option<String>,
}

/// A value of an annotation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ValueWithServiceIds {
    pub(crate) annotation_value: AnnotationValue,
}

/// One of three.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AnnotationValue {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) number_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) boolean_value: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) string_value: Option<String>,
}

/// A service that took part.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceId {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) names: Vec<String>,
    pub(crate) account_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) r#type: Option<String>,
}

/// A resource that took part.
#[derive(Debug, Serialize)]
pub struct ResourceArn {
    #[serde(rename = "ARN")]
    pub(crate) arn: String,
}

/// `PutTelemetryRecords`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutTelemetryRecordsRequest {
    pub(crate) telemetry_records: Vec<TelemetryRecord>,
}

/// What a daemon did since it last told.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TelemetryRecord {
    pub(crate) segments_received_count: u32,
    pub(crate) segments_sent_count: u32,
    pub(crate) segments_spillover_count: u32,
    pub(crate) segments_rejected_count: u32,
    pub(crate) backend_connection_errors: BackendConnectionErrors,
}

/// How often it did not reach X-Ray.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BackendConnectionErrors {
    pub(crate) timeout_count: u32,
    pub(crate) connection_refused_count: u32,
    #[serde(rename = "HTTPCode4XXCount")]
    pub(crate) http_code_4xx_count: u32,
    #[serde(rename = "HTTPCode5XXCount")]
    pub(crate) http_code_5xx_count: u32,
    pub(crate) unknown_host_count: u32,
    pub(crate) other_count: u32,
}

/// Nothing.
#[derive(Debug, Serialize)]
pub struct PutTelemetryRecordsResponse {}

/// `GetSamplingRules`; there is one page.
#[derive(Debug, Deserialize)]
pub struct GetSamplingRulesRequest {}

/// The rules.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetSamplingRulesResponse {
    pub(crate) sampling_rule_records: Vec<SamplingRuleRecord>,
}

/// A rule and when it was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SamplingRuleRecord {
    pub(crate) sampling_rule: SamplingRule,
    pub(crate) created_at: f64,
    pub(crate) modified_at: f64,
}

/// A rule.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SamplingRule {
    pub(crate) rule_name: &'static str,
    #[serde(rename = "RuleARN")]
    pub(crate) rule_arn: String,
    #[serde(rename = "ResourceARN")]
    pub(crate) resource_arn: &'static str,
    pub(crate) priority: i64,
    pub(crate) fixed_rate: f64,
    pub(crate) reservoir_size: i64,
    pub(crate) service_name: &'static str,
    pub(crate) service_type: &'static str,
    pub(crate) host: &'static str,
    #[serde(rename = "HTTPMethod")]
    pub(crate) http_method: &'static str,
    #[serde(rename = "URLPath")]
    pub(crate) url_path: &'static str,
    pub(crate) version: i64,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// `GetSamplingTargets`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetSamplingTargetsRequest {
    pub(crate) sampling_statistics_documents: Vec<SamplingStatistics>,
    pub(crate) sampling_boost_statistics_documents: Option<Vec<IgnoredAny>>,
}

/// What a client has sampled by a rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SamplingStatistics {
    pub(crate) rule_name: String,
}

/// What clients may sample.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetSamplingTargetsResponse {
    pub(crate) sampling_target_documents: Vec<SamplingTarget>,
    pub(crate) last_rule_modification: f64,
    pub(crate) unprocessed_statistics: Vec<UnprocessedStatistics>,
}

/// What a client may sample by a rule.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SamplingTarget {
    pub(crate) rule_name: &'static str,
    pub(crate) fixed_rate: f64,
    pub(crate) reservoir_quota: i64,
    #[serde(rename = "ReservoirQuotaTTL")]
    pub(crate) reservoir_quota_ttl: f64,
    pub(crate) interval: i64,
}

/// A rule that there is not.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UnprocessedStatistics {
    pub(crate) rule_name: String,
    pub(crate) error_code: String,
    pub(crate) message: String,
}
