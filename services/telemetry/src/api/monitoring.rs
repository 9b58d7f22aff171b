//! CloudWatch. Source of shapes and limits: CloudWatch API reference, 2010-08-01. Members that AWS requires are optional here:
//! what is missing is refused in its words.

use super::alarms::*;
use crate::{Inner, cloudwatch::error::Error};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::{collections::BTreeMap, sync::Arc};
use wire::Time;

/// CloudWatch of this node. See [`crate::Telemetry::monitoring`].
pub struct Monitoring(pub(crate) Arc<Inner>);

wire::api! {
    /// Amazon CloudWatch: metrics and alarms.
    impl Monitoring;
    name: "monitoring";
    protocol: json10("GraniteServiceVersion20100801", "com.amazonaws.cloudwatch"),
        query("2010-08-01", "http://monitoring.amazonaws.com/doc/2010-08-01/");
    invalid: "ValidationError";

    operations {
        /// Adds measurements to metrics: values, values with counts, or statistic sets. `EntityMetricData` is refused.
        PutMetricData => put_metric_data(PutMetricDataRequest) -> () {
            allow: "cloudwatch:PutMetricData" on "*",
            errors: [InternalServiceFault, InvalidParameterCombinationException, InvalidParameterValueException,
                LimitExceededFault, MissingRequiredParameterException],
        }
        /// Reads metrics and metric math. Functions that are not carried out are refused by name.
        GetMetricData => get_metric_data(GetMetricDataRequest) -> GetMetricDataResponse {
            allow: "cloudwatch:GetMetricData" on "*",
            errors: [InternalServiceFault, InvalidNextToken, ValidationError],
        }
        /// Reads statistics of one metric, percentiles included.
        GetMetricStatistics => get_metric_statistics(GetMetricStatisticsRequest) -> GetMetricStatisticsResponse {
            allow: "cloudwatch:GetMetricStatistics" on "*",
            errors: [InternalServiceFault, InvalidParameterCombinationException, InvalidParameterValueException,
                MissingRequiredParameterException],
        }
        /// Lists metrics with data of the last two weeks.
        ListMetrics => list_metrics(ListMetricsRequest) -> ListMetricsResponse {
            allow: "cloudwatch:ListMetrics" on "*",
            errors: [InternalServiceFault, InvalidParameterValueException],
        }
        /// Makes or changes an alarm on a metric or on metric math. Actions invoke functions of the same account and region; others,
        /// anomaly detection and the members that go with it are refused. Tags are those of a new alarm, as in AWS.
        PutMetricAlarm => put_metric_alarm(MetricAlarm) -> () {
            allow: "cloudwatch:PutMetricAlarm" on put_alarm,
            errors: [InternalServiceFault, InvalidParameterCombinationException, InvalidParameterValueException,
                LimitExceededFault, MissingRequiredParameterException, ValidationError],
        }
        /// Lists alarms with their states.
        DescribeAlarms => describe_alarms(DescribeAlarmsRequest) -> DescribeAlarmsResponse {
            allow: "cloudwatch:DescribeAlarms" on "*",
            errors: [InternalServiceFault, InvalidNextToken, ValidationError],
        }
        /// Lists the alarms on one metric.
        DescribeAlarmsForMetric => describe_alarms_for_metric(DescribeAlarmsForMetricRequest) -> DescribeAlarmsForMetricResponse {
            allow: "cloudwatch:DescribeAlarmsForMetric" on "*",
            errors: [InternalServiceFault, InvalidParameterValueException, MissingRequiredParameterException],
        }
        /// Lists what happened to alarms in the last 30 days.
        DescribeAlarmHistory => describe_alarm_history(DescribeAlarmHistoryRequest) -> DescribeAlarmHistoryResponse {
            allow: "cloudwatch:DescribeAlarmHistory" on "*",
            errors: [InternalServiceFault, InvalidNextToken, ValidationError],
        }
        /// Deletes alarms; names of alarms that are not there are passed over.
        DeleteAlarms => delete_alarms(AlarmNamesRequest) -> () {
            allow: "cloudwatch:DeleteAlarms" on "*",
            errors: [InternalServiceFault, ValidationError],
        }
        /// Sets the state of an alarm until it is evaluated next, and does what follows from it.
        SetAlarmState => set_alarm_state(SetAlarmStateRequest) -> () {
            allow: "cloudwatch:SetAlarmState" on set_alarm,
            errors: [InternalServiceFault, InvalidFormatFault, MissingRequiredParameterException, ResourceNotFound, ValidationError],
        }
        /// Adds tags to an alarm.
        TagResource => tag_resource(TagResourceRequest) -> Done {
            allow: "cloudwatch:TagResource" on tagged,
            errors: [InternalServiceFault, InvalidParameterValueException, ResourceNotFoundException],
        }
        /// Removes tags from an alarm.
        UntagResource => untag_resource(UntagResourceRequest) -> Done {
            allow: "cloudwatch:UntagResource" on untagged,
            errors: [InternalServiceFault, InvalidParameterValueException, ResourceNotFoundException],
        }
        /// Lists the tags of an alarm.
        ListTagsForResource => list_tags_for_resource(ListTagsForResourceRequest) -> ListTagsForResourceResponse {
            allow: "cloudwatch:ListTagsForResource" on listed,
            errors: [InternalServiceFault, InvalidParameterValueException, ResourceNotFoundException],
        }
        /// Lets alarms do their actions.
        EnableAlarmActions => enable_alarm_actions(AlarmNamesRequest) -> () {
            allow: "cloudwatch:EnableAlarmActions" on "*",
            errors: [InternalServiceFault, ValidationError],
        }
        /// Keeps alarms from doing their actions.
        DisableAlarmActions => disable_alarm_actions(AlarmNamesRequest) -> () {
            allow: "cloudwatch:DisableAlarmActions" on "*",
            errors: [InternalServiceFault, ValidationError],
        }
    }
    missing: [AssociateDatasetKmsKey, CreateResourceMetricsConfiguration, DeleteAlarmMuteRule, DeleteAnomalyDetector,
        DeleteDashboards, DeleteInsightRules, DeleteMetricDataQueryDefinition, DeleteMetricStream,
        DeleteResourceMetricsConfiguration, DescribeAlarmContributors, DescribeAnomalyDetectors, DescribeInsightRules, DisableInsightRules,
        DisassociateDatasetKmsKey, EnableInsightRules, GetAlarmMuteRule, GetDashboard, GetDataset,
        GetInsightRuleReport, GetMetricDataQueryDefinition, GetMetricStream, GetMetricWidgetImage, GetOTelEnrichment,
        GetResourceMetricsConfiguration, ListAlarmMuteRules, ListDashboards, ListManagedInsightRules,
        ListMetricDataQueryDefinitions, ListMetricStreams, PutAlarmMuteRule, PutAnomalyDetector,
        PutCompositeAlarm, PutDashboard, PutInsightRule, PutLogAlarm, PutManagedInsightRules, PutMetricDataQueryDefinition, PutMetricStream, StartMetricStreams, StartOTelEnrichment, StopMetricStreams,
        StopOTelEnrichment, UpdateOTelEnrichment, UpdateResourceMetricsConfiguration];
}

/// `PutMetricData`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutMetricDataRequest {
    pub(crate) namespace: Option<String>,
    #[serde(default)]
    pub(crate) metric_data: Vec<MetricDatum>,
    pub(crate) entity_metric_data: Option<IgnoredAny>,
    pub(crate) strict_entity_validation: Option<bool>,
}

/// One measurement, or several at one time.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricDatum {
    pub(crate) metric_name: Option<String>,
    #[serde(default)]
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) timestamp: Option<Time>,
    pub(crate) value: Option<f64>,
    pub(crate) statistic_values: Option<StatisticSet>,
    #[serde(default)]
    pub(crate) values: Vec<f64>,
    #[serde(default)]
    pub(crate) counts: Vec<f64>,
    pub(crate) unit: Option<String>,
    pub(crate) storage_resolution: Option<i64>,
}

/// A dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Dimension {
    pub(crate) name: Option<String>,
    pub(crate) value: Option<String>,
}

/// What is known of many measurements.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StatisticSet {
    pub(crate) sample_count: Option<f64>,
    pub(crate) sum: Option<f64>,
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
}

/// `GetMetricData`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetMetricDataRequest {
    #[serde(default)]
    pub(crate) metric_data_queries: Vec<MetricDataQuery>,
    pub(crate) start_time: Option<Time>,
    pub(crate) end_time: Option<Time>,
    pub(crate) next_token: Option<String>,
    pub(crate) scan_by: Option<String>,
    pub(crate) max_datapoints: Option<i64>,
    pub(crate) label_options: Option<IgnoredAny>,
}

/// A metric or an expression.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricDataQuery {
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric_stat: Option<MetricStat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) return_data: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account_id: Option<String>,
}

/// A statistic of a metric.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricStat {
    pub(crate) metric: Option<Metric>,
    pub(crate) period: Option<i64>,
    pub(crate) stat: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<String>,
}

/// Which metric.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metric {
    pub(crate) namespace: Option<String>,
    pub(crate) metric_name: Option<String>,
    #[serde(default)]
    pub(crate) dimensions: Vec<Dimension>,
}

/// A page of results.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetMetricDataResponse {
    pub(crate) metric_data_results: Vec<MetricDataResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
    pub(crate) messages: [(); 0],
}

/// One time series.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricDataResult {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) timestamps: Vec<Time>,
    pub(crate) values: Vec<f64>,
    pub(crate) status_code: &'static str,
}

/// `GetMetricStatistics`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetMetricStatisticsRequest {
    pub(crate) namespace: Option<String>,
    pub(crate) metric_name: Option<String>,
    #[serde(default)]
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) start_time: Option<Time>,
    pub(crate) end_time: Option<Time>,
    pub(crate) period: Option<i64>,
    #[serde(default)]
    pub(crate) statistics: Vec<String>,
    #[serde(default)]
    pub(crate) extended_statistics: Vec<String>,
    pub(crate) unit: Option<String>,
}

/// Statistics of one metric.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetMetricStatisticsResponse {
    pub(crate) label: String,
    pub(crate) datapoints: Vec<Datapoint>,
}

/// Statistics of one period.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Datapoint {
    pub(crate) timestamp: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sample_count: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) average: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sum: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minimum: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) maximum: Option<f64>,
    pub(crate) unit: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) extended_statistics: BTreeMap<String, f64>,
}

/// `ListMetrics`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListMetricsRequest {
    pub(crate) namespace: Option<String>,
    pub(crate) metric_name: Option<String>,
    #[serde(default)]
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) next_token: Option<String>,
    pub(crate) recently_active: Option<String>,
    pub(crate) include_linked_accounts: Option<bool>,
    pub(crate) owning_account: Option<String>,
}

/// A page of metrics.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListMetricsResponse {
    pub(crate) metrics: Vec<Metric>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

impl PutMetricDataRequest {
    pub(crate) fn unsupported(&self) -> Result<(), Error> {
        if self.entity_metric_data.is_some() {
            return Err(Error::unsupported("EntityMetricData", "metrics are not related to entities"));
        }
        if self.strict_entity_validation == Some(true) {
            return Err(Error::unsupported("StrictEntityValidation", "metrics are not related to entities"));
        }
        Ok(())
    }
}
