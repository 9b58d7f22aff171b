//! Shapes of the operations on Insights queries. Source: CloudWatch Logs API reference, 2014-03-28.

use serde::{Deserialize, Serialize};

/// `StartQuery`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartQueryRequest {
    pub(crate) query_language: Option<String>,
    pub(crate) log_group_name: Option<String>,
    pub(crate) log_group_names: Option<Vec<String>>,
    pub(crate) log_group_identifiers: Option<Vec<String>>,
    pub(crate) start_time: i64,
    pub(crate) end_time: i64,
    pub(crate) query_string: String,
    pub(crate) limit: Option<i64>,
}

/// The query's name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartQueryResponse {
    pub(crate) query_id: String,
}

/// `GetQueryResults`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetQueryResultsRequest {
    pub(crate) query_id: String,
    pub(crate) next_token: Option<String>,
    pub(crate) max_items: Option<i64>,
}

/// A page of an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GetQueryResultsResponse {
    pub(crate) query_language: &'static str,
    pub(crate) results: Vec<Vec<ResultField>>,
    pub(crate) statistics: QueryStatistics,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// A value of a row.
#[derive(Debug, Serialize)]
pub struct ResultField {
    pub(crate) field: String,
    pub(crate) value: String,
}

/// What a query has looked at.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryStatistics {
    pub(crate) records_matched: f64,
    pub(crate) records_scanned: f64,
    pub(crate) estimated_records_skipped: f64,
    pub(crate) bytes_scanned: f64,
    pub(crate) estimated_bytes_skipped: f64,
    pub(crate) log_groups_scanned: f64,
}

/// `StopQuery`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopQueryRequest {
    pub(crate) query_id: String,
}

/// Whether it ran until now.
#[derive(Debug, Serialize)]
pub struct StopQueryResponse {
    pub(crate) success: bool,
}

/// `DescribeQueries`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeQueriesRequest {
    pub(crate) log_group_name: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
    pub(crate) query_language: Option<String>,
}

/// A page of queries.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeQueriesResponse {
    pub(crate) queries: Vec<QueryInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// A query.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryInfo {
    pub(crate) query_language: &'static str,
    pub(crate) query_id: String,
    pub(crate) query_string: String,
    pub(crate) status: &'static str,
    pub(crate) create_time: i64,
    pub(crate) log_group_name: String,
}
