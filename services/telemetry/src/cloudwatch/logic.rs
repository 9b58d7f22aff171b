//! The rules of CloudWatch's metrics: names, limits, times. Pure.

use super::{
    error::Error,
    model::{Aggregate, Dimensions, Points, SeriesKey, Slot, Unit, gather},
};
use crate::api::monitoring::{Dimension, MetricDatum, StatisticSet};
use base::{AccountId, Region, Timestamp};
use wire::Time;

/// Measurements in one `PutMetricData`.
pub(crate) const DATA_MAX: usize = 1_000;
/// Distinct values in one measurement.
pub(crate) const VALUES_MAX: usize = 150;
/// Dimensions of one metric.
pub(crate) const DIMENSIONS_MAX: usize = 30;
/// Values lie between minus and plus this: 2 to the power of 360.
pub(crate) const VALUE_MAX: f64 = f64::from_bits(0x5670_0000_0000_0000);
/// How old a measurement may be.
const PAST_MAX_MS: i64 = 14 * 86_400_000;
/// How far in the future.
const FUTURE_MAX_MS: i64 = 2 * 3_600_000;
/// So long measurements by second are kept: older ones are stored by minute at once.
const FINE_MS: i64 = 3 * 3_600_000;
/// Namespaces that begin so are the services' own.
pub(crate) const RESERVED: &str = "AWS/";
/// A period is at most a year.
const PERIOD_MAX: i64 = 366 * 86_400;

/// Whose metrics.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
}

impl Place {
    pub(crate) fn key(&self, namespace: &str, name: &str, dimensions: Dimensions) -> SeriesKey {
        SeriesKey {
            account: self.account,
            region: self.region.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions,
        }
    }
}

pub(crate) fn missing(parameter: &str) -> Error {
    Error::Missing(format!("The parameter {parameter} is required."))
}

/// `text` of 1 to `max` characters, none of them a control character, with one that is no space.
fn text<'a>(parameter: &str, text: Option<&'a str>, max: usize) -> Result<&'a str, Error> {
    let text = text.ok_or_else(|| missing(parameter))?;
    let length = text.chars().count();
    if length > max {
        return Err(Error::Value(format!(
            "The parameter {parameter} must be shorter than {} characters.",
            max + 1
        )));
    }
    if length == 0 || text.trim().is_empty() {
        return Err(Error::Value(format!(
            "The parameter {parameter} must have a character that is not a space."
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::Value(format!("The parameter {parameter} must not have control characters.")));
    }
    Ok(text)
}

/// A namespace: 1 to 255 characters, not beginning with a colon.
pub(crate) fn namespace(text: Option<&str>) -> Result<&str, Error> {
    let name = self::text("Namespace", text, 255)?;
    if name.starts_with(':') {
        return Err(Error::Value("The parameter Namespace must not begin with a colon.".to_owned()));
    }
    Ok(name)
}

/// The name of a metric: 1 to 255 characters.
pub(crate) fn metric_name<'a>(parameter: &str, name: Option<&'a str>) -> Result<&'a str, Error> {
    text(parameter, name, 255)
}

/// At most 30, each name once; names and values are ASCII, and names do not begin with a colon.
pub(crate) fn dimensions(parameter: &str, given: &[Dimension]) -> Result<Dimensions, Error> {
    if given.len() > DIMENSIONS_MAX {
        return Err(Error::Value(format!(
            "The collection {parameter} must not have a size greater than {DIMENSIONS_MAX}."
        )));
    }
    let mut pairs = Vec::new();
    for (at, dimension) in given.iter().enumerate() {
        let member = |part: &str| format!("{parameter}.member.{}.{part}", at + 1);
        let name = text(&member("Name"), dimension.name.as_deref(), 255)?;
        let value = text(&member("Value"), dimension.value.as_deref(), 1_024)?;
        if name.starts_with(':') || !name.is_ascii() || !value.is_ascii() {
            return Err(Error::Value(format!(
                "The parameter {} must be ASCII and not begin with a colon.",
                member("Name or Value")
            )));
        }
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Dimensions::new(pairs)
        .ok_or_else(|| Error::Value(format!("The parameter {parameter} must not name a dimension twice.")))
}

/// A unit of measure by its wire name.
pub(crate) fn unit(parameter: &str, given: &str) -> Result<Unit, Error> {
    Unit::parse(given).ok_or_else(|| {
        Error::Value(format!(
            "The parameter {parameter} must be a value in the set [ {} ].",
            Unit::NAMES.join(", ")
        ))
    })
}

/// 1, 5, 10, 20, 30 or a multiple of 60 seconds.
pub(crate) fn period(parameter: &str, given: Option<i64>) -> Result<i64, Error> {
    let period = given.ok_or_else(|| missing(parameter))?;
    let fits = matches!(period, 1 | 5 | 10 | 20 | 30) || period >= 60 && period % 60 == 0;
    if !fits || period > PERIOD_MAX {
        return Err(Error::Value(format!(
            "The parameter {parameter} must be 1, 5, 10, 20, 30 or a multiple of 60, and at most {PERIOD_MAX}: {period}."
        )));
    }
    Ok(period)
}

/// Start and end in milliseconds, the one before the other.
pub(crate) fn range(start: Option<Time>, end: Option<Time>) -> Result<(i64, i64), Error> {
    let start = start.ok_or_else(|| missing("StartTime"))?.0.0;
    let end = end.ok_or_else(|| missing("EndTime"))?.0.0;
    if start >= end {
        let reason = "The parameter StartTime must be less than the parameter EndTime.";
        return Err(Error::Value(reason.to_owned()));
    }
    Ok((start, end))
}

/// Checks what `PutMetricData` is given; the first mistake refuses all.
pub(crate) fn admit(
    place: &Place,
    given: Option<&str>,
    data: &[MetricDatum],
    now: Timestamp,
) -> Result<Points, Error> {
    let namespace = namespace(given)?;
    if namespace.starts_with(RESERVED) {
        return Err(Error::Value(format!("The value {RESERVED} for parameter Namespace is invalid.")));
    }
    if data.is_empty() {
        return Err(missing("MetricData"));
    }
    if data.len() > DATA_MAX {
        return Err(Error::Value(format!(
            "The collection MetricData must not have a size greater than {DATA_MAX}."
        )));
    }
    let mut points = Points::new();
    for (at, datum) in data.iter().enumerate() {
        let at = format!("MetricData.member.{}", at + 1);
        let name = metric_name(&format!("{at}.MetricName"), datum.metric_name.as_deref())?;
        let dimensions = dimensions(&format!("{at}.Dimensions"), &datum.dimensions)?;
        let resolution = match datum.storage_resolution {
            None | Some(60) => 60,
            Some(1) => 1,
            Some(other) => {
                return Err(Error::Value(format!(
                    "The parameter {at}.StorageResolution must be 1 or 60: {other}."
                )));
            }
        };
        let unit = match &datum.unit {
            None => Unit::None,
            Some(name) => unit(&format!("{at}.Unit"), name)?,
        };
        let time = time(&format!("{at}.Timestamp"), datum.timestamp, now)?;
        let slot = slot(time, resolution, unit, now);
        gather(&mut points, place.key(namespace, name, dimensions), slot, aggregate(&at, datum)?);
    }
    Ok(points)
}

fn time(parameter: &str, given: Option<Time>, now: Timestamp) -> Result<i64, Error> {
    let time = given.map_or(now.0, |time| time.0.0);
    if time < now.0 - PAST_MAX_MS {
        return Err(Error::Value(format!(
            "The parameter {parameter} must specify a time no more than two weeks in the past."
        )));
    }
    if time > now.0 + FUTURE_MAX_MS {
        return Err(Error::Value(format!(
            "The parameter {parameter} must specify a time no more than two hours in the future."
        )));
    }
    Ok(time)
}

/// Where a measurement is kept; `resolution` is 1 or 60 seconds.
pub(crate) fn slot(time_ms: i64, resolution: i64, unit: Unit, now: Timestamp) -> Slot {
    let period = if resolution == 1 && time_ms > now.0 - FINE_MS { 1 } else { 60 };
    let at = time_ms.div_euclid(1_000);
    Slot { at: at - at.rem_euclid(period), period, unit }
}

/// A number that can be kept.
pub(crate) fn is_value(value: f64) -> bool {
    value.is_finite() && value.abs() <= VALUE_MAX
}

fn value(parameter: &str, value: f64) -> Result<f64, Error> {
    if is_value(value) {
        return Ok(value);
    }
    Err(Error::Value(format!(
        "The parameter {parameter} must be a number between -2^360 and 2^360: {value}."
    )))
}

fn count(parameter: &str, count: f64) -> Result<f64, Error> {
    if value(parameter, count)? > 0.0 {
        return Ok(count);
    }
    Err(Error::Value(format!("The parameter {parameter} must be greater than 0: {count}.")))
}

fn aggregate(at: &str, datum: &MetricDatum) -> Result<Aggregate, Error> {
    let given = [
        ("Value", datum.value.is_some()),
        ("StatisticValues", datum.statistic_values.is_some()),
        ("Values", !datum.values.is_empty()),
    ];
    let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if let [one, other, ..] = given.as_slice() {
        return Err(Error::Combination(format!(
            "The parameters {at}.{one} and {at}.{other} are mutually exclusive and you have specified both."
        )));
    }
    if datum.values.is_empty() && !datum.counts.is_empty() {
        return Err(Error::Combination(format!("The parameter {at}.Counts goes with {at}.Values only.")));
    }
    if let Some(given) = datum.value {
        return Ok(Aggregate::of(value(&format!("{at}.Value"), given)?, 1.0));
    }
    if let Some(set) = &datum.statistic_values {
        return statistic_set(&format!("{at}.StatisticValues"), set);
    }
    if datum.values.is_empty() {
        return Err(missing(&format!("{at}.Value")));
    }
    if datum.values.len() > VALUES_MAX {
        return Err(Error::Value(format!(
            "The collection {at}.Values must not have a size greater than {VALUES_MAX}."
        )));
    }
    if !datum.counts.is_empty() && datum.counts.len() != datum.values.len() {
        return Err(Error::Value(format!(
            "The parameters {at}.Values and {at}.Counts must be of the same size: {} and {}.",
            datum.values.len(),
            datum.counts.len()
        )));
    }
    let mut all: Option<Aggregate> = None;
    for (index, given) in datum.values.iter().enumerate() {
        let times = datum.counts.get(index).copied().unwrap_or(1.0);
        let given = value(&format!("{at}.Values.member.{}", index + 1), *given)?;
        let one = Aggregate::of(given, count(&format!("{at}.Counts.member.{}", index + 1), times)?);
        match &mut all {
            None => all = Some(one),
            Some(all) => all.merge(&one),
        }
    }
    all.ok_or_else(|| missing(&format!("{at}.Values")))
}

fn statistic_set(at: &str, set: &StatisticSet) -> Result<Aggregate, Error> {
    let member = |name: &str, given: Option<f64>| {
        let parameter = format!("{at}.{name}");
        value(&parameter, given.ok_or_else(|| missing(&parameter))?)
    };
    let samples = count(&format!("{at}.SampleCount"), member("SampleCount", set.sample_count)?)?;
    let sum = member("Sum", set.sum)?;
    let (least, greatest) = (member("Minimum", set.minimum)?, member("Maximum", set.maximum)?);
    if least > greatest {
        return Err(Error::Value(format!(
            "The parameter {at}.Maximum must be greater than or equal to {at}.Minimum: {greatest} and {least}."
        )));
    }
    Ok(Aggregate::set(samples, sum, least, greatest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_795_219_230_000);

    fn place() -> Place {
        Place { account: AccountId::DEFAULT, region: "us-east-1".parse().unwrap() }
    }

    fn datum() -> MetricDatum {
        MetricDatum { metric_name: Some("m".into()), value: Some(1.0), ..MetricDatum::default() }
    }

    fn refusal(datum: MetricDatum) -> String {
        admit(&place(), Some("a/b"), &[datum], NOW).unwrap_err().to_string()
    }

    #[test]
    fn measurements_are_gathered_by_metric_and_minute() {
        let at = |ms: i64, value: f64| MetricDatum {
            timestamp: Some(Time(Timestamp(ms))),
            value: Some(value),
            ..datum()
        };
        let minute = NOW.0 - 30_000;
        let points = admit(
            &place(),
            Some("n"),
            &[at(minute, 1.0), at(minute + 59_999, 2.0), at(minute + 60_000, 4.0)],
            NOW,
        );
        let points = points.unwrap();
        let slots: Vec<_> =
            points.values().next().unwrap().iter().map(|(slot, all)| (slot.at, all.sum)).collect();
        assert_eq!(slots, [(minute / 1_000, 3.0), (minute / 1_000 + 60, 4.0)]);
        let fine = MetricDatum { storage_resolution: Some(1), ..at(NOW.0, 1.0) };
        let old = MetricDatum { storage_resolution: Some(1), ..at(NOW.0 - FINE_MS, 1.0) };
        let points = admit(&place(), Some("n"), &[fine, old], NOW).unwrap();
        let periods: Vec<_> = points.values().next().unwrap().iter().map(|(slot, _)| slot.period).collect();
        assert_eq!(periods, [60, 1]);
    }

    #[test]
    fn the_greatest_value_is_two_to_the_360() {
        assert_eq!(VALUE_MAX, 2_f64.powi(360));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let set = |samples, sum, minimum, maximum| MetricDatum {
            value: None,
            statistic_values: Some(StatisticSet {
                sample_count: Some(samples),
                sum: Some(sum),
                minimum: Some(minimum),
                maximum: Some(maximum),
            }),
            ..datum()
        };
        let time = |ms| MetricDatum { timestamp: Some(Time(Timestamp(ms))), ..datum() };
        let values =
            |values: Vec<f64>, counts: Vec<f64>| MetricDatum { value: None, values, counts, ..datum() };
        let dimension =
            |name: &str, value: &str| Dimension { name: Some(name.into()), value: Some(value.into()) };
        for (bad, named) in [
            (MetricDatum { metric_name: None, ..datum() }, "MetricName is required"),
            (MetricDatum { metric_name: Some("x".repeat(256)), ..datum() }, "MetricName"),
            (MetricDatum { metric_name: Some("a\0".into()), ..datum() }, "control"),
            (MetricDatum { value: None, ..datum() }, "Value is required"),
            (MetricDatum { value: Some(f64::NAN), ..datum() }, "2^360"),
            (MetricDatum { value: Some(f64::INFINITY), ..datum() }, "2^360"),
            (MetricDatum { value: Some(-3e108), ..datum() }, "2^360"),
            (MetricDatum { unit: Some("Parsecs".into()), ..datum() }, "Unit"),
            (MetricDatum { storage_resolution: Some(30), ..datum() }, "StorageResolution"),
            (MetricDatum { values: vec![1.0], ..datum() }, "mutually exclusive"),
            (MetricDatum { counts: vec![1.0], ..datum() }, "Counts"),
            (values(vec![1.0; 151], vec![]), "150"),
            (values(vec![1.0, 2.0], vec![1.0]), "same size"),
            (values(vec![1.0], vec![0.0]), "greater than 0"),
            (set(0.0, 1.0, 1.0, 1.0), "greater than 0"),
            (set(1.0, 1.0, 2.0, 1.0), "Maximum"),
            (set(f64::NAN, 1.0, 1.0, 1.0), "2^360"),
            (time(NOW.0 - PAST_MAX_MS - 1), "two weeks"),
            (time(NOW.0 + FUTURE_MAX_MS + 1), "two hours"),
            (MetricDatum { dimensions: vec![dimension("a", "b"); 2], ..datum() }, "twice"),
            (MetricDatum { dimensions: vec![dimension(":a", "b")], ..datum() }, "colon"),
            (MetricDatum { dimensions: vec![dimension("a", " ")], ..datum() }, "space"),
            (MetricDatum { dimensions: vec![dimension("a", "é")], ..datum() }, "ASCII"),
            (MetricDatum { dimensions: vec![Dimension::default()], ..datum() }, "Name is required"),
            (MetricDatum { dimensions: vec![dimension("a", "b"); 31], ..datum() }, "30"),
        ] {
            let refusal = refusal(bad);
            assert!(refusal.contains(named), "{named}: {refusal}");
        }
        for (namespace, data) in [
            (None, 1),
            (Some("AWS/Lambda"), 1),
            (Some(":x"), 1),
            (Some(""), 1),
            (Some("n"), 0),
            (Some("n"), 1_001),
        ] {
            let data: Vec<_> = (0..data).map(|_| datum()).collect();
            assert!(admit(&place(), namespace, &data, NOW).is_err(), "{namespace:?} {}", data.len());
        }
    }

    proptest! {
        #[test]
        fn any_measurement_is_kept_whole_or_refused(
            values in prop::collection::vec(prop::num::f64::ANY, 0..5), counts in prop::collection::vec(prop::num::f64::ANY, 0..5),
            ms in any::<i64>(), name in ".{0,10}",
        ) {
            let datum = MetricDatum {
                metric_name: Some(name), value: None, values: values.clone(), counts,
                timestamp: Some(Time(Timestamp(ms))), ..MetricDatum::default()
            };
            if let Ok(points) = admit(&place(), Some("n"), &[datum], NOW) {
                let all = points.values().next().unwrap().first().unwrap().1.clone();
                prop_assert!(all.sum.is_finite() && all.count > 0.0 && all.min <= all.max);
            }
        }
    }
}
