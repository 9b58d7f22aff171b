//! From JSON to a pattern.
//!
//! ```text
//! fields   = { name: fields | leaf, …, "$or": [fields, fields, …] }
//! leaf     = [value | {operator: operand}, …]
//! ```
//! A field is called `$or` only if what it has is no such list: that was allowed before the operator existed.

use crate::{
    Error, Field, Fields, Pattern,
    leaf::{Bound, Test, Text, compare},
};
use serde_json::{Map, Value};
use std::{cmp::Ordering, net::IpAddr};

/// Names of operators: an object with one of them is no alternative of `$or`.
const OPERATORS: [&str; 8] = [EXISTS, PREFIX, SUFFIX, NUMERIC, CIDR, BUT, FOLDED, WILDCARD];
const EXISTS: &str = "exists";
const PREFIX: &str = "prefix";
const SUFFIX: &str = "suffix";
const NUMERIC: &str = "numeric";
const CIDR: &str = "cidr";
const BUT: &str = "anything-but";
const FOLDED: &str = "equals-ignore-case";
const WILDCARD: &str = "wildcard";

/// Numbers in comparisons. Source: EventBridge user guide, "Numeric matching".
const NUMBER_MAX: f64 = 5.0e9;

pub(crate) fn pattern(value: &Value) -> Result<Pattern, Error> {
    let Value::Object(object) = value else { return Err(Error::NoObject) };
    let mut absences = 0;
    let root = fields("pattern", object, &mut absences)?;
    Ok(Pattern { root, absences })
}

fn fields(name: &str, object: &Map<String, Value>, absences: &mut usize) -> Result<Fields, Error> {
    let mut all = Fields::default();
    for (name, value) in object {
        match (value, alternatives(name, value)) {
            (_, Some(group)) => {
                let group = group.into_iter().map(|object| fields(name, object, absences));
                all.any.push(group.collect::<Result<_, _>>()?);
            }
            (Value::Object(object), None) => {
                all.each.push((name.clone(), Field::Within(fields(name, object, absences)?)));
            }
            (Value::Array(values), None) => all.each.push((name.clone(), leaf(name, values, absences)?)),
            (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), None) => {
                return Err(Error::NoArray(name.clone()));
            }
        }
    }
    if all == Fields::default() { Err(Error::Empty(name.to_owned())) } else { Ok(all) }
}

/// The objects of an `$or`, if the field is one.
fn alternatives<'a>(name: &str, value: &'a Value) -> Option<Vec<&'a Map<String, Value>>> {
    let Value::Array(values) = value else { return None };
    let objects: Vec<_> = values.iter().filter_map(Value::as_object).collect();
    let plain = |object: &&Map<String, Value>| {
        !object.is_empty() && !object.keys().any(|key| OPERATORS.contains(&key.as_str()))
    };
    let fits = name == "$or" && objects.len() >= 2 && objects.len() == values.len();
    (fits && objects.iter().all(plain)).then_some(objects)
}

fn leaf(name: &str, values: &[Value], absences: &mut usize) -> Result<Field, Error> {
    if values.is_empty() {
        return Err(Error::Empty(name.to_owned()));
    }
    let (mut tests, mut absence) = (Vec::new(), None);
    for value in values {
        match value {
            Value::Object(object) => match comparison(object)? {
                Some(test) => tests.push(test),
                None => {
                    absence.get_or_insert_with(|| {
                        *absences += 1;
                        *absences - 1
                    });
                }
            },
            Value::Array(_) => return Err(Error::NoArray(name.to_owned())),
            Value::Null => tests.push(Test::Null),
            Value::Bool(wanted) => tests.push(Test::Bool(*wanted)),
            Value::Number(wanted) => tests.push(Test::Number(wanted.clone())),
            Value::String(wanted) => tests.push(Test::Text(Text::Equal(wanted.clone()))),
        }
    }
    Ok(Field::Leaf { tests, absence })
}

/// A comparison; `None` is that of absence.
fn comparison(object: &Map<String, Value>) -> Result<Option<Test>, Error> {
    let (operator, operand) = single(object)?;
    let test = match operator {
        EXISTS => match operand {
            Value::Bool(true) => Test::Exists,
            Value::Bool(false) => return Ok(None),
            _ => return Err(Error::Operand { operator: EXISTS, expected: "must be either true or false" }),
        },
        NUMERIC => numeric(operand)?,
        CIDR => cidr(operand)?,
        BUT => Test::But(but(operand)?),
        operator => Test::Text(text(operator, operand)?),
    };
    Ok(Some(test))
}

fn single(object: &Map<String, Value>) -> Result<(&str, &Value), Error> {
    let mut entries = object.iter();
    match (entries.next(), entries.next()) {
        (Some((operator, operand)), None) => Ok((operator, operand)),
        (first, _) => Err(Error::Unknown(
            first.map_or("{}".to_owned(), |(operator, _)| format!("{operator} beside another")),
        )),
    }
}

/// Comparisons of strings.
fn text(operator: &str, operand: &Value) -> Result<Text, Error> {
    let string = |operator, operand: &Value| match operand {
        Value::String(text) => Ok(text.clone()),
        _ => Err(Error::Operand { operator, expected: "must be compared with a string" }),
    };
    Ok(match operator {
        PREFIX => match folded(operand)? {
            Some(text) => Text::PrefixFolded(text),
            None => Text::Prefix(string(PREFIX, operand)?),
        },
        SUFFIX => match folded(operand)? {
            Some(text) => Text::SuffixFolded(text),
            None => Text::Suffix(string(SUFFIX, operand)?),
        },
        FOLDED => Text::EqualFolded(string(FOLDED, operand)?.to_lowercase()),
        WILDCARD => Text::Wildcard(pieces(&string(WILDCARD, operand)?)?),
        other => return Err(Error::Unknown(other.to_owned())),
    })
}

/// `{"equals-ignore-case": text}` inside of `prefix` or `suffix`.
fn folded(operand: &Value) -> Result<Option<String>, Error> {
    let Value::Object(object) = operand else { return Ok(None) };
    match single(object)? {
        (FOLDED, Value::String(text)) => Ok(Some(text.to_lowercase())),
        (FOLDED, _) => Err(Error::Operand { operator: FOLDED, expected: "must be compared with a string" }),
        (other, _) => Err(Error::Unknown(other.to_owned())),
    }
}

/// Splits at asterisks; `\*` is an asterisk, `\\` a backslash.
fn pieces(text: &str) -> Result<Vec<String>, Error> {
    let wrong = |expected| Error::Operand { operator: WILDCARD, expected };
    let (mut pieces, mut last, mut before) = (Vec::new(), String::new(), None);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '*' if before == Some('*') => return Err(wrong("must have no two asterisks in a row")),
            '*' => {
                before = Some('*');
                pieces.push(std::mem::take(&mut last));
                continue;
            }
            '\\' => match chars.next() {
                Some(escaped @ ('*' | '\\')) => last.push(escaped),
                _ => return Err(wrong("may escape only asterisks and backslashes")),
            },
            other => last.push(other),
        }
        before = None;
    }
    pieces.push(last);
    Ok(pieces)
}

fn but(operand: &Value) -> Result<Vec<Test>, Error> {
    let wrong = || Error::Operand {
        operator: BUT,
        expected: "must be compared with a string, a number, a list of either, or a comparison of strings",
    };
    let plain = |value: &Value| match value {
        Value::String(text) => Ok(Test::Text(Text::Equal(text.clone()))),
        Value::Number(number) => Ok(Test::Number(number.clone())),
        _ => Err(wrong()),
    };
    match operand {
        Value::Array(values) => {
            let kinds_differ = values.windows(2).any(|pair| pair[0].is_string() != pair[1].is_string());
            if values.is_empty() || kinds_differ {
                return Err(wrong());
            }
            values.iter().map(plain).collect()
        }
        Value::Object(object) => {
            let (operator, operand) = single(object)?;
            let tests: Result<Vec<_>, _> = match operand {
                Value::Array(values) if values.is_empty() => Err(wrong()),
                Value::Array(values) => values.iter().map(|value| text(operator, value)).collect(),
                one => text(operator, one).map(|test| vec![test]),
            };
            Ok(tests?.into_iter().map(Test::Text).collect())
        }
        one => Ok(vec![plain(one)?]),
    }
}

fn numeric(operand: &Value) -> Result<Test, Error> {
    let wrong = |expected| Error::Operand { operator: NUMERIC, expected };
    let number = |value: &Value| match value {
        Value::Number(number) if number.as_f64().is_some_and(|n| n.abs() <= NUMBER_MAX) => Ok(number.clone()),
        _ => Err(wrong("must compare with numbers from -5.0e9 to 5.0e9")),
    };
    let shape = || wrong("must be [operator, number] or [\">\" or \">=\", number, \"<\" or \"<=\", number]");
    let bound = |at: &Value, inclusive| Ok(Some(Bound { at: number(at)?, inclusive }));
    let Value::Array(parts) = operand else { return Err(shape()) };
    let parts: Vec<(Option<&str>, &Value)> = match parts.len() {
        2 | 4 => parts.chunks(2).map(|pair| (pair[0].as_str(), &pair[1])).collect(),
        _ => return Err(shape()),
    };
    let range = match parts.as_slice() {
        [(Some("="), at)] => return Ok(Test::Number(number(at)?)),
        [(Some(op @ (">" | ">=")), at)] => (bound(at, *op == ">=")?, None),
        [(Some(op @ ("<" | "<=")), at)] => (None, bound(at, *op == "<=")?),
        [(Some(low @ (">" | ">=")), from), (Some(high @ ("<" | "<=")), to)] => {
            (bound(from, *low == ">=")?, bound(to, *high == "<=")?)
        }
        _ => return Err(shape()),
    };
    match range {
        (Some(low), Some(high)) if compare(&low.at, &high.at) != Some(Ordering::Less) => {
            Err(wrong("must have its lower end below its upper"))
        }
        (low, high) => Ok(Test::Range { low, high }),
    }
}

fn cidr(operand: &Value) -> Result<Test, Error> {
    let wrong =
        || Error::Operand { operator: CIDR, expected: "must be compared with a block, such as 10.0.0.0/24" };
    let (network, bits) = operand.as_str().and_then(|text| text.split_once('/')).ok_or_else(wrong)?;
    let network: IpAddr = network.parse().map_err(|_| wrong())?;
    let bits: u8 = bits.parse().map_err(|_| wrong())?;
    let max = if network.is_ipv4() { 32 } else { 128 };
    if bits > max { Err(wrong()) } else { Ok(Test::Cidr { network, bits }) }
}
