//! One method for each operation.

mod actions;
mod activities;
mod policies;
mod tags;
mod targets;

use crate::{Error, data::Place};
use base::{FunctionName, Scaled, Version};
use wire::{Context, Violations};

/// The only service whose resources are scaled.
pub(crate) const NAMESPACE: &str = "lambda";
/// The only dimension.
pub(crate) const DIMENSION: &str = "lambda:function:ProvisionedConcurrency";
/// Other services of Application Auto Scaling.
const NAMESPACES: [&str; 14] = [
    "appstream",
    "cassandra",
    "comprehend",
    "custom-resource",
    "dynamodb",
    "ec2",
    "ecs",
    "elasticache",
    "elasticmapreduce",
    "kafka",
    "neptune",
    "rds",
    "sagemaker",
    "workspaces",
];

/// Bounds of `MaxResults`.
pub(crate) const PAGE_MAX: i64 = 50;

/// Refuses what is missing of a request.
fn required<'a, const N: usize>(members: [(&str, Option<&'a String>); N]) -> Result<[&'a str; N], Error> {
    let mut violations = Violations::default();
    let found = members.map(|(member, value)| match value {
        Some(value) => value.as_str(),
        None => {
            violations.missing(member);
            ""
        }
    });
    if violations.is_empty() { Ok(found) } else { Err(Error::invalid(violations.to_string())) }
}

fn check_namespace(namespace: &str) -> Result<(), Error> {
    match namespace {
        NAMESPACE => Ok(()),
        other if NAMESPACES.contains(&other) => {
            Err(Error::unsupported(format!("the service namespace {other}"), "only lambda is scaled"))
        }
        other => {
            let mut violations = Violations::default();
            violations.one_of("serviceNamespace", other, &[NAMESPACE]);
            Err(Error::invalid(violations.to_string()))
        }
    }
}

fn check_dimension(dimension: Option<&str>) -> Result<(), Error> {
    match dimension {
        None | Some(DIMENSION) => Ok(()),
        Some(other) => Err(Error::invalid(format!(
            "the scalable dimension {other} is none of the namespace {NAMESPACE}: it has {DIMENSION}"
        ))),
    }
}

/// Takes apart `function:NAME:ALIAS-or-VERSION`.
fn resource(context: &Context, id: &str) -> Result<Scaled, Error> {
    let bad = || {
        Error::invalid(format!(
            "the resource id {id} is not of the form function:NAME:QUALIFIER, with the number of a version or an alias"
        ))
    };
    let [kind, name, qualifier] = id.split(':').collect::<Vec<_>>()[..] else { return Err(bad()) };
    let letters = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if kind != "function" || qualifier.is_empty() || qualifier.len() > 128 || !letters(qualifier) {
        return Err(bad());
    }
    let name: FunctionName = name.parse().map_err(|_| bad())?;
    // One version has one name.
    let qualifier = match qualifier.parse::<Version>() {
        Ok(version) => version.to_string(),
        Err(_) => qualifier.to_owned(),
    };
    Ok(Scaled { account: context.account, region: context.region.clone(), name, qualifier })
}

/// As requests name it.
pub(crate) fn resource_id(of: &Scaled) -> String {
    format!("function:{}:{}", of.name, of.qualifier)
}

/// The target that a request names by namespace, resource and dimension.
fn named(
    context: &Context,
    namespace: Option<&String>,
    id: Option<&String>,
    dimension: Option<&String>,
) -> Result<Scaled, Error> {
    let [namespace, id, dimension] =
        required([("serviceNamespace", namespace), ("resourceId", id), ("scalableDimension", dimension)])?;
    check_namespace(namespace)?;
    check_dimension(Some(dimension))?;
    resource(context, id)
}

/// What a list is narrowed to: namespace, and perhaps a resource and a dimension.
fn listed(
    context: &Context,
    namespace: Option<&String>,
    id: Option<&String>,
    dimension: Option<&String>,
) -> Result<Option<Scaled>, Error> {
    let [namespace] = required([("serviceNamespace", namespace)])?;
    check_namespace(namespace)?;
    check_dimension(dimension.map(String::as_str))?;
    id.map(|id| resource(context, id)).transpose()
}

fn not_registered(of: &Scaled) -> Error {
    Error::NoObject(format!(
        "No scalable target registered for service namespace: {NAMESPACE}, resource ID: {}, scalable dimension: {DIMENSION}",
        resource_id(of)
    ))
}

fn count(member: &str, value: i64) -> Result<u32, Error> {
    let mut violations = Violations::default();
    violations.range(member, value, 0..=i64::from(i32::MAX));
    u32::try_from(value)
        .ok()
        .filter(|_| violations.is_empty())
        .ok_or_else(|| Error::invalid(violations.to_string()))
}

fn page_size(given: Option<i64>, max: i64) -> Result<i64, Error> {
    let mut violations = Violations::default();
    let size = given.unwrap_or(max);
    violations.range("maxResults", size, 1..=max);
    if violations.is_empty() { Ok(size) } else { Err(Error::invalid(violations.to_string())) }
}

/// Where a list goes on.
fn place(token: Option<&str>) -> Result<Place, Error> {
    let Some(token) = token else { return Ok(Place::default()) };
    let bytes = hex::decode(token).map_err(|_| Error::Token)?;
    serde_json::from_slice(&bytes).map_err(|_| Error::Token)
}

fn token(place: &Place) -> Result<String, Error> {
    Ok(hex::encode(crate::data::text("a place in a list", place)?))
}

/// A page of what `wanted` picks, read step by step, and where to go on.
async fn page<T, F>(
    first: Place,
    size: i64,
    read: impl Fn(Place) -> F,
    place_of: impl Fn(&T) -> Place,
    wanted: impl Fn(&T) -> bool,
) -> Result<(Vec<T>, Option<String>), Error>
where
    F: Future<Output = Result<Vec<T>, Error>>,
{
    let (mut found, mut after) = (Vec::new(), first);
    let size = usize::try_from(size).unwrap_or_default();
    loop {
        let rows = read(after.clone()).await?;
        let Some(last) = rows.last() else { return Ok((found, None)) };
        after = place_of(last);
        for row in rows {
            if !wanted(&row) {
                continue;
            }
            if found.len() == size {
                let next = found.last().map(|last| token(&place_of(last))).transpose()?;
                return Ok((found, next));
            }
            found.push(row);
        }
    }
}
