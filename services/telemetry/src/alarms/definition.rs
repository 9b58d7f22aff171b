//! What an alarm is defined as, and which definitions are taken. Pure.

use super::evaluation::{Comparison, Missing, Rule};
use crate::{
    api::{
        alarms::MetricAlarm,
        monitoring::{Metric, MetricDataQuery, MetricStat},
    },
    cloudwatch::{
        error::Error,
        logic::{self, Place},
        ops::{Query, What, queries},
        statistic::Statistic,
    },
};
use base::Arn;

/// Metrics and expressions of one alarm.
const QUERIES_MAX: usize = 20;
/// Actions of one state.
const ACTIONS_MAX: usize = 5;
/// The longest that an alarm may look back: a day, or a week with periods of an hour or more.
const DAY_S: i64 = 86_400;

/// A definition, checked.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) queries: Vec<Query>,
    /// Seconds.
    pub(crate) period: i64,
    pub(crate) rule: Rule,
}

fn unsupported(input: &MetricAlarm) -> Result<(), Error> {
    let refuse = |member: &str, reason| Err(Error::unsupported(member, reason));
    if input.threshold_metric_id.is_some() {
        return refuse("ThresholdMetricId", "thresholds are numbers: there is no anomaly detection");
    }
    if input.evaluation_window.is_some() {
        return refuse("EvaluationWindow", "windows slide");
    }
    if input.warm_up_configuration.is_some() {
        return refuse("WarmUpConfiguration", "alarms are evaluated from their creation on");
    }
    if input.evaluation_criteria.is_some() || input.evaluation_interval.is_some() {
        return refuse("EvaluationCriteria", "alarms are on metrics, not on PromQL");
    }
    if input.action_configuration.is_some() {
        return refuse("ActionConfiguration", "actions carry no tags");
    }
    if input.evaluate_low_sample_count_percentile.as_deref().is_some_and(|how| how != "evaluate") {
        return refuse(
            "EvaluateLowSampleCountPercentile other than evaluate",
            "percentiles are evaluated always",
        );
    }
    Ok(())
}

/// A definition that can be carried out, or why it cannot.
pub(crate) fn check(place: &Place, input: &MetricAlarm) -> Result<Definition, Error> {
    unsupported(input)?;
    name("AlarmName", input.alarm_name.as_deref())?;
    if input
        .alarm_description
        .as_ref()
        .is_some_and(|text| text.chars().count() > 1_024 || text.contains('\0'))
    {
        return Err(Error::Validation("AlarmDescription must have at most 1024 characters".to_owned()));
    }
    for (member, actions) in [
        ("AlarmActions", &input.alarm_actions),
        ("OKActions", &input.ok_actions),
        ("InsufficientDataActions", &input.insufficient_data_actions),
    ] {
        check_actions(place, member, actions)?;
    }
    let operator =
        input.comparison_operator.as_deref().ok_or_else(|| logic::missing("ComparisonOperator"))?;
    let comparison = match operator {
        "LessThanLowerOrGreaterThanUpperThreshold"
        | "LessThanLowerThreshold"
        | "GreaterThanUpperThreshold" => {
            return Err(Error::unsupported(
                format!("ComparisonOperator {operator}"),
                "there is no anomaly detection",
            ));
        }
        other => Comparison::parse(other).ok_or_else(|| {
            Error::Validation(format!("The value {other} for parameter ComparisonOperator is not known"))
        })?,
    };
    let threshold = input.threshold.ok_or_else(|| logic::missing("Threshold"))?;
    if !threshold.is_finite() {
        return Err(Error::Value("The parameter Threshold must be a finite number.".to_owned()));
    }
    let periods = input.evaluation_periods.ok_or_else(|| logic::missing("EvaluationPeriods"))?;
    let to_alarm = input.datapoints_to_alarm.unwrap_or(periods);
    if periods < 1 || to_alarm < 1 || to_alarm > periods {
        return Err(Error::Validation(format!(
            "EvaluationPeriods must be at least 1, and DatapointsToAlarm from 1 to EvaluationPeriods: {periods} and {to_alarm}"
        )));
    }
    let treatment = input.treat_missing_data.as_deref().unwrap_or("missing");
    let missing = Missing::parse(treatment).ok_or_else(|| {
        Error::Validation(format!(
            "The value {treatment} for parameter TreatMissingData must be breaching, notBreaching, ignore or missing"
        ))
    })?;
    let queries = asked(place, input)?;
    let periods_of = queries.iter().filter_map(|query| match &query.what {
        What::Measure(measure) => Some(measure.period),
        What::Expression(_) => None,
    });
    let period = periods_of.max().ok_or_else(|| {
        Error::Validation("An alarm needs a metric: an expression alone has no period".to_owned())
    })?;
    if matches!(period, 1 | 5) {
        return Err(Error::Value(format!(
            "The parameter Period of an alarm must be 10, 20, 30 or a multiple of 60: {period}."
        )));
    }
    let most = if period >= 3_600 { 7 * DAY_S } else { DAY_S };
    if period.saturating_mul(periods) > most {
        return Err(Error::Validation(format!(
            "Metrics cannot be checked across more than {most} seconds (EvaluationPeriods * Period)"
        )));
    }
    let count = |count: i64| usize::try_from(count).unwrap_or(usize::MAX);
    let rule = Rule { comparison, threshold, periods: count(periods), to_alarm: count(to_alarm), missing };
    Ok(Definition { queries, period, rule })
}

/// 1 to 255 characters, none of them a control character.
pub(crate) fn name<'a>(parameter: &str, name: Option<&'a str>) -> Result<&'a str, Error> {
    logic::metric_name(parameter, name)
}

fn check_actions(place: &Place, member: &str, actions: &[String]) -> Result<(), Error> {
    if actions.len() > ACTIONS_MAX {
        return Err(Error::Validation(format!("{member} must have at most {ACTIONS_MAX} members")));
    }
    for action in actions {
        if function(place, action).is_none() {
            return Err(Error::unsupported(
                format!("{member} {}", action.chars().take(256).collect::<String>()),
                "the actions carried out are functions of the same account and region, by their ARN",
            ));
        }
    }
    Ok(())
}

/// The function that an action invokes.
pub(crate) fn function(place: &Place, action: &str) -> Option<Arn> {
    let arn: Arn = action.parse().ok()?;
    let here = arn.account == Some(place.account) && arn.region.as_ref() == Some(&place.region);
    let mut parts = arn.resource.strip_prefix("function:")?.splitn(2, ':');
    let word = |text: &str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_$".contains(&b))
    };
    let named = parts.next().is_some_and(word) && parts.next().is_none_or(word);
    (&*arn.service == "lambda" && here && named).then_some(arn)
}

/// The queries of an alarm: of its one metric, or as given.
fn asked(place: &Place, input: &MetricAlarm) -> Result<Vec<Query>, Error> {
    let single = input.metric_name.is_some()
        || input.namespace.is_some()
        || input.statistic.is_some()
        || input.extended_statistic.is_some()
        || input.period.is_some()
        || input.unit.is_some()
        || !input.dimensions.is_empty();
    if single && !input.metrics.is_empty() {
        let reason = "Metrics cannot be given together with MetricName, Namespace, Dimensions, Period, Unit, Statistic and \
                      ExtendedStatistic.";
        return Err(Error::Combination(reason.to_owned()));
    }
    if input.metrics.is_empty() {
        return queries(place, &[single_query(input)?]);
    }
    if input.metrics.len() > QUERIES_MAX {
        return Err(Error::Validation(format!("Metrics must have at most {QUERIES_MAX} members")));
    }
    let queries = queries(place, &input.metrics)?;
    if queries.iter().filter(|query| query.returned).count() != 1 {
        let reason = "Exactly one element of the metrics list should return data.";
        return Err(Error::Validation(reason.to_owned()));
    }
    Ok(queries)
}

fn single_query(input: &MetricAlarm) -> Result<MetricDataQuery, Error> {
    let stat = match (&input.statistic, &input.extended_statistic) {
        (Some(name), None) => {
            if Statistic::simple(name).is_none() {
                return Err(Error::Value(format!(
                    "The parameter Statistic must be a value in the set [ {} ]: {name}.",
                    Statistic::SIMPLE.join(", ")
                )));
            }
            name
        }
        (None, Some(name)) => name,
        (Some(_), Some(_)) => {
            let reason = "Either Statistic or ExtendedStatistic must be specified, but not both.";
            return Err(Error::Combination(reason.to_owned()));
        }
        (None, None) => {
            return Err(Error::Missing(
                "Either Statistic or ExtendedStatistic must be specified.".to_owned(),
            ));
        }
    };
    let metric = Metric {
        namespace: input.namespace.clone(),
        metric_name: input.metric_name.clone(),
        dimensions: input.dimensions.clone(),
    };
    let metric_stat = MetricStat {
        metric: Some(metric),
        period: input.period,
        stat: Some(stat.clone()),
        unit: input.unit.clone(),
    };
    Ok(MetricDataQuery {
        id: Some("m1".to_owned()),
        metric_stat: Some(metric_stat),
        expression: None,
        label: None,
        return_data: Some(true),
        period: None,
        account_id: None,
    })
}
