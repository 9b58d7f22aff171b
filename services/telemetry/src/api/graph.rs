//! Shapes of the graph of services. Source: X-Ray API reference, `GetServiceGraph` and `GetTraceGraph`.

use serde::{Deserialize, Serialize};
use wire::Time;

/// `GetServiceGraph`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetServiceGraphRequest {
    pub(crate) start_time: Option<Time>,
    pub(crate) end_time: Option<Time>,
    pub(crate) group_name: Option<String>,
    #[serde(rename = "GroupARN")]
    pub(crate) group_arn: Option<String>,
    pub(crate) next_token: Option<String>,
}

/// The graph of a page of traces.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetServiceGraphResponse {
    pub(crate) start_time: f64,
    pub(crate) end_time: f64,
    pub(crate) services: Vec<Service>,
    pub(crate) contains_old_group_versions: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// `GetTraceGraph`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetTraceGraphRequest {
    pub(crate) trace_ids: Vec<String>,
    pub(crate) next_token: Option<String>,
}

/// The graph of some traces.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetTraceGraphResponse {
    pub(crate) services: Vec<Service>,
}

/// A node; times in seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Service {
    pub(crate) reference_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) names: Vec<String>,
    pub(crate) root: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) r#type: Option<String>,
    pub(crate) state: &'static str,
    pub(crate) start_time: f64,
    pub(crate) end_time: f64,
    pub(crate) edges: Vec<Edge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) summary_statistics: Option<Statistics>,
    pub(crate) response_time_histogram: Vec<HistogramEntry>,
    pub(crate) duration_histogram: Vec<HistogramEntry>,
}

/// Calls from one node to another.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Edge {
    pub(crate) reference_id: i64,
    pub(crate) start_time: f64,
    pub(crate) end_time: f64,
    pub(crate) summary_statistics: Statistics,
    pub(crate) response_time_histogram: Vec<HistogramEntry>,
    pub(crate) aliases: [(); 0],
}

/// How calls ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statistics {
    pub(crate) ok_count: i64,
    pub(crate) error_statistics: ErrorStatistics,
    pub(crate) fault_statistics: FaultStatistics,
    pub(crate) total_count: i64,
    pub(crate) total_response_time: f64,
}

/// Of their caller.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorStatistics {
    pub(crate) throttle_count: i64,
    pub(crate) other_count: i64,
    pub(crate) total_count: i64,
}

/// Of the service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FaultStatistics {
    pub(crate) other_count: i64,
    pub(crate) total_count: i64,
}

/// How many calls took so many seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HistogramEntry {
    pub(crate) value: f64,
    pub(crate) count: i64,
}
