//! Rows through commands, bounded in memory.

use super::{
    Plan, ROWS_MAX, Row,
    expression::{AggregateKind, Aggregation, Expression, Value},
    parser::Command,
    record::{Record, SHOWN, Source},
};
use crate::cloudwatch::{distribution::Distribution, model::Aggregate, statistic::Statistic};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
};

/// Bytes that the rows, groups and distinct values of one query take together.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Groups of one `stats`.
const GROUPS_MAX: usize = 100_000;

/// Whether further rows would change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    Yes,
    No,
}

/// A query on its way.
pub(crate) struct Pipeline {
    stages: Vec<Stage>,
    shown: Shown,
    rows: Vec<Row>,
    limit: usize,
    bytes: usize,
    /// Events that passed all filters before the first other kind of command.
    pub(crate) matched: u64,
}

/// What an answer shows.
enum Shown {
    Names(Vec<String>),
    /// Of `stats`: its own columns.
    Columns(Vec<String>),
}

enum Stage {
    Fields(Vec<(Expression, String)>),
    Filter(Expression),
    Parse { field: String, regex: regex::Regex, names: Vec<String> },
    Stats(Stats),
    Sort { keys: Vec<(Expression, bool)>, rows: Vec<(Vec<Value>, Record)>, most: usize, bytes: usize },
    Limit { left: usize },
    Dedup { fields: Vec<String>, seen: HashSet<Vec<String>> },
}

struct Stats {
    aggregations: Vec<Aggregation>,
    shown: Vec<(Expression, String)>,
    by: Vec<(Expression, String)>,
    groups: BTreeMap<Vec<String>, (Vec<Value>, Vec<Accumulator>)>,
}

/// One aggregate function over the rows of one group.
enum Accumulator {
    Count(u64),
    Distinct(HashSet<String>),
    Numbers {
        count: f64,
        sum: f64,
        squares: f64,
    },
    Extreme(Option<Value>),
    Values(Distribution, f64, f64),
    /// By time.
    Edge(Option<(i64, Value)>),
}

impl Pipeline {
    pub(crate) fn new(plan: &Plan, limit: usize) -> Pipeline {
        let mut shown = Shown::Names(SHOWN.clone());
        let mut named = false;
        let mut stages = Vec::new();
        let mut commands = plan.commands.iter().peekable();
        while let Some(command) = commands.next() {
            match command {
                Command::Fields(fields) => {
                    let names = fields.iter().map(|(_, name)| name.clone());
                    match &mut shown {
                        Shown::Names(known) if named => known.extend(names),
                        Shown::Names(known) => *known = names.collect(),
                        Shown::Columns(known) => known.extend(names),
                    }
                    named = true;
                    stages.push(Stage::Fields(fields.clone()));
                }
                Command::Display(names) => {
                    shown = Shown::Names(names.clone());
                    named = true;
                }
                Command::Filter(test) => stages.push(Stage::Filter(test.clone())),
                Command::Parse { field, regex, names } => {
                    let (field, regex, names) = (field.clone(), regex.clone(), names.clone());
                    stages.push(Stage::Parse { field, regex, names });
                }
                Command::Stats { aggregations, shown: columns, by } => {
                    shown = Shown::Columns(by.iter().chain(columns).map(|(_, name)| name.clone()).collect());
                    named = true;
                    stages.push(Stage::Stats(Stats {
                        aggregations: aggregations.clone(),
                        shown: columns.clone(),
                        by: by.clone(),
                        groups: BTreeMap::new(),
                    }));
                }
                Command::Sort(keys) => {
                    let most = match commands.peek() {
                        Some(Command::Limit(count)) => *count,
                        // Rows that are filtered or counted afterwards must all be there.
                        Some(_) => usize::MAX,
                        None => limit,
                    };
                    stages.push(Stage::Sort { keys: keys.clone(), rows: Vec::new(), most, bytes: 0 });
                }
                Command::Limit(count) => stages.push(Stage::Limit { left: *count }),
                Command::Dedup(fields) => {
                    stages.push(Stage::Dedup { fields: fields.clone(), seen: HashSet::new() });
                }
            }
        }
        Pipeline { stages, shown, rows: Vec::new(), limit: limit.min(ROWS_MAX), bytes: 0, matched: 0 }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// A bound is exceeded: the query fails.
    pub(crate) fn push(&mut self, event: Source) -> Result<Finished, String> {
        let finished = self.pass(Record::of(event), 0)?;
        // Nothing passes a limit that is reached; commands that wait for the end get what has passed it.
        let reached = self.stages.iter().any(|stage| matches!(stage, Stage::Limit { left: 0 }));
        Ok(if reached { Finished::Yes } else { finished })
    }

    /// Sends a row through the stages from `from` on.
    fn pass(&mut self, mut row: Record, from: usize) -> Result<Finished, String> {
        let mut filtering = from == 0;
        for stage in self.stages.iter_mut().skip(from) {
            if filtering && !matches!(stage, Stage::Filter(_) | Stage::Fields(_) | Stage::Parse { .. }) {
                filtering = false;
                self.matched += 1;
            }
            match stage {
                Stage::Fields(fields) => {
                    let values: Vec<Value> =
                        fields.iter().map(|(expression, _)| expression.evaluate(&row, &[])).collect();
                    for ((expression, name), value) in fields.iter().zip(values) {
                        // A field by its own name is where it was.
                        if !matches!(expression, Expression::Field(own) if own == name) {
                            row.set(name, value);
                        }
                    }
                }
                Stage::Filter(test) => {
                    if !test.evaluate(&row, &[]).is_true() {
                        return Ok(Finished::No);
                    }
                }
                Stage::Parse { field, regex, names } => parse(&mut row, field, regex, names),
                Stage::Stats(stats) => {
                    self.bytes += stats.take(&row)?;
                    return bounded(self.bytes);
                }
                Stage::Sort { keys, rows, most, bytes } => {
                    let values: Vec<Value> = keys.iter().map(|(key, _)| key.evaluate(&row, &[])).collect();
                    row.slim();
                    *bytes += row.size();
                    rows.push((values, row));
                    if rows.len() >= most.saturating_mul(2).max(1_024) {
                        sort(rows, keys);
                        rows.truncate(*most);
                        *bytes = rows.iter().map(|(_, row)| row.size()).sum();
                    }
                    return bounded(self.bytes + *bytes);
                }
                Stage::Limit { left } => {
                    if *left == 0 {
                        return Ok(Finished::Yes);
                    }
                    *left -= 1;
                }
                Stage::Dedup { fields, seen } => {
                    let values: Option<Vec<String>> =
                        fields.iter().map(|field| row.get(field).shown()).collect();
                    // A row without one of the fields is kept, as in AWS.
                    if let Some(values) = values {
                        self.bytes += values.iter().map(|value| value.len() + 64).sum::<usize>();
                        if !seen.insert(values) {
                            return Ok(Finished::No);
                        }
                    }
                }
            }
        }
        if filtering {
            self.matched += 1;
        }
        if self.rows.len() >= self.limit {
            return Ok(Finished::Yes);
        }
        let row = shown(&row, &self.shown);
        self.bytes += row.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>();
        self.rows.push(row);
        bounded(self.bytes)?;
        let done = self.rows.len() >= self.limit;
        Ok(if done { Finished::Yes } else { Finished::No })
    }

    /// The answer, after the last event.
    ///
    /// # Errors
    /// As [`Pipeline::push`].
    pub(crate) fn finish(mut self) -> Result<Vec<Row>, String> {
        for at in 0..self.stages.len() {
            let rows: Vec<Record> = match self.stages.get_mut(at) {
                Some(Stage::Stats(stats)) => stats.finish(),
                Some(Stage::Sort { keys, rows, most, .. }) => {
                    sort(rows, keys);
                    rows.truncate(*most);
                    std::mem::take(rows).into_iter().map(|(_, row)| row).collect()
                }
                _ => continue,
            };
            for row in rows {
                if self.pass(row, at + 1)? == Finished::Yes {
                    break;
                }
            }
        }
        Ok(self.rows)
    }
}

fn bounded(bytes: usize) -> Result<Finished, String> {
    match bytes > BYTES_MAX {
        true => Err(format!("the query holds more than {BYTES_MAX} bytes")),
        false => Ok(Finished::No),
    }
}

/// Stable: equal rows stay newest first.
fn sort(rows: &mut [(Vec<Value>, Record)], keys: &[(Expression, bool)]) {
    rows.sort_by(|(a, _), (b, _)| {
        let orders = a.iter().zip(b).zip(keys).map(|((a, b), (_, descending))| {
            let order = a.order(b);
            if *descending { order.reverse() } else { order }
        });
        orders.fold(Ordering::Equal, Ordering::then)
    });
}

fn parse(row: &mut Record, field: &str, regex: &regex::Regex, names: &[String]) {
    let Some(text) = row.get(field).shown() else { return };
    let Some(found) = regex.captures(&text) else { return };
    let own: Vec<&str> = regex.capture_names().flatten().collect();
    for (at, name) in names.iter().enumerate() {
        let group = match own.contains(&name.as_str()) {
            true => found.name(name),
            false => found.get(at + 1),
        };
        if let Some(group) = group {
            row.set(name, Value::Text(group.as_str().to_owned()));
        }
    }
}

fn shown(row: &Record, names: &Shown) -> Row {
    let names = match names {
        Shown::Names(names) | Shown::Columns(names) => names,
    };
    let mut seen = HashSet::new();
    let fields = names.iter().filter(|name| seen.insert(name.as_str()));
    fields.filter_map(|name| Some((name.clone(), row.get(name).shown()?))).collect()
}

impl Stats {
    /// Takes a row; answers by how many bytes it has grown.
    fn take(&mut self, row: &Record) -> Result<usize, String> {
        let values: Vec<Value> = self.by.iter().map(|(key, _)| key.evaluate(row, &[])).collect();
        // Events without a field that is grouped by are a group of their own.
        let key: Vec<String> = values
            .iter()
            .map(|value| value.shown().map_or_else(String::new, |text| format!("={text}")))
            .collect();
        let mut grown = 0;
        if !self.groups.contains_key(&key) {
            if self.groups.len() >= GROUPS_MAX {
                return Err(format!("stats has more than {GROUPS_MAX} groups"));
            }
            let size: usize = key.iter().map(|text| text.len() * 2 + 64).sum();
            grown += size + self.aggregations.len() * 96;
            let fresh = self.aggregations.iter().map(Accumulator::new).collect();
            self.groups.insert(key.clone(), (values, fresh));
        }
        if let Some((_, accumulators)) = self.groups.get_mut(&key) {
            for (aggregation, accumulator) in self.aggregations.iter().zip(accumulators) {
                let value = match &aggregation.of {
                    None => Value::Truth(true),
                    Some(of) => of.evaluate(row, &[]),
                };
                if value != Value::Nothing {
                    grown += accumulator.add(aggregation.kind, value, row);
                }
            }
        }
        Ok(grown)
    }

    fn finish(&mut self) -> Vec<Record> {
        // Without groups there is one result, also over no rows at all.
        if self.by.is_empty() && self.groups.is_empty() {
            let fresh = self.aggregations.iter().map(Accumulator::new).collect();
            self.groups.insert(Vec::new(), (Vec::new(), fresh));
        }
        let groups = std::mem::take(&mut self.groups);
        let mut rows = Vec::new();
        for (keys, accumulators) in groups.into_values() {
            let results: Vec<Value> = self
                .aggregations
                .iter()
                .zip(&accumulators)
                .map(|(aggregation, accumulator)| accumulator.result(aggregation.kind))
                .collect();
            let mut fields: BTreeMap<String, Value> =
                self.by.iter().map(|(_, name)| name.clone()).zip(keys).collect();
            let row = Record::computed(fields.clone());
            for (expression, name) in &self.shown {
                fields.insert(name.clone(), expression.evaluate(&row, &results));
            }
            rows.push(Record::computed(fields));
        }
        rows
    }
}

impl Accumulator {
    fn new(aggregation: &Aggregation) -> Accumulator {
        match aggregation.kind {
            AggregateKind::Count => Accumulator::Count(0),
            AggregateKind::CountDistinct => Accumulator::Distinct(HashSet::new()),
            AggregateKind::Sum | AggregateKind::Average | AggregateKind::Deviation => {
                Accumulator::Numbers { count: 0.0, sum: 0.0, squares: 0.0 }
            }
            AggregateKind::Minimum | AggregateKind::Maximum => Accumulator::Extreme(None),
            AggregateKind::Percentile(_) => {
                Accumulator::Values(Distribution::default(), f64::INFINITY, f64::NEG_INFINITY)
            }
            AggregateKind::Earliest | AggregateKind::Latest => Accumulator::Edge(None),
        }
    }

    /// Answers by how many bytes it has grown.
    fn add(&mut self, kind: AggregateKind, value: Value, row: &Record) -> usize {
        match self {
            Accumulator::Count(count) => *count += 1,
            Accumulator::Distinct(seen) => {
                let text = value.shown().unwrap_or_default();
                let size = text.len() + 64;
                if seen.insert(text) {
                    return size;
                }
            }
            Accumulator::Numbers { count, sum, squares } => {
                if let Some(number) = value.number() {
                    *count += 1.0;
                    *sum += number;
                    *squares += number * number;
                }
            }
            Accumulator::Extreme(extreme) => {
                let wanted = if kind == AggregateKind::Minimum { Ordering::Less } else { Ordering::Greater };
                if extreme.as_ref().is_none_or(|known| value.order(known) == wanted) {
                    *extreme = Some(value);
                }
            }
            Accumulator::Values(values, least, greatest) => {
                if let Some(number) = value.number() {
                    let before = values.values().len();
                    values.add(number, 1.0);
                    *least = least.min(number);
                    *greatest = greatest.max(number);
                    return values.values().len().saturating_sub(before) * 16;
                }
            }
            Accumulator::Edge(edge) => {
                let at = match row.get("@timestamp") {
                    Value::Time(at) => at,
                    Value::Nothing | Value::Number(_) | Value::Text(_) | Value::Truth(_) => 0,
                };
                let earlier = kind == AggregateKind::Earliest;
                if edge.as_ref().is_none_or(|(known, _)| if earlier { at < *known } else { at > *known }) {
                    *edge = Some((at, value));
                }
            }
        }
        0
    }

    fn result(&self, kind: AggregateKind) -> Value {
        let number = |number: f64| if number.is_finite() { Value::Number(number) } else { Value::Nothing };
        match self {
            Accumulator::Count(count) => Value::Number(*count as f64),
            Accumulator::Distinct(seen) => Value::Number(seen.len() as f64),
            Accumulator::Numbers { count, .. } if *count == 0.0 => Value::Nothing,
            Accumulator::Numbers { count, sum, squares } => match kind {
                AggregateKind::Sum => number(*sum),
                AggregateKind::Deviation => number((squares / count - (sum / count).powi(2)).max(0.0).sqrt()),
                _ => number(sum / count),
            },
            Accumulator::Extreme(extreme) => extreme.clone().unwrap_or(Value::Nothing),
            Accumulator::Values(values, least, greatest) => {
                let AggregateKind::Percentile(percent) = kind else { return Value::Nothing };
                let all = Aggregate {
                    count: 0.0,
                    sum: 0.0,
                    min: *least,
                    max: *greatest,
                    values: Some(values.clone()),
                };
                match values.values().is_empty() {
                    true => Value::Nothing,
                    false => Statistic::Percentile(percent).of(&all).map_or(Value::Nothing, number),
                }
            }
            Accumulator::Edge(edge) => edge.as_ref().map_or(Value::Nothing, |(_, value)| value.clone()),
        }
    }
}
