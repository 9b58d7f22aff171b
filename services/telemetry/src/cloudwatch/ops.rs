//! What the operations on metrics do.

use super::{
    data,
    error::Error,
    expression::{Expression, Scope, Series, Value},
    logic::{self, Place},
    model::{Dimensions, SeriesKey, Unit},
    query::{self, Fold, Folded, Wanted},
    statistic::Statistic,
};
use crate::{Inner, api::monitoring::*};
use base::{Scaled, Timestamp};
use std::collections::{BTreeMap, HashMap};
use wire::{Context, Time};

/// Queries of one `GetMetricData`.
const QUERIES_MAX: usize = 500;
/// Data points of one page of `GetMetricData`.
const DATAPOINTS_MAX: i64 = 100_800;
/// Data points that the queries of one `GetMetricData` may ask for together, whether they exist or not.
const ASKED_MAX: i64 = 1_000_000;
/// Data points of one `GetMetricStatistics`.
const STATISTICS_MAX: i64 = 1_440;
/// Metrics of one page of `ListMetrics`.
const LIST_MAX: usize = 500;
/// Series looked through at once.
const LIST_ROWS: i64 = 1_000;
/// Metrics without data for so long are not listed.
const LISTED_S: i64 = 14 * 86_400;
/// `RecentlyActive`: PT3H.
const RECENT_S: i64 = 3 * 3_600;

pub(crate) fn place(context: &Context) -> Place {
    Place { account: context.account, region: context.region.clone() }
}

/// A metric with a statistic, checked.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    pub(crate) key: SeriesKey,
    pub(crate) period: i64,
    pub(crate) statistic: Statistic,
    pub(crate) unit: Option<Unit>,
}

/// A query of `GetMetricData` or of an alarm, checked.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) id: String,
    pub(crate) what: What,
    pub(crate) label: Option<String>,
    pub(crate) returned: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Measure(Measure),
    Expression(Expression),
}

impl Monitoring {
    pub(crate) async fn put_metric_data(
        &self,
        context: &Context,
        input: PutMetricDataRequest,
    ) -> Result<(), Error> {
        input.unsupported()?;
        let points =
            logic::admit(&place(context), input.namespace.as_deref(), &input.metric_data, context.now)?;
        let max = self.0.settings.metrics_max;
        self.0
            .db
            .write(move |tx| match data::points_add(tx, &points, max)? {
                0 => Ok(()),
                // Nothing of the request is kept: the error rolls it back.
                _ => Err(Error::Limit(format!(
                    "The limit of {max} metrics of an account and region is reached."
                ))),
            })
            .await
    }

    pub(crate) async fn get_metric_statistics(
        &self,
        context: &Context,
        input: GetMetricStatisticsRequest,
    ) -> Result<GetMetricStatisticsResponse, Error> {
        let namespace = logic::namespace(input.namespace.as_deref())?;
        let name = logic::metric_name("MetricName", input.metric_name.as_deref())?;
        let dimensions = logic::dimensions("Dimensions", &input.dimensions)?;
        let (start, end) = logic::range(input.start_time, input.end_time)?;
        let period = logic::period("Period", input.period)?;
        let unit = input.unit.as_deref().map(|unit| logic::unit("Unit", unit)).transpose()?;
        let statistics = statistics(&input.statistics, &input.extended_statistics)?;
        let from = query::rounded_start(start, context.now.0.div_euclid(1_000), period);
        let until = end.div_euclid(1_000) + i64::from(end.rem_euclid(1_000) > 0);
        let count = (until - from).div_euclid(period);
        if count > STATISTICS_MAX {
            return Err(Error::Combination(format!(
                "You have requested up to {count} datapoints, which exceeds the limit of {STATISTICS_MAX}. You may reduce the \
                 datapoints requested by increasing Period, or decreasing the time range."
            )));
        }
        let key = place(context).key(namespace, name, dimensions);
        let wanted = Wanted {
            period,
            origin: from,
            unit,
            apart: true,
            statistics: statistics.iter().map(|(_, statistic)| *statistic).collect(),
        };
        self.0.flush_metrics().await?;
        let folded = self.0.fold(key, (from, until), wanted).await?;
        let named = |Folded { at, unit, values }: Folded| {
            let known: Vec<_> = statistics.iter().map(|(name, _)| name.as_str()).zip(values).collect();
            datapoint(at, unit, &known)
        };
        let datapoints = folded.into_iter().filter_map(named).collect();
        Ok(GetMetricStatisticsResponse { label: name.to_owned(), datapoints })
    }

    pub(crate) async fn get_metric_data(
        &self,
        context: &Context,
        input: GetMetricDataRequest,
    ) -> Result<GetMetricDataResponse, Error> {
        let invalid = |error: Error| match error {
            Error::Value(text) | Error::Missing(text) | Error::Combination(text) => Error::Validation(text),
            other => other,
        };
        if input.label_options.is_some() {
            return Err(Error::unsupported("LabelOptions", "labels have no times"));
        }
        let (start, end) = logic::range(input.start_time, input.end_time).map_err(invalid)?;
        let ascending = match input.scan_by.as_deref() {
            None | Some("TimestampDescending") => false,
            Some("TimestampAscending") => true,
            Some(other) => {
                return Err(Error::Validation(format!(
                    "ScanBy must be TimestampDescending or TimestampAscending, not {other}"
                )));
            }
        };
        let most = input.max_datapoints.unwrap_or(DATAPOINTS_MAX);
        if !(1..=DATAPOINTS_MAX).contains(&most) {
            return Err(Error::Validation(format!(
                "MaxDatapoints must be between 1 and {DATAPOINTS_MAX}: {most}"
            )));
        }
        let skip: usize = match input.next_token.as_deref() {
            None => 0,
            Some(token) => token.parse().map_err(|_| Error::Token(token.chars().take(64).collect()))?,
        };
        if input.metric_data_queries.is_empty() || input.metric_data_queries.len() > QUERIES_MAX {
            return Err(Error::Validation(format!(
                "MetricDataQueries must have 1 to {QUERIES_MAX} members: {}",
                input.metric_data_queries.len()
            )));
        }
        let queries = queries(&place(context), &input.metric_data_queries).map_err(invalid)?;
        if !queries.iter().any(|query| query.returned) {
            return Err(Error::Validation("At least one query must have ReturnData true".to_owned()));
        }
        let asked: i64 = queries
            .iter()
            .map(|query| match &query.what {
                What::Measure(measure) => (end - start) / 1_000 / measure.period + 1,
                What::Expression(_) => 0,
            })
            .fold(0, i64::saturating_add);
        // Bounded before anything is read; AWS gives pages instead, of what is stored and not of what could be.
        if asked > ASKED_MAX {
            return Err(Error::Validation(format!(
                "The queries ask for up to {asked} data points together, more than {}. Increase Period, or decrease the time range",
                ASKED_MAX
            )));
        }
        let now = context.now.0.div_euclid(1_000);
        self.0.flush_metrics().await?;
        let results = self.0.evaluate(&queries, (start, end), now, None).await?;
        let results = results.into_iter().map(|(id, series)| (id.to_owned(), series)).collect();
        Ok(page(results, ascending, skip, usize::try_from(most).unwrap_or(usize::MAX)))
    }

    pub(crate) async fn list_metrics(
        &self,
        context: &Context,
        input: ListMetricsRequest,
    ) -> Result<ListMetricsResponse, Error> {
        if input.include_linked_accounts == Some(true) {
            return Err(Error::unsupported("IncludeLinkedAccounts", "accounts are not linked"));
        }
        if input.owning_account.is_some_and(|owner| owner != context.account.as_str()) {
            return Err(Error::unsupported("OwningAccount", "accounts are not linked"));
        }
        let namespace = input.namespace.as_deref().map(|name| logic::namespace(Some(name))).transpose()?;
        let name = input
            .metric_name
            .as_deref()
            .map(|name| logic::metric_name("MetricName", Some(name)))
            .transpose()?;
        if input.dimensions.len() > 10 {
            return Err(Error::Value(
                "The collection Dimensions must not have a size greater than 10.".to_owned(),
            ));
        }
        let mut filters = Vec::new();
        for filter in input.dimensions {
            filters.push((filter.name.ok_or_else(|| logic::missing("Dimensions.Name"))?, filter.value));
        }
        let now = context.now.0.div_euclid(1_000);
        let active_from = match input.recently_active.as_deref() {
            None => now - LISTED_S,
            Some("PT3H") => now - RECENT_S,
            Some(other) => {
                return Err(Error::Value(format!("The parameter RecentlyActive must be PT3H: {other}.")));
            }
        };
        let mut after: i64 = match input.next_token.as_deref() {
            None => 0,
            Some(token) => token.parse().map_err(|_| {
                Error::Value(format!("The parameter NextToken is not one that was given out: {token}"))
            })?,
        };
        self.0.flush_metrics().await?;
        let (namespace, name) = (namespace.map(str::to_owned), name.map(str::to_owned));
        let (account, region) = (context.account, context.region.clone());
        let (found, more) = self
            .0
            .db
            .read(move |tx| {
                let mut found: Vec<data::Series> = Vec::new();
                loop {
                    let (namespace, name) = (namespace.as_deref(), name.as_deref());
                    let rows = data::series_list(
                        tx,
                        account,
                        &region,
                        namespace,
                        name,
                        active_from,
                        after,
                        LIST_ROWS,
                    )?;
                    let end = (rows.len() as i64) < LIST_ROWS;
                    after = rows.last().map_or(after, |row| row.id);
                    let fits = |dimensions: &Dimensions| {
                        filters.iter().all(|(name, value)| dimensions.has(name, value.as_deref()))
                    };
                    found.extend(rows.into_iter().filter(|row| fits(&row.dimensions)));
                    if end || found.len() > LIST_MAX {
                        let more = found.len() > LIST_MAX;
                        found.truncate(LIST_MAX);
                        return Ok::<_, Error>((found, more));
                    }
                }
            })
            .await?;
        let next_token = found.last().filter(|_| more).map(|last| last.id.to_string());
        let metrics = found
            .into_iter()
            .map(|series| Metric {
                namespace: Some(series.namespace),
                metric_name: Some(series.name),
                dimensions: shown(&series.dimensions),
            })
            .collect();
        Ok(ListMetricsResponse { metrics, next_token })
    }
}

fn shown(dimensions: &Dimensions) -> Vec<Dimension> {
    dimensions
        .pairs()
        .iter()
        .map(|(name, value)| Dimension { name: Some(name.clone()), value: Some(value.clone()) })
        .collect()
}

/// One to five simple statistics, or one to ten others; not both.
fn statistics(simple: &[String], extended: &[String]) -> Result<Vec<(String, Statistic)>, Error> {
    if !simple.is_empty() && !extended.is_empty() {
        let reason = "Either Statistics or ExtendedStatistics must be specified, but not both.";
        return Err(Error::Combination(reason.to_owned()));
    }
    if simple.is_empty() && extended.is_empty() {
        let reason = "Must specify either Statistics or ExtendedStatistics";
        return Err(Error::Missing(reason.to_owned()));
    }
    if simple.len() > 5 || extended.len() > 10 {
        let reason = "There are at most 5 Statistics, or 10 ExtendedStatistics.";
        return Err(Error::Value(reason.to_owned()));
    }
    let mut all = Vec::new();
    for name in simple {
        let statistic = Statistic::simple(name).ok_or_else(|| {
            Error::Value(format!(
                "The parameter Statistics.member.1 must be a value in the set [ {} ]: {name}.",
                Statistic::SIMPLE.join(", ")
            ))
        })?;
        all.push((name.clone(), statistic));
    }
    for name in extended {
        let statistic =
            Statistic::parse(name).filter(|statistic| statistic.needs_values()).ok_or_else(|| {
                Error::Value(format!("The value {name} for parameter ExtendedStatistics is not supported."))
            })?;
        all.push((name.clone(), statistic));
    }
    Ok(all)
}

/// `None`: nothing of it is known.
fn datapoint(at: i64, unit: Unit, known: &[(&str, Option<f64>)]) -> Option<Datapoint> {
    let mut point = Datapoint {
        timestamp: Time(Timestamp(at * 1_000)),
        sample_count: None,
        average: None,
        sum: None,
        minimum: None,
        maximum: None,
        unit: unit.as_str(),
        extended_statistics: BTreeMap::new(),
    };
    let mut any = false;
    for (name, value) in known {
        any |= value.is_some();
        match *name {
            "SampleCount" => point.sample_count = *value,
            "Average" => point.average = *value,
            "Sum" => point.sum = *value,
            "Minimum" => point.minimum = *value,
            "Maximum" => point.maximum = *value,
            other => point.extended_statistics.extend(value.map(|value| (other.to_owned(), value))),
        }
    }
    any.then_some(point)
}

/// Checks queries: ids unique and well formed, each a metric or an expression.
pub(crate) fn queries(place: &Place, given: &[MetricDataQuery]) -> Result<Vec<Query>, Error> {
    let mut queries: Vec<Query> = Vec::new();
    for query in given {
        let id = query.id.as_deref().ok_or_else(|| logic::missing("MetricDataQueries.Id"))?;
        let plain = id.starts_with(|c: char| c.is_ascii_lowercase())
            && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain || id.len() > 255 {
            return Err(Error::Validation(format!(
                "The value {id} for parameter MetricDataQueries.Id must begin with a lower-case letter and have letters, digits \
                 and underscores only"
            )));
        }
        if queries.iter().any(|known| known.id == id) {
            return Err(Error::Validation(format!("The id {id} is given twice in MetricDataQueries")));
        }
        if query.account_id.as_ref().is_some_and(|account| account != place.account.as_str()) {
            return Err(Error::unsupported("AccountId", "accounts are not linked"));
        }
        if query.label.as_ref().is_some_and(|label| label.contains("${")) {
            return Err(Error::unsupported("Label with ${}", "labels are texts only"));
        }
        let what = match (&query.metric_stat, &query.expression) {
            (Some(stat), None) => What::Measure(measure(place, stat)?),
            (None, Some(text)) => {
                let parsed = Expression::parse(text)
                    .map_err(|refused| Error::Validation(format!("Error in expression '{id}': {refused}")))?;
                if query.period.is_some() {
                    return Err(Error::unsupported(
                        "MetricDataQueries.Period",
                        "an expression has the period of its metrics",
                    ));
                }
                What::Expression(parsed)
            }
            _ => {
                return Err(Error::Validation(format!(
                    "Exactly one of MetricStat and Expression must be given in the query {id}"
                )));
            }
        };
        let returned = query.return_data.unwrap_or(true);
        queries.push(Query { id: id.to_owned(), what, label: query.label.clone(), returned });
    }
    Ok(queries)
}

fn measure(place: &Place, stat: &MetricStat) -> Result<Measure, Error> {
    let metric = stat.metric.as_ref().ok_or_else(|| logic::missing("MetricStat.Metric"))?;
    let namespace = logic::namespace(metric.namespace.as_deref())?;
    let name = logic::metric_name("MetricStat.Metric.MetricName", metric.metric_name.as_deref())?;
    let dimensions = logic::dimensions("MetricStat.Metric.Dimensions", &metric.dimensions)?;
    let stat_name = stat.stat.as_deref().ok_or_else(|| logic::missing("MetricStat.Stat"))?;
    Ok(Measure {
        key: place.key(namespace, name, dimensions),
        period: logic::period("MetricStat.Period", stat.period)?,
        statistic: Statistic::parse(stat_name).ok_or_else(|| {
            Error::Validation(format!("The value {stat_name} for parameter Stat is not supported"))
        })?,
        unit: stat.unit.as_deref().map(|unit| logic::unit("MetricStat.Unit", unit)).transpose()?,
    })
}

impl Inner {
    /// Statistics of a metric, from (included) until (excluded) in seconds.
    async fn fold(&self, key: SeriesKey, range: (i64, i64), wanted: Wanted) -> Result<Vec<Folded>, Error> {
        self.db
            .read(move |tx| {
                let mut fold = Fold::new(wanted.clone());
                if let Some((series, _)) = data::series_find(tx, &key)? {
                    let values = wanted.needs_values();
                    data::points_each(tx, series, range, wanted.period, values, |point| fold.push(point))?;
                }
                Ok(fold.finish())
            })
            .await
    }

    /// See [`base::Utilization`].
    pub(crate) async fn utilization(
        &self,
        of: Scaled,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(Timestamp, f64)>, Error> {
        self.flush_metrics().await?;
        let Scaled { account, region, name, qualifier } = of;
        let dimensions = Dimensions::new(vec![
            ("FunctionName".to_owned(), name.to_string()),
            ("Resource".to_owned(), format!("{name}:{qualifier}")),
        ]);
        let place = Place { account, region };
        let key =
            place.key("AWS/Lambda", "ProvisionedConcurrencyUtilization", dimensions.unwrap_or_default());
        let statistics = vec![Statistic::Average];
        let wanted = Wanted { period: 60, origin: 0, unit: None, apart: false, statistics };
        let range = (from.0.div_euclid(1_000), until.0.div_euclid(1_000));
        let folded = self.fold(key, range, wanted).await?;
        let means = folded.into_iter().filter_map(|one| {
            let mean = one.values.into_iter().next().flatten()?;
            Some((Timestamp(one.at.saturating_mul(1_000)), mean))
        });
        Ok(means.collect())
    }

    /// Evaluates queries from start to end in milliseconds; gives the time series of those that are returned, with their ids.
    /// Periods are whole ones since 1970, or lie from `origin` on, in seconds. What functions have measured and is not stored yet
    /// does not count: [`Inner::flush_metrics`] comes first.
    pub(crate) async fn evaluate<'q>(
        &self,
        queries: &'q [Query],
        (start, end): (i64, i64),
        now: i64,
        origin: Option<i64>,
    ) -> Result<Vec<(&'q str, Series)>, Error> {
        let until = end.div_euclid(1_000) + i64::from(end.rem_euclid(1_000) > 0);
        let mut scope = Scope { range: (i64::MAX, until), ..Scope::default() };
        for query in queries {
            let What::Measure(measure) = &query.what else { continue };
            let rounded = query::rounded_start(start, now, measure.period);
            let origin = origin.unwrap_or(0);
            let from = rounded - (rounded - origin).rem_euclid(measure.period);
            scope.range.0 = scope.range.0.min(from);
            let wanted = Wanted {
                period: measure.period,
                origin,
                unit: measure.unit,
                apart: false,
                statistics: vec![measure.statistic],
            };
            let folded = self.fold(measure.key.clone(), (from, until), wanted).await?;
            let known = |all: Folded| {
                let value = all.values.first().copied().flatten();
                Some((all.at, value.filter(|value| value.is_finite())?))
            };
            let points = folded.into_iter().filter_map(known).collect();
            let label = query.label.clone().unwrap_or_else(|| measure.key.name.clone());
            scope.metrics.push(&query.id);
            scope.values.insert(&query.id, Value::Series(Series { label, period: measure.period, points }));
        }
        scope.range.0 = scope.range.0.min(until);
        for index in order(queries, &scope.metrics)? {
            let Some(query) = queries.get(index) else { continue };
            let What::Expression(expression) = &query.what else { continue };
            let failed =
                |text: String| Error::Validation(format!("Error in expression '{}': {text}", query.id));
            let value = expression.evaluate(&scope).map_err(|refused| failed(refused.to_string()))?;
            if query.returned && matches!(value, Value::Number(_)) {
                return Err(failed("it gives a number, not a time series".to_owned()));
            }
            scope.values.insert(&query.id, value);
        }
        let mut results = Vec::new();
        for query in queries.iter().filter(|query| query.returned) {
            match scope.values.remove(query.id.as_str()) {
                Some(Value::Series(series)) => results.push((query, series)),
                Some(Value::Many(all)) => results.extend(all.into_iter().map(|series| (query, series))),
                Some(Value::Number(_)) | None => {}
            }
        }
        let labelled = |(query, series): (&'q Query, Series)| {
            let label = match (&query.label, &query.what) {
                (Some(label), _) => label.clone(),
                (None, What::Expression(_)) => query.id.clone(),
                (None, What::Measure(_)) => series.label,
            };
            (query.id.as_str(), Series { label, ..series })
        };
        Ok(results.into_iter().map(labelled).collect())
    }
}

/// The indices of expressions, each after those that it names.
fn order(queries: &[Query], metrics: &[&str]) -> Result<Vec<usize>, Error> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Begun,
        Done,
    }
    let index: HashMap<&str, usize> =
        queries.iter().enumerate().map(|(index, query)| (query.id.as_str(), index)).collect();
    let mut marks = vec![Mark::New; queries.len()];
    let mut ordered = Vec::new();
    // An explicit stack: chains of 500 expressions are allowed.
    let mut stack: Vec<usize> = (0..queries.len()).rev().collect();
    while let Some(at) = stack.pop() {
        let (Some(query), Some(mark)) = (queries.get(at), marks.get_mut(at)) else { continue };
        let What::Expression(expression) = &query.what else { continue };
        match *mark {
            Mark::Done => {}
            Mark::Begun => {
                *mark = Mark::Done;
                ordered.push(at);
            }
            Mark::New => {
                *mark = Mark::Begun;
                stack.push(at);
                let mut ids = Vec::new();
                expression.ids(metrics, &mut ids);
                for other in ids.iter().filter_map(|id| index.get(id)) {
                    let begun = marks.get(*other) == Some(&Mark::Begun);
                    if begun
                        && matches!(queries.get(*other).map(|query| &query.what), Some(What::Expression(_)))
                    {
                        return Err(Error::Validation(format!(
                            "The expression '{}' depends on itself",
                            query.id
                        )));
                    }
                    if marks.get(*other) == Some(&Mark::New) {
                        stack.push(*other);
                    }
                }
            }
        }
    }
    Ok(ordered)
}

/// A page of `most` data points after `skip`.
fn page(results: Vec<(String, Series)>, ascending: bool, skip: usize, most: usize) -> GetMetricDataResponse {
    let total: usize = results.iter().map(|(_, series)| series.points.len()).sum();
    let (mut skip_left, mut room) = (skip, most);
    let mut shown = Vec::new();
    for (id, series) in results {
        let Series { label, points, .. } = series;
        let count = points.len();
        let skipped = skip_left.min(count);
        skip_left -= skipped;
        let mut points: Vec<(i64, f64)> = points.into_iter().collect();
        if !ascending {
            points.reverse();
        }
        let points: Vec<(i64, f64)> = points.into_iter().skip(skipped).take(room).collect();
        room -= points.len();
        // What an earlier page ended with, or a later one begins with, is left out, unless it is empty anyway.
        if points.is_empty() && (count > 0 || skip > 0) {
            continue;
        }
        shown.push(MetricDataResult {
            id,
            label,
            timestamps: points.iter().map(|(at, _)| Time(Timestamp(at * 1_000))).collect(),
            values: points.iter().map(|(_, value)| *value).collect(),
            status_code: if skipped + points.len() < count { "PartialData" } else { "Complete" },
        });
    }
    let reached = skip.saturating_add(most);
    let next_token = (reached < total).then(|| reached.to_string());
    GetMetricDataResponse { metric_data_results: shown, next_token, messages: [] }
}
