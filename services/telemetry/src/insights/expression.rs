//! Values and expressions of queries.
//!
//! Comparisons are numeric where both sides are numbers (or texts that are), else of texts. A comparison with a field that is not
//! there is false; so is `not in` and `not like`, but not `!=`, nor `not (…)`.

use super::{Malformed, malformed, record::Record};
use regex::Regex;
use std::{cmp::Ordering, collections::BTreeMap, str::FromStr};

/// Bytes of a text that `concat` or `replace` may make; beyond it there is no value.
const TEXT_MAX: usize = 256 * 1024;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// No such field, or no such result.
    Nothing,
    Number(f64),
    Text(String),
    /// Milliseconds since 1970.
    Time(i64),
    Truth(bool),
}

impl Value {
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Value::Nothing => None,
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Value::Time(ms) => Some(*ms as f64),
            Value::Truth(truth) => Some(f64::from(u8::from(*truth))),
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Nothing => false,
            Value::Text(text) => !text.is_empty() && text != "0",
            Value::Number(number) => *number != 0.0,
            Value::Time(_) => true,
            Value::Truth(truth) => *truth,
        }
    }

    /// As answers show it; `None`: not at all.
    pub(super) fn shown(&self) -> Option<String> {
        Some(match self {
            Value::Nothing => return None,
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text.clone(),
            Value::Time(ms) => time(*ms),
            Value::Truth(truth) => if *truth { "1" } else { "0" }.to_owned(),
        })
    }

    fn text(&self) -> String {
        self.shown().unwrap_or_default()
    }

    pub(super) fn size(&self) -> usize {
        if let Value::Text(text) = self { text.len() + 24 } else { 24 }
    }

    /// Nothing first, then numbers, then texts.
    pub(super) fn order(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Nothing, Value::Nothing) => Ordering::Equal,
            (Value::Nothing, _) => Ordering::Less,
            (_, Value::Nothing) => Ordering::Greater,
            (one, other) => match (one.number(), other.number()) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => one.text().cmp(&other.text()),
            },
        }
    }
}

/// `2026-11-21 00:00:00.000`, UTC.
pub(super) fn time(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string(),
        Err(_) => ms.to_string(),
    }
}

/// An expression.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Value(Value),
    Field(String),
    Negative(Box<Expression>),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    /// From left to right.
    Arithmetic(Box<Expression>, Vec<(char, Expression)>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    /// `like` or `=~`; the second says whether it is to be so.
    Like(Box<Expression>, Pattern, bool),
    In(Box<Expression>, Vec<Expression>, bool),
    Call(Function, Vec<Expression>),
    /// `bin(5m)`, in milliseconds.
    Bin(i64),
    /// The result of the aggregate function of this index.
    Aggregate(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Regex(Regex),
    Part(String),
}

macro_rules! functions {
    ($($variant:ident $($name:literal)|+ $least:literal..=$most:literal),* $(,)?) => {
        /// Functions of one row.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Function { $($variant),* }

        impl FromStr for Function {
            type Err = Malformed;
            fn from_str(name: &str) -> Result<Function, Malformed> {
                match name.to_ascii_lowercase().as_str() {
                    $($($name)|+ => Ok(Function::$variant),)*
                    _ => malformed(format!("the function {} is not supported by Neap", name.chars().take(64).collect::<String>())),
                }
            }
        }

        impl Function {
            /// How many arguments it takes.
            pub(super) fn takes(self, count: usize) -> bool {
                match self {
                    $(Function::$variant => ($least..=$most).contains(&count),)*
                }
            }
        }
    };
}

functions! {
    Abs "abs" 1..=1, Ceil "ceil" 1..=1, Floor "floor" 1..=1, Sqrt "sqrt" 1..=1, Log "log" 1..=1, Greatest "greatest" 1..=16,
    Least "least" 1..=16, Strlen "strlen" 1..=1, Lower "tolower" | "lower" 1..=1, Upper "toupper" | "upper" 1..=1,
    Trim "trim" 1..=1, Ltrim "ltrim" 1..=1, Rtrim "rtrim" 1..=1, Concat "concat" 1..=16, Contains "strcontains" 2..=2,
    Substr "substr" 2..=3, Replace "replace" 3..=3, IsPresent "ispresent" 1..=1, IsEmpty "isempty" 1..=1, IsBlank "isblank" 1..=1,
    Coalesce "coalesce" 1..=16, ToMillis "tomillis" 1..=1, FromMillis "frommillis" 1..=1,
}

impl Expression {
    pub(super) fn evaluate(&self, row: &Record, aggregates: &[Value]) -> Value {
        let value = |expression: &Expression| expression.evaluate(row, aggregates);
        match self {
            Expression::Value(value) => value.clone(),
            Expression::Field(name) => row.get(name),
            Expression::Negative(inner) => number(value(inner).number().map(|number| -number)),
            Expression::Not(inner) => Value::Truth(!value(inner).is_true()),
            Expression::And(all) => Value::Truth(all.iter().all(|one| value(one).is_true())),
            Expression::Or(any) => Value::Truth(any.iter().any(|one| value(one).is_true())),
            Expression::Arithmetic(first, rest) => {
                rest.iter().fold(value(first), |left, (sign, right)| arithmetic(*sign, &left, &value(right)))
            }
            Expression::Compare(comparison, left, right) => {
                Value::Truth(comparison.holds(&value(left), &value(right)))
            }
            Expression::Like(left, pattern, wanted) => Value::Truth(match value(left).shown() {
                None => false,
                Some(text) => pattern.matches(&text) == *wanted,
            }),
            Expression::In(left, list, wanted) => {
                let left = value(left);
                let found = list.iter().any(|item| Comparison::Equal.holds(&left, &value(item)));
                Value::Truth(left != Value::Nothing && found == *wanted)
            }
            Expression::Call(function, arguments) => {
                function.call(&arguments.iter().map(value).collect::<Vec<_>>())
            }
            Expression::Bin(ms) => match row.get("@timestamp") {
                Value::Time(at) => Value::Time(at - at.rem_euclid(*ms)),
                Value::Nothing | Value::Number(_) | Value::Text(_) | Value::Truth(_) => Value::Nothing,
            },
            Expression::Aggregate(index) => aggregates.get(*index).cloned().unwrap_or(Value::Nothing),
        }
    }
}

fn number(number: Option<f64>) -> Value {
    number.filter(|number| number.is_finite()).map_or(Value::Nothing, Value::Number)
}

fn arithmetic(sign: char, left: &Value, right: &Value) -> Value {
    let (Some(a), Some(b)) = (left.number(), right.number()) else { return Value::Nothing };
    number(match sign {
        '+' => Some(a + b),
        '-' => Some(a - b),
        '*' => Some(a * b),
        '/' => Some(a / b),
        '%' => Some(a % b),
        '^' => Some(a.powf(b)),
        _ => None,
    })
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        if *left == Value::Nothing || *right == Value::Nothing {
            return self == Comparison::Unequal && left != right;
        }
        let order = match (left.number(), right.number()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => left.text().cmp(&right.text()),
        };
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::Unequal => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::AtMost => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::AtLeast => order.is_ge(),
        }
    }
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Regex(regex) => regex.is_match(text),
            Pattern::Part(part) => text.contains(part.as_str()),
        }
    }
}

impl Function {
    fn call(self, arguments: &[Value]) -> Value {
        let given = |index: usize| arguments.get(index).unwrap_or(&Value::Nothing);
        let first = given(0);
        let math = |of: fn(f64) -> f64| number(first.number().map(of));
        let text = |of: &dyn Fn(&str) -> String| match first.shown() {
            None => Value::Nothing,
            Some(text) => Value::Text(of(&text)),
        };
        let extreme = |of: fn(f64, f64) -> f64| {
            let all: Option<Vec<f64>> = arguments.iter().map(Value::number).collect();
            number(all.and_then(|all| all.into_iter().reduce(of)))
        };
        match self {
            Function::Abs => math(f64::abs),
            Function::Ceil => math(f64::ceil),
            Function::Floor => math(f64::floor),
            Function::Sqrt => math(f64::sqrt),
            Function::Log => math(f64::ln),
            Function::Greatest => extreme(f64::max),
            Function::Least => extreme(f64::min),
            Function::Strlen => number(first.shown().map(|text| text.chars().count() as f64)),
            Function::Lower => text(&str::to_lowercase),
            Function::Upper => text(&str::to_uppercase),
            Function::Trim => text(&|text| text.trim().to_owned()),
            Function::Ltrim => text(&|text| text.trim_start().to_owned()),
            Function::Rtrim => text(&|text| text.trim_end().to_owned()),
            Function::Concat => {
                let parts: Vec<String> = arguments.iter().map(Value::text).collect();
                match parts.iter().map(String::len).sum::<usize>() > TEXT_MAX {
                    true => Value::Nothing,
                    false => Value::Text(parts.concat()),
                }
            }
            Function::Contains => Value::Truth(first.text().contains(&given(1).text())),
            Function::Substr => {
                let count = |value: &Value| value.number().map(|number| number.max(0.0) as usize);
                let (from, length) = (count(given(1)).unwrap_or(0), count(given(2)).unwrap_or(usize::MAX));
                text(&|text| text.chars().skip(from).take(length).collect())
            }
            Function::Replace => {
                let (text, part, with) = (first.text(), given(1).text(), given(2).text());
                if *first == Value::Nothing || part.is_empty() {
                    return first.clone();
                }
                let grown = text.matches(&part).count().saturating_mul(with.len());
                match text.len().saturating_add(grown) > TEXT_MAX.max(text.len()) {
                    true => Value::Nothing,
                    false => Value::Text(text.replace(&part, &with)),
                }
            }
            Function::IsPresent => Value::Truth(*first != Value::Nothing),
            Function::IsEmpty => Value::Truth(first.text().is_empty()),
            Function::IsBlank => Value::Truth(first.text().trim().is_empty()),
            Function::Coalesce => {
                arguments.iter().find(|value| **value != Value::Nothing).cloned().unwrap_or(Value::Nothing)
            }
            Function::ToMillis => number(first.number()),
            Function::FromMillis => first.number().map_or(Value::Nothing, |ms| Value::Time(ms as i64)),
        }
    }
}

/// Aggregate functions: what `stats` computes over the rows of a group.
#[derive(Clone, Debug)]
pub(crate) struct Aggregation {
    pub(super) kind: AggregateKind,
    /// `None`: of the rows themselves, `count(*)`.
    pub(super) of: Option<Expression>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum AggregateKind {
    Count,
    CountDistinct,
    Sum,
    Average,
    Minimum,
    Maximum,
    Deviation,
    /// In percent.
    Percentile(f64),
    /// The value of the earliest event.
    Earliest,
    Latest,
}

impl AggregateKind {
    /// By its name; percentiles get their number later.
    pub(super) fn named(name: &str) -> Option<AggregateKind> {
        let table: BTreeMap<&str, AggregateKind> = [
            ("count", AggregateKind::Count),
            ("count_distinct", AggregateKind::CountDistinct),
            ("sum", AggregateKind::Sum),
            ("avg", AggregateKind::Average),
            ("min", AggregateKind::Minimum),
            ("max", AggregateKind::Maximum),
            ("stddev", AggregateKind::Deviation),
            ("pct", AggregateKind::Percentile(0.0)),
            ("percentile", AggregateKind::Percentile(0.0)),
            ("median", AggregateKind::Percentile(50.0)),
            ("earliest", AggregateKind::Earliest),
            ("latest", AggregateKind::Latest),
        ]
        .into();
        table.get(name.to_ascii_lowercase().as_str()).copied()
    }
}
