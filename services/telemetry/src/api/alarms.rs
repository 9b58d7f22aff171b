//! Shapes of the operations on alarms.

use super::monitoring::{Dimension, MetricDataQuery};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use wire::Time;

/// `PutMetricAlarm`, how a definition is stored, and, with its state, what is shown of an alarm.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricAlarm {
    pub(crate) alarm_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alarm_description: Option<String>,
    pub(crate) actions_enabled: Option<bool>,
    #[serde(default, rename = "OKActions")]
    pub(crate) ok_actions: Vec<String>,
    #[serde(default)]
    pub(crate) alarm_actions: Vec<String>,
    #[serde(default)]
    pub(crate) insufficient_data_actions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) statistic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extended_statistic: Option<String>,
    #[serde(default)]
    pub(crate) dimensions: Vec<Dimension>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evaluation_periods: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) datapoints_to_alarm: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comparison_operator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) treat_missing_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evaluate_low_sample_count_percentile: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) metrics: Vec<MetricDataQuery>,
    #[serde(skip_serializing)]
    pub(crate) tags: Option<Vec<Tag>>,
    #[serde(skip_serializing)]
    pub(crate) threshold_metric_id: Option<String>,
    #[serde(skip_serializing)]
    pub(crate) evaluation_window: Option<Refused>,
    #[serde(skip_serializing)]
    pub(crate) warm_up_configuration: Option<Refused>,
    #[serde(skip_serializing)]
    pub(crate) evaluation_criteria: Option<Refused>,
    #[serde(skip_serializing)]
    pub(crate) evaluation_interval: Option<Refused>,
    #[serde(skip_serializing)]
    pub(crate) action_configuration: Option<Refused>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) alarm_arn: Option<String>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) alarm_configuration_updated_timestamp: Option<Time>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) state_value: Option<&'static str>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) state_reason: Option<String>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) state_reason_data: Option<String>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) state_updated_timestamp: Option<Time>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) state_transitioned_timestamp: Option<Time>,
}

/// A tag of an alarm.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
}

/// `TagResource`.
#[derive(Debug, Deserialize)]
pub struct TagResourceRequest {
    #[serde(rename = "ResourceARN")]
    pub(crate) resource_arn: Option<String>,
    #[serde(default, rename = "Tags")]
    pub(crate) tags: Vec<Tag>,
}

/// `UntagResource`.
#[derive(Debug, Deserialize)]
pub struct UntagResourceRequest {
    #[serde(rename = "ResourceARN")]
    pub(crate) resource_arn: Option<String>,
    #[serde(default, rename = "TagKeys")]
    pub(crate) tag_keys: Vec<String>,
}

/// `ListTagsForResource`.
#[derive(Debug, Deserialize)]
pub struct ListTagsForResourceRequest {
    #[serde(rename = "ResourceARN")]
    pub(crate) resource_arn: Option<String>,
}

/// The tags of an alarm.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListTagsForResourceResponse {
    pub(crate) tags: Vec<Tag>,
}

/// Nothing.
#[derive(Debug, Serialize)]
pub struct Done {}

/// A member that is refused whatever it holds.
#[derive(Clone, Copy, Debug)]
pub struct Refused;

impl<'de> Deserialize<'de> for Refused {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Refused, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Refused)
    }
}

/// `DescribeAlarms`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAlarmsRequest {
    #[serde(default)]
    pub(crate) alarm_names: Vec<String>,
    pub(crate) alarm_name_prefix: Option<String>,
    #[serde(default)]
    pub(crate) alarm_types: Vec<String>,
    pub(crate) children_of_alarm_name: Option<String>,
    pub(crate) parents_of_alarm_name: Option<String>,
    pub(crate) state_value: Option<String>,
    pub(crate) action_prefix: Option<String>,
    pub(crate) max_records: Option<i64>,
    pub(crate) next_token: Option<String>,
}

/// A page of alarms.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAlarmsResponse {
    pub(crate) metric_alarms: Vec<MetricAlarm>,
    pub(crate) composite_alarms: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// `DescribeAlarmsForMetric`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAlarmsForMetricRequest {
    pub(crate) metric_name: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) statistic: Option<String>,
    pub(crate) extended_statistic: Option<String>,
    #[serde(default)]
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) period: Option<i64>,
    pub(crate) unit: Option<String>,
}

/// Alarms of one metric.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAlarmsForMetricResponse {
    pub(crate) metric_alarms: Vec<MetricAlarm>,
}

/// Operations that take names only.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AlarmNamesRequest {
    #[serde(default)]
    pub(crate) alarm_names: Vec<String>,
}

/// `SetAlarmState`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SetAlarmStateRequest {
    pub(crate) alarm_name: Option<String>,
    pub(crate) state_value: Option<String>,
    pub(crate) state_reason: Option<String>,
    pub(crate) state_reason_data: Option<String>,
}

/// `DescribeAlarmHistory`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAlarmHistoryRequest {
    pub(crate) alarm_name: Option<String>,
    pub(crate) alarm_contributor_id: Option<String>,
    #[serde(default)]
    pub(crate) alarm_types: Vec<String>,
    pub(crate) history_item_type: Option<String>,
    pub(crate) start_date: Option<Time>,
    pub(crate) end_date: Option<Time>,
    pub(crate) max_records: Option<i64>,
    pub(crate) next_token: Option<String>,
    pub(crate) scan_by: Option<String>,
}

/// A page of history.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAlarmHistoryResponse {
    pub(crate) alarm_history_items: Vec<AlarmHistoryItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// Something that happened to an alarm.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AlarmHistoryItem {
    pub(crate) alarm_name: String,
    pub(crate) alarm_type: &'static str,
    pub(crate) timestamp: Time,
    pub(crate) history_item_type: String,
    pub(crate) history_summary: String,
    pub(crate) history_data: String,
}
