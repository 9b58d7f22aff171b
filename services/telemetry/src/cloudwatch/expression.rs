//! Metric math: arithmetic on the series of other queries. Source: user guide, "Using metric math".
//!
//! Known are numbers, ids, `+ - * / ^`, comparisons (1 or 0), `AND OR && ||`, arrays `[a, b]`, and the functions of
//! [`Function`]; every other function is refused by its name.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

/// Characters of an expression. Source: API reference, `MetricDataQuery`.
pub(crate) const LENGTH_MAX: usize = 2_048;
/// Nesting of parentheses, arrays and functions.
const DEPTH_MAX: usize = 32;
/// Operators of one expression.
const OPERATORS_MAX: usize = 200;
/// Data points that the expressions of one request handle, copies included.
const POINTS_MAX: usize = 4_000_000;

/// Why an expression is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(String);

fn refused<T>(text: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(text.into()))
}

/// Data points by time in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    pub(crate) label: String,
    /// Seconds between points.
    pub(crate) period: i64,
    pub(crate) points: BTreeMap<i64, f64>,
}

/// What an expression gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Series(Series),
    Many(Vec<Series>),
}

/// What the ids of an expression mean.
#[derive(Debug, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) values: HashMap<&'a str, Value>,
    /// Ids of metrics (not expressions) in the order of the request: what `METRICS()` gives.
    pub(crate) metrics: Vec<&'a str>,
    /// From (included) and until (excluded), in seconds: where `FILL` fills.
    pub(crate) range: (i64, i64),
    /// Points handled so far, at most [`POINTS_MAX`].
    pub(crate) handled: Cell<usize>,
}

impl Scope<'_> {
    /// A copy of a value, counted.
    fn copy(&self, value: &Value) -> Result<Value, Refused> {
        let count = match value {
            Value::Number(_) => 0,
            Value::Series(series) => series.points.len(),
            Value::Many(all) => all.iter().map(|series| series.points.len() + 1).sum(),
        };
        let handled = self.handled.get().saturating_add(count + 1);
        self.handled.set(handled);
        if handled > POINTS_MAX {
            return refused(format!("the expressions handle more than {POINTS_MAX} data points"));
        }
        Ok(value.clone())
    }
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Number(f64),
    Text(String),
    Id(String),
    Array(Vec<Expression>),
    Negative(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    Call(Function, Vec<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    Unequal,
    And,
    Or,
}

macro_rules! functions {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// The functions that are carried out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Function { $($variant),* }

        impl FromStr for Function {
            type Err = Refused;
            fn from_str(name: &str) -> Result<Function, Refused> {
                match name {
                    $($name => Ok(Function::$variant),)*
                    _ => refused(format!("the function {name} is not supported by Neap; it has {}", [$($name),*].join(", "))),
                }
            }
        }
    };
}

functions! {
    Abs "ABS", Avg "AVG", Ceil "CEIL", DatapointCount "DATAPOINT_COUNT", Diff "DIFF", Fill "FILL", Floor "FLOOR", If "IF",
    Log "LOG", Log10 "LOG10", Max "MAX", Metrics "METRICS", Min "MIN", Period "PERIOD", Rate "RATE",
    RunningSum "RUNNING_SUM", StdDev "STDDEV", Sum "SUM",
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Expression, Refused> {
        if text.chars().count() > LENGTH_MAX {
            return refused(format!("the expression is longer than {LENGTH_MAX} characters"));
        }
        if text.trim_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case("SELECT ")) {
            return refused("SELECT: Metrics Insights queries are not supported by Neap");
        }
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, operators: 0 };
        let expression = parser.disjunction()?;
        match parser.peek() {
            None => Ok(expression),
            Some(token) => refused(format!("'{token}' is not expected in the expression")),
        }
    }

    /// The ids that it names; `METRICS()` names all of `metrics`.
    pub(crate) fn ids<'a>(&'a self, metrics: &[&'a str], found: &mut Vec<&'a str>) {
        match self {
            Expression::Number(_) | Expression::Text(_) => {}
            Expression::Id(id) => found.push(id),
            Expression::Array(items) => items.iter().for_each(|item| item.ids(metrics, found)),
            Expression::Negative(inner) => inner.ids(metrics, found),
            Expression::Binary(_, left, right) => {
                left.ids(metrics, found);
                right.ids(metrics, found);
            }
            Expression::Call(Function::Metrics, _) => found.extend(metrics),
            Expression::Call(_, arguments) => {
                arguments.iter().for_each(|argument| argument.ids(metrics, found))
            }
        }
    }

    /// Points that are no finite number (a division by zero) are left out.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, Refused> {
        match self {
            Expression::Number(number) => Ok(Value::Number(*number)),
            Expression::Text(text) => refused(format!("the text \"{text}\" is not a value")),
            Expression::Id(id) => match scope.values.get(id.as_str()) {
                Some(value) => scope.copy(value),
                None => refused(format!("the id {id} is not defined")),
            },
            Expression::Array(items) => {
                let mut all = Vec::new();
                for item in items {
                    match item.evaluate(scope)? {
                        Value::Number(_) => return refused("an array holds time series, not numbers"),
                        Value::Series(series) => all.push(series),
                        Value::Many(series) => all.extend(series),
                    }
                }
                Ok(Value::Many(all))
            }
            Expression::Negative(inner) => map(inner.evaluate(scope)?, &|value| -value),
            Expression::Binary(operator, left, right) => {
                combine(left.evaluate(scope)?, right.evaluate(scope)?, &|a, b| operator.apply(a, b))
            }
            Expression::Call(function, arguments) => function.call(arguments, scope),
        }
    }
}

impl Operator {
    fn apply(self, a: f64, b: f64) -> f64 {
        let truth = |truth: bool| f64::from(u8::from(truth));
        match self {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide => a / b,
            Operator::Power => a.powf(b),
            Operator::Less => truth(a < b),
            Operator::AtMost => truth(a <= b),
            Operator::Greater => truth(a > b),
            Operator::AtLeast => truth(a >= b),
            Operator::Equal => truth(a == b),
            Operator::Unequal => truth(a != b),
            Operator::And => truth(a != 0.0 && b != 0.0),
            Operator::Or => truth(a != 0.0 || b != 0.0),
        }
    }
}

impl Function {
    fn call(self, arguments: &[Expression], scope: &Scope<'_>) -> Result<Value, Refused> {
        match (self, arguments) {
            (Function::Metrics, []) => metrics(scope, ""),
            (Function::Metrics, [Expression::Text(part)]) => metrics(scope, part),
            (Function::Fill, [what, with]) => fill(what.evaluate(scope)?, with, scope),
            (Function::If, [condition, then]) => {
                let chosen = (condition.evaluate(scope)?, then.evaluate(scope)?);
                combine(chosen.0, chosen.1, &|test, value| if test != 0.0 { value } else { f64::NAN })
            }
            (Function::If, [condition, then, other]) => {
                choose(condition.evaluate(scope)?, then.evaluate(scope)?, other.evaluate(scope)?)
            }
            (Function::Period, [what]) => match what.evaluate(scope)? {
                Value::Series(series) => Ok(Value::Number(series.period as f64)),
                Value::Number(_) | Value::Many(_) => refused("PERIOD takes one time series"),
            },
            (Function::Rate, [what]) => each(what.evaluate(scope)?, "RATE", &|series| {
                pairs(series, |(at, a), (then, b)| (b - a) / (then - at) as f64)
            }),
            (Function::Diff, [what]) => {
                each(what.evaluate(scope)?, "DIFF", &|series| pairs(series, |(_, a), (_, b)| b - a))
            }
            (Function::RunningSum, [what]) => each(what.evaluate(scope)?, "RUNNING_SUM", &|series| {
                let mut sum = 0.0;
                for value in series.points.values_mut() {
                    sum += *value;
                    *value = sum;
                }
            }),
            (Function::Abs, [what]) => map(what.evaluate(scope)?, &f64::abs),
            (Function::Ceil, [what]) => map(what.evaluate(scope)?, &f64::ceil),
            (Function::Floor, [what]) => map(what.evaluate(scope)?, &f64::floor),
            (Function::Log, [what]) => map(what.evaluate(scope)?, &f64::ln),
            (Function::Log10, [what]) => map(what.evaluate(scope)?, &f64::log10),
            (Function::Avg, [what]) => reduce(what.evaluate(scope)?, "AVG", average),
            (Function::Sum, [what]) => reduce(what.evaluate(scope)?, "SUM", |values| values.iter().sum()),
            (Function::Min, [what]) => {
                reduce(what.evaluate(scope)?, "MIN", |values| values.iter().copied().fold(f64::NAN, f64::min))
            }
            (Function::Max, [what]) => {
                reduce(what.evaluate(scope)?, "MAX", |values| values.iter().copied().fold(f64::NAN, f64::max))
            }
            (Function::StdDev, [what]) => reduce(what.evaluate(scope)?, "STDDEV", |values| {
                let mean = average(values);
                (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
            }),
            (Function::DatapointCount, [what]) => {
                reduce(what.evaluate(scope)?, "DATAPOINT_COUNT", |values| values.len() as f64)
            }
            (function, arguments) => {
                refused(format!("{function:?} does not take {} such arguments", arguments.len()))
            }
        }
    }
}

fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn metrics(scope: &Scope<'_>, part: &str) -> Result<Value, Refused> {
    let mut all = Vec::new();
    for id in scope.metrics.iter().filter(|id| id.contains(part)) {
        if let Some(value @ Value::Series(_)) = scope.values.get(id)
            && let Value::Series(series) = scope.copy(value)?
        {
            all.push(series);
        }
    }
    if all.is_empty() {
        return refused("METRICS() names no metric of the request");
    }
    Ok(Value::Many(all))
}

fn kept(mut series: Series) -> Series {
    series.points.retain(|_, value| value.is_finite());
    series
}

fn map(value: Value, change: &dyn Fn(f64) -> f64) -> Result<Value, Refused> {
    if let Value::Number(number) = value {
        return Ok(Value::Number(change(number)));
    }
    each(value, "", &|series| series.points.values_mut().for_each(|value| *value = change(*value)))
}

/// Changes each series.
fn each(value: Value, name: &str, change: &dyn Fn(&mut Series)) -> Result<Value, Refused> {
    let changed = |mut series: Series| {
        change(&mut series);
        kept(series)
    };
    match value {
        Value::Number(_) => refused(format!("{name} takes a time series, not a number")),
        Value::Series(series) => Ok(Value::Series(changed(series))),
        Value::Many(all) => Ok(Value::Many(all.into_iter().map(changed).collect())),
    }
}

/// Replaces each point but the first by something of it and the one before.
fn pairs(series: &mut Series, of: impl Fn((i64, f64), (i64, f64)) -> f64) {
    let points: Vec<(i64, f64)> = std::mem::take(&mut series.points).into_iter().collect();
    for (before, after) in points.iter().zip(points.iter().skip(1)) {
        series.points.insert(after.0, of(*before, *after));
    }
}

fn combine(left: Value, right: Value, with: &dyn Fn(f64, f64) -> f64) -> Result<Value, Refused> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(with(a, b))),
        (Value::Number(a), right) => map(right, &|b| with(a, b)),
        (left, Value::Number(b)) => map(left, &|a| with(a, b)),
        (Value::Series(a), Value::Series(b)) => Ok(Value::Series(join(a, &b, with)?)),
        (Value::Many(all), Value::Series(b)) => {
            let joined = all.into_iter().map(|a| join(a, &b, with)).collect::<Result<_, _>>()?;
            Ok(Value::Many(joined))
        }
        (Value::Series(a), Value::Many(all)) => {
            let joined = all.into_iter().map(|b| {
                let label = b.label.clone();
                Ok(Series { label, ..join(a.clone(), &b, with)? })
            });
            Ok(Value::Many(joined.collect::<Result<_, Refused>>()?))
        }
        (Value::Many(_), Value::Many(_)) => refused("two arrays cannot be combined"),
    }
}

/// The points that both have.
fn join(a: Series, b: &Series, with: &dyn Fn(f64, f64) -> f64) -> Result<Series, Refused> {
    same_period(a.period, b.period)?;
    let points =
        a.points.iter().filter_map(|(at, value)| Some((*at, with(*value, *b.points.get(at)?)))).collect();
    Ok(kept(Series { points, ..a }))
}

fn same_period(a: i64, b: i64) -> Result<(), Refused> {
    if a == b {
        Ok(())
    } else {
        refused(format!("time series of different periods ({a} s and {b} s) cannot be combined"))
    }
}

fn choose(condition: Value, then: Value, other: Value) -> Result<Value, Refused> {
    let test = match condition {
        Value::Number(test) => return Ok(if test != 0.0 { then } else { other }),
        Value::Series(test) => test,
        Value::Many(_) => return refused("IF takes one condition"),
    };
    let side = |value: Value| match value {
        Value::Number(number) => Ok((Some(number), BTreeMap::new())),
        Value::Series(series) => same_period(test.period, series.period).map(|()| (None, series.points)),
        Value::Many(_) => refused("IF takes numbers and time series"),
    };
    let (then, other) = (side(then)?, side(other)?);
    let points = test.points.iter().filter_map(|(at, test)| {
        let (number, points) = if *test != 0.0 { &then } else { &other };
        Some((*at, number.or_else(|| points.get(at).copied())?))
    });
    Ok(Value::Series(kept(Series { points: points.collect(), ..test.clone() })))
}

/// An array becomes a series, a series a number.
fn reduce(value: Value, name: &str, of: impl Fn(&[f64]) -> f64) -> Result<Value, Refused> {
    match value {
        Value::Number(_) => refused(format!("{name} takes a time series or an array, not a number")),
        Value::Series(series) => {
            let values: Vec<f64> = series.points.into_values().collect();
            if values.is_empty() && name != "DATAPOINT_COUNT" {
                return Ok(Value::Number(f64::NAN));
            }
            Ok(Value::Number(of(&values)))
        }
        Value::Many(all) => {
            let period = all.first().map_or(0, |series| series.period);
            let mut columns: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for series in all {
                same_period(period, series.period)?;
                for (at, value) in series.points {
                    columns.entry(at).or_default().push(value);
                }
            }
            let points = columns.into_iter().map(|(at, values)| (at, of(&values))).collect();
            Ok(Value::Series(kept(Series { label: name.to_owned(), period, points })))
        }
    }
}

fn fill(value: Value, with: &Expression, scope: &Scope<'_>) -> Result<Value, Refused> {
    enum How {
        With(f64),
        Repeat,
        Linear,
    }
    let how = match with {
        Expression::Id(word) if word == "REPEAT" => How::Repeat,
        Expression::Id(word) if word == "LINEAR" => How::Linear,
        other => match other.evaluate(scope)? {
            Value::Number(number) => How::With(number),
            Value::Series(_) | Value::Many(_) => {
                return refused("FILL fills with a number, REPEAT or LINEAR");
            }
        },
    };
    let (from, until) = scope.range;
    each(value, "FILL", &|series| {
        if series.period <= 0 {
            return;
        }
        // Points lie a whole number of periods from one another, and from the beginning where there are none.
        let phase = series.points.keys().next().copied().unwrap_or(from).rem_euclid(series.period);
        let first = from + (phase - from).rem_euclid(series.period);
        let mut filled = BTreeMap::new();
        let mut at = first;
        while at < until {
            let value = match (series.points.get(&at), &how) {
                (Some(value), _) => Some(*value),
                (None, How::With(number)) => Some(*number),
                (None, How::Repeat) => series.points.range(..at).next_back().map(|(_, value)| *value),
                (None, How::Linear) => {
                    let (before, after) =
                        (series.points.range(..at).next_back(), series.points.range(at..).next());
                    before
                        .zip(after)
                        .map(|((t0, a), (t1, b))| a + (b - a) * (at - t0) as f64 / (t1 - t0) as f64)
                }
            };
            filled.extend(value.map(|value| (at, value)));
            at += series.period;
        }
        series.points = filled;
    })
}

struct Parser<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    depth: usize,
    operators: usize,
}

/// Words, numbers, texts in quotes, and signs.
fn tokens(text: &str) -> Result<Vec<&str>, Refused> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_alphabetic() || first == '_' {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if first.is_ascii_digit() || first == '.' {
            rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len())
        } else if first == '"' || first == '\'' {
            match rest.char_indices().skip(1).find(|(_, c)| *c == first) {
                Some((end, _)) => end + 1,
                None => return refused("a text is not closed"),
            }
        } else if ["<=", ">=", "==", "!=", "&&", "||"].iter().any(|sign| rest.starts_with(sign)) {
            2
        } else if "+-*/^()[],<>".contains(first) {
            1
        } else {
            return refused(format!("'{first}' is not understood in the expression"));
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).copied()
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let is = self.peek() == Some(wanted);
        self.at += usize::from(is);
        is
    }

    fn operator(&mut self, table: &[(&str, Operator)]) -> Option<Operator> {
        let found = table.iter().find(|(sign, _)| self.peek() == Some(sign))?.1;
        self.at += 1;
        Some(found)
    }

    fn chain(
        &mut self,
        table: &[(&str, Operator)],
        next: fn(&mut Parser<'a>) -> Result<Expression, Refused>,
    ) -> Result<Expression, Refused> {
        let mut left = next(self)?;
        while let Some(operator) = self.operator(table) {
            self.operators += 1;
            if self.operators > OPERATORS_MAX {
                return refused(format!("the expression has more than {OPERATORS_MAX} operators"));
            }
            left = Expression::Binary(operator, Box::new(left), Box::new(next(self)?));
        }
        Ok(left)
    }

    fn disjunction(&mut self) -> Result<Expression, Refused> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return refused(format!("the expression is nested deeper than {DEPTH_MAX}"));
        }
        let expression = self.chain(&[("OR", Operator::Or), ("||", Operator::Or)], Parser::conjunction);
        self.depth -= 1;
        expression
    }

    fn conjunction(&mut self) -> Result<Expression, Refused> {
        self.chain(&[("AND", Operator::And), ("&&", Operator::And)], Parser::comparison)
    }

    fn comparison(&mut self) -> Result<Expression, Refused> {
        let table = [
            ("<", Operator::Less),
            ("<=", Operator::AtMost),
            (">", Operator::Greater),
            (">=", Operator::AtLeast),
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
        ];
        self.chain(&table, Parser::sum)
    }

    fn sum(&mut self) -> Result<Expression, Refused> {
        self.chain(&[("+", Operator::Add), ("-", Operator::Subtract)], Parser::product)
    }

    fn product(&mut self) -> Result<Expression, Refused> {
        self.chain(&[("*", Operator::Multiply), ("/", Operator::Divide)], Parser::power)
    }

    fn power(&mut self) -> Result<Expression, Refused> {
        self.chain(&[("^", Operator::Power)], Parser::unary)
    }

    fn unary(&mut self) -> Result<Expression, Refused> {
        let mut negative = false;
        while self.eat("-") {
            negative = !negative;
        }
        let inner = self.primary()?;
        Ok(if negative { Expression::Negative(Box::new(inner)) } else { inner })
    }

    fn primary(&mut self) -> Result<Expression, Refused> {
        let Some(token) = self.peek() else { return refused("the expression ends too early") };
        self.at += 1;
        let first = token.chars().next().unwrap_or_default();
        if token == "(" {
            let inner = self.disjunction()?;
            self.closed(")")?;
            Ok(inner)
        } else if token == "[" {
            Ok(Expression::Array(self.list("]")?))
        } else if first == '"' || first == '\'' {
            Ok(Expression::Text(token.trim_matches(first).to_owned()))
        } else if first.is_ascii_digit() || first == '.' {
            match token.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Expression::Number(number)),
                Ok(_) | Err(_) => refused(format!("'{token}' is not a number")),
            }
        } else if first.is_ascii_alphabetic() {
            if self.eat("(") {
                let function = token.parse()?;
                return Ok(Expression::Call(function, self.list(")")?));
            }
            Ok(Expression::Id(token.to_owned()))
        } else {
            refused(format!("'{token}' is not expected in the expression"))
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expression>, Refused> {
        let mut items = Vec::new();
        if self.eat(end) {
            return Ok(items);
        }
        loop {
            items.push(self.disjunction()?);
            if self.eat(end) {
                return Ok(items);
            }
            self.closed(",")?;
        }
    }

    fn closed(&mut self, wanted: &str) -> Result<(), Refused> {
        if self.eat(wanted) {
            return Ok(());
        }
        match self.peek() {
            Some(token) => refused(format!("'{wanted}' is expected before '{token}'")),
            None => refused(format!("'{wanted}' is missing at the end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series(points: &[(i64, f64)]) -> Series {
        Series { label: "m".into(), period: 60, points: points.iter().copied().collect() }
    }

    fn evaluate(text: &str) -> Result<Value, Refused> {
        let a = Value::Series(series(&[(0, 1.0), (60, 2.0), (180, 4.0)]));
        let b = Value::Series(series(&[(0, 10.0), (60, 0.0), (120, 30.0)]));
        let scope = Scope {
            values: [("a", a), ("b", b)].into(),
            metrics: vec!["a", "b"],
            range: (0, 240),
            handled: Cell::new(0),
        };
        Expression::parse(text)?.evaluate(&scope)
    }

    fn points(text: &str) -> Vec<(i64, f64)> {
        match evaluate(text) {
            Ok(Value::Series(series)) => series.points.into_iter().collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn arithmetic_is_done_where_all_have_points() {
        assert_eq!(points("a + b"), [(0, 11.0), (60, 2.0)]);
        assert_eq!(points("a / b"), [(0, 0.1)]);
        assert_eq!(points("2 * a ^ 2 - 1"), [(0, 1.0), (60, 7.0), (180, 31.0)]);
        assert_eq!(points("-a"), [(0, -1.0), (60, -2.0), (180, -4.0)]);
        assert_eq!(points("a > 1 AND a < 4"), [(0, 0.0), (60, 1.0), (180, 0.0)]);
        assert_eq!(points("(a + 1) * 10"), [(0, 20.0), (60, 30.0), (180, 50.0)]);
    }

    #[test]
    fn functions_do_what_the_guide_says() {
        assert_eq!(points("SUM([a, b])"), [(0, 11.0), (60, 2.0), (120, 30.0), (180, 4.0)]);
        assert_eq!(points("SUM(METRICS())"), points("SUM([a,b])"));
        assert_eq!(points("MAX(METRICS(\"b\"))"), [(0, 10.0), (60, 0.0), (120, 30.0)]);
        assert_eq!(points("a / SUM(a)"), [(0, 1.0 / 7.0), (60, 2.0 / 7.0), (180, 4.0 / 7.0)]);
        assert_eq!(points("FILL(a, 0)"), [(0, 1.0), (60, 2.0), (120, 0.0), (180, 4.0)]);
        assert_eq!(points("FILL(a, REPEAT)")[2], (120, 2.0));
        assert_eq!(points("FILL(a, LINEAR)")[2], (120, 3.0));
        assert_eq!(points("RATE(a)"), [(60, 1.0 / 60.0), (180, 2.0 / 120.0)]);
        assert_eq!(points("DIFF(a)"), [(60, 1.0), (180, 2.0)]);
        assert_eq!(points("IF(a > 1, b, -1)"), [(0, -1.0), (60, 0.0)]);
        assert_eq!(points("IF(a > 1, a)"), [(60, 2.0), (180, 4.0)]);
        assert_eq!(points("a * PERIOD(a)")[0], (0, 60.0));
        assert_eq!(points("RUNNING_SUM(a)"), [(0, 1.0), (60, 3.0), (180, 7.0)]);
    }

    #[test]
    fn what_is_not_carried_out_is_named() {
        for (text, named) in [
            ("SEARCH('{AWS/Lambda}', 'Sum', 60)", "SEARCH"),
            ("SELECT AVG(x) FROM SCHEMA(y)", "SELECT"),
            ("ANOMALY_DETECTION_BAND(a, 2)", "ANOMALY_DETECTION_BAND"),
            ("SORT([a,b], AVG, DESC)", "SORT"),
            ("a +", "too early"),
            ("c", "id c"),
            ("(a", "')'"),
            ("a b", "'b'"),
            ("", "too early"),
            ("SUM(1)", "number"),
            ("[a] + [b]", "two arrays"),
            ("RATE(a, b)", "2"),
        ] {
            let error = evaluate(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
        assert!(Expression::parse(&"(".repeat(2_000)).is_err());
        assert!(Expression::parse(&"-".repeat(2_000)).is_err());
        assert!(evaluate(&format!("1{}", "+1".repeat(OPERATORS_MAX))).is_ok());
        assert!(evaluate(&format!("1{}", "+1".repeat(OPERATORS_MAX + 1))).is_err());
    }

    #[test]
    fn what_expressions_handle_is_bounded() {
        let many =
            Series { label: String::new(), period: 1, points: (0..100_000).map(|at| (at, 1.0)).collect() };
        let scope =
            Scope { values: [("a", Value::Series(many))].into(), metrics: vec!["a"], ..Scope::default() };
        let sum = Expression::parse(&format!("SUM([{}a])", "METRICS(),".repeat(50))).unwrap();
        assert!(sum.evaluate(&scope).unwrap_err().to_string().contains("data points"));
    }

    proptest! {
        #[test]
        fn any_text_is_evaluated_or_refused(text in ".{0,60}") {
            let _ = evaluate(&text);
        }

        #[test]
        fn any_expression_is_evaluated_or_refused(
            words in prop::collection::vec(prop::sample::select(vec![
                "a", "b", "1", "0", "+", "-", "*", "/", "^", "(", ")", "[", "]", ",", "SUM", "(", "FILL", "(", "IF", "(", "MIN",
                "RATE", "METRICS", "REPEAT", "<", "==", "AND", "\"x\"", "1e", ".", "STDDEV", "LOG",
            ]), 0..14)
        ) {
            if let Ok(Value::Series(series)) = evaluate(&words.join(" ")) {
                prop_assert!(series.points.values().all(|value| value.is_finite()));
            }
        }
    }
}
